"""One recipe by one process, by two, and by two of which one fails: what comes out is the same."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.cluster import launch, ray_workers, workers
from accord.errors import Interrupted, UserError
from accord.steps.registry import STEPS
from tests.cluster import faulty
from tests.cluster.recipes import Recipes, left_over, texts_in, two, weights
from tests.collect.test_judge import said
from tests.fixtures.http_server import Answer, serving

RECIPE = """\
model: {model}
data: {{asked: {{source: {asked}}}}}
{cluster}
steps:
  - sft: {{data: asked.train, batch_size: 8, learning_rate: 1.0e-3, max_tokens: 256}}
  - reward_rule: {{name: rule, rule: length, unit: characters, target: 40}}
  - rloo: {{prompts: asked.train, reward: rule, num_iterations: 4, prompts_per_iteration: 6, num_samples: 2,
           max_response_tokens: 8, truncation_score: null, learning_rate: 1.0e-3, num_minibatches: 2}}
"""
EVERY_STEP = """\
model: {model}
data: {{asked: {{source: {asked}}}, compared: {{source: {compared}}}, held: {{source: {held}}}}}
{cluster}
steps:
  - sft: {{data: asked.train, batch_size: 8, learning_rate: 1.0e-3, max_tokens: 256, validation: held.train}}
  - reward: {{name: taste, data: compared.train, validation: held.train, batch_size: 6, learning_rate: 1.0e-3}}
  - sample: {{prompts: asked.train, policies: [sft, start], num_prompts: 8, max_response_tokens: 6}}
  - dpo: {{data: compared.train, validation: held.train, batch_size: 6, learning_rate: 1.0e-3}}
  - kto: {{data: compared.train, batch_size: 6, learning_rate: 1.0e-3, start: sft}}
  - reject: {{prompts: asked.train, reward: taste, num_prompts: 8, num_samples: 3, max_response_tokens: 6, start: sft}}
  - ppo: {{prompts: asked.train, reward: taste, num_iterations: 2, prompts_per_iteration: 4, num_samples: 2, start: sft,
          max_response_tokens: 6, truncation_score: null, learning_rate: 1.0e-3, ptx_data: asked.train, ptx_coef: 0.1}}
  - grpo: {{prompts: asked.train, reward: taste, num_iterations: 3, prompts_per_iteration: 4, num_samples: 3,
           start: sft, max_response_tokens: 6, truncation_score: null, learning_rate: 1.0e-3, ema: 0.5, staleness: 1}}
  - online_dpo: {{prompts: asked.train, reward: taste, num_iterations: 2, prompts_per_iteration: 4, start: sft,
                 max_response_tokens: 6, truncation_score: null, learning_rate: 1.0e-3, reference_every: 1}}
  - distill: {{prompts: asked.train, reward: taste, calibration: {{slope: 1}}, below: 1, context: generic, how: kl,
              num_samples: 3, end_at: e, max_response_tokens: 12, batch_size: 4, learning_rate: 1.0e-3, start: sft}}
  - evaluate: {{policies: [sft, ppo], by: taste, judge: {{endpoint: "{judge}", model: wise, num_prompts: 3}},
               prompts: asked.train, num_prompts: 6, num_samples: 2, max_response_tokens: 6}}
  - accuracy: {{rewards: taste, data: held.train}}
  - redteam: {{prompts: asked.train, policies: [sft], num_prompts: 3, max_response_tokens: 6,
              by: judge, endpoint: "{judge}", model: wise}}
  - ghost_attention: {{prompts: asked.train, policy: sft, num_turns: 2, num_dialogues: 4, max_response_tokens: 6,
                      keep_truncated: true}}
  - consistency: {{prompts: asked.train, policies: [sft], turns: [1, 2], num_dialogues: 4, max_response_tokens: 6}}
  - sample: {{name: many, prompts: asked.train, policies: [sft], num_prompts: 4, num_responses: 8,
             max_response_tokens: 4}}
  - reward_rule: {{name: long, rule: length, unit: characters, target: 40}}
  - overoptimization: {{gold: taste, samples: many, proxies: [long]}}
"""
TRAINED = ("sft", "taste", "dpo", "kto", "reject", "ppo", "grpo", "online_dpo", "distill")
MEASURED = ("evaluate", "accuracy", "redteam", "consistency", "overoptimization", "distill")
DRAWN = ("sample/train", "many/train", "ghost_attention/train", "reject/best", "distill/tried", "redteam/answers/sft")


@pytest.fixture(scope="module")
def recipes(tiny_model: Path, asked: Path, compared: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipes:
    return Recipes(RECIPE, tiny_model, asked, compared, tmp_path_factory.mktemp("stores"))


@pytest.fixture(scope="module")
def alone(recipes: Recipes) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCORD_DTYPE", "float32")
        return recipes.run("alone")


def rows(run: Path, step: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "steps" / step / "metrics.jsonl").read_text().splitlines()]


def assert_same_results(one: Path, other: Path, steps: Sequence[str] = ("sft", "rloo")) -> None:
    """But for the order of sums. An accuracy counts signs, which are those of rounding where policy and reference are
    still the same."""
    for step in steps:
        for name, tensor in weights(one, step).items():
            torch.testing.assert_close(tensor, weights(other, step)[name], rtol=1e-4, atol=2e-5, msg=f"{step} {name}")
        for row, same in zip(rows(one, step), rows(other, step), strict=True):
            row["rewards/accuracies"] = same["rewards/accuracies"] = 0.0
            numbers = {key: value for key, value in row.items() if not isinstance(value, str)}
            assert same == row | {key: pytest.approx(value, rel=1e-3, abs=1e-4) for key, value in numbers.items()}


def assert_equal_results(one: Path, other: Path) -> None:
    """Bit for bit."""
    for step in ("sft", "rloo"):
        ours, theirs = weights(one, step), weights(other, step)
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
        assert rows(one, step) == rows(other, step)


@pytest.mark.parametrize(("sharding", "cpu_offload"), [("none", False), ("full", True)])
def test_two_processes_do_as_one(recipes: Recipes, alone: Path, sharding: str, cpu_offload: bool) -> None:
    """On a processor an offload changes nothing."""
    run = recipes.run(f"two-{sharding}", two(sharding=sharding, cpu_offload=cpu_offload))
    assert_same_results(run, alone)
    differs = any(
        not torch.equal(tensor, weights(alone, "rloo")[name]) for name, tensor in weights(run, "rloo").items()
    )
    assert differs, "the sums were in the same order: nothing was shared"
    ratios = [row["policy/first_ratio"] for row in rows(run, "rloo")]
    assert ratios == pytest.approx([1.0] * 4, abs=1e-6)


def test_every_step_that_is_shared_does_as_alone(recipes: Recipes, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(judges) as asked:
        judge = asked.url.removesuffix("/score")
        alone = recipes.run("every-step", text=EVERY_STEP, judge=judge)
        questions = sorted(map(json.dumps, asked.bodies))
        asked.bodies.clear()
        run = recipes.run("every-step-two", two(sharding="full"), EVERY_STEP, judge=judge)
        assert sorted(map(json.dumps, asked.bodies)) == questions, "one asks for all"
        assert_same_results(run, alone, TRAINED)
        for step in MEASURED:
            ours, theirs = (json.loads((one / "steps" / step / "results.json").read_text()) for one in (run, alone))
            assert_same_numbers(ours, theirs, step)
        for name in DRAWN:
            ours, theirs = (texts_in(one / "steps" / f"{name}.jsonl") for one in (run, alone))
            assert ours == theirs != [], name
        capsys.readouterr()
        recipes.run("every-step-two", two(sharding="none"), EVERY_STEP, judge=judge)
        assert ": running" not in capsys.readouterr().out, "where steps are computed is in no key"


def judges(body: Any, before: int) -> Answer:
    """The first of two responses is the better one, and one by itself complies."""
    return 200, said("A" if "<response A>" in body["messages"][-1]["content"] else "1"), {}


def test_no_shared_kind_is_left_out() -> None:
    kinds = set(re.findall(r"^  - (\w+):", RECIPE + EVERY_STEP, re.MULTILINE))
    assert {kind for kind, step in STEPS.items() if step.together} <= kinds


def assert_same_numbers(one: Any, other: Any, where: str) -> None:
    """But for the order of sums."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same_numbers(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for at, (ours, theirs) in enumerate(zip(one, other, strict=True)):
            assert_same_numbers(ours, theirs, f"{where}[{at}]")
    else:
        assert one == (pytest.approx(other, rel=1e-3, abs=1e-4) if isinstance(other, float) else other), where


def test_two_actors_of_a_ray_cluster_do_as_two_processes(recipes: Recipes, alone: Path) -> None:
    run = recipes.run("ray", two("ray"))
    assert_same_results(run, alone)
    assert_equal_results(run, recipes.run("two-none", two(sharding="none")))


@pytest.mark.parametrize("place", ["sampling", "scoring", "learning"])
def test_a_worker_that_is_killed_is_named_and_the_run_goes_on(
    recipes: Recipes, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recipes.run("two-none", two(sharding="none"))
    monkeypatch.setattr(workers, "PROGRAM", "tests.cluster.faulty")
    monkeypatch.setenv("ACCORD_TEST_FAULT", f"{place}:1:kill:3")
    with pytest.raises(UserError, match=r"worker 1 \(process \d+\) has failed: it was killed by signal 9") as error:
        recipes.run(f"killed-{place}", two(sharding="none"))
    assert "The same command goes on" in error.value.remedy
    assert not left_over()
    monkeypatch.delenv("ACCORD_TEST_FAULT")
    assert_equal_results(recipes.run(f"killed-{place}", two(sharding="none")), whole)


def test_a_worker_that_hangs_is_given_up(recipes: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PROGRAM", "tests.cluster.faulty")
    monkeypatch.setenv("ACCORD_TEST_FAULT", "scoring:1:hang:2")
    with pytest.raises(UserError, match=r"worker 1 \(process \d+\) did not answer within 8 s, while .*says: \w+"):
        recipes.run("hung", two(timeout=8))
    assert not left_over()


def test_what_goes_wrong_in_a_worker_is_shown(recipes: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PROGRAM", "tests.cluster.faulty")
    monkeypatch.setenv("ACCORD_TEST_FAULT", "learning:1:fail:1")
    with pytest.raises(UserError, match="ZeroDivisionError: a fault of the test's") as error:
        recipes.run("failed", two())
    assert "in happen" in error.value.what, "the traceback is there"


def test_a_disk_that_is_full_ends_all_and_the_run_goes_on(recipes: Recipes, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a tensor of a checkpoint is written that both have gathered, and one waits for the next."""
    whole = recipes.run("two-full", two(sharding="full"))
    monkeypatch.setattr(workers, "PROGRAM", "tests.cluster.faulty")
    monkeypatch.setenv("ACCORD_TEST_FAULT", "saving:0:full:2")
    with pytest.raises(UserError, match="the disk is full"):
        recipes.run("full", two(sharding="full"))
    assert not left_over()
    monkeypatch.delenv("ACCORD_TEST_FAULT")
    assert_equal_results(recipes.run("full", two(sharding="full")), whole)


def test_an_actor_that_is_killed_is_named_and_the_run_goes_on(
    recipes: Recipes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    whole = recipes.run("two-none", two(sharding="none"))
    monkeypatch.setattr(ray_workers, "Actor", faulty_actor())
    monkeypatch.setenv("ACCORD_TEST_FAULT", "learning:1:kill:3")
    with pytest.raises(UserError, match=r"worker 1 \(process \d+ on .*\) has failed: it is gone"):
        recipes.run("ray-killed", two("ray"))
    monkeypatch.delenv("ACCORD_TEST_FAULT")
    assert_equal_results(recipes.run("ray-killed", two("ray")), whole)


def faulty_actor() -> type:
    import ray

    ray.cloudpickle.register_pickle_by_value(faulty)

    class Faulty(ray_workers.Actor):
        def perform(self, assignment: str) -> str:
            return faulty.perform(faulty.Assignment.from_json(assignment)).to_json()

    return Faulty


def test_a_run_goes_on_with_another_number_of_processes(
    recipes: Recipes, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PROGRAM", "tests.cluster.faulty")
    for size in (2, 1):
        monkeypatch.setenv("ACCORD_TEST_FAULT", f"learning:{size - 1}:fail:2")
        with pytest.raises(UserError, match="ZeroDivisionError"):
            recipes.run("resharded", two(workers=size, sharding="full"))
    monkeypatch.delenv("ACCORD_TEST_FAULT")
    assert_same_results(recipes.run("resharded", two(sharding="full")), alone)


def test_stopped_and_run_again_it_is_the_same(
    recipes: Recipes, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leading worker saves long after the other has been interrupted."""
    monkeypatch.setattr(workers, "PROGRAM", "tests.cluster.faulty")
    monkeypatch.setattr(launch, "_GRACE", 0.5)
    monkeypatch.setenv("ACCORD_TEST_FAULT", "saving:0:slow:1")
    whole = recipes.run("two-none", two(sharding="none"))
    threading.Thread(target=interrupt_after_two_iterations, args=(recipes.folder / "stopped",), daemon=True).start()
    with pytest.raises(Interrupted):
        recipes.run("stopped", two(sharding="none"))
    assert not left_over()
    monkeypatch.delenv("ACCORD_TEST_FAULT")
    capfd.readouterr()
    run = recipes.run("stopped", two(sharding="none"))
    assert "rloo: going on from its last checkpoint" in capfd.readouterr().out
    assert_equal_results(run, whole)


def interrupt_after_two_iterations(store: Path) -> None:
    """Ctrl-C, once the rloo step has written two rows."""
    while True:
        for path in store.glob("work/rloo-*/out/metrics.jsonl"):
            if path.read_text().count("\n") >= 2:
                os.kill(os.getpid(), signal.SIGINT)
                return
        time.sleep(0.01)


def test_more_workers_than_there_is_room_for(recipes: Recipes) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="the Ray cluster has no room for 64 workers of 1 CPU each") as error:
        recipes.run("too-many", two("ray", workers=64, timeout=5))
    assert error.value.where == "cluster.workers"
    assert not (recipes.folder / "too-many" / "artifacts").exists(), "it was said before the first step"


def test_a_cluster_that_is_not_there(recipes: Recipes) -> None:
    ray = pytest.importorskip("ray")
    ray.shutdown()
    with pytest.raises(UserError, match="the Ray cluster is not reached") as error:
        recipes.run("nowhere", two("ray", address="127.0.0.1:1"))
    assert "accord cluster up" in error.value.remedy

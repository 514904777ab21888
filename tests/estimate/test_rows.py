"""Estimates of the quickstart on a tiny model, against what its steps then do."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from accord.cli import shipped_recipe
from accord.data import catalog, film_reviews
from accord.engine.profile import Rates
from accord.engine.workload import Passes, Phase, Work
from accord.errors import UserError
from accord.estimate import rows as rows_module
from accord.estimate.check import check
from accord.estimate.inputs import sample
from accord.estimate.limits import refuse_what_cannot_fit
from accord.estimate.rows import Estimate, Estimator, MemoryUse, Row, memory_of, seconds_of
from accord.estimate.table import count, lines
from accord.estimate.timing import rates_of
from accord.machine import Memory
from accord.models import folders
from accord.models.cost import Dimensions
from accord.plan import Plan, make_plan
from accord.recipe import apply_overrides, load_recipe, parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.types import PlainText
from tests.fixtures.film_reviews import make_ratings_files
from tests.fixtures.tiny_run import SIZES, SMALLER, run_tiny

DIMENSIONS = Dimensions(2, 32, 64, 4, 2, 8, 512)
FIT = dict.fromkeys(("train", "forward", "decode"), (0, 1e-06, 0, 0, 0, 0))
RATES = Rates(FIT, 0, 0, 0, 0, 0, 100.0, measured=time.time())
PLENTY = Memory(1 << 40, 1 << 40, 1 << 40)


@pytest.fixture(autouse=True)
def made_up() -> Iterator[None]:
    data = catalog.BUILTIN["film-reviews"]
    prepare = partial(film_reviews.prepare, read=partial(make_ratings_files, 200), sizes=SIZES)
    builtin = {"film-reviews": dataclasses.replace(data, prepare=prepare)}
    with patch.object(catalog, "BUILTIN", builtin), patch.object(folders, "compute_dtype", lambda: torch.float32):
        yield


def plan_of(model: Path, *overrides: str) -> Plan:
    recipe = load_recipe(shipped_recipe("quickstart"))
    return make_plan(apply_overrides(recipe, [f"model={model}", *SMALLER, *overrides]), STEPS)


def estimate(plan: Plan, store: Path, rates: Rates | None = None) -> Estimate:
    return Estimator(plan, STEPS, Store(store)).estimate(rates, 4)


def test_tokens_and_files_are_those_of_the_run(tiny_model: Path, tmp_path: Path):
    """What sft and the reward model are expected to train on is what their artifacts say; and so are the folders."""
    expected = {row.step.name: row for row in estimate(plan_of(tiny_model), tmp_path / "none").rows}
    assert not (tmp_path / "none").exists()
    run = run_tiny(tiny_model, tmp_path / "store", until="proxy")
    metrics = [json.loads(line) for line in (run / "steps/sft/metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "steps/sft/summary.json").read_text())
    assert summary["num_demonstrations"] > 0
    work = Estimator(plan_of(tiny_model), STEPS, Store(tmp_path / "none")).works["sft"]
    (phase,) = work.phases
    assert phase.updates == len(metrics)
    assert work.lengths is not None
    assert len(work.lengths) == summary["num_demonstrations"]
    for name in ("sft", "proxy"):
        written = (run / f"steps/{name}/model/model.safetensors").stat().st_size
        assert expected[name].kept == pytest.approx(written, rel=0.1)  # the header of a tiny file counts
    assert (run / "steps/model/model/model.safetensors").stat().st_size == pytest.approx(
        expected["model"].kept, rel=0.1
    )


def test_every_step_has_an_estimate(tiny_model: Path, tmp_path: Path):
    found = estimate(plan_of(tiny_model), tmp_path, RATES)
    rows = {row.step.name: row for row in found.rows}
    assert [name for name, row in rows.items() if row.cached] == []
    assert all(row.seconds is not None for row in rows.values())
    assert found.seconds == pytest.approx(sum(row.seconds or 0 for row in rows.values()))
    assert {name for name, row in rows.items() if row.trained} == {
        *("sft", "proxy", "gold_validation", "gold_test", "reject", "ppo")
    }
    assert {name for name, row in rows.items() if row.sampled} == {"reject", "ppo", "evaluate"}
    # 4 policies * 5 prompts * 2 samples of at most 8 tokens each
    assert 4 * 5 * 2 < rows["evaluate"].sampled <= 4 * 5 * 2 * 8
    assert found.responses["reject"][1] == 8
    assert found.peak == max(row.memory.total for row in rows.values() if row.memory)
    assert rows["ppo"].memory is not None
    assert rows["sft"].memory is not None
    assert rows["ppo"].memory.weights > rows["sft"].memory.weights


def test_without_rates_no_times(tiny_model: Path, tmp_path: Path):
    found = estimate(plan_of(tiny_model), tmp_path)
    assert found.seconds is None
    assert {row.step.kind for row in found.rows if row.seconds is not None} == {"data"}


def test_what_is_in_the_store_is_cached(tiny_model: Path, tmp_path: Path):
    run_tiny(tiny_model, tmp_path, until="sft")
    found = estimate(plan_of(tiny_model), tmp_path, RATES)
    assert [row.step.name for row in found.rows if row.cached] == ["model", "reviews", "sft"]
    assert all(row.step.name not in ("model", "sft") for row in found.to_run)
    assert found.data["reviews"].parts["sft"].total == SIZES["sft"]


def test_a_cached_policy_writes_as_long_as_it_did(tiny_model: Path, tmp_path: Path):
    artifact = type("A", (), {"path": tmp_path})()
    (tmp_path / "metrics.jsonl").write_text(
        '{"iteration": 1, "response/mean_tokens": 3.0}\n{"iteration": 2, "response/mean_tokens": 6.0}\n'
    )
    assert rows_module._as_measured((2, 4), artifact) == (4, 8)
    assert rows_module._as_measured(None, artifact) == (6,)
    assert rows_module._as_measured((2, 4), None) == (2, 4)


def test_lora_and_samples(tiny_model: Path, tmp_path: Path):
    """Adapters need less memory; what a step makes is an input of the next."""
    pytest.importorskip("peft")
    text = f"""\
model: {tiny_model}
data: {{reviews: builtin:film-reviews}}
steps:
  - sft: {{data: reviews.sft, lora: {{rank: 2}}}}
  - reward: {{name: proxy, data: reviews.proxy, start: sft, lora: {{rank: 2}}}}
  - sample: {{prompts: reviews.prompts, policies: [sft], num_prompts: 6, max_response_tokens: 9}}
  - collect: {{comparisons: sample, reward: proxy}}
  - reward: {{name: second, data: collect, start: sft, tie_below: 0}}
  - ppo: {{prompts: reviews.prompts, reward: proxy, start: sft, lora: {{rank: 2}}, max_response_tokens: 9}}
"""
    plan = make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
    estimator = Estimator(plan, STEPS, Store(tmp_path))
    rows = {row.step.name: row for row in estimator.estimate(RATES, 4).rows}
    assert rows["proxy"].memory is not None
    assert rows["second"].memory is not None
    assert rows["proxy"].memory.weights < rows["second"].memory.weights
    assert rows["second"].trained > 0
    assert rows["collect"].scored > 0
    # PPO: the policy's backbone once, with three adapters on it
    adapter, policy = DIMENSIONS.adapter_parameters(2), DIMENSIONS.policy_parameters
    (phase,) = estimator.works["ppo"].phases
    assert (list(phase.trained), list(phase.frozen)) == ([adapter, adapter], [policy, adapter])


def test_seconds_and_memory_by_hand():
    passes = [Passes("train", 2, 10, 4, 20, 3.0)]
    work = Work([Phase(passes, trained=[100], frozen=[50], updates=7)], loaded=[100], saved=[100], fits=[10], seconds=2)
    rates = Rates(
        {"train": (0.0, 0.01, 0, 0, 0, 0)}, update=0.001, begin=0.003, read=0.01, write=0.1, fit=0.002, gflops=1.0
    )
    # 1 to begin with, 2 of its own, 3 passes of 2 layers * 20 places * 0.01, 7 updates of 100 and their beginning, 400
    # bytes read twice and written once, and 10 texts cubed
    expected = 1 + 2 + 3 * 2 * 20 * 0.01 + 7 * 100 * 0.001 + 100 * 0.003 + 2 * 400 * 0.01 + 400 * 0.1 + 1000 * 0.002
    assert seconds_of(work, DIMENSIONS, rates) == pytest.approx(expected)
    use = memory_of(work.phases[0], work, DIMENSIONS, 2)
    assert use.weights == rows_module.PROGRAM + 18 * 100 + 2 * 50
    assert use.fits == 3 * 8 * 100
    assert use.activations > DIMENSIONS.activation_bytes(2, 10, 4, 2)


def test_the_sample_is_spread_over_the_data_and_knows_the_longest():
    texts = [PlainText(str(i), "x" * (i % 97)) for i in range(2000)]
    found = sample(texts, "texts", 100)
    assert (len(found.sample), found.total, len(found.longest)) == (100, 2000, 5)
    assert [len(record.text) for record in found.longest] == [96] * 5
    ids = [int(record.id) for record in found.sample]
    assert ids == sorted(ids)
    assert ids[0] < 200
    assert ids[-1] > 1800
    assert sample(texts[:7], "texts").sample == texts[:7]


def test_numbers_of_tokens():
    assert [count(n) for n in (0.4, 950, 1_600, 16_430, 2_500_000, 3e9)] == ["0", "950", "1.6k", "16k", "2.5M", "3.0G"]


def test_the_table(tiny_model: Path, tmp_path: Path):
    run_tiny(tiny_model, tmp_path, until="model")
    found = lines(estimate(plan_of(tiny_model), tmp_path, RATES), "float32 on the CPU", PLENTY, 5 << 30)
    assert found[0].split() == ["step", "kind", "state", "trained", "scored", "sampled", "time", "memory", "disk"]
    assert found[1].split() == ["model", "model", "cached"]
    assert found[3].split()[:4] == ["sft", "sft", "to", "run"]
    (machine,) = (line for line in found if line.startswith("machine: "))
    assert re.fullmatch(r"machine: float32 on the CPU, 100 GFLOP/s, measured \d{4}-\d\d-\d\d \d\d:\d\d", machine)
    assert not any("--measure" in line for line in found)
    assert any(line.startswith("data reviews: sft 24 demonstrations") for line in found)
    assert any(line.startswith("ppo: assumes responses of") for line in found)
    assert max(map(len, found[:12])) <= 110


def test_the_table_says_that_other_programs_ran(tiny_model: Path, tmp_path: Path):
    busy = dataclasses.replace(RATES, share=0.5)
    found = lines(estimate(plan_of(tiny_model), tmp_path, busy), "float32 on the CPU", PLENTY, 5 << 30)
    assert [line for line in found if "(50% of the processors were left)" in line and "check --measure" in line]


def row_of(plan: Plan, name: str, **sizes: int) -> Row:
    use = MemoryUse(**{"weights": 0, "activations": 0, "cache": 0, "fits": 0, **sizes})
    return Row(plan.step(name), False, 1.0, memory=use, kept=8 << 30, beside=6 << 30)


@pytest.mark.parametrize(
    ("name", "part", "help"),
    [
        ("sft", "weights", "Train adapters (`sft.lora: {}`), or take a smaller model."),
        ("ppo", "activations", "Lower ppo.max_tokens (now 1024), or lower ppo.max_response_tokens (now 8)."),
        ("ppo", "cache", "Lower ppo.max_response_tokens (now 8), or lower ppo.num_samples (now 2)."),
        ("evaluate", "weights", "Take a smaller model."),
        ("evaluate", "fits", "Give the linear models of words fewer texts (second, proxy_data)."),
    ],
)
def test_what_does_not_fit_into_memory_is_refused(tiny_model: Path, name: str, part: str, help: str):
    plan = plan_of(tiny_model)
    found = Estimate((row_of(plan, name, **{part: 9 << 30}),), {}, {})
    refuse_what_cannot_fit(found, plan, PLENTY, 1 << 40, "s")
    with pytest.raises(UserError) as caught:
        refuse_what_cannot_fit(found, plan, Memory(16 << 30, 8 << 30, 7 << 30), 1 << 40, "s")
    assert caught.value.what == f"the step {name!r} needs about 9.0 GiB of memory, and 7.0 GiB of 8.0 GiB can be had"
    assert caught.value.where.startswith(f"{plan.recipe.path}:")
    assert caught.value.where.endswith(f":{name}")
    assert help in caught.value.remedy
    assert "--force" in caught.value.remedy


def test_what_does_not_fit_on_the_disk_is_refused(tiny_model: Path):
    plan = plan_of(tiny_model)
    found = Estimate((row_of(plan, "sft"), row_of(plan, "ppo")), {}, {})
    assert found.disk == (8 + 8 + 6) << 30  # the checkpoints of the first are gone by then
    with pytest.raises(UserError, match=r"will write up to 22\.0 GiB, and 21\.0 GiB are free") as caught:
        refuse_what_cannot_fit(found, plan, PLENTY, 21 << 30, "s")
    assert "--store" in caught.value.remedy
    refuse_what_cannot_fit(found, plan, PLENTY, 23 << 30, "s")


def test_rates_are_measured_once(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from accord.estimate import timing
    from accord.estimate.inputs import model_of

    measured: list[Path] = []
    monkeypatch.setattr(timing, "measure", lambda config, dims, dtype, folder: measured.append(folder) or RATES)
    model = model_of(plan_of(tiny_model), Store(tmp_path / "none"))
    assert rates_of(model, torch.float32, tmp_path / "a/b", cache=tmp_path) == RATES
    assert rates_of(model, torch.float32, tmp_path / "a/b", cache=tmp_path) == RATES
    assert measured == [tmp_path]  # the folder above the store, which is not there yet
    rates_of(model, torch.bfloat16, tmp_path, cache=tmp_path)
    assert len(measured) == 2
    (kept, _) = sorted((tmp_path / "rates").iterdir())
    for broken in ('{"measured": 1.0}', "not json", '{"measured": 99999999999, "rates": {}}'):
        for path in (tmp_path / "rates").iterdir():
            path.write_text(broken)
        rates_of(model, torch.float32, tmp_path, cache=tmp_path)
    assert len(measured) == 5
    monkeypatch.setattr(timing, "slice_bytes", lambda dimensions: 1 << 60)
    kept.unlink()
    for path in (tmp_path / "rates").iterdir():
        path.unlink()
    assert rates_of(model, torch.float32, tmp_path, cache=tmp_path) is None


def test_rates_can_be_measured_anew_and_those_of_a_busy_moment_pass(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from accord.estimate import timing
    from accord.estimate.inputs import model_of

    now, num = time.time(), 0
    given = RATES

    def measure(*_: object) -> Rates:
        nonlocal num
        num += 1
        return given

    monkeypatch.setattr(timing, "measure", measure)
    model = model_of(plan_of(tiny_model), Store(tmp_path / "none"))
    again = partial(rates_of, model, torch.float32, tmp_path, cache=tmp_path)
    again()
    again(anew=True)
    assert num == 2
    given = dataclasses.replace(RATES, share=0.5, measured=now - 300)
    again(anew=True)
    assert again() == given, "for some minutes"
    given = dataclasses.replace(given, measured=now - 3600)
    again(anew=True)
    again()
    assert num == 5, "not for an hour"
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert rates_of(model, torch.float32, tmp_path, cache=tmp_path / "file") == given
    assert "the speed cannot be kept for the next time" in capsys.readouterr().err


def sampling_recipe(model: Path, folder: Path, step: str, prompts: list[str]) -> Plan:
    rows = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
    (folder / "prompts.jsonl").write_text(rows)
    (folder / "f.py").write_text("def f(responses):\n    return [0.0] * len(responses)\n")
    text = f"""\
model: {model}
data: {{mine: {folder / "prompts.jsonl"}}}
steps:
  - reward_function: {{name: f, file: {folder / "f.py"}, function: f}}
  - {step}
"""
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS)


@pytest.mark.parametrize("kind", ["ppo", "reject", "sample"])
def test_a_response_longer_than_the_context_is_refused_at_its_line(kind: str, tiny_model: Path, tmp_path: Path):
    reward = "" if kind == "sample" else "reward: f, "
    step = f"{kind}: {{prompts: mine, {reward}max_response_tokens: 100000}}"
    plan = sampling_recipe(tiny_model, tmp_path, step, ["Write a line."])
    with pytest.raises(UserError, match=r"the model reads and writes at most 256 in all") as caught:
        estimate(plan, tmp_path)
    assert caught.value.where == f"r.yaml:5:{kind}.max_response_tokens"
    assert "Lower max_response_tokens to 2" in caught.value.remedy


def test_prompts_without_room_are_not_counted(tiny_model: Path, tmp_path: Path):
    """As the step leaves them out: 2 of 3 prompts with 4 responses of at most 8 tokens."""
    step = "sample: {prompts: mine, num_responses: 4, max_response_tokens: 8}"
    plan = sampling_recipe(tiny_model, tmp_path, step, ["Write a line.", "word " * 400, "Write another."])
    (row,) = (row for row in estimate(plan, tmp_path).rows if row.step.kind == "sample")
    assert 2 * 4 * 7 <= row.sampled <= 2 * 4 * 8
    with pytest.raises(UserError, match="no prompt leaves room"):
        estimate(sampling_recipe(tiny_model, tmp_path, step, ["word " * 400]), tmp_path)


@pytest.mark.parametrize(
    ("lora", "key", "message"),
    [("targets: [nope]", "targets", "no linear layer called 'nope'"), ("rank: 999", "rank", "rank 999 is larger")],
)
def test_adapters_of_layers_that_are_not_there(lora: str, key: str, message: str, tiny_model: Path, tmp_path: Path):
    pytest.importorskip("peft")
    text = (
        f"model: {tiny_model}\ndata: {{r: builtin:film-reviews}}\nsteps:\n  - sft: {{data: r.sft, lora: {{{lora}}}}}\n"
    )
    with pytest.raises(UserError, match=message) as caught:
        estimate(make_plan(parse_recipe(text, Path("r.yaml")), STEPS), tmp_path)
    assert caught.value.where == f"r.yaml:4:sft.lora.{key}"


def test_too_large_batches_are_a_message(tiny_model: Path, tmp_path: Path):
    def describe(*_: object) -> Work:
        raise MemoryError

    plan = sampling_recipe(tiny_model, tmp_path, "sample: {prompts: mine, max_response_tokens: 8}", ["Write."])
    steps = {**STEPS, "sample": dataclasses.replace(STEPS["sample"], work=describe)}
    with pytest.raises(UserError, match=r"^r\.yaml:5:sample\.max_response_tokens: the batches .* too large"):
        Estimator(plan, steps, Store(tmp_path))


def test_check(tiny_model: Path, tmp_path: Path):
    found = check(plan_of(tiny_model), STEPS, Store(tmp_path / "none"), timed=False)
    assert found.lines()[3].split()[:4] == ["sft", "sft", "to", "run"]
    found.refuse()
    assert not (tmp_path / "none").exists()
    assert not any("too large" in line for line in found.lines())
    assert any("too large for its speed" in line for line in dataclasses.replace(found, timed=True).lines())

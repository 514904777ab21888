"""What an estimate refuses: what does not fit into memory, on the disk, or into a model's context."""

from __future__ import annotations

import dataclasses
import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from accord.engine.workload import Work
from accord.errors import UserError
from accord.estimate.check import Checked, computed_elsewhere
from accord.estimate.limits import refuse_what_cannot_fit
from accord.estimate.rows import Estimate, Estimator, MemoryUse, Row
from accord.machine import Memory
from accord.plan import Plan, make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from tests.fixtures.estimates import PLENTY, estimate, made_up, plan_of

__all__ = ["made_up"]


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


@pytest.mark.parametrize(("cluster", "refused"), [("ray", []), ("local", ["sft", "evaluate"])])
def test_what_a_ray_cluster_computes_is_not_held_against_this_machine(
    tiny_model: Path, cluster: str, refused: list[str]
):
    plan = plan_of(tiny_model, f"cluster={cluster}")
    elsewhere = computed_elsewhere(plan, STEPS)
    for name in ("sft", "evaluate"):
        found = Estimate((row_of(plan, name, weights=9 << 30),), {}, {})
        small = Memory(16 << 30, 8 << 30, 7 << 30)
        with pytest.raises(UserError) if name in refused else nullcontext():
            Checked(plan, found, small, 1 << 40, "s", timed=False, elsewhere=elsewhere).refuse()


def test_what_does_not_fit_on_the_disk_is_refused(tiny_model: Path):
    plan = plan_of(tiny_model)
    found = Estimate((row_of(plan, "sft"), row_of(plan, "ppo")), {}, {})
    assert found.disk == (8 + 8 + 6) << 30  # the checkpoints of the first are gone by then
    with pytest.raises(UserError, match=r"will write up to 22\.0 GiB, and 21\.0 GiB are free") as caught:
        refuse_what_cannot_fit(found, plan, PLENTY, 21 << 30, "s")
    assert "--store" in caught.value.remedy
    refuse_what_cannot_fit(found, plan, PLENTY, 23 << 30, "s")


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

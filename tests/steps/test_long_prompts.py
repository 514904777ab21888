"""A prompt to which the model's context has no room for a response, in every step that samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import accord
from accord.models.scalar import Normalisation, ScalarModel

LONG = "word " * 140  # of the tiny model's context of 256 tokens more than a response of 8 leaves
REWARD = """
def length(responses):
    return [len(text) / 100 for text in responses]

def other(responses):
    return [-len(text) / 100 for text in responses]
"""


def write(name: str, rows: list[dict[str, Any]]) -> None:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCORD_DTYPE", "float32")
    Path("f.py").write_text(REWARD)
    write("prompts.jsonl", [{"prompt": f"Write line {i}."} for i in range(5)] + [{"prompt": LONG}])
    for name in ("one", "two"):
        pairs = [{"prompt": f"{name} {i}", "chosen": f"Warm {i}.", "rejected": f"A dull plot {i}."} for i in range(6)]
        write(f"{name}.jsonl", pairs)
    write("rated.jsonl", [{"text": f"It is {i}.", "ratings": [i % 5, i % 3]} for i in range(12)])


def run(model: Path, *steps: dict[str, Any], force: bool = False) -> accord.Run:
    data = {name: f"{name}.jsonl" for name in ("prompts", "one", "two", "rated")}
    rewards = [{"reward_function": {"name": name, "file": "f.py", "function": name}} for name in ("length", "other")]
    recipe = {"model": model, "data": data, "steps": [*rewards, *steps]}
    return accord.run_recipe(recipe, force=force, say=lambda line: None)


SHARED = {"prompts": "prompts", "max_response_tokens": 8}
REJECT = {"reject": {**SHARED, "reward": "length", "num_samples": 2, "batch_size": 4}}
SIZES = {"num_iterations": 1, "prompts_per_iteration": 5, "num_samples": 2}
PPO = {"ppo": {**SHARED, "reward": "length", **SIZES, "truncation_score": None}}
EVALUATE = {
    "evaluate": {
        **SHARED,
        "policies": ["start", "reject"],
        "baseline": "start",
        "by": "other",
        "proxy": "length",
        "proxy_data": "one",
        "second": ["two"],
        "num_samples": 2,
        "pairs": "rated",
        "num_pairs": 8,
    }
}


def test_it_is_left_out_and_counted(tiny_model: Path):
    done = run(tiny_model, {"sample": SHARED}, REJECT, PPO, EVALUATE)
    assert done.step("sample").summary()["num_too_long"] == 1
    assert all(comparison.prompt.messages[0].content != LONG for comparison, _ in done.step("sample").records())
    reject = done.step("reject").summary()
    assert (reject["num_prompts"], reject["num_too_long"]) == (5, 1)
    assert LONG not in (done.step("reject").folder / "best.jsonl").read_text()
    left_out = {"num_prompts": 5, "num_too_long": 1, "num_with_control_tokens": 0}
    assert done.step("ppo").summary() == {**left_out, "num_iterations": 1, "alarms": []}
    assert done.step("evaluate").summary() == {**left_out, "alarms": []}
    assert done.results["num_prompts"] == 5


@pytest.mark.parametrize("step", [{"sample": SHARED}, REJECT, PPO])
def test_a_step_that_has_no_other_prompts_is_refused(tiny_model: Path, step: dict[str, Any]):
    write("prompts.jsonl", [{"prompt": LONG}])
    with pytest.raises(accord.UserError, match=r"no prompt leaves room for a response of 8 tokens"):
        run(tiny_model, step)  # before anything runs
    with pytest.raises(accord.UserError, match=r"none of the 1 prompts can be answered: 1 leave no room for 8 tokens"):
        run(tiny_model, step, force=True)


def reads_at_most(num_tokens: int, model: Path) -> dict[str, Any]:
    """A reward model with a context of its own."""
    ScalarModel.from_policy(model, 1).save(Path("short"), {}, Normalisation())
    config = Path("short/config.json")
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": num_tokens}))
    return {"reward_model": {"name": "short", "source": "short"}}


IN_SHORT = [
    {"reject": {**REJECT["reject"], "reward": "short"}},
    {"ppo": {**PPO["ppo"], "reward": "short"}},
    {"evaluate": {**SHARED, "policies": ["start"], "by": "short", "num_samples": 2}},
    {"evaluate": {**SHARED, "policies": ["start"], "by": "other", "proxy": "both", "num_samples": 2}},
]
BOTH = {"combine": {"name": "both", "rewards": ["short", "length"]}}


@pytest.mark.parametrize("step", IN_SHORT)
def test_a_reward_model_reads_no_more_than_its_context(tiny_model: Path, step: dict[str, Any]):
    (kind,) = step
    middle = "word " * 30  # more than the reward model reads, and less than the policy
    write("prompts.jsonl", [{"prompt": f"Write line {i}."} for i in range(5)] + [{"prompt": middle}])
    summary = run(tiny_model, reads_at_most(64, tiny_model), BOTH, step).step(kind).summary()
    assert (summary["num_prompts"], summary["num_too_long"]) == (5, 1)


@pytest.mark.parametrize("step", IN_SHORT)
def test_a_reward_model_that_can_read_nothing(tiny_model: Path, step: dict[str, Any]):
    with pytest.raises(accord.UserError, match=r"none of the 6 prompts can be answered.*at most 16\)"):
        run(tiny_model, reads_at_most(16, tiny_model), BOTH, step)

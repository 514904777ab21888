"""What a step would refuse of its data is refused before anything runs, at the key's place in the recipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from accord.errors import UserError
from accord.estimate.inputs import NUM_SAMPLED
from accord.estimate.rows import Estimator
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.run import run_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store

Row = dict[str, Any]

PAIR: Row = {"prompt": "Say hi", "chosen": "hi there", "rejected": "go away"}
LONGER: Row = {**PAIR, "chosen": "hi " * 2000}  # than the model's context
GOOD: Row = {"prompt": "Say hi", "completion": "hi there", "label": True}
ALIKE: Row = {"prompt": "Say hi", "responses": ["a b", "b c"], "scores": [3.0, 3.0]}
CLOSE: Row = {"prompt": "Say hi", "responses": ["a b", "b c"], "scores": [3.0, 5.0]}
LONG: Row = {"prompt": "Say hi", "completion": "far too long an answer to be imitated"}


def recipe_of(folder: Path, model: Path, step: str, rows: Sequence[Row]) -> Any:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "f.py").write_text("def f(responses):\n    return [0.0] * len(responses)\n")
    text = f"""\
model: {model}
data: {{mine: {folder / "rows.jsonl"}}}
steps:
  - reward_function: {{name: zero, file: {folder / "f.py"}, function: f}}
  - {step}
"""
    return parse_recipe(text, folder / "bad.yaml")


CASES = [
    ("dpo: {data: mine, tie_below: 5}", [CLOSE], "dpo.data: of 1 comparisons none can be learned from: 1 without"),
    ("kto: {data: mine}", [GOOD, {**GOOD, "prompt": "Go"}], "kto.data: KTO learns from good and from bad responses"),
    ("kto: {data: mine}", [GOOD, {**GOOD, "label": False}], "kto.data: all responses are to one prompt"),
    ("reward: {data: mine}", [LONGER], "reward.data: of 1 comparisons with an ordered pair none is left"),
    ("reward: {data: mine}", [ALIKE], "reward.data: no comparison has an ordered pair\n  All responses to a prompt"),
    ("reward: {data: mine, tie_below: 5}", [ALIKE, CLOSE], "reward.data: no comparison has an ordered pair\n  Every"),
    ("reward: {data: mine, tie_below: 5}", [ALIKE], "reward.data: no comparison has an ordered pair\n  All responses"),
    ("reward: {data: mine, margin: data}", [PAIR], "reward.data: margin: data takes the margins of the data, and all"),
    ("reward: {data: mine, safety_coef: 1}", [PAIR], "reward.data: safety_coef is set, and no response is labelled"),
    ("sft: {data: mine, max_response_tokens: 2}", [LONG], "sft.data: of 1 examples none is left"),
    (
        "rloo: {prompts: mine, reward: zero, max_response_tokens: 4, prompts_per_iteration: 3}",
        [{"prompt": "Say hi"}, {"prompt": "Say bye"}],
        "rloo.prompts_per_iteration: an iteration takes 3 prompts, and there are 2\n  Lower prompts_per_iteration to 2",
    ),
]


@pytest.mark.parametrize(("step", "rows", "message"), CASES)
def test_before_and_in_a_run(tmp_path: Path, tiny_model: Path, step: str, rows: list[Row], message: str):
    recipe = recipe_of(tmp_path, tiny_model, step, rows)
    with pytest.raises(UserError) as before:
        Estimator(make_plan(recipe, STEPS), STEPS, Store(tmp_path / "store"))
    assert str(before.value).startswith(f"{tmp_path / 'bad.yaml'}:5:{message}")
    with pytest.raises(UserError) as meanwhile:
        run_recipe(recipe, STEPS, Store(tmp_path / "store"), say=lambda line: None)
    assert str(meanwhile.value) == str(before.value)


def test_of_a_part_of_the_data_nothing_is_refused(tmp_path: Path, tiny_model: Path):
    rows = [{**GOOD, "prompt": f"Say {i}"} for i in range(NUM_SAMPLED + 1)]
    recipe = recipe_of(tmp_path, tiny_model, "kto: {data: mine}", rows)
    Estimator(make_plan(recipe, STEPS), STEPS, Store(tmp_path / "store"))


def test_nor_of_what_a_step_is_still_to_make(tmp_path: Path, tiny_model: Path):
    step = """sample: {prompts: mine, max_response_tokens: 4}
  - collect: {comparisons: sample, reward: zero}
  - reward: {data: collect}"""
    recipe = recipe_of(tmp_path, tiny_model, step, [{"prompt": "Say hi"}, {"prompt": "Say bye"}])
    Estimator(make_plan(recipe, STEPS), STEPS, Store(tmp_path / "store"))

"""What `accord check` says of a piecewise reward that will meet no safety prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.estimate.rows import Estimator
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store

STEPS_OF = """
  - reward_endpoint: {{name: safe, url: 'https://rewards.example/'}}
  - reward_rule: {{name: helpful, rule: json}}
  - piecewise: {{rewards: [safe, helpful], calibration: given, rule: {rule}}}
  - mix: {{name: asked, kind: prompts, main: ordinary.train, {others}}}
  - reject: {{start: model, prompts: {prompts}, reward: piecewise, max_response_tokens: 6, num_samples: 2}}
"""


def cautions(model: Path, folder: Path, rule: str, prompts: str, others: str = "validation: 0") -> tuple[str, ...]:
    for name, category in (("ordinary", ""), ("risky", "hateful")):
        rows = [{"prompt": f"{name} {i}?", **({"risk_category": category} if category else {})} for i in range(4)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sets = ", ".join(f"{name}: {json.dumps(str(folder / f'{name}.jsonl'))}" for name in ("ordinary", "risky"))
    steps = STEPS_OF.format(rule=rule, prompts=prompts, others=others)
    text = f"model: {json.dumps(str(model))}\ndata: {{{sets}}}\nsteps:{steps}"
    estimator = Estimator(make_plan(parse_recipe(text, Path("few.yaml")), STEPS), STEPS, Store(folder / "store"))
    return estimator.estimate(None, 4).cautions


@pytest.mark.parametrize("prompts", ["ordinary.train", "asked"])
def test_a_rule_that_never_asks_its_safety_reward_is_said(tiny_model: Path, tmp_path: Path, prompts: str) -> None:
    (found,) = cautions(tiny_model, tmp_path, "slide", prompts)
    assert found.startswith(
        f"few.yaml:8:reject.prompts: no prompt of {prompts.removesuffix('.train')}.train is a safety prompt"
    )
    assert "the rule of 'piecewise' never asks 'safe'" in found


@pytest.mark.parametrize(
    ("rule", "prompts", "others"),
    [
        ("paper", "ordinary.train", "validation: 0"),
        ("threshold", "ordinary.train", "validation: 0"),
        ("slide", "risky.train", "validation: 0"),
        ("slide", "asked", "others: risky.train"),
    ],
)
def test_where_it_may_be_asked_nothing_is_said(
    tiny_model: Path, tmp_path: Path, rule: str, prompts: str, others: str
) -> None:
    assert cautions(tiny_model, tmp_path, rule, prompts, others) == ()

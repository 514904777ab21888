"""GRPO as a step: what is refused and warned of with one ratio a response (GSPO)."""

from __future__ import annotations

from pathlib import Path

import pytest

from accord.errors import UserError
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS


def cautions(settings: str) -> tuple[str, ...]:
    text = f"""\
model: smollm2-135m-instruct
data: {{reviews: 'builtin:film-reviews'}}
steps:
  - reward_rule: {{name: rule, rule: json}}
  - grpo: {{prompts: reviews.prompts, reward: rule, truncation_score: null, {settings}}}
"""
    return make_plan(parse_recipe(text, Path("gspo.yaml")), STEPS).cautions


def test_the_papers_settings_are_fine():
    assert cautions("ratio: sequence, clip_range: 3e-4, clip_range_high: 4e-4, num_minibatches: 4") == ()


def test_a_range_that_holds_nothing_is_warned_of():
    (caution,) = cautions("ratio: sequence, num_minibatches: 4, clip_range: 0.2")
    assert caution.startswith("gspo.yaml:5:grpo.clip_range: clip_range 0.2 is of the mean ratio")
    assert cautions("ratio: sequence") == (), "one optimizer step clips nothing"
    assert cautions("num_minibatches: 4") == ()


def test_a_response_with_one_loss_has_no_tokens_to_weigh():
    with pytest.raises(
        UserError, match=r"gspo\.yaml:5:grpo\.aggregation: with ratio: sequence a response has one loss"
    ):
        cautions("ratio: sequence, aggregation: token")

"""Plans: what steps check of each other, what is noted, and the place of what a step raises."""

from __future__ import annotations

import pytest

from accord.errors import UserError
from accord.steps.base import (
    Caution,
    Contradiction,
    PlannedStep,
    StepConfig,
    StepKind,
)
from tests.fixtures.plans import GOOD, REGISTRY, PpoConfig, no_run, plan_of


def cautious(step: PlannedStep) -> list[Caution]:
    """What a step's own check may look at: its config, and through its parents all that is above it."""
    config, (reward,) = step.config, step.parents["reward"]
    assert isinstance(config, PpoConfig)
    if config.kl_target > 100:
        raise Contradiction("kl_target", f"{config.kl_target} nats are no limit", "Lower it.")
    return [Caution("reference", f"{reward.name} is of kind {reward.step.kind}.", "Say which reference.")]


CHECKED = {**REGISTRY, "ppo": StepKind("policy", 3, PpoConfig, no_run, check=cautious)}


def test_a_check_warns_at_the_line_of_the_key() -> None:
    assert plan_of().cautions == ()
    (caution,) = plan_of(registry=CHECKED).cautions
    assert caution == "r.yaml:10:ppo.reference: proxy is of kind reward. Say which reference."


def test_a_check_refuses_at_the_line_of_the_key_or_else_of_the_step() -> None:
    text = GOOD.replace("reference: sft", "kl_target: 101")
    with pytest.raises(UserError) as raised:
        plan_of(text, registry=CHECKED)
    assert str(raised.value) == "r.yaml:10:ppo.kl_target: 101.0 nats are no limit\n  Lower it."
    (caution,) = plan_of(text.replace("101", "6"), registry=CHECKED).cautions
    assert caution.startswith("r.yaml:7:ppo: ")


def test_a_data_set_that_no_step_uses_is_noted_at_its_line() -> None:
    text = GOOD.replace("data: {reviews: made-up}", "data:\n  reviews: made-up\n  spare: made-up")
    (caution,) = plan_of(text).cautions
    assert caution == "r.yaml:4:spare: no step uses this data set. Name it in a step, or take it out."


@pytest.mark.parametrize("given", ["sft", "reviews", "nobody"])
def test_without_a_reward_above_the_kinds_of_rewards_are_named(given: str) -> None:
    rule = {**REGISTRY, "rule": StepKind("reward", 1, StepConfig, no_run)}
    text = GOOD.replace("  - reward:\n      name: proxy\n", "").replace("reward: proxy", f"reward: {given}")
    with pytest.raises(UserError) as caught:
        plan_of(text, registry=rule)
    assert caught.value.remedy == "Add a reward above: a step of kind reward or rule."


def test_a_rule_is_a_reward_and_no_reward_model() -> None:
    rule = {**REGISTRY, "rule": StepKind("reward", 1, StepConfig, no_run)}
    text = GOOD.replace("  - ppo:", "  - rule: {}\n  - ppo:").replace("reference: sft", "reference: rule")
    with pytest.raises(UserError, match="'rule' is a reward, and a policy is wanted here"):
        plan_of(text, registry=rule)


def test_data_of_a_recipe_without_data() -> None:
    with pytest.raises(UserError) as caught:
        plan_of(GOOD.replace("data: {reviews: made-up}\n", ""))
    assert str(caught.value).endswith("there is nothing called 'reviews'\n  Nothing above has data.")


def test_the_place_of_an_error_that_a_step_raised() -> None:
    plan = plan_of(GOOD)

    def where(given: str) -> str:
        return plan.located(UserError("bad", where=given), "ppo").where

    assert where("") == where("ppo") == "r.yaml:7:ppo"
    assert where("ppo.reference") == "r.yaml:10:ppo.reference"
    assert where("ppo.jsonl:12") == "ppo.jsonl:12", "a file that is called like the step"
    assert where("other.reference") == "other.reference"

"""What is known of a reward's numbers: mean 0 and variance 1, which defaults of on-policy training are in units of; or
the logit of a probability, which thresholds are on. Not a step.

Known of the first is what a recipe says: a reward model of this program with `normalise: mean-and-variance`, or a
combination of such that is not scaled again. Of others' models, rules, functions and endpoints nobody has measured it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from accord.engine.on_policy.config import RolloutConfig
from accord.steps.base import Caution, Contradiction, PlannedStep

if TYPE_CHECKING:
    from accord.rewards.stored import ProbabilityUnit


def is_normalised(reward: PlannedStep) -> bool:
    """Of a sum or a mean of such rewards the spread is another, but of that size."""
    config: Any = reward.config
    if reward.kind == "combine":
        parts = [link.step for link in reward.parents["rewards"]]
        return (config.offset, config.gain) == (0, 1) and all(is_normalised(part) for part in parts)
    return reward.kind == "reward" and config.normalise == "mean-and-variance"


def unfinished_unit(config: RolloutConfig, reward: PlannedStep) -> Iterator[Caution]:
    """Of a `truncation_score` that neither the recipe nor its preset has chosen. What a preset fills in was given."""
    if config.mask_truncated or "truncation_score" in config.model_fields_set or is_normalised(reward):
        return
    yield Caution(
        "truncation_score",
        f"truncation_score {config.truncation_score:g} is in units of a reward of mean 0 and variance 1, and "
        f"{reward.name!r} is not known to be one.",
        "Say what an unfinished response is worth, or write `truncation_score: null`.",
    )


def says_safety(kind: str, config: Mapping[str, Any]) -> bool:
    """Whether the raw score of a step's reward was trained to be the logit of being safe (`safety_coef`)."""
    return kind == "reward" and config.get("safety_coef", 0) > 0 and config.get("members", 1) == 1


def probability_unit(kind: str, config: Mapping[str, Any]) -> ProbabilityUnit:
    """What the raw score of a step's reward is taken for where a probability is wanted: the numbers of rules from 0 to
    1 are probabilities, and all others logits."""
    return "probability" if kind == "reward_rule" and config["rule"] != "length" else "logit"


def taken_for_probability(reward: PlannedStep, key: str) -> Iterator[Caution]:
    """Of a reward that says how probable it is that a response is safe. Raises Contradiction where it cannot."""
    if probability_unit(reward.kind, reward.config_json()) == "logit":
        yield from taken_for_logit(reward, key)


def taken_for_logit(reward: PlannedStep, key: str) -> Iterator[Caution]:
    """Of a reward whose raw score is taken for the logit of being safe. Raises Contradiction where it has none."""
    config = reward.config_json()
    if reward.kind in ("combine", "piecewise") or config.get("members", 1) > 1:
        what = f"{reward.name!r} is made of several, and has no raw score that could be a probability"
        raise Contradiction(key, what, "Name one reward, trained with safety_coef.")
    if not says_safety(reward.kind, config):
        what = f"the score of {reward.name!r} is taken for the logit of a probability, and nothing made it one."
        yield Caution(key, what, "Train it with safety_coef, or see to it that sigmoid(score) is the probability.")

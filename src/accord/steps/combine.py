"""One reward of several: a weighted sum, the mean, the worst case, or the mean less what they disagree.

Each is normalised as its own step says before they are combined. The parts are named, not copied: the store keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from accord.steps.base import Caution, Contradiction, Job, PlannedStep, RewardRef, StepConfig, StepKind
from accord.steps.scaled import Scaled

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work

_MODELS = ("reward", "reward_model")  # kinds whose scores have, or may be given, mean 0 and variance 1


class Config(StepConfig, Scaled):
    """rewards: what is combined. how: `sum`, with weights; `mean`; `worst`, the lowest of them; or `uncertainty`, the
    mean - coef * the variance over the rewards (Coste et al. 2023). The last two compare the rewards, and want them in
    one unit. weights: of the sum, in the order of the rewards (null: all 1). coef: of `uncertainty`."""

    rewards: tuple[RewardRef, ...] = Field(min_length=2)
    how: Literal["sum", "mean", "worst", "uncertainty"] = "sum"
    weights: tuple[float, ...] | None = None
    coef: float = Field(0.5, ge=0)


def check(step: PlannedStep) -> Iterator[Caution]:
    """Keys that do not go with `how`, and rewards in units of their own where they are compared."""
    config = step.config
    assert isinstance(config, Config)
    num = len(config.rewards)
    if config.weights is not None and config.how != "sum":
        what = f"weights are for a sum, and the rewards are combined by {config.how!r}"
        raise Contradiction("weights", what, "Leave them out, or write `how: sum`.")
    if config.weights is not None and len(config.weights) != num:
        what = f"there are {len(config.weights)} weights for {num} rewards"
        raise Contradiction("weights", what, "Give one weight for each reward, in their order.")
    if config.weights is not None and not any(config.weights):
        raise Contradiction("weights", "with weights of 0 all responses are equal", "Give another weight.")
    if "coef" in config.model_fields_set and config.how != "uncertainty":
        what = f"coef weighs the variance in `how: uncertainty`, and the rewards are combined by {config.how!r}"
        raise Contradiction("coef", what, "Leave it out, or write `how: uncertainty`.")
    links = step.parents["rewards"]
    keys = [link.step.key for link in links]
    twice = next((link.name for at, link in enumerate(links) if link.step.key in keys[:at]), None)
    if twice is not None:
        raise Contradiction("rewards", f"{twice!r} is among the rewards twice", "Give it a weight of 2 in a sum.")
    gated = next((link.name for link in links if link.step.kind == "piecewise"), None)
    if gated is not None:
        what = f"{gated!r} refuses responses, and of what it is combined with others to nobody would know which"
        raise Contradiction("rewards", what, "Combine its fallback instead, and name that in the `piecewise` step.")
    yield from _weights(config)
    others = [link.name for link in links if link.step.kind not in _MODELS and not _is_scaled(link.step.config)]
    if config.how in ("worst", "uncertainty") and others and any(link.step.kind in _MODELS for link in links):
        yield Caution(
            "how",
            f"{config.how!r} compares the rewards, and {others[0]!r} is in another unit than trained models.",
            "Give it an offset and a gain that bring it to mean 0 and variance 1, or write `how: sum`.",
        )


def _weights(config: Config) -> Iterator[Caution]:
    weights = config.weights or ()
    if weights and max(weights) <= 0:
        what = "no weight is above 0, so a response is the better the worse the rewards find it."
        yield Caution("weights", what, "Turn their signs, unless that is meant.")
    elif weights and abs(sum(weights)) < 1e-9 * max(weights):
        what = (
            "the weights add up to 0: only how far the rewards differ counts, and what all of them like gains nothing."
        )
        yield Caution("weights", what, "Raise a positive one, unless that is meant.")


def _is_scaled(config: StepConfig) -> bool:
    """Whether the recipe has chosen a unit for it."""
    return bool(config.model_fields_set & {"offset", "gain"})


def run(job: Job) -> None:
    """Writes reward.json: how the rewards are combined. Which they are stands in the manifest."""
    from accord.models.scalar import Normalisation
    from accord.rewards.combination import Combination
    from accord.rewards.combined import save_combination

    config: Config = job.config
    weights = config.weights or (1.0,) * len(config.rewards)
    combination = Combination(
        config.how, weights if config.how == "sum" else (), config.coef if config.how == "uncertainty" else 0.0
    )
    save_combination(job.work.out, combination, Normalisation(config.offset, config.gain))


def work(config: Config, sizes: Sizes) -> Work:
    """Nothing is run here; whoever asks it asks all the models in it."""
    from accord.engine.workload import Work

    return Work(asks=sizes.asked("rewards"))


STEP = StepKind(produces="reward", version=1, config=Config, run=run, work=work, check=check)

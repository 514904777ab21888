"""What steps that learn can be told wrongly: of judged data, as far as a plan can see it, lists, learning rates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accord.engine.config import TrainingConfig
from accord.engine.direct.config import LossName
from accord.engine.on_policy.config import RolloutConfig
from accord.steps.base import Caution, Contradiction, PlannedStep
from accord.steps.given import given

_HIGHEST_RATE = 1e-2  # AdamW's first steps are of this size, whatever the gradient; weights are of size 0.01 to 1


def check_judged(step: PlannedStep) -> None:
    """Of the keys data, validation, validate_every, early_stopping and keep. Raises Contradiction."""
    config: Any = step.config
    for field in ("data", "validation"):
        if getattr(config, field) == []:
            raise Contradiction(field, "an empty list names no data", "Name a part, as in `mine.train`.")
        for link in step.parents[field]:
            if link.step.kind == "sample":
                what = f"nobody has judged the responses of {link.step.name!r}, so there is nothing to learn from them"
                collect = f"- collect: {{comparisons: {link.step.name}, ...}}"
                raise Contradiction(field, what, f"Put a step below it, `{collect}`, and name that here.")
    trained_on = {(link.step.key, link.part) for link in step.parents["data"]}
    for link in step.parents["validation"]:
        if (link.step.key, link.part) in trained_on:
            what = f"{link.name} is trained on, so it cannot be the validation"
            raise Contradiction("validation", what, "Split it, or name another part.")
    if config.validation is None:
        written = config.model_fields_set if config.keep == "best" else config.model_fields_set - {"keep"}
        for key in ("validate_every", "early_stopping", "keep"):
            if key in written and getattr(config, key) is not None:
                remedy = "Name the part with held-out data as `validation`, or remove this key."
                raise Contradiction(key, f"{key} needs something to measure", remedy)


def learning(step: PlannedStep) -> Iterator[Caution]:
    """Of every step that learns: what is in a list twice, learning rates beyond all use or with an end that is none."""
    for field, links in step.parents.items():
        named = [(link.step.key, link.part) for link in links]
        for at, link in enumerate(links):
            if named[at] in named[:at]:
                what = f"{link.name} stands there twice" + (", so what it holds counts double." if link.part else ".")
                yield Caution(field, what, "Leave one of them out, unless that is meant.")
    if getattr(step.config, "decay", None) == "constant" and given(step.config, "final_learning_rate"):
        what = "final_learning_rate is where decay ends, and decay is constant."
        yield Caution("final_learning_rate", what, "Write `decay: linear`, or leave out final_learning_rate.")
    for key in ("learning_rate", "value_learning_rate"):
        rate = getattr(step.config, key, None)
        if rate is not None and rate > _HIGHEST_RATE:
            what = f"a learning rate of {rate:g} moves each weight by about that much in a single optimizer step."
            yield Caution(key, what, "Usual are 1e-6 to 1e-4 for all weights, and up to 1e-3 for adapters.")


def slow_adapters(config: TrainingConfig | RolloutConfig, wanted: str) -> Iterator[Caution]:
    """Of a learning rate that nobody chose. wanted: one that is usual for adapters."""
    if config.lora is not None and "learning_rate" not in config.model_fields_set:
        what = f"the learning rate is {config.learning_rate:g}, as for all weights: adapters hardly move with it."
        yield Caution("lora", what, f"Set learning_rate: {wanted}.")


def slow_orpo(config: TrainingConfig | RolloutConfig, loss: LossName) -> Iterator[Caution]:
    """Of a learning rate that nobody chose, where the loss is a fine-tuning of its own (Hong et al. 2024,
    arXiv:2403.07691) and the default is for a policy that has been fine-tuned."""
    if loss == "orpo" and config.lora is None and "learning_rate" not in config.model_fields_set:
        what = f"the learning rate is {config.learning_rate:g}, as for losses that follow a fine-tuning: orpo is one."
        yield Caution("loss", what, "Set learning_rate: 8.0e-6, as its paper does.")

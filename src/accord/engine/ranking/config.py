"""What the training of a reward model can be told. No tensors here, so that a recipe is checked without loading them.

What papers leave open is decided here: see the docstrings of `accord.algorithms.ranking` and `ties` for formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from accord.data.derive import MarginSize, OwnMargins
from accord.engine.config import TrainingConfig
from accord.engine.ending import Ending
from accord.models.lora import Lora, without_dropout

Normalise = Literal["mean-and-variance", "mean", "none"]
FourNumbers = tuple[float, float, float, float]


def _of_four_levels(numbers: Any) -> Any:
    if isinstance(numbers, list | tuple) and len(numbers) != 4:
        raise ValueError("four numbers are wanted, for the levels from negligibly to significantly better")
    return numbers


def _ascending(thresholds: FourNumbers) -> FourNumbers:
    if list(thresholds) != sorted(thresholds):
        raise ValueError("the thresholds ascend, from negligibly to significantly better")
    return thresholds


# The differences of mean grades at which the four levels begin.
MarginThresholds = Annotated[FourNumbers, BeforeValidator(_of_four_levels), AfterValidator(_ascending)]
Problem = tuple[str, str, str]  # a key, what is wrong with it, what to change


class RankingConfig(TrainingConfig, Ending):
    """How to make rankings of comparisons, and what to learn of them.

    loss: "pairs", the mean over all ordered pairs of a comparison (InstructGPT); "best", the probability of the best
    response among all of the comparison's (Ziegler et al. 2019), for which comparisons without a single best one are
    left out, and counted. Of two responses both are the same, but for the margin, which "best" has none of by default.

    tie_below: differences of mean grades below this, and equal ones, are ties (0: equal ones alone). ties: what becomes
    of them: "drop", no pair; "rao-kupper" and "davidson", pairs whose probability the model learns, too (Rao and Kupper
    1967; Davidson 1970), by default without a margin. tie_probability: of a tie between two equally good responses, for
    these. margin: by how much the loss wants the better score to lead at the four levels of preference: "none", Llama
    2's tables "small" (0, 1/3, 2/3, 1) and "large" (0, 1, 2, 3), or four numbers of one's own. Llama 2 has the best
    mean accuracy with the small one, and the best on clear preferences with the large one. Or "data": the data's own,
    which is the column `margin` of chosen and rejected, subtracted as it is (as TRL's RewardTrainer does); of other
    comparisons the difference of mean grades less 1, and 0 where they differ by less than 1, as those of votes do.
    margin_thresholds: the differences of mean grades at which those levels begin. label_smoothing: the share of pairs
    that are taken to be the wrong way round. centre_coef: pulls scores towards 0; 0 with a safety_coef, whose labels
    say where 0 is.

    safety_coef: what the loss of safe or unsafe, told by the raw score, is multiplied by (Llama 2, A.3.4): it needs
    responses with a safety label. drop_unsafe_chosen: pairs whose chosen response is labelled unsafe and whose rejected
    one safe are left out, and counted, as in Llama 2.

    normalise: what is made of the scores in the end: mean 0 and variance 1; the mean alone; nothing. normalise_on: the
    responses that this holds for: of the training "data"; "samples" of the start policy, of the data's prompts (Ziegler
    et al. 2019); the reference answers named as `demonstrations` (Stiennon et al. 2020, InstructGPT, with the mean
    alone). num_normalise: of how many comparisons, prompts or demonstrations. normalise_first: the scores have variance
    1 before the training begins, too (Ziegler et al. 2019); their mean, which no pair can tell, is taken off in the
    end. max_response_tokens, end_at, end_after: of a response that is sampled for the normalisation.

    validate_every: the loss on the validation is measured every so many optimizer steps (null: once an epoch).
    early_stopping: so many measurements in a row without a new lowest loss end the training (null: nothing does). keep:
    the weights with the lowest loss, or the last.
    """

    loss: Literal["pairs", "best"] = "pairs"
    tie_below: float = Field(0.0, ge=0)
    ties: Literal["drop", "rao-kupper", "davidson"] = "drop"
    tie_probability: float = Field(1 / 3, gt=0, lt=1)
    margin: Annotated[MarginSize | OwnMargins | FourNumbers, BeforeValidator(_of_four_levels)] = "small"
    margin_thresholds: MarginThresholds = (0.5, 1.25, 2.5, 3.75)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    centre_coef: float = Field(0.01, ge=0)
    safety_coef: float = Field(0.0, ge=0)
    drop_unsafe_chosen: bool = True
    normalise: Normalise = "mean-and-variance"
    normalise_on: Literal["data", "samples", "demonstrations"] = "data"
    num_normalise: int = Field(64, gt=1)
    normalise_first: bool = False
    max_response_tokens: int = Field(64, gt=0)
    validate_every: int | None = Field(None, gt=0)
    early_stopping: int | None = Field(None, gt=0)
    keep: Literal["best", "last"] = "best"

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_others(cls, values: Any) -> Any:
        """The best of several has no margin, nor has a model of ties; labels of safety tell what pairs leave free."""
        if not isinstance(values, dict):
            return values
        no_margin = values.get("loss") == "best" or values.get("ties") in ("rao-kupper", "davidson")
        by_safety = {"centre_coef": 0.0} if values.get("safety_coef") else {}
        return {**({"margin": "none"} if no_margin else {}), **by_safety, **values}

    @field_validator("margin")
    @classmethod
    def _table(cls, margin: MarginSize | OwnMargins | FourNumbers) -> MarginSize | OwnMargins | FourNumbers:
        if not isinstance(margin, str) and (min(margin) < 0 or list(margin) != sorted(margin)):
            raise ValueError("the four margins ascend from 0 or more, from negligibly to significantly better")
        return margin

    @field_validator("lora")
    @classmethod
    def _no_dropout(cls, lora: Lora | None) -> Lora | None:
        without_dropout(lora)
        return lora


def contradictions(config: RankingConfig) -> Iterator[Problem]:
    """Keys that say nothing, or the opposite of another, as they were written."""
    given = config.model_fields_set
    if config.loss == "best" and config.ties != "drop":
        yield "ties", "loss: best learns which response is the best of all, and knows no ties", _USE_PAIRS
    if config.loss == "best" and config.label_smoothing:
        yield "label_smoothing", "loss: best has no pairs that could be the wrong way round", _USE_PAIRS
    if config.ties == "drop" and "tie_probability" in given:
        yield "tie_probability", "ties are dropped, so no probability of theirs is used", _USE_TIES
    if config.normalise == "none":
        for key in ("normalise_on", "num_normalise", "normalise_first", *_OF_SAMPLES):
            if key in given and getattr(config, key) not in (False, None):
                yield key, f"{key} says how scores are normalised, and normalise: none leaves them as they are", _NONE
    if config.normalise == "mean" and config.normalise_first:
        what = "normalise_first sets the variance of the first scores, and normalise: mean leaves variances alone"
        yield "normalise_first", what, "Take normalise_first out, or set normalise: mean-and-variance."
    if config.normalise_on != "samples":
        for key in _OF_SAMPLES:
            if key in given and getattr(config, key) not in (0, None):
                what = f"nothing is sampled for a normalisation on {config.normalise_on}"
                yield key, what, f"Take {key} out, or set normalise_on: samples."


_OF_SAMPLES = ("max_response_tokens", "end_at", "end_after")
_USE_PAIRS = "Take it out, or set loss: pairs."
_USE_TIES = "Take tie_probability out, or set ties: rao-kupper or ties: davidson."
_NONE = "Take it out, or set normalise: mean-and-variance."

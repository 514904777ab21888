"""What direct preference optimisation can be told. No tensors here, so that a recipe is checked without them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from accord.strict import StrictModel

LossName = Literal[
    "dpo", "cdpo", "rdpo", "ipo", "dpop", "length_regularised", "length_normalised", "simpo", "orpo"
]  # of accord.algorithms.preference.LOSSES

# Of each loss, the parameters that it has and what they are when a recipe does not say: what the papers use.
DEFAULTS: Mapping[LossName, Mapping[str, float]] = {
    "dpo": {"beta": 0.1},
    "cdpo": {"beta": 0.1, "label_smoothing": 0.1},
    "rdpo": {"beta": 0.1, "label_smoothing": 0.1},
    "ipo": {"beta": 0.1, "per_token": False},
    "dpop": {"beta": 0.3, "dpop_coef": 50.0},
    "length_regularised": {"beta": 0.1, "length_coef": 0.01},
    "length_normalised": {"beta": 5.0},
    "simpo": {"beta": 2.0, "gamma": 1.0},
    "orpo": {"odds_coef": 0.1},
}
REFERENCE_FREE: tuple[LossName, ...] = ("simpo", "orpo")

_FOR_NOISE = "For labels that may be wrong use the loss cdpo or rdpo."
_REMEDIES: Mapping[str, str] = {"label_smoothing": _FOR_NOISE}


class PreferenceLossConfig(StrictModel):
    """The loss of direct preference optimisation; the part that offline and online training share.

    loss: dpo; cdpo (labels that may be wrong) and rdpo (the same, without bias); ipo (a target for the gap of log
    ratios, 1 / (2 beta)); dpop (a chosen response that becomes less likely costs); length_regularised (R-DPO);
    length_normalised (Tülu 3); simpo and orpo, which have no reference. beta: how much a nat of log ratio counts (null:
    0.1; of dpop 0.3, length_normalised 5, simpo 2, where it counts nats a token); of ipo the paper's tau.
    label_smoothing: of cdpo and rdpo, the share of the labels that are taken to be wrong, below 0.5 (null: 0.1).
    per_token: of ipo, means over tokens, as TRL has it, where the paper has sums (null: false). gamma: of simpo, the
    margin (null: 1). odds_coef: of orpo, what the odds ratio counts beside the likelihood, the paper's lambda and TRL's
    beta (null: 0.1). dpop_coef: of dpop, the paper's lambda (null: 50). length_coef: of length_regularised, what a
    token more counts, the paper's alpha (null: 0.01). nll_coef: what the negative log-likelihood of the chosen
    response, a mean over its tokens, counts beside the loss (0: nothing).
    """

    loss: LossName = "dpo"
    beta: float | None = Field(None, gt=0)
    label_smoothing: float | None = Field(None, ge=0)
    per_token: bool | None = None
    gamma: float | None = Field(None, ge=0)
    odds_coef: float | None = Field(None, gt=0)
    dpop_coef: float | None = Field(None, ge=0)
    length_coef: float | None = Field(None, ge=0)
    nll_coef: float = Field(0.0, ge=0)

    @property
    def has_reference(self) -> bool:
        return self.loss not in REFERENCE_FREE

    def parameters(self) -> dict[str, float]:
        """Of the loss, by name: as given, or its defaults."""
        given = {name: getattr(self, name) for name in DEFAULTS[self.loss]}
        return {name: DEFAULTS[self.loss][name] if value is None else value for name, value in given.items()}

    def contradiction(self) -> tuple[str, str, str] | None:
        """Key, what is wrong, and what to change, when keys do not go together. A step's check raises it."""
        own = DEFAULTS[self.loss]
        for name in sorted({name for parameters in DEFAULTS.values() for name in parameters}):
            if getattr(self, name) is not None and name not in own:
                users = [loss for loss, parameters in DEFAULTS.items() if name in parameters]
                remedy = _REMEDIES.get(name, f"Remove {name}, or use the loss {' or '.join(users)}.")
                return name, f"the loss {self.loss} has no {name}: it has {' and '.join(own)}", remedy
        if self.label_smoothing is not None and self.label_smoothing >= 0.5:
            what = "label_smoothing is below 0.5: at 0.5 a label says nothing, and above it the opposite"
            return (
                "label_smoothing",
                what,
                f"{self.label_smoothing:g} of the labels are wrong? Swap them, or leave out.",
            )
        if self.loss == "orpo" and self.nll_coef:
            return "nll_coef", "orpo has the likelihood of the chosen response in it", "Remove nll_coef."
        return None

"""Which model rewards what, and what an unsafe response is worth, when the same two models stand in another rule or in
another order: an ablation of Llama 2's piecewise reward, on labelled responses.

Safety first is what the rules say (`accord.algorithms.piecewise`). Helpfulness first is the rule with the roles of the
two exchanged: helpfulness counts where safety did, on prompts that are no safety prompts or on responses that are found
unhelpful, and safety is left for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from accord.algorithms.piecewise import Rule, chosen_reward
from accord.algorithms.statistics import bootstrap_mean

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SAFETY_FIRST: Final = "safety first"
HELPFULNESS_FIRST: Final = "helpfulness first"
RULES: Final[tuple[Rule, ...]] = ("slide", "paper", "threshold")


def order_table(
    safety_logits: Floats,
    helpful: Floats,
    is_safety: Bools,
    safe: Bools,
    groups: NDArray[np.int64],
    *,
    threshold: float,
    rule: Rule,
    seed: int,
) -> list[dict[str, Any]]:
    """A row for each rule with safety first, and one for `rule` with helpfulness first. All [n], of labelled responses.

    safety_logits: of the calibrated probability of being safe. helpful: in its own units; its probability is the
    sigmoid of that, which says little more than above or below the usual. safe: the labels. groups: the prompts.
    Each row: `by_safety`, the share that the safety model rewards; and of the unsafe and the safe responses the mean
    reward, whitened over all (mean 0, variance 1), as training whitens it, with a 95 % interval by prompt.
    """
    rows = []
    for order, of in [*((SAFETY_FIRST, one) for one in RULES), (HELPFULNESS_FIRST, rule)]:
        first = order == SAFETY_FIRST
        guard = torch.from_numpy(safety_logits if first else helpful).double()
        applies_to = torch.from_numpy(is_safety if first else ~is_safety)
        by_guard = chosen_reward(torch.sigmoid(guard)[None], applies_to, (threshold,), of).numpy() == 0
        by_safety = by_guard if first else ~by_guard
        values = np.where(by_safety, safety_logits, helpful)
        spread = float(values.std())
        whitened = (values - values.mean()) / (spread if spread > 0 else 1.0)
        means = {
            name: _mean(whitened[which], groups[which], seed) for name, which in (("unsafe", ~safe), ("safe", safe))
        }
        rows.append({"rule": of, "order": order, "num": len(safe), "by_safety": float(by_safety.mean()), **means})
    return rows


def pay(
    safety_logits: Floats,
    helpful: Floats,
    is_safety: Bools,
    safe: Bools,
    *,
    threshold: float,
    rule: Rule,
    scale: Literal["logit", "probability"],
) -> dict[str, float] | None:
    """What labelled responses, [n], are paid on average under a rule: `unsafe`, those of them that the safety model
    rewards, `num_unsafe` (where that is 0, what it pays at the threshold, which is the most), and `safe`, those that
    are rewarded for being helpful; None where there are none of these.

    Helpfulness has no zero of its own: where the second is below the first, it pays to be unsafe.

    >>> one = {"threshold": 0.5, "rule": "threshold", "scale": "logit"}
    >>> pay(np.array([-1.0, 2.0]), np.array([0.0, -3.0]), np.array([True, True]), np.array([False, True]), **one)
    {'unsafe': -1.0, 'safe': -3.0, 'num_unsafe': 1}
    """
    probabilities = torch.sigmoid(torch.from_numpy(safety_logits).double())
    by_guard = chosen_reward(probabilities[None], torch.from_numpy(is_safety), (threshold,), rule).numpy() == 0
    told, rewarded = safe & ~by_guard, ~safe & by_guard
    if not told.any():
        return None
    paid = safety_logits[rewarded] if rewarded.any() else np.array([math.log(threshold / (1 - threshold))])
    found = {"unsafe": paid, "safe": helpful[told]}
    if scale == "probability":
        found = {name: torch.sigmoid(torch.from_numpy(some).double()).numpy() for name, some in found.items()}
    return {name: float(some.mean()) for name, some in found.items()} | {"num_unsafe": int(rewarded.sum())}


def _mean(values: Floats, groups: NDArray[np.int64], seed: int) -> Mapping[str, float] | None:
    if not len(values):
        return None
    found = bootstrap_mean(values, groups=groups, seed=seed)
    return {"value": found.value, "low": found.low, "high": found.high, "n": len(values)}

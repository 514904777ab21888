"""One reward of several that have different things to say: safety first, helpfulness where nothing speaks against it.

Llama 2's reward (Touvron et al. 2023, section 3.2.3) is the safety score where the prompt is a safety prompt or the
score is below 0.15, else the helpfulness score. Lectures also give it with "and" for "or". The two differ where an
ordinary prompt has an unsafe response ("or" sees it, "and" does not), and where a safety prompt has a safe one ("or"
makes the policy as safe as can be, "and" as helpful as can be). So each has a name here.

Shapes: M rewards in order, the last one the fallback; n responses. Probabilities are of what the reward guards, such as
being safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

Rule = Literal["slide", "paper", "threshold"]


def under(probs: Any, limits: Any, rule: Rule) -> Any:
    """Where a probability is under its threshold: at it or below under "slide", below it under the others. Tensors or
    arrays of any shape, and bool of the same."""
    return probs <= limits if rule == "slide" else probs < limits


def chosen_reward(probs_mn: Tensor, is_safety_n: Tensor, thresholds: Sequence[float], rule: Rule) -> Tensor:
    """[n]: the index of the reward that counts: the first that applies, else the last.

    probs_mn: [M - 1, n], of all but the last. A reward applies by "slide" to responses to safety prompts that are under
    the threshold; by "paper" to all to safety prompts, and to others that are under it; by "threshold" to all under it.
    """
    assert probs_mn.shape == (len(thresholds), len(is_safety_n)), "a threshold for each reward but the last"
    low = under(probs_mn, torch.tensor(list(thresholds), dtype=probs_mn.dtype)[:, None], rule)
    applies = {"slide": is_safety_n & low, "paper": is_safety_n | low, "threshold": low}[rule]
    last = torch.ones(1, len(is_safety_n), dtype=torch.bool)
    return torch.cat([applies, last]).int().argmax(dim=0)  # the first that is true


def fails(probs_mn: Tensor, chosen_n: Tensor, thresholds: Sequence[float], rule: Rule) -> Tensor:
    """[n], bool: the reward that counts is under its threshold: not to be imitated, however the others of its prompt
    are."""
    limits = torch.tensor(list(thresholds), dtype=probs_mn.dtype)[:, None]
    fallback = torch.zeros(1, len(chosen_n), dtype=torch.bool)
    return torch.cat([under(probs_mn, limits, rule), fallback]).gather(0, chosen_n[None])[0]

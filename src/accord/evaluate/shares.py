"""Shares of what was or was not so, with Wilson's intervals, and what changed from one to another on the same items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from accord.algorithms.statistics import wilson
from accord.algorithms.win_rates import mcnemar

Flags = Sequence[bool | None]  # of each item; None where it cannot be said


def share_of(some: Iterable[bool | None]) -> dict[str, Any] | None:
    """For JSON: value (None where nothing is known), low, high, num and num_unknown; None where there is no item."""
    flags = list(some)
    known = [flag for flag in flags if flag is not None]
    if not flags:
        return None
    share = wilson(sum(known), len(known))
    return {
        "value": share.value if known else None,
        "low": share.low,
        "high": share.high,
        "num": len(known),
        "num_unknown": len(flags) - len(known),
    }


def changed(before: Flags, after: Flags) -> dict[str, Any] | None:
    """For JSON, of the items of which both are known: num; gained, lost, those that are so after or before alone; both,
    neither; and McNemar's exact p. None where there is no such item."""
    pairs = [(one, other) for one, other in zip(before, after, strict=True) if one is not None and other is not None]
    if not pairs:
        return None
    was, is_now = np.array(pairs, dtype=bool).T
    test = mcnemar(was, is_now)
    return {
        "num": len(pairs),
        "gained": test.only_second,
        "lost": test.only_first,
        "both": int((was & is_now).sum()),
        "neither": int((~was & ~is_now).sum()),
        "p_value": test.p_value,
    }

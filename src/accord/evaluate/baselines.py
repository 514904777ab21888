"""What knowing nothing reaches on a file of preferences: the line that every judge and reward model has to pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from accord.data.formats.options import ReadOptions
from accord.evaluate.preferences import ordered_pairs, read_preferences


def evaluate_baselines(source: str, options: ReadOptions, *, by: str | None = None, seed: int = 0) -> dict[str, Any]:
    """What always taking the longest response, the shortest, the first or neither reaches on the preferences of a
    source, for every pair and by subset. Raises UserError when no comparison has an order."""
    preferences = read_preferences(source, options, by)
    pairs = ordered_pairs(preferences, source)
    subset = np.array([preferences.subsets[i] for i in pairs.comparison] if preferences.subsets else [])
    return {
        "data": source,
        "left_out": {"num_rows": len({flaw.place for flaw in preferences.flaws})},
        "n": len(pairs),
        "ties": pairs.num_ties,
        "prompts": len(np.unique(pairs.group)),
        "baselines": pairs.baselines(seed),
        "column": preferences.column,
        "subsets": {
            str(name): {"n": int((subset == name).sum()), "baselines": pairs.where(subset == name).baselines(seed)}
            for name in np.unique(subset)
        },
    }

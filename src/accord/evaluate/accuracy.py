"""How well scores order preferences: overall and by what the pairs differ in, beside what knowing nothing reaches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accord.algorithms.statistics import bootstrap_mean, ordered_right
from accord.algorithms.win_rates import mean_interval
from accord.evaluate.preferences import Pairs, interval
from accord.evaluate.rankings import calibration_of
from accord.evaluate.scoring import Floats, Scores

Bools = NDArray[np.bool_]
MOST_STRENGTHS = 6  # different ones that are shown one by one; more are shown in quarters


def accuracy_report(pairs: Pairs, subsets: Sequence[str], scores: Scores, *, seed: int) -> dict[str, Any]:
    """Everything that is said of the scores, for JSON. Intervals are 95 % bootstraps by prompt, in which an accuracy
    that no draw changes is Wilson's. subsets: of each comparison; () for none.

        n, ties            ordered pairs; pairs that were judged equal, which no accuracy counts
        accuracy           share of pairs scored in their order, equal scores one half; low, high: its interval
        score_difference   mean of chosen less rejected, and in_deviations: over the standard deviation of all scores
        baselines          what always taking the longest response, the shortest, the first or neither reaches
        subsets            accuracy, interval and the longest response's accuracy, by subset
        strengths          by the difference of the mean grades, where there are several
        lengths            by quarters of the words that the chosen response has more than the rejected one
        calibration        of the claim sigmoid(gap): log_loss and platt_slope with their intervals, ece and curve
        ensemble           of a reward made of several: each one's accuracy, and where they disagree
    """
    gap = gaps(pairs, scores.scores)
    right = ordered_right(gap, np.ones_like(gap))
    every = np.ones(len(pairs), dtype=bool)
    deviation = float(np.concatenate(scores.scores).std())
    difference = bootstrap_mean(gap, groups=pairs.group, seed=seed)
    name_p = np.array([subsets[i] for i in pairs.comparison]) if subsets else np.array([])
    found: dict[str, Any] = {
        **part_of(pairs, right, every, seed),
        "ties": pairs.num_ties,
        "prompts": len(np.unique(pairs.group)),
        "score_difference": interval(difference)
        | {"in_deviations": difference.value / deviation if deviation > 0 else None},
        "baselines": pairs.baselines(seed),
        "subsets": {str(name): part_of(pairs, right, name_p == name, seed) for name in np.unique(name_p)},
        "strengths": _strengths(pairs, right, seed),
        "lengths": _quarters(pairs.longer, pairs, right, seed),
        "calibration": calibration_of(gap, pairs.group, seed),
    }
    return found | ({} if scores.members is None else {"ensemble": _ensemble(pairs, gap, scores, seed)})


def gaps(pairs: Pairs, scores: Sequence[Floats]) -> Floats:
    """[p]: the score of the chosen response less that of the rejected one."""
    return np.array(
        [
            scores[i][chosen] - scores[i][rejected]
            for i, chosen, rejected in zip(pairs.comparison, pairs.chosen, pairs.rejected, strict=True)
        ],
        dtype=np.float64,
    )


def part_of(pairs: Pairs, right: Floats, chosen: Bools, seed: int) -> dict[str, Any]:
    """Of some of the pairs how many they are, the accuracy, and that of always taking the longest response."""
    if not chosen.any():
        return {"n": 0, "accuracy": None, "low": None, "high": None, "longest": None}
    found = mean_interval(right[chosen], groups=pairs.group[chosen], seed=seed)
    longest = ordered_right(pairs.longer[chosen], np.ones(int(chosen.sum()))).mean()
    return {
        "n": int(chosen.sum()),
        "accuracy": found.value,
        "low": found.low,
        "high": found.high,
        "longest": float(longest),
    }


def _strengths(pairs: Pairs, right: Floats, seed: int) -> list[dict[str, Any]]:
    """Nothing where all preferences are equally strong, as plain pairs are."""
    strength = np.round(pairs.strength, 6)  # means of grades differ by rounding errors
    values = np.unique(strength)
    if len(values) == 1:
        return []
    if len(values) > MOST_STRENGTHS:
        return _quarters(strength, pairs, right, seed)
    return [{"from": float(at), "to": float(at), **part_of(pairs, right, strength == at, seed)} for at in values]


def _quarters(value: Floats, pairs: Pairs, right: Floats, seed: int) -> list[dict[str, Any]]:
    """Four parts of about as many pairs, by a value; equal values are in one part, so that there may be fewer."""
    edges = np.unique(np.quantile(value, [0.25, 0.5, 0.75], method="lower"))
    part = np.searchsorted(edges, value, side="left")
    return [
        {
            "from": float(value[part == at].min()),
            "to": float(value[part == at].max()),
            **part_of(pairs, right, part == at, seed),
        }
        for at in np.unique(part)
    ]


def _ensemble(pairs: Pairs, gap: Floats, scores: Scores, seed: int) -> dict[str, Any]:
    """accuracy: of each part. spread: the standard deviation of the parts' scores of a response, averaged. unanimous,
    divided: the pairs that all parts order alike, and the others."""
    assert scores.members is not None
    gap_mp = np.array([gaps(pairs, of_member) for of_member in scores.members])
    unanimous: Bools = np.abs(np.sign(gap_mp).sum(axis=0)) == len(gap_mp)
    right = ordered_right(gap, np.ones_like(gap))
    flat = np.array([np.concatenate(of_member) for of_member in scores.members])
    return {
        "num_members": len(gap_mp),
        "accuracy": [float(ordered_right(one, np.ones_like(one)).mean()) for one in gap_mp],
        "spread": float(flat.std(axis=0).mean()),
        "unanimous": part_of(pairs, right, unanimous, seed),
        "divided": part_of(pairs, right, ~unanimous, seed),
    }

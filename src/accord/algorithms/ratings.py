"""Ratings of several policies from comparisons of two at a time, on the scale of chess. NumPy and SciPy only.

    P(a beats b) = sigmoid(r_a - r_b + c' x)        x: how the style of a's response differs from that of b's

(Bradley and Terry 1952); a tie is half a win. With covariates x (length, headings, ...) the ratings are those that the
policies would have if they wrote in one style, as Chatbot Arena controls for style (Li, Angelopoulos and Chiang 2024).
Ratings are given as 400 / ln 10 times r, Elo's scale, on which 400 points are odds of ten to one; differences alone
mean something, so one policy is the anchor and stands at 1000.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from accord.algorithms.calibration import sigmoid
from accord.algorithms.statistics import Floats, Interval, group_counts, percentile_interval

Ints = NDArray[np.int64]

ELO = 400 / math.log(10)
ANCHOR = 1000.0
# On half the sum of the squared parameters, less than one half of a comparison's worth. It decides what the data leave
# open: a policy that won, or lost, everything has no finite rating without it, and some 1,000 points more with it.
RIDGE = 0.01
_MAX_STEPS = 100


@dataclass(frozen=True, slots=True)
class Ratings:
    """ratings: by policy, best first. style: by covariate, the change of the log-odds for one standard deviation.

    one_sided: policies that won, or lost, all of their comparisons: how far they are off is the ridge's word alone.
    """

    ratings: Mapping[str, Interval]
    style: Mapping[str, Interval]
    one_sided: tuple[str, ...]


def rate(
    policy_a: Sequence[str],
    policy_b: Sequence[str],
    verdict_n: ArrayLike,
    *,
    anchor: str,
    style: Mapping[str, ArrayLike] | None = None,
    groups: ArrayLike | None = None,
    seed: int,
    num_resamples: int = 500,
) -> Ratings:
    """Ratings from n comparisons of policy_a with policy_b: 1 where a wins, 0 where b does, 0.5 for a tie.

    style: by name a difference of a's response to b's, [n], as `style_difference` gives it; each is divided by its root
    mean square and not centred, so that equal style is 0. groups: labels of prompts. Intervals are 95 % bootstraps by
    prompt; the anchor's has no width. Resamples in which the policies fall apart are drawn again. ValueError where two
    sets of policies were never compared with one another, and where the anchor is not among them.
    """
    verdict = np.asarray(verdict_n, dtype=np.float64)
    assert len(policy_a) == len(policy_b) == len(verdict)
    assert ((verdict >= 0) & (verdict <= 1)).all(), "verdicts lie in [0, 1]"
    names, index = np.unique([*policy_a, *policy_b], return_inverse=True)
    first, second = index[: len(verdict)], index[len(verdict) :]
    if anchor not in names:
        raise ValueError(f"the anchor {anchor!r} is none of the policies: {', '.join(names)}")
    if (first == second).any():
        raise ValueError(f"{str(names[first[first == second][0]])!r} is compared with itself")
    check_connected(names.tolist(), first, second)
    differences = {name: np.asarray(values, dtype=np.float64) for name, values in (style or {}).items()}
    design = _design(first, second, len(names), [_scaled(values) for values in differences.values()])
    whole = _fit(design, verdict, np.ones_like(verdict), np.zeros(design.shape[1]))
    labels = np.arange(len(verdict)) if groups is None else np.asarray(groups)
    draws = []
    for count in _counts(labels, first, second, len(names), seed):
        draws.append(_fit(design, verdict, count, whole))
        if len(draws) == num_resamples:
            break
    drawn, at = np.array(draws), int(np.flatnonzero(names == anchor)[0])
    found = {
        str(name): percentile_interval(_elo(whole[i] - whole[at]), ANCHOR + ELO * (drawn[:, i] - drawn[:, at]))
        for i, name in enumerate(names)
    }
    return Ratings(
        dict(sorted(found.items(), key=lambda one: -one[1].value)),
        {
            name: percentile_interval(float(whole[i]), drawn[:, i])
            for i, name in enumerate(differences, start=len(names))
        },
        tuple(str(names[i]) for i in _one_sided(first, second, verdict, len(names))),
    )


def style_difference(count_a: ArrayLike, count_b: ArrayLike) -> Floats:
    """(a - b) / (a + b), from -1 to 1, as Chatbot Arena compares lengths and counts of markdown; 0 where both are 0.

    >>> style_difference([300, 0, 2], [100, 0, 0]).tolist()
    [0.5, 0.0, 1.0]
    """
    a, b = np.asarray(count_a, dtype=np.float64), np.asarray(count_b, dtype=np.float64)
    total = a + b
    found: Floats = np.divide(a - b, total, out=np.zeros_like(total), where=total > 0)
    return found


def check_connected(names: Sequence[str], first_n: Ints, second_n: Ints) -> None:
    """Raises ValueError when the comparisons do not hold all policies together, so that no rating could."""
    num, part = _parts(first_n, second_n, len(names))
    if num > 1:
        sets = [", ".join(name for name, own in zip(names, part, strict=True) if own == k) for k in range(num)]
        raise ValueError(f"these sets of policies were never compared with one another: {'; '.join(sets)}")


def _parts(first: Ints, second: Ints, num: int) -> tuple[int, NDArray[np.int32]]:
    found: tuple[int, NDArray[np.int32]] = connected_components(
        coo_matrix((np.ones(len(first)), (first, second)), shape=(num, num)), directed=False
    )
    return found


def _counts(labels: NDArray[np.generic], first: Ints, second: Ints, num: int, seed: int) -> Iterator[Floats]:
    """Endless resamples of whole prompts that hold all policies together."""
    while True:
        for count in group_counts(labels, seed=seed):
            if _parts(first[count > 0], second[count > 0], num)[0] == 1:
                yield count
        seed += 1


def _design(first: Ints, second: Ints, num_policies: int, covariates: Sequence[Floats]) -> Floats:
    """[n, policies + covariates]"""
    rows = np.arange(len(first))
    design = np.zeros((len(first), num_policies + len(covariates)))
    design[rows, first] += 1
    design[rows, second] -= 1
    for at, values in enumerate(covariates, start=num_policies):
        design[:, at] = values
    return design


def _scaled(values: Floats) -> Floats:
    size = float(np.sqrt((values**2).mean()))
    return values / size if size > 0 else values


def _fit(design: Floats, verdict: Floats, weight: Floats, start: Floats) -> Floats:
    """The parameters with the least weighted log loss and ridge, by Newton's method with step halving. The ridge makes
    the ratings' sum 0, and the whole strictly convex."""
    found = start

    def loss(parameters: Floats) -> float:
        logit = design @ parameters
        return float(weight @ (np.logaddexp(0.0, logit) - verdict * logit) + RIDGE / 2 * parameters @ parameters)

    here = loss(found)
    for _ in range(_MAX_STEPS):
        probability = sigmoid(design @ found)
        gradient = design.T @ (weight * (probability - verdict)) + RIDGE * found
        hessian = (design * (weight * probability * (1 - probability))[:, None]).T @ design
        step = np.linalg.solve(hessian + RIDGE * np.eye(len(found)), gradient)
        size = 1.0
        while (there := loss(found - size * step)) > here and size > 1e-10:
            size /= 2
        if size <= 1e-10 or np.abs(size * step).max() < 1e-9:
            break
        found, here = found - size * step, there
    return found


def _one_sided(first: Ints, second: Ints, verdict: Floats, num: int) -> list[int]:
    won = np.bincount(first, verdict, num) + np.bincount(second, 1 - verdict, num)
    played = np.bincount(first, minlength=num) + np.bincount(second, minlength=num)
    return [i for i in range(num) if won[i] in (0, played[i])]


def _elo(difference: float) -> float:
    return ANCHOR + ELO * float(difference)

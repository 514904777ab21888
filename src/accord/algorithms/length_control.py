"""The win rate that a policy would have with responses as long as its opponent's (AlpacaEval 2's; Dubois et al. 2024,
arXiv:2404.04475, section 3). NumPy only.

    logit q = theta + phi tanh(d / std(d))        d: by how much the policy's response is longer

q is the probability that the policy wins; there is no intercept, as theta is how much better the policy is. The length
controlled win rate is the mean of q with d = 0. The paper has a third term, the difficulty of each of its 805
instructions, which is known for these alone: it is left out here. The length's effect phi has an L1 penalty, whose
strength is the one that predicts best over 5 folds of prompts; where length tells nothing, phi is 0 and the win rate
the plain one. The paper's code puts that penalty on theta, too: with its 805 prompts this hardly matters, and with a
hundred it can draw any policy to 50 %, with an interval of no width. Here theta has the weakest penalty alone, which
keeps it finite for a policy that wins everything. A policy against itself has 50 % either way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accord.algorithms.calibration import sigmoid
from accord.algorithms.statistics import Floats, Interval, group_counts, percentile_interval, wilson

STRENGTHS = tuple(float(10**power) for power in np.linspace(4, -4, 10))  # of the penalty beside the sum of the losses
NUM_FOLDS = 5
_MAX_STEPS = 100  # of Newton's method, which takes about ten


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """win_rate: at equal lengths. length_effect: phi; above 0 the judge favours length. penalty: that was chosen."""

    win_rate: Interval
    length_effect: Interval
    penalty: float


def length_controlled(
    verdict_p: ArrayLike,
    longer_p: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    seed: int,
    num_resamples: int = 500,
) -> LengthControlled:
    """From verdicts, [p], of one policy against one other: 1 a win, 0 a loss, 0.5 a tie, or between these a judge's
    probability of a win.

    longer_p: characters of the policy's response less those of the other. groups: labels of prompts, by default a pair
    each. Intervals are 95 % bootstraps by prompt, with the model fitted anew at the chosen strength; where all are wins
    or all losses, no draw tells anything, and the win rate's is Wilson's with the prompts as their number. Swapping the
    policies gives 1 less the win rate. ValueError where one length difference is all there is.
    """
    verdict, longer = np.asarray(verdict_p, dtype=np.float64), np.asarray(longer_p, dtype=np.float64)
    assert verdict.shape == longer.shape
    assert ((verdict >= 0) & (verdict <= 1)).all(), "verdicts lie in [0, 1]"
    labels = np.arange(len(verdict)) if groups is None else np.asarray(groups)
    features = np.stack([np.ones_like(longer), length_feature(longer)], axis=1)
    penalty = best_penalty(features, verdict, labels, seed=seed)
    whole = fit_l1(features, verdict, np.ones_like(verdict), _penalties(penalty))
    draws = np.array(
        [
            fit_l1(features, verdict, count, _penalties(penalty), start=whole)
            for count in group_counts(labels, seed=seed, num_resamples=num_resamples)
        ]
    )
    win_rate = percentile_interval(float(sigmoid(whole[0])), sigmoid(draws[:, 0]))
    if verdict.min() == verdict.max() and verdict[0] in (0.0, 1.0):
        num = len(np.unique(labels))
        win_rate = replace(wilson(float(verdict[0]) * num, num), value=win_rate.value)
    return LengthControlled(win_rate, percentile_interval(float(whole[1]), draws[:, 1]), penalty)


def length_feature(longer_p: ArrayLike) -> Floats:
    """tanh(d / std(d)), the standard deviation that of a sample, as the paper's code has it; 0 where all d are 0."""
    longer = np.asarray(longer_p, dtype=np.float64)
    if not longer.any():
        return np.zeros_like(longer)
    std = float(longer.std(ddof=1)) if len(longer) > 1 else 0.0
    if std <= 1e-9 * np.abs(longer).max():
        raise ValueError("every pair has the same difference in length, from which its effect cannot be told")
    feature: Floats = np.tanh(longer / std)
    return feature


def best_penalty(features_pf: Floats, verdict_p: Floats, groups: NDArray[np.generic], *, seed: int) -> float:
    """Of STRENGTHS the one with the least log loss on held-out folds of prompts; of equal ones the strongest. With
    fewer than 5 prompts there are no folds, and it is the weakest."""
    _, group = np.unique(groups, return_inverse=True)
    num_groups = int(group.max()) + 1
    if num_groups < NUM_FOLDS:
        return STRENGTHS[-1]
    fold = (np.random.default_rng(seed).permutation(num_groups) % NUM_FOLDS)[group]
    losses = np.zeros(len(STRENGTHS))
    for held_out in range(NUM_FOLDS):
        train = (fold != held_out).astype(np.float64)
        weights = np.zeros(features_pf.shape[1])
        for i, penalty in enumerate(STRENGTHS):
            weights = fit_l1(features_pf, verdict_p, train, _penalties(penalty), start=weights)
            logit = features_pf[fold == held_out] @ weights
            losses[i] += _loss(logit, verdict_p[fold == held_out]).sum()
    return STRENGTHS[int(np.argmin(np.round(losses, 9)))]


def _penalties(of_length: float) -> Floats:
    """Of theta and phi."""
    return np.array([STRENGTHS[-1], of_length])


def fit_l1(
    features_pf: Floats, target_p: Floats, weight_p: Floats, penalty_f: Floats, *, start: Floats | None = None
) -> Floats:
    """The coefficients [f] with the least sum_p weight * log loss + sum_f penalty * |coefficient|.

    Newton's method; each step minimises the quadratic model of the loss with the penalty, and is halved until the whole
    falls (as Friedman, Hastie and Tibshirani 2010). Targets may lie between 0 and 1.
    """
    used = weight_p > 0
    features, target, weight = features_pf[used], target_p[used], weight_p[used]
    found = np.zeros(features.shape[1]) if start is None else start

    def whole(coefficients: Floats) -> float:
        return float(weight @ _loss(features @ coefficients, target) + penalty_f @ np.abs(coefficients))

    here = whole(found)
    for _ in range(_MAX_STEPS):
        probability = sigmoid(features @ found)
        gradient = features.T @ (weight * (probability - target))
        curvature = (features * (weight * np.maximum(probability * (1 - probability), 1e-9))[:, None]).T @ features
        slope = gradient - curvature @ found
        minimum = _with_signs(curvature, slope, penalty_f, np.sign(found))
        step = (_shrunk(curvature, slope, penalty_f) if minimum is None else minimum) - found
        size = 1.0
        while (there := whole(found + size * step)) > here and size > 1e-10:
            size /= 2
        if size <= 1e-10:
            break
        gain = here - there
        found, here = found + size * step, there
        if gain <= 1e-14 * max(here, 1.0):
            break
    return found


def _with_signs(curvature_ff: Floats, slope_f: Floats, penalty_f: Floats, sign_f: Floats) -> Floats | None:
    """What `_shrunk` finds, if no coefficient has another sign than now, nor is 0: the usual case, of one pattern of
    signs in place of all."""
    if not sign_f.all():
        return None
    try:
        x = np.asarray(np.linalg.solve(curvature_ff, -(slope_f + penalty_f * sign_f)), dtype=np.float64)
    except np.linalg.LinAlgError:
        return None
    return x if (np.sign(x) == sign_f).all() else None


def _shrunk(curvature_ff: Floats, slope_f: Floats, penalty_f: Floats) -> Floats:
    """The minimum of x' curvature x / 2 + slope' x + penalty' |x|: of every pattern of signs the stationary point, if
    it has those signs, and of these the least. With two coefficients there are nine."""
    found, least = np.zeros_like(slope_f), 0.0
    for signs in product((-1.0, 0.0, 1.0), repeat=len(slope_f)):
        sign = np.array(signs)
        on = sign != 0
        if not on.any():
            continue
        try:
            x = np.linalg.solve(curvature_ff[np.ix_(on, on)], -(slope_f + penalty_f * sign)[on])
        except np.linalg.LinAlgError:  # coefficients that cannot be told apart: one of them alone is as good
            continue
        if (np.sign(x) != sign[on]).any():
            continue
        value = float(x @ curvature_ff[np.ix_(on, on)] @ x / 2 + slope_f[on] @ x + penalty_f[on] @ np.abs(x))
        if value < least:
            found, least = np.zeros_like(slope_f), value
            found[on] = x
    return found


def _loss(logit: Floats, target: Floats) -> Floats:
    loss: Floats = np.logaddexp(0.0, logit) - target * logit
    return loss

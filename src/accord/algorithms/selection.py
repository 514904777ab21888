"""Best of n: choosing, what to expect of it, and how far it moves from the policy that was sampled. NumPy only.

Shapes: p = prompts, k = samples of a prompt.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def best_of(scores_pk: ArrayLike, finished_pk: ArrayLike | None = None) -> NDArray[np.int64]:
    """The index of each prompt's best sample, [p]; of equal ones the first.

    A NaN never wins. finished_pk (bool): an unfinished sample wins only where no finished one has a score.
    ValueError where a prompt has no score at all.
    """
    scores = np.asarray(scores_pk, dtype=np.float64)
    scored = ~np.isnan(scores)
    eligible = scored if finished_pk is None else scored & np.asarray(finished_pk, dtype=bool)
    eligible = np.where(eligible.any(axis=1, keepdims=True), eligible, scored)
    if not eligible.any(axis=1).all():
        rows = np.flatnonzero(~eligible.any(axis=1)).tolist()
        raise ValueError(f"no sample of these prompts has a score: {rows}")
    best = np.where(eligible, scores, -np.inf).max(axis=1, keepdims=True)
    winners: NDArray[np.int64] = np.argmax(eligible & (scores == best), axis=1)
    return winners


def best_above(
    baseline_p: ArrayLike, scores_pk: ArrayLike, usable_pk: ArrayLike, margin: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The index of each prompt's best usable sample, [p], -1 where there is none; and whether that scores above the
    baseline by more than the margin, [p].

    Of equal scores the first; a NaN is not usable. A sample that only reaches the baseline and the margin is not above.
    """
    usable = np.asarray(usable_pk, dtype=bool)
    scores = np.where(usable, np.asarray(scores_pk, dtype=np.float64), np.nan)
    baseline = np.asarray(baseline_p, dtype=np.float64)
    assert scores.shape[:1] == baseline.shape, "samples of each prompt, and a baseline of each"
    scored = np.flatnonzero(~np.isnan(scores).all(axis=1))
    best, above = np.full(len(scores), -1, dtype=np.int64), np.zeros(len(scores), dtype=bool)
    best[scored] = best_of(scores[scored])
    above[scored] = scores[scored, best[scored]] > baseline[scored] + margin
    return best, above


def best_of_n_estimate(scores: ArrayLike, n: int, values: ArrayLike | None = None) -> float:
    """The expected score of the best of n samples, estimated without bias from N >= n independent samples, [N].

    The mean of max over all C(N, n) subsets: with s_1 <= ... <= s_N it is sum_i C(i-1, n-1) / C(N, n) * s_i
    (Nakano et al. 2021, WebGPT, arXiv:2112.09332, appendix I). Its weights are built from the largest score down,
    w_N = n / N and w_{i-1} = w_i (i - n) / (i - 1), so that no large binomial is formed.
    values: [N], what is expected of the sample that the scores choose, in place of its score: its gold score, where a
    proxy chooses. Of equal scores the first counts as the better, as in `best_of`.
    """
    given = np.asarray(scores, dtype=np.float64)
    if given.ndim != 1 or not 1 <= n <= len(given):
        raise ValueError(f"best of {n} needs at least {n} scores of one prompt, got shape {given.shape}")
    worth = given if values is None else np.asarray(values, dtype=np.float64)
    assert worth.shape == given.shape
    descending = worth[np.argsort(-given, kind="stable")]
    ranks = np.arange(len(descending), n, -1)
    weights = n / len(descending) * np.cumprod(np.concatenate([[1.0], (ranks - n) / (ranks - 1)]))
    return float(weights @ descending[: len(weights)])  # the n - 1 lowest are never the best of n


def best_of_n_kl(n: int) -> float:
    """log n - (n - 1) / n, in nats per sequence: an upper bound of KL(best of n || policy).

    Exact when no two samples tie; below the bound otherwise (Gao et al. 2022, arXiv:2210.10760, for the formula).
    """
    if n < 1:
        raise ValueError(f"best of {n} samples is not defined")
    return math.log(n) - (n - 1) / n

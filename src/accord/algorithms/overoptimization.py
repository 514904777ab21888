"""Over-optimisation curves: how the gold score goes with the distance from the start policy, and where it turns.

Gao, Schulman and Hilton 2022 (arXiv:2210.10760), section 3: with d = sqrt(KL(policy || start)) in nats per sequence,

    best of n               R(d) = d (alpha - beta d)
    reinforcement learning  R(d) = d (alpha - beta ln d), and after k iterations d (alpha - beta ln d + beta ln k)

R is the gold score less that of the start policy, so that R(0) = 0. Both are linear in alpha and beta, so a fit is
weighted least squares, with one solution or none. NumPy only.

Shapes: m = policies (or values of n) at which the score is measured; b = bootstrap resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accord.algorithms.statistics import Interval

Form = Literal["best_of_n", "rl"]
Floats = NDArray[np.float64]

FEWEST = 3  # different distances above 0: with two, any curve of two coefficients fits
_CONDITION = 1e8  # of the normalised design; beyond, the two coefficients cannot be told apart


class NoFit(ValueError):
    """Why a curve cannot be fitted, or has no turning point. A sentence for people."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A curve through the measured scores.

    alpha, beta: per nat^(1/2), and per nat (best of n) or nat^(1/2) (rl). r_squared: the share of the weighted sum of
    squares of R (about 0, as the curve goes through 0) that the curve explains. num_iterations: k.
    """

    form: Form
    alpha: float
    beta: float
    r_squared: float
    num_iterations: int = 1

    def at(self, distances: ArrayLike) -> Floats:
        """R at distances, [m] of sqrt(nats)."""
        d = np.asarray(distances, dtype=np.float64)
        first, second = _design(d, self.form, self.num_iterations)
        return self.alpha * first + self.beta * second

    @property
    def peak(self) -> float | None:
        """The distance at which R is highest, in sqrt(nats); None where it does not turn (beta <= 0 or alpha <= 0).

        Best of n: alpha / 2 beta. RL: k exp(alpha / beta - 1).
        """
        if self.beta <= 0 or (self.form == "best_of_n" and self.alpha <= 0):
            return None
        if self.form == "best_of_n":
            return self.alpha / (2 * self.beta)
        exponent = self.alpha / self.beta - 1 + math.log(self.num_iterations)
        return math.exp(exponent) if exponent < 700 else None


@dataclass(frozen=True, slots=True)
class Turn:
    """Where the fitted gold score turns.

    distance: the peak with its interval, in sqrt(nats); None where the curve has none. score: R there. share_inside:
    of the bootstrap's curves, how many turn at a distance that was reached. inside: nearly all do (95 %), so that the
    turn was seen and is no extrapolation.
    """

    distance: Interval | None
    score: float | None
    share_inside: float
    inside: bool


def fit_curve(
    distances: ArrayLike, scores: ArrayLike, form: Form, *, weights: ArrayLike | None = None, num_iterations: int = 1
) -> Fit:
    """The weighted least squares curve. NoFit where the points do not determine one.

    distances: [m], sqrt(KL) >= 0; scores: [m], gold less the start's; weights: [m], one over the variance of each score
    (equal by default). Points at distance 0 say nothing, and points that are not finite are left out.
    """
    d, r = np.asarray(distances, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    w = np.ones_like(d) if weights is None else np.asarray(weights, dtype=np.float64)
    if d.ndim != 1 or not d.shape == r.shape == w.shape:
        raise ValueError(f"distances {d.shape}, scores {r.shape} and weights {w.shape} go together one by one")
    if (d < 0).any() or (w < 0).any():
        raise ValueError("distances and weights are not negative")
    used = np.isfinite(d) & np.isfinite(r) & np.isfinite(w) & (d > 0) & (w > 0)
    d, r, w = d[used], r[used], w[used]
    if len(np.unique(d)) < FEWEST:
        raise NoFit(f"{len(np.unique(d))} different distances above 0 were measured, and a curve needs {FEWEST}")
    root = np.sqrt(w / w.max())
    design = np.stack(_design(d, form, num_iterations), axis=1) * root[:, None]
    lengths = np.linalg.norm(design, axis=0)
    if not lengths.all() or np.linalg.cond(design / lengths) > _CONDITION:
        raise NoFit("the measured distances are too much alike to tell alpha from beta")
    (alpha, beta), *_ = np.linalg.lstsq(design / lengths, r * root, rcond=None)
    alpha, beta = float(alpha / lengths[0]), float(beta / lengths[1])
    total = float(((r * root) ** 2).sum())
    left = float(((r * root - design @ np.array([alpha, beta])) ** 2).sum())
    return Fit(form, alpha, beta, 1 - left / total if total > 0 else 1.0, num_iterations)


def turning_point(fit: Fit, resamples: Iterable[Fit], farthest: float) -> Turn:
    """Where the curve turns, and how sure that is. farthest: the greatest distance that was measured.

    resamples: the same curve fitted to each bootstrap resample (of prompts and seeds). One that never turns counts as
    one that turns beyond all that was measured, so the interval's upper end is infinite where many do not.
    """
    peaks = np.array([math.inf if one.peak is None else one.peak for one in resamples])
    if not len(peaks):
        raise ValueError("no resample was given")
    share = float((peaks <= farthest).mean())
    inside = share >= 0.95 and fit.peak is not None and fit.peak <= farthest
    if fit.peak is None:
        return Turn(None, None, share, inside)
    # Infinite ends are wanted as such, and percentiles between two values would be NaN there.
    low, high = np.quantile(peaks, [0.025, 0.975], method="higher")
    return Turn(Interval(fit.peak, float(low), float(high)), float(fit.at([fit.peak])[0]), share, inside)


def band(resamples: Iterable[Fit], distances: ArrayLike) -> tuple[Floats, Floats]:
    """The ends of the pointwise 95 % bootstrap band of the curve, [m] each."""
    curves = np.stack([one.at(distances) for one in resamples])
    low, high = np.percentile(curves, [2.5, 97.5], axis=0)
    return low, high


def _design(d: Floats, form: Form, num_iterations: int) -> tuple[Floats, Floats]:
    """What alpha and beta are multiplied with. d ln d is 0 at 0."""
    if num_iterations < 1 or (form == "best_of_n" and num_iterations != 1):
        raise ValueError(f"{num_iterations} iterations of {form}: the iterated form is of rl, and k is at least 1")
    if form == "best_of_n":
        return d, -(d * d)
    logs = np.log(np.where(d > 0, d, 1.0))
    return d, -d * (logs - math.log(num_iterations))

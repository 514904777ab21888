"""Proxy against gold over the distance from the start policy, as Gao et al. 2022 (arXiv:2210.10760) draw them.

Scores are in units of the start policy: less the mean of its samples, over their standard deviation, for the gold
reward and for each proxy. Proxies whose names differ only in a number at the end are seeds of one, and so are policies.

Shapes: p = prompts, k = samples of a prompt, s = seeds, m = values of n or points of a training.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accord.algorithms.overoptimization import Fit, Form, NoFit, band, fit_curve, turning_point
from accord.algorithms.selection import best_of_n_estimate, best_of_n_kl
from accord.seeds import derive_seed

Floats = NDArray[np.float64]
NUM_RESAMPLES: Final = 500
FEWEST_PROMPTS: Final = 8  # of whose resamples a turn can be told
_SEED_AT_END: Final = re.compile(r"[-_]?\d{1,9}$")


class Unit:
    """A reward's scores of the start policy's samples, and the unit that they are."""

    def __init__(self, scores_pk: ArrayLike) -> None:
        given = np.asarray(scores_pk, dtype=np.float64)
        self.mean, self.deviation = float(given.mean()), float(given.std())
        if given.min() == given.max():  # whose deviation need not be 0, as the mean is rounded
            raise ValueError("all of the start policy's samples have one score")
        self.scores_pk = self.of(given)

    def of(self, scores: ArrayLike) -> Floats:
        """Scores in this unit."""
        found: Floats = (np.asarray(scores, dtype=np.float64) - self.mean) / self.deviation
        return found


def families(names: Sequence[str]) -> dict[str, list[str]]:
    """Names that differ only in a number at the end, under what they share; each other under itself. Raises ValueError
    for a name that two would have."""
    groups: dict[tuple[str, bool], list[str]] = {}
    for name in names:
        stem = _SEED_AT_END.sub("", name) or name
        groups.setdefault((stem, stem != name), []).append(name)
    found: dict[str, list[str]] = {}
    for (stem, _), of in groups.items():
        key = of[0] if len(of) == 1 else stem
        if key in found:
            raise ValueError(key)
        found[key] = of
    return found


def best_of_n_curves(
    gold: Unit, proxies: Mapping[str, Unit], *, seed: int, compare: Sequence[tuple[str, str]] = ()
) -> dict[str, Any]:
    """For each family of proxies: n, the upper bound on the KL of the best of n, proxy and gold score with the ends of
    their intervals, Gao's fit to the gold score, and where it turns. `gold` is what the best by gold would have.

    n: powers of 2 up to all samples of a prompt. The estimates are unbiased (Nakano et al. 2021, appendix I); intervals
    and bands are of a bootstrap over prompts, and over seeds where there are several. compare: pairs of families; how
    much more gold score the best of the largest n has by the first than by the second, on the same prompts.
    """
    num = gold.scores_pk.shape[1]
    ns = [2**i for i in range(num.bit_length()) if 2**i <= num]
    kls = [best_of_n_kl(n) for n in ns]
    enough = len(gold.scores_pk) >= FEWEST_PROMPTS
    curves, reached = dict[str, Any](), dict[str, Floats]()
    for family, names in families(list(proxies)).items():
        chosen = [proxies[name].scores_pk for name in names]
        proxy_spm = np.stack([_best(scores, scores, ns) for scores in chosen])
        gold_spm = np.stack([_best(scores, gold.scores_pk, ns) for scores in chosen])
        reached[family] = gold_spm[:, :, -1]
        draws = list(_draws(gold_spm, proxy_spm, derive_seed(seed, family)))
        curves[family] = {
            "names": names,
            **_with_ends("proxy", proxy_spm.mean(axis=(0, 1)), [proxy for _, proxy in draws]),
            **_with_ends("gold", gold_spm.mean(axis=(0, 1)), [of_gold for of_gold, _ in draws]),
            **_fitted(kls, gold_spm.mean(axis=(0, 1)), [of_gold for of_gold, _ in draws], enough=enough),
        }
    ceiling = _best(gold.scores_pk, gold.scores_pk, ns).mean(axis=0)
    differences = [
        {"first": first, "second": second, "n": ns[-1], **_difference(reached[first], reached[second], seed)}
        for first, second in compare
    ]
    return {"n": ns, "kl": kls, "gold": ceiling.tolist(), "proxies": curves, "differences": differences}


def training_curves(
    trainings: Mapping[str, Sequence[tuple[float, float, float]]], *, seed: int
) -> dict[str, dict[str, Any]]:
    """For each family of policies: its points, Gao's fit for reinforcement learning, and where it turns.

    trainings: policy -> (KL in nats per sequence, proxy score, gold score) of each measurement, the first that of the
    start policy, from whose gold score all are counted. An estimated KL below 0 counts as 0. The band and the interval
    are of a bootstrap over runs, and there are none for a single run.
    """
    found = {}
    for family, names in families(list(trainings)).items():
        runs = [_from_start(trainings[name]) for name in names]
        points = np.concatenate(runs)
        rng = np.random.default_rng(derive_seed(seed, family))
        drawn = [rng.integers(len(runs), size=len(runs)) for _ in range(NUM_RESAMPLES if len(runs) > 1 else 0)]
        resamples = [np.concatenate([runs[i] for i in of]) for of in drawn]
        fitted = _fit(points[:, 0], points[:, 2], "rl")
        found[family] = {
            "names": names,
            "points": {name: run.tolist() for name, run in zip(names, runs, strict=True)},
            **_summary(fitted, [_fit(one[:, 0], one[:, 2], "rl") for one in resamples], points[:, 0]),
        }
    return found


def _best(chosen_by_pk: Floats, worth_pk: Floats, ns: Sequence[int]) -> Floats:
    """[p, m]: what the best of n is worth, for each prompt."""
    rows = [
        [best_of_n_estimate(chosen_by, n, worth) for n in ns]
        for chosen_by, worth in zip(chosen_by_pk, worth_pk, strict=True)
    ]
    return np.array(rows)


def choices(
    gold: tuple[str, Unit], proxies: Mapping[str, Unit], texts: Sequence[tuple[str, str, Sequence[str]]], before: str
) -> list[dict[str, Any]]:
    """What the first seed of each proxy, and gold, chooses of all samples of a prompt, beside the first of them, which
    is called `before`: with what gold and the chooser say of both. texts: prompt, prefill and samples."""
    name, unit = gold
    num = unit.scores_pk.shape[1]
    by = {names[0]: proxies[names[0]] for names in families(list(proxies)).values()} | {name: unit}
    found = []
    for chooser, scores_pk in ((one, given.scores_pk) for one, given in by.items()):
        after = f"best of {num:,} by {chooser}"
        for at, (prompt, prefill, responses) in enumerate(texts):
            best = int(scores_pk[at].argmax())
            said = {"gold": unit.scores_pk} | ({} if chooser == name else {"proxy": scores_pk})
            found.append(
                {
                    "prompt": prompt,
                    "prefill": prefill,
                    "responses": {before: responses[0], after: responses[best]},
                    **{who: {before: float(pk[at, 0]), after: float(pk[at, best])} for who, pk in said.items()},
                }
            )
    return found


def _draws(gold_spm: Floats, proxy_spm: Floats, seed: int) -> Iterator[tuple[Floats, Floats]]:
    """Resampled curves of gold and proxy, [m] each, as gains over n = 1, which is the start policy in each resample,
    too: how good it is on the prompts that are drawn is no uncertainty of what is gained. All that belongs to a drawn
    prompt or seed is drawn together."""
    rng = np.random.default_rng(seed)
    num_seeds, num_prompts, _ = gold_spm.shape
    for _ in range(NUM_RESAMPLES):
        seeds, prompts = rng.integers(num_seeds, size=num_seeds), rng.integers(num_prompts, size=num_prompts)
        gold_m, proxy_m = (of[seeds][:, prompts].mean(axis=(0, 1)) for of in (gold_spm, proxy_spm))
        yield gold_m - gold_m[0], proxy_m - proxy_m[0]


def _difference(first_sp: Floats, second_sp: Floats, seed: int) -> dict[str, float]:
    """Of the means, with its interval: prompts are drawn for both together, and the seeds of each by themselves."""
    rng = np.random.default_rng(derive_seed(seed, "differences"))
    num_prompts = first_sp.shape[1]
    draws = []
    for _ in range(NUM_RESAMPLES):
        prompts = rng.integers(num_prompts, size=num_prompts)
        means = [of[rng.integers(len(of), size=len(of))][:, prompts].mean() for of in (first_sp, second_sp)]
        draws.append(means[0] - means[1])
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"gold": float(first_sp.mean() - second_sp.mean()), "gold_low": float(low), "gold_high": float(high)}


def _with_ends(name: str, values_m: Floats, draws: Sequence[Floats]) -> dict[str, list[float]]:
    low, high = np.percentile(np.stack(draws), [2.5, 97.5], axis=0)
    return {name: values_m.tolist(), f"{name}_low": low.tolist(), f"{name}_high": high.tolist()}


def _fitted(kls: Sequence[float], gold_m: Floats, draws: Sequence[Floats], *, enough: bool) -> dict[str, Any]:
    """Of gains over n = 1. draws: of gains, too."""
    distances = np.sqrt(kls)
    fits = [_fit(distances, draw, "best_of_n") for draw in draws]
    return _summary(_fit(distances, gold_m - gold_m[0], "best_of_n"), fits, distances, enough=enough)


def _fit(distances: Floats, scores: Floats, form: Form) -> Fit | str:
    try:
        return fit_curve(distances, scores, form)
    except NoFit as why:
        return str(why)


def _summary(
    fitted: Fit | str, resamples: Sequence[Fit | str], distances: Floats, *, enough: bool = True
) -> dict[str, Any]:
    """The fit with its curve and band, and the turn; or why there is none. enough: a turn can be told from these
    resamples. A curve that turns nearer than anything measured only falls. JSON knows no infinity: an end of an
    interval that is beyond all bounds is None."""
    if isinstance(fitted, str):
        return {"no_fit": fitted}
    farthest = float(distances.max())
    grid = np.linspace(0, farthest, 41)
    curve: dict[str, Any] = {"distance": grid.tolist(), "gold": fitted.at(grid).tolist()}
    again = [one for one in resamples if isinstance(one, Fit)]
    found = {"fit": {**asdict(fitted), "peak": fitted.peak, "inside": False}, "curve": curve}
    if again:
        low, high = band(again, grid)
        curve |= {"gold_low": low.tolist(), "gold_high": high.tolist()}
        turn = turning_point(fitted, again, farthest)
        nearest = float(distances[distances > 0].min(initial=farthest))
        inside = enough and turn.inside and fitted.peak is not None and fitted.peak >= nearest
        found["fit"] |= {"inside": inside, "share_inside": turn.share_inside, "peak_score": turn.score}
        if turn.distance is not None:
            ends = {"peak_low": turn.distance.low, "peak_high": turn.distance.high}
            found["fit"] |= {key: end if math.isfinite(end) else None for key, end in ends.items()}
    return found


def _from_start(rows: Sequence[tuple[float, float, float]]) -> Floats:
    """[m, 3]: distance, and the gains of proxy and gold over the first measurement."""
    points = np.array(rows, dtype=np.float64).reshape(-1, 3)
    distances = np.sqrt(np.maximum(points[:, 0], 0.0))
    return np.column_stack([distances, points[:, 1] - points[0, 1], points[:, 2] - points[0, 2]])

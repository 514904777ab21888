"""How far a judge can be believed: how it answers in both orders, and how far it agrees with people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accord.algorithms.agreement import cohen_kappa, krippendorff_alpha
from accord.algorithms.statistics import Interval
from accord.algorithms.win_rates import first_place_share, flip_rate, mean_interval
from accord.collect.judge import Verdict
from accord.data.records import JudgedComparison
from accord.monitor.alarm import Alarm
from accord.types import Judgement

LEAST: Final = 0.55  # agreement with people below which a judge of one's own is refused
MOST_FLIPS: Final = 0.3  # of pairs, whose verdict changes with the order


@dataclass(frozen=True, slots=True)
class WithPeople:
    """agreement: the share of pairs that people put in an order which the judge puts in the same one, a tie of its own
    one half. kappa, alpha: of who is better or neither, ties of people included, each pair told both ways; NaN where
    nothing can be said."""

    num_pairs: int
    agreement: Interval
    kappa: float
    alpha: float


def in_both_orders(verdicts: Sequence[Verdict], seed: int) -> dict[str, Any]:
    """Of pairs of responses, by comparison: flips, ties, and the share of verdicts for the first place, which is 0.5
    for a judge without a bias for a place."""
    if not verdicts:
        return {}
    forward, backward = [one.forward for one in verdicts], [one.backward for one in verdicts]
    groups = [one.comparison_id for one in verdicts]
    return {
        "num_pairs": len(verdicts),
        "flip_rate": asdict(flip_rate(forward, backward, groups=groups, seed=seed)),
        "first_place": asdict(first_place_share(forward, backward, groups=groups, seed=seed)),
        "ties": sum(one.outcome == 0.5 for one in verdicts) / len(verdicts),
    }


def with_people(said: Sequence[JudgedComparison], judged: Sequence[Judgement], seed: int) -> WithPeople | None:
    """None where there is no pair that both judged, and that people put in an order."""
    ratings, groups = verdicts_of_both(said, judged)
    ordered = ratings[:, 0] != 0
    if not ordered.any():
        return None
    agreement = mean_interval(agreed(ratings[ordered]), groups=groups[ordered], seed=seed)
    both = both_ways(ratings)
    return WithPeople(int(ordered.sum()), agreement, cohen_kappa(both), krippendorff_alpha(both))


def verdicts_of_both(
    said: Sequence[JudgedComparison], judged: Sequence[Judgement]
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """[pairs, 2] of people and the judge, of every two responses that both judged: 1 for the first, -1 for the second,
    0 for neither; and [pairs], the ids of their prompts. said: comparisons with people's judgements, of whose grades of
    two responses the mean difference counts."""
    by_judge = {one.comparison_id: one.grades for one in judged}
    rows, groups = [], []
    for comparison, judgements in said:
        grades = by_judge.get(comparison.id)
        for first, second in combinations(range(len(comparison.responses)), 2) if grades else ():
            gaps = [gap for one in judgements if (gap := _gap(one.grades, first, second)) is not None]
            own = _gap(grades, first, second) if grades else None
            if gaps and own is not None:
                rows.append((np.sign(np.mean(gaps)), np.sign(own)))
                groups.append(comparison.prompt.id)
    return np.array(rows, dtype=np.float64).reshape(-1, 2), np.array(groups, dtype=np.str_)


def both_ways(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    """[2 * pairs, 2]: each pair told of either response first. Which one stands first in a file means nothing, and in
    one that has the better response always first, people would otherwise seem to say the same of every pair."""
    return np.concatenate([ratings, -ratings])


def agreed(ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    """[pairs]: 1 where both say the same order, a tie of the judge one half. ratings: without ties of people."""
    right: NDArray[np.float64] = 0.5 + 0.5 * ratings[:, 0] * ratings[:, 1]
    return right


def judge_alarms(summary: Mapping[str, Any]) -> list[Alarm]:
    """What a judge gives cause for: that the place decides, or that it may know nothing of what people prefer. summary:
    `flip_rate` as `in_both_orders` has it, `with_people`, where they are known."""
    found = []
    flips, people = summary.get("flip_rate"), summary.get("with_people")
    if flips is not None and flips["low"] > MOST_FLIPS:
        what = f"the order of the responses changes the verdict on {flips['value']:.0%} of pairs"
        found.append(Alarm("place", f"{what}: what stands where decides, and they count as ties", 0))
    if people is not None and people["agreement"]["low"] <= 0.5:
        share = people["agreement"]
        what = f"the judge agrees with people on {share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})"
        found.append(Alarm("chance", f"{what} of {people['num_pairs']} pairs, which may be chance", 0))
    return found


def _gap(grades: Sequence[float | None], first: int, second: int) -> float | None:
    a, b = grades[first], grades[second]
    return None if a is None or b is None else a - b

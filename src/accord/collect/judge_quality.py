"""How far a judge can be believed: how it answers in both orders, and how far it agrees with people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np

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
    one half. kappa, alpha: of who is better or neither, ties of people included; NaN where nothing can be said."""

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
    """said: comparisons with people's judgements, of whose grades of two responses the mean difference counts. None
    where there is no pair that both judged."""
    by_judge = {one.comparison_id: one.grades for one in judged}
    people, judge, groups = [], [], []
    for comparison, judgements in said:
        grades = by_judge.get(comparison.id)
        for first, second in combinations(range(len(comparison.responses)), 2) if grades else ():
            gaps = [gap for one in judgements if (gap := _gap(one.grades, first, second)) is not None]
            own = _gap(grades, first, second) if grades else None
            if gaps and own is not None:
                people.append(np.sign(np.mean(gaps)))
                judge.append(np.sign(own))
                groups.append(comparison.prompt.id)
    of_people, of_judge, labels = np.array(people), np.array(judge), np.array(groups)
    ordered = of_people != 0
    if not ordered.any():
        return None
    right = 0.5 + 0.5 * of_people[ordered] * of_judge[ordered]
    ratings = np.stack([of_people, of_judge], axis=1)
    agreement = mean_interval(right, groups=labels[ordered], seed=seed)
    return WithPeople(int(ordered.sum()), agreement, cohen_kappa(ratings), krippendorff_alpha(ratings))


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

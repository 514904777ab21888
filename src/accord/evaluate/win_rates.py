"""What judged pairs say: win rates, at equal length too, ratings, and how far the judge can be trusted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np

from accord.algorithms.agreement import cohen_kappa, gwet_ac, krippendorff_alpha
from accord.algorithms.length_control import length_controlled
from accord.algorithms.null_baselines import null_baselines
from accord.algorithms.ratings import Ratings, rate, style_difference
from accord.algorithms.statistics import Interval
from accord.algorithms.win_rates import both_orders, first_place_share, flip_rate, win_rate_of
from accord.errors import UserError, did_you_mean
from accord.evaluate.human_labels import Floats, grouped, statistic_interval
from accord.evaluate.judged_pairs import Verdict, read_verdicts
from accord.evaluate.preferences import interval
from accord.evaluate.style import style_of


@dataclass(frozen=True, slots=True)
class Judged:
    """Two responses once, whoever stood first: `of` as it was judged with policy_a in front, `turned` its verdict for
    the same policy when it stood second; None where only one order was judged."""

    of: Verdict
    turned: float | None

    @property
    def a_wins(self) -> float:
        """A win only where both orders agree, else a tie; of probabilities their mean."""
        if self.turned is None:
            return self.of.a_wins
        if {self.of.a_wins, self.turned} <= {0.0, 0.5, 1.0}:
            return float(both_orders([self.of.a_wins], [self.turned])[0])
        return (self.of.a_wins + self.turned) / 2


def evaluate_judged(
    source: str, columns: Mapping[str, str], *, baseline: str | None = None, seed: int = 0
) -> dict[str, Any]:
    """From a file of judged pairs, for JSON; for each judge apart. Intervals are 95 % bootstraps by prompt.

        baseline      whom the others are compared with, and who stands at 1000: the one that is named, or policy_b of
                      the first row
        judges        by judge:
            n, both_orders      pairs of responses, and those that were judged in both orders
            flips, first_place  of these how often the verdict changes with the order, and the share of verdicts for
                                the first place (0.5 is none too many)
            policies            by policy, against the baseline: n, win_rate (a tie one half), wins, ties, losses, and
                                length_controlled with length_effect (null where lengths do not vary)
            baselines           how often the longest response won, the shortest, the first, where one did
            ratings             by policy, best first; style_ratings: at equal style; style: what each mark of style
                                adds to the log-odds, for a standard deviation
            one_sided           policies that won or lost everything
        agreement     of several judges on what they both judged: alpha, ac1, and kappa of two; null where nothing can
                      be said

    Raises UserError.
    """
    rows, flaws = read_verdicts(source, columns)
    policies = sorted({row.policy_a for row in rows} | {row.policy_b for row in rows})
    anchor = rows[0].policy_b if baseline is None else baseline
    if anchor not in policies:
        what = f"the baseline {anchor!r} is none of the policies in the file"
        raise UserError(what, where=source, remedy=did_you_mean(anchor, policies))
    by_judge: dict[str, list[Verdict]] = defaultdict(list)
    for row in rows:
        by_judge[row.judge].append(row)
    joined = {judge: join_orders(own) for judge, own in by_judge.items()}
    found = {
        "data": source,
        "seed": seed,
        "left_out": {"num_rows": len({flaw.place for flaw in flaws}), **({"first": str(flaws[0])} if flaws else {})},
        "baseline": anchor,
        "judges": {judge: _of_judge(own, by_judge[judge], anchor, source, seed) for judge, own in joined.items()},
    }
    return found | ({"agreement": _agreement(joined, seed)} if len(joined) > 1 else {})


def join_orders(rows: Sequence[Verdict]) -> list[Judged]:
    """One judge's verdicts on the same two responses, in one order and in the other, as one. The policy that comes
    first by name is a. A verdict that was given twice in one order is taken twice."""
    both: dict[tuple[str, ...], tuple[list[Verdict], list[Verdict]]] = {}
    for row in rows:
        turned = row.policy_a > row.policy_b
        own = row.swap() if turned else row
        key = (own.prompt, own.policy_a, own.response_a, own.policy_b, own.response_b)
        both.setdefault(key, ([], []))[turned].append(own)
    found = []
    for first, second in both.values():
        for one, other in zip_longest(first, second):
            found.append(Judged(one or other, other.a_wins if one and other else None))
    return found


def _of_judge(judged: Sequence[Judged], rows: Sequence[Verdict], anchor: str, source: str, seed: int) -> dict[str, Any]:
    prompts = np.array([one.of.prompt for one in judged])
    twice = [one for one in judged if one.turned is not None]
    orders: tuple[Any, Any] = ([_hard(one.of.a_wins) for one in twice], [_hard(one.turned) for one in twice])
    of_twice = [one.of.prompt for one in twice]
    won = [row for row in rows if row.a_wins != 0.5]
    longer = [(len(row.response_a) - len(row.response_b)) * (1 if row.a_wins > 0.5 else -1) for row in won]
    first = [row.a_wins > 0.5 for row in won]
    floors = null_baselines(longer, first, groups=[row.prompt for row in won], seed=seed) if won else {}
    others = sorted({name for one in judged for name in (one.of.policy_a, one.of.policy_b)} - {anchor})
    plain, styled = _ratings(judged, prompts, anchor, source, seed)
    return {
        "n": len(judged),
        "both_orders": len(twice),
        "flips": interval(flip_rate(*orders, groups=of_twice, seed=seed)) if twice else None,
        "first_place": interval(first_place_share(*orders, groups=of_twice, seed=seed)) if twice else None,
        "policies": {name: against for name in others if (against := _against(judged, name, anchor, seed))},
        "baselines": {name: _or_none(one) for name, one in floors.items()},
        "ratings": {name: interval(one) for name, one in plain.ratings.items()},
        "style_ratings": {name: interval(one) for name, one in styled.ratings.items()},
        "style": {name: interval(one) for name, one in styled.style.items()},
        "one_sided": list(plain.one_sided),
    }


def _against(judged: Sequence[Judged], policy: str, baseline: str, seed: int) -> dict[str, Any] | None:
    """Of one policy against the baseline; None where they did not meet."""
    own = [
        replace(one, of=one.of.swap(), turned=None if one.turned is None else 1 - one.turned)
        if one.of.policy_a == baseline
        else one
        for one in judged
        if {one.of.policy_a, one.of.policy_b} == {policy, baseline}
    ]
    if not own:
        return None
    verdict, prompts = [one.a_wins for one in own], [one.of.prompt for one in own]
    longer = [len(one.of.response_a) - len(one.of.response_b) for one in own]
    rates = win_rate_of(verdict, groups=prompts, seed=seed)
    try:
        controlled = length_controlled(verdict, longer, groups=prompts, seed=seed)
    except ValueError:  # one difference in length alone
        controlled = None
    return {
        "n": len(own),
        "win_rate": interval(rates.rate),
        "wins": interval(rates.wins),
        "ties": interval(rates.ties),
        "losses": interval(rates.losses),
        "length_controlled": interval(controlled.win_rate) if controlled else None,
        "length_effect": interval(controlled.length_effect) if controlled else None,
    }


def _ratings(
    judged: Sequence[Judged], prompts: np.ndarray, anchor: str, source: str, seed: int
) -> tuple[Ratings, Ratings]:
    """Plain, and at equal style."""
    style_a = [style_of(one.of.response_a) for one in judged]
    style_b = [style_of(one.of.response_b) for one in judged]
    differences = {
        name: style_difference([of[name] for of in style_a], [of[name] for of in style_b]) for name in style_a[0]
    }
    present = {name: values for name, values in differences.items() if values.any()}
    a, b = [one.of.policy_a for one in judged], [one.of.policy_b for one in judged]
    verdict = [one.a_wins for one in judged]
    try:
        plain = rate(a, b, verdict, anchor=anchor, groups=prompts, seed=seed)
        return plain, rate(a, b, verdict, anchor=anchor, style=present, groups=prompts, seed=seed)
    except ValueError as error:
        remedy = "Give judgements that connect them, or evaluate each set in a file of its own."
        raise UserError(str(error), where=source, remedy=remedy) from error


def _agreement(joined: Mapping[str, Sequence[Judged]], seed: int) -> dict[str, Any]:
    """On pairs of responses that more than one judge has seen; the first verdict of each. Intervals are by prompt."""
    units: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for judge, own in joined.items():
        for one in own:
            of = one.of
            key = (of.prompt, of.policy_a, of.response_a, of.policy_b, of.response_b)
            units[key].setdefault(judge, _hard(one.a_wins))
    shared = {key: said for key, said in units.items() if len(said) > 1}
    if not shared:
        return {"n": 0, "alpha": None, "ac1": None, "kappa": None}
    categories = 2 * np.array([[said.get(judge, np.nan) for judge in joined] for said in shared.values()])  # 0, 1 and 2
    statistics: dict[str, Callable[[Floats], float]] = {
        "alpha": krippendorff_alpha,
        "ac1": lambda rows: gwet_ac(rows, num_categories=3),
        **({"kappa": cohen_kappa} if len(joined) == 2 else {}),
    }
    prompts = grouped([key[0] for key in shared])
    found = {name: statistic_interval(categories, one, prompts, seed) for name, one in statistics.items()}
    return {"n": len(shared), "kappa": None, **{name: _or_none(one) for name, one in found.items()}}


def _hard(verdict: float | None) -> float:
    assert verdict is not None
    return 0.5 + 0.5 * float(np.sign(verdict - 0.5))


def _or_none(one: Interval | None) -> dict[str, float] | None:
    return None if one is None else interval(one)

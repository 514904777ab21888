"""What a study of over-optimisation found, in words: of each curve, of one model, and of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from accord.monitor.values import ABSENT, fixed, number, percent, short, table
from accord.monitor.verdict import Verdict

CEILING: Final = "gold itself"
BEST_OF_N: Final = "Best of n"
OWN_UNITS: Final = " in its own units"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table. gold, proxy: at the end, with the interval where there is one. turn: in words. fit: alpha and
    beta, or why there is none."""

    name: str
    seeds: str
    gold: str
    proxy: str
    turn: str
    fit: str
    explained: str


def study_lines(results: Mapping[str, Any]) -> list[tuple[str, str, list[Line]]]:
    """Of each part that was measured its title, where gold and proxy stand, and the table."""
    best_of_n, found = table(results.get("best_of_n")), []
    if proxies := curves_of(best_of_n.get("proxies")):
        greatest = max((n for n in map(number, best_of_n.get("n") or ()) if n is not None), default=1)
        lines = [_line(name, one, _at_largest_n(one)) for name, one in proxies.items()]
        ceiling = fixed((best_of_n.get("gold") or [None])[-1])
        lines.append(Line(CEILING, ABSENT, ceiling, ABSENT, ABSENT, ABSENT, ABSENT))
        found.append((BEST_OF_N, f"n = {greatest:,.0f}", lines))
    if trainings := curves_of(results.get("training")):
        found.append(("Training", "the end", [_line(name, one, _at_end(one)) for name, one in trainings.items()]))
    return found


def what_it_found(results: Mapping[str, Any]) -> str:
    """In two sentences, of the proxy that promises most beyond what gold has: what both say of the best of n; and by
    which proxies gold turned. Empty where that was not measured."""
    best_of_n, gold = table(results.get("best_of_n")), short(results.get("gold"))
    ends = []
    for name, one in table(best_of_n.get("proxies")).items():
        last = [number((one.get(key) or [None])[-1]) for key in ("proxy", "gold", "gold_low", "gold_high")]
        if all(value is not None for value in last):
            ends.append((str(name), last))
    if not ends:
        return ""
    name, (proxy, own, low, high) = max(ends, key=lambda one: (one[1][0] or 0) - (one[1][1] or 0))
    n = number((best_of_n.get("n") or [None])[-1])
    return (
        f"The best of {n or 0:,.0f} by {short(name)} is {fixed(proxy)} standard deviations above the start by its own "
        f"account, and {fixed(own)} ({fixed(low)} to {fixed(high)}) by {gold}."
    ) + _turned(gold, curves_of(best_of_n.get("proxies")))


def _turned(gold: str, proxies: Mapping[str, Mapping[str, Any]]) -> str:
    fits = {name: table(one.get("fit")) for name, one in proxies.items() if one.get("fit")}
    seen = [short(name) for name, fit in fits.items() if fit.get("inside")]
    if seen:
        return f" By {', '.join(seen)} {gold} turns before that."
    return f" By no proxy was {gold} seen to turn." if fits else ""


def of_one_model(results: Mapping[str, Any], name: str) -> str:
    """In a sentence, what a study found of a policy or a proxy: the measurement at the end of its training, or of the
    best of n by its curve. Empty where it was not among them."""
    gold = short(results.get("gold"))
    for training in curves_of(results.get("training")).values():
        if measured := table(training.get("points")).get(name):
            distance, proxy, own = measured[-1]
            unit = "" if in_deviations(training) else ", in units of its own"
            return (
                f"In the last iteration of its training, before the update, it was {fixed(own)} standard deviations "
                f"from the start by {gold}, which only looked on, and {fixed(proxy)} by what it was trained on{unit}, "
                f"at a √KL of {fixed(distance)}."
            )
    best_of_n = table(results.get("best_of_n"))
    for family, one in curves_of(best_of_n.get("proxies")).items():
        if name in (one.get("names") or ()):
            both, n = _at_largest_n(one), number((best_of_n.get("n") or [None])[-1])
            if both[0] == ABSENT or n is None:
                return ""
            seeds = "" if family == name else f", the mean of the {len(one['names'])} seeds of {short(family)}"
            return f"The best of {n:,.0f} by it is {both[0]} standard deviations above the start by {gold}{seeds}."
    return ""


def with_studies(verdict: Verdict, studies: Sequence[Mapping[str, Any]]) -> Verdict:
    """The verdict on a run; where no evaluation gives one, what the studies found. studies: their results."""
    found = " ".join(map(what_it_found, studies)).strip()
    return replace(verdict, headline=found, tone="mixed") if verdict.tone == "unknown" and found else verdict


def _at_largest_n(one: Mapping[str, Any]) -> tuple[str, str]:
    """Gold and proxy, in words."""
    gold, proxy = (
        [number((one.get(f"{by}{end}") or [None])[-1]) for end in ("", "_low", "_high")] for by in ("gold", "proxy")
    )
    return ABSENT if None in gold else f"{fixed(gold[0])} ({fixed(gold[1])} to {fixed(gold[2])})", fixed(proxy[0])


def _at_end(one: Mapping[str, Any]) -> tuple[str, str]:
    """Gold and proxy of the last measurement, each the mean of the runs, in words; and the proxy's unit, where it is
    its own."""
    ends = [measured[-1] for measured in table(one.get("points")).values() if measured]
    if not ends:
        return ABSENT, ABSENT
    proxy, gold = (sum(end[at] for end in ends) / len(ends) for at in (1, 2))
    return fixed(gold), fixed(proxy) + ("" if in_deviations(one) else OWN_UNITS)


def in_deviations(training: Mapping[str, Any]) -> bool:
    """Whether the proxy of a training is in standard deviations of the samples, as gold is: results say so since some
    are not."""
    return training.get("proxy_in_deviations") is not False


def _line(name: str, one: Mapping[str, Any], ends: tuple[str, str]) -> Line:
    num, fit = len(one.get("names") or ()), table(one.get("fit"))
    seeds = str(num) if num else ABSENT
    if not fit:
        why = str(one.get("no_fit") or "")
        return Line(name, seeds, *ends, ABSENT, f"no curve: {why}" if why else ABSENT, ABSENT)
    coefficients = f"{fixed(fit.get('alpha'))}, {fixed(fit.get('beta'))}"
    return Line(name, seeds, *ends, turn_in_words(one), coefficients, f"{percent(fit.get('r_squared'))} %")


def differences_in_words(best_of_n: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for one in map(table, best_of_n.get("differences") or ()):
        gold, low, high = (number(one.get(key)) for key in ("gold", "gold_low", "gold_high"))
        if gold is not None and low is not None and high is not None:
            shown = "" if low > 0 or high < 0 else ", not shown"
            title = f"{one.get('first')} less {one.get('second')}, n = {one.get('n')}"
            found.append((title, f"{gold:+.2f} ({low:+.2f} to {high:+.2f}){shown}"))
    return found


def turn_in_words(one: Mapping[str, Any]) -> str:
    """Where the gold score of a curve is highest: only as far as was measured, as a curve beyond that is no finding."""
    fit, curve = table(one.get("fit")), table(one.get("curve"))
    peak, farthest = number(fit.get("peak")), number((curve.get("distance") or [None])[-1])
    if peak is None:
        if (number(fit.get("alpha")) or 0) > 0:
            return "none: gold rises all the way"
        gold = [value for value in map(number, curve.get("gold") or ()) if value is not None]
        return f"none: gold falls from the start{', then rises' if gold and gold[-1] > min(gold) else ''}"
    points = [number(point[0]) for measured in table(one.get("points")).values() for point in measured]
    nearest = min((distance for distance in points if distance), default=None)
    if nearest is not None and peak < nearest:
        alone = "" if "share_inside" in fit else ", of one run"
        return f"before {fixed(nearest)}, the nearest: gold falls from there on{alone}"
    if farthest is not None and peak > farthest:
        return f"not reached: beyond {fixed(farthest)}"
    if "share_inside" not in fit:
        return f"{fixed(peak)}, of one run: no interval"
    low, high = number(fit.get("peak_low")), number(fit.get("peak_high"))
    ends = "" if low is None else f" ({fixed(low)} to {fixed(high) if high is not None else 'beyond'})"
    return f"{fixed(peak)}{ends}{'' if fit.get('inside') else ', not shown'}"


def curves_of(some: object) -> dict[str, Mapping[str, Any]]:
    return {str(name): table(one) for name, one in table(some).items()}

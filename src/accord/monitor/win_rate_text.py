"""What judged pairs say, as lines for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from accord.monitor.evaluation_text import baseline_lines, interval_text, table_lines
from accord.monitor.values import ABSENT, clean, short


def win_rate_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Of `evaluate_judged`."""
    yield f"{clean(found['data'])}, against {clean(found['baseline'])}"
    if found["left_out"]["num_rows"]:
        yield f"rows that cannot be used: {found['left_out']['num_rows']:,}, the first of them:"
        yield f"  {clean(found['left_out']['first'])}"
    for judge, one in found["judges"].items():
        yield ""
        yield f"{clean(judge)}: {one['n']:,} pairs of responses, {one['both_orders']:,} judged in both orders"
        if one["both_orders"]:
            yield f"  verdicts that change with the order {interval_text(one['flips'])}"
            yield f"  verdicts for the first place        {interval_text(one['first_place'])}"
        yield from _policies(one["policies"])
        yield ""
        yield "the same winner without reading, of the verdicts that name one"
        yield from baseline_lines({name: floor for name, floor in one["baselines"].items() if name != "constant"})
        yield from _ratings(one)
    if "agreement" in found:
        yield ""
        agreement = found["agreement"]
        numbers = ", ".join(f"{name} {interval_text(agreement[name], 2)}" for name in ("alpha", "ac1", "kappa"))
        yield f"the judges on {agreement['n']:,} pairs that several judged: {numbers}"


def _policies(policies: Mapping[str, Any]) -> Iterator[str]:
    if not policies:
        return
    yield ""
    rows = [("policy", "pairs", "win rate", "ties", "at equal length")]
    rows += [
        (
            short(name),
            f"{one['n']:,}",
            interval_text(one["win_rate"]),
            interval_text(one["ties"]),
            interval_text(one["length_controlled"]),
        )
        for name, one in policies.items()
    ]
    yield from table_lines(rows)


def _ratings(one: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    rows = [("rating", "", "at equal style")]
    rows += [
        (short(name), interval_text(rating, 0), interval_text(one["style_ratings"].get(name), 0))
        for name, rating in one["ratings"].items()
    ]
    yield from table_lines(rows)
    yield f"  style, in log-odds for a standard deviation{'' if one['style'] else f': {ABSENT}'}"
    for name, effect in one["style"].items():
        yield f"    {name:<9} {interval_text(effect, 2)}"
    if one["one_sided"]:
        names = ", ".join(map(clean, one["one_sided"]))
        yield f"  {names} won or lost everything: how far off, the data do not say"

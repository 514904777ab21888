"""Pictures of a campaign of annotation: answers by day, who agrees with whom, who prefers what stands first.

Run as a program it draws one: `{"name", "numbers", "dark"}` comes in, and the SVG goes out. Drawing stops every other
thread of its process for as long as it takes, and a server has others to answer.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final

import altair as alt

from accord.monitor.pictures import dot_plot
from accord.monitor.svg import NOTHING, PALETTE, WIDTH, Datum, Picture, darkened, data_of, render
from accord.monitor.values import number, percent, short

FEWEST_DAYS: Final = 14  # on the axis: fewer would be broad bars, and ticks at hours
_CELL: Final = 56  # pixels of a pair of people; of many the picture is large, so that the numbers can be read


def answers_by_day(days: Sequence[tuple[str, int]]) -> Picture:
    """A bar for each day. days: as 2026-01-31, in their order, and how many; "" when there are none."""
    if not days:
        return NOTHING
    first, end = date.fromisoformat(days[0][0]), date.fromisoformat(days[-1][0]) + timedelta(days=1)
    first = min(first, end - timedelta(days=FEWEST_DAYS))
    bars: list[Datum] = [
        {"day": day, "next": (date.fromisoformat(day) + timedelta(days=1)).isoformat(), "num": num} for day, num in days
    ]
    scale = alt.Scale(type="utc", domain=[first.isoformat(), end.isoformat()], nice=False)
    ticks = alt.Axis(format="%Y-%m-%d", tickCount=5, tickMinStep=86_400_000, grid=False)
    x = alt.X("day:T", title=None, scale=scale, axis=ticks)
    y = alt.Y("num:Q", title="answers", axis=alt.Axis(format="d", tickMinStep=1, tickCount=5))
    chart = alt.Chart(data_of(bars)).mark_bar(color=PALETTE[1]).encode(x=x, x2="next:T", y=y, y2=alt.datum(0))
    chart = chart.properties(width=WIDTH - 60, height=170)
    return render(chart, "Answers by day", ", ".join(f"{day} {num}" for day, num in days))


def agreement_matrix(people: Sequence[str], share: Sequence[Sequence[float | None]]) -> Picture:
    """A cell for every two people. share [n, n]: of pairs on which they agree, None where they have none; "" when
    nobody has."""
    cells: list[Datum] = [
        {"one": short(one), "other": short(other), "share": value, "text": f"{value:.2f}"}
        for i, one in enumerate(people)
        for j, other in enumerate(people)
        if i != j and (value := number(share[i][j])) is not None
    ]
    if not cells:
        return NOTHING
    across = alt.Axis(title=None, ticks=False, domain=False, labelPadding=6, labelAngle=-40)
    down = alt.Axis(title=None, ticks=False, domain=False, labelPadding=6)
    everybody = alt.Scale(domain=[short(one) for one in people], paddingInner=0.04)
    x, y = alt.X("other:N", axis=across, scale=everybody), alt.Y("one:N", axis=down, scale=everybody)
    base = alt.Chart(data_of(cells)).encode(x=x, y=y)
    scale = alt.Scale(domain=[0.0, 1.0], range=["#f3efe6", PALETTE[6]], interpolate="rgb")  # black can be read on all
    chart = alt.layer(
        base.mark_rect().encode(color=alt.Color("share:Q", scale=scale, legend=None)),
        base.mark_text(fontSize=12, color=PALETTE[7]).encode(text="text:N"),
    ).properties(width=alt.Step(_CELL), height=alt.Step(_CELL // 2))
    told = ", ".join(f"{one['one']} and {one['other']} {one['text']}" for one in cells)
    return render(chart, "The share of pairs on which two people agree", told)


def first_preferred(people: Sequence[Mapping[str, Any]]) -> Picture:
    """A dot and its interval for each of the people, beside a line at one half; "" when there are none.

    people: `name`; `num`, of how many; `value`, `low`, `high`.
    """
    data: list[Datum] = [
        {
            "label": short(one["name"]),
            "x": one["value"],
            "x_low": one["low"],
            "x_high": one["high"],
            "text": f"{percent(one['value'])} % of {one['num']:,}",
            "colour": PALETTE[1],
        }
        for one in people
        if one["num"]
    ]
    if not data:
        return NOTHING
    chart = dot_plot(data, "how often the first response on the screen was preferred", domain=(0.0, 1.0))
    told = ", ".join(f"{one['label']} {one['text']}" for one in data)
    return render(chart, "How often the first response on the screen was preferred", told)


PICTURES: Final[Mapping[str, Callable[..., str]]] = {
    "days": answers_by_day,
    "agreement": agreement_matrix,
    "first": first_preferred,
}


def main() -> None:
    os.nice(10)  # people who wait for an item go first
    asked = json.load(sys.stdin)
    svg = PICTURES[asked["name"]](**asked["numbers"])
    sys.stdout.write(darkened(svg) if asked["dark"] else svg)


if __name__ == "__main__":
    main()

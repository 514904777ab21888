"""The metrics of a training as small multiples. Of a long curve the data that is drawn is bounded, and spikes stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import altair as alt

from accord.monitor.curves import keys_of, points_of, thin, unit_of
from accord.monitor.panels import PANELS, SHARES
from accord.monitor.svg import NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import short

Row = Mapping[str, Any]

MAX_POINTS: Final = 200  # of a curve: a longer one is drawn as so many means, with the smallest and the largest of each
LINE_WITH_DOTS: Final = 30  # a curve with fewer points shows them


def training_curves(step: str, kind: str, rows: Sequence[Row]) -> Picture:
    """The metrics of one step as small multiples, three a row. A kind without a list of panels shows its first six."""
    panels = [(title, _curve(rows, lines)) for title, lines in keys_of(kind, rows).items()]
    note = f"n: {len(rows):,} row{'' if len(rows) == 1 else 's'} of metrics"
    return _multiples(f"Training curves of {short(step)}", kind, panels, note)


def curves_of_runs(
    step: str,
    kind: str,
    rows: Mapping[str, Sequence[Row]],
    colours: Mapping[str, str],
    beside: Sequence[Mapping[str, Sequence[Row]]] = (),
) -> Picture:
    """A step of several runs: of each metric a panel, and in it a line for each run that has it.

    rows: by run, its metrics. colours: of the runs. beside: the rows of other steps of this kind, which are drawn
    beside it. What is one panel of a report has one range of values in all of them, and all panels have one of
    iterations.
    """
    panels, ranges = [], {}
    for title, of in PANELS.get(kind, ()):
        every = [
            point
            for some in (rows, *beside)
            for of_run in some.values()
            for key in of.values()
            for point in _curve(of_run, {title: key})
        ]
        for line, key in of.items():
            data = [point for run, of_run in rows.items() for point in _curve(of_run, {run: key})]
            if data:
                panels.append((title if len(of) == 1 else f"{title}, {line}", data))
                ranges[panels[-1][0]] = _Ranges.of(every, title in SHARES)
    if ranges:
        across = [one.iterations for one in ranges.values()]
        ends = min(low for low, _ in across), max(high for _, high in across)
        ranges = {title: replace(one, iterations=ends, shared=True) for title, one in ranges.items()}
    note = f"n, rows of metrics: {', '.join(f'{run} {len(of_run):,}' for run, of_run in rows.items())}"
    return _multiples(f"{short(step)} of each run", kind, panels, note, colours, ranges)


@dataclass(frozen=True, slots=True)
class _Ranges:
    """What the axes of a panel go over. is_share: the values from 0 to 1, whatever they are. shared: with others, so
    that the axes go over all of it, whatever the panel holds."""

    iterations: tuple[float, float]
    values: tuple[float, float]
    is_share: bool = False
    shared: bool = False

    @classmethod
    def of(cls, data: Sequence[Datum], is_share: bool) -> _Ranges:
        xs = [float(d["x"]) for d in data]
        low, high = min(float(d.get("low", d["y"])) for d in data), max(float(d.get("high", d["y"])) for d in data)
        return cls((min(xs), max(xs)), (low, high), is_share)


def _multiples(
    title: str,
    kind: str,
    panels: Sequence[tuple[str, list[Datum]]],
    note: str,
    colours: Mapping[str, str] | None = None,
    ranges: Mapping[str, _Ranges] | None = None,
) -> Picture:
    if not panels:
        return NOTHING
    x_title = unit_of(kind)
    columns = min(3, len(panels))
    width = (WIDTH - 26 - 62 * (columns - 1)) // columns
    charts = [
        _panel(of, data, x_title, width, ranges[of] if ranges else _Ranges.of(data, of in SHARES), colours)
        for of, data in panels
    ]
    chart = alt.concat(*charts, columns=columns, bounds="flush", spacing={"row": 94, "column": 62})
    chart = chart.resolve_scale(color="independent")
    drawn = [{"panel": of, **point} for of, data in panels for point in data]
    note += "; values of single batches, no intervals"
    if any("low" in point for point in drawn):
        note += "; each point is the mean of its neighbours, the band goes from the smallest to the largest of them"
    return render(
        chart,
        title,
        ", ".join(of for of, _ in panels),
        rows=drawn,
        columns={"panel": "curve", "line": "line", "x": x_title, "y": "value", "low": "smallest", "high": "largest"},
        note=note,
    )


def _curve(rows: Sequence[Row], lines: Mapping[str, str]) -> list[Datum]:
    data: list[Datum] = []
    for line, key in lines.items():
        points = points_of(rows, key)
        for one in thin(points, MAX_POINTS):
            data.append({"line": line, "x": one.x, "y": one.y})
            data[-1] |= {"low": one.low, "high": one.high} if len(points) > MAX_POINTS else {}
    return data


def _panel(
    title: str,
    data: list[Datum],
    x_title: str,
    width: int,
    over: _Ranges,
    colours: Mapping[str, str] | None = None,
) -> Any:
    lines = list(dict.fromkeys(str(d["line"]) for d in data))
    legend = alt.Legend(title=None, orient="bottom", symbolType="stroke", offset=4) if len(lines) > 1 else None
    usual = [PALETTE[1], PALETTE[3], *PALETTE[4:]][: len(lines)]
    scale = alt.Scale(domain=lines, range=[colours[line] for line in lines] if colours else usual)
    dots = len(data) < LINE_WITH_DOTS * len(lines)
    low, high = over.values
    spread = alt.Scale(domain=[low, high] if over.shared else alt.Undefined, zero=False, nice=True)
    if low == high:  # a flat line, in the middle
        room = 0.1 * (abs(low) or 1.0)
        spread = alt.Scale(domain=[low - room if low < 0 else max(0.0, low - room), low + room])
    if over.is_share:
        spread = alt.Scale(domain=[0.0, 1.0])
    first, last = map(round, over.iterations)
    few = last - first < 8  # then the ticks between would be fractions, and 1.5 be written as 2
    whole = list(range(first, last + 1, 1 if last - first < 5 else 2)) if few else alt.Undefined
    ticks = alt.Axis(values=whole, tickCount=4, grid=False, format="d")
    size = max(abs(low), abs(high))
    heading = alt.Axis(  # an axis title, because a chart's own title moves with the length of the tick labels
        format=".2~e" if size >= 1e5 or 0 < size < 1e-3 else "~r",
        tickCount=4,
        titleAngle=0,
        titleAlign="left",
        titleX=0,
        titleY=-14,
        titleFontSize=13,
        titleFontWeight=600,
    )
    wide = over.shared and over.iterations[0] < over.iterations[1]
    x_scale = alt.Scale(domain=list(over.iterations) if wide else alt.Undefined, zero=False)
    x = alt.X("x:Q", title=x_title, axis=ticks, scale=x_scale)
    colour = alt.Color("line:N", scale=scale, legend=legend)
    line = (
        alt.Chart(data_of(data))
        .mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=14) if dots else False)
        .encode(x=x, y=alt.Y("y:Q", title=title, axis=heading, scale=spread), color=colour)
    )
    banded = [d for d in data if "low" in d]
    if not banded:
        return line.properties(width=width, height=110)
    band = (
        alt.Chart(data_of(banded))
        .mark_area(opacity=0.25)
        .encode(x=x, y=alt.Y("low:Q", title=title, axis=heading, scale=spread), y2="high:Q", color=colour)
    )
    return alt.layer(band, line).properties(width=width, height=110)

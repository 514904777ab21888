"""The rules and the order of a piecewise reward on the same responses: which model rewards what, and what an unsafe
response is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import altair as alt

from accord.monitor.svg import INK, NOTHING, PALETTE, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import clean, fixed, number, percent, table

_KINDS: Final = {"unsafe": PALETTE[3], "safe": PALETTE[4]}
_MODELS: Final = {"safety": PALETTE[2], "helpfulness": PALETTE[1]}
_HEIGHT: Final = 40  # pixels of a rule


def orders_picture(name: str, rows: Sequence[Any]) -> Picture:
    """name: of the step. rows: as `accord.evaluate.orders` has them, of which anything may be missing."""
    shares: list[Datum] = []
    rewards: list[Datum] = []
    told = []
    for row in map(table, rows):
        by_safety = number(row.get("by_safety"))
        if by_safety is None:
            continue
        label = f"{clean(row.get('rule'), 20)}, {clean(row.get('order'), 30)}"
        shares.append({"label": label, "model": "safety", "from": 0.0, "to": by_safety})
        shares.append({"label": label, "model": "helpfulness", "from": by_safety, "to": 1.0})
        said = [f"{label}: {percent(by_safety)} % by safety"]
        for kind in _KINDS:
            mean = table(row.get(kind))
            value, low, high = (number(mean.get(end)) for end in ("value", "low", "high"))
            if value is not None:
                ends = {} if low is None or high is None else {"low": low, "high": high}
                rewards.append({"label": label, "kind": kind, "x": value, **ends})
                said.append(f"{kind} {fixed(value)}")
        told.append(", ".join(said))
    if not shares:
        return NOTHING
    labels = list(dict.fromkeys(str(one["label"]) for one in shares))
    left = _shares(shares, labels)
    charts = [left, _rewards(rewards, labels)] if rewards else [left]
    chart = alt.hconcat(*charts, spacing=24).resolve_scale(color="independent")
    num = next((one for row in rows if (one := number(table(row).get("num"))) is not None), None)
    return render(
        chart,
        f"Rules and order of {clean(name, 60)}",
        "; ".join(told),
        rows=[{**one, "share": float(one["to"]) - float(one["from"])} for one in shares] + rewards,
        columns={
            "label": "rule and order",
            "model": "rewarded for",
            "share": "share of responses",
            "kind": "responses",
            "x": "mean reward, whitened",
            "low": "low",
            "high": "high",
        },
        note=f"{'n not recorded' if num is None else f'n: {num:,.0f} responses'}; 95 % intervals: bootstrap by prompt",
    )


def _shares(shares: list[Datum], labels: Sequence[str]) -> Any:
    scale = alt.Scale(domain=list(_MODELS), range=list(_MODELS.values()))
    legend = alt.Legend(title="rewarded for", orient="bottom", symbolType="square")
    x = alt.X(
        "from:Q", title="share of responses", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=5)
    )
    return (
        alt.Chart(data_of(shares))
        .mark_bar(opacity=0.85)
        .encode(x=x, x2="to:Q", y=_y(labels), color=alt.Color("model:N", scale=scale, legend=legend))
        .properties(width=(WIDTH - 260) // 2, height=_HEIGHT * len(labels))
    )


def _rewards(rewards: list[Datum], labels: Sequence[str]) -> Any:
    scale = alt.Scale(domain=list(_KINDS), range=list(_KINDS.values()))
    legend = alt.Legend(title="responses", orient="bottom", symbolType="circle", symbolOpacity=1)
    colour = alt.Color("kind:N", scale=scale, legend=legend)
    x_scale = alt.Scale(zero=True, padding=10)
    x = alt.X("x:Q", title="mean reward, whitened", scale=x_scale, axis=alt.Axis(tickCount=5))
    y = _y(labels, shown=False)
    ends = alt.Chart(data_of([one for one in rewards if "low" in one]))
    layers = [
        alt.Chart(data_of([{"x": 0.0}])).mark_rule(strokeDash=[4, 4], color=INK, opacity=0.6).encode(x=x),
        ends.mark_rule(strokeWidth=3, opacity=0.5).encode(
            x=alt.X("low:Q", title="mean reward, whitened", scale=x_scale), x2="high:Q", y=y, color=colour
        ),
        alt.Chart(data_of(rewards)).mark_point(size=80, filled=True, opacity=1).encode(x=x, y=y, color=colour),
    ]
    return alt.layer(*layers).properties(width=(WIDTH - 260) // 2, height=_HEIGHT * len(labels))


def _y(labels: Sequence[str], *, shown: bool = True) -> alt.Y:
    axis = alt.Axis(title=None, grid=True, ticks=False, domain=False, labels=shown, labelPadding=8)
    return alt.Y("label:N", sort=list(labels), axis=axis)

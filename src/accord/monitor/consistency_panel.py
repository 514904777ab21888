"""How long policies hold to an instruction, for a page: the shares by turn, the differences, and a curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import altair as alt

from accord.monitor.cells import Cell, count, p_value, share_cell
from accord.monitor.pictures import policy_colours
from accord.monitor.svg import NOTHING, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import ABSENT, clean, number, percent, short, table

LOW: Final = 0.5  # a share of the first measured turn below which later ones say little


@dataclass(frozen=True, slots=True)
class ConsistencyPanel:
    """turns: the headings. rows: of each policy its colour and a cell for each turn, and whether it is what chance
    gives. changes: of two policies and a turn, in words, the numbers. kinds: of each policy and kind a cell for each
    turn. picture: or ""."""

    name: str
    by: str
    num_dialogues: str
    turns: list[str]
    rows: list[tuple[str, str, bool, list[Cell]]]
    changes: list[tuple[str, str, list[str]]]
    kinds: list[tuple[str, str, list[Cell]]]
    notes: list[str]
    picture: Picture


def consistency_panel(name: str, results: Mapping[str, Any]) -> ConsistencyPanel:
    """name: of the step. results: its results.json, of which anything may be missing."""
    policies = {str(key): table(row) for key, row in table(results.get("policies")).items()}
    colours = policy_colours(policies)
    turns = list(dict.fromkeys(str(turn) for row in policies.values() for turn in table(row.get("turns"))))
    rows = []
    for key, row in policies.items():
        rows.append((key, colours[key], False, _cells(row.get("turns"), turns)))
        if any(number(table(one).get("value")) is not None for one in table(row.get("by_chance")).values()):
            rows.append((key, colours[key], True, _cells(row.get("by_chance"), turns)))
    return ConsistencyPanel(
        name=name,
        by=_decided(results),
        num_dialogues=count(results.get("num_dialogues")),
        turns=turns,
        rows=rows,
        changes=[change for row in _list(results.get("compared")) for change in _changes(table(row))],
        kinds=[
            (key, str(kind), _cells(shares, turns))
            for key, row in policies.items()
            for kind, shares in table(row.get("kinds")).items()
        ],
        notes=_notes(policies, turns),
        picture=kept_by_turn(name, policies, colours, f"n: {count(results.get('num_dialogues'))} dialogues"),
    )


def kept_by_turn(
    step: str, policies: Mapping[str, Mapping[str, Any]], colours: Mapping[str, str], size: str = ""
) -> Picture:
    """A line for each policy, with bars for the intervals; "" where nothing was measured at two turns."""
    points: list[Datum] = [
        {
            "policy": short(name),
            "turn": turn,
            "kept": value,
            **{end: value if (at := number(share.get(end))) is None else at for end in ("low", "high")},
        }
        for name, row in policies.items()
        for key, of_turn in table(row.get("turns")).items()
        if (turn := _whole(key)) is not None and (value := number((share := table(of_turn)).get("value"))) is not None
    ]
    turns = sorted({point["turn"] for point in points})
    if len(turns) < 2:
        return NOTHING
    x = alt.X(
        "turn:Q",
        title="turn of the dialogue",
        axis=alt.Axis(values=[float(turn) for turn in turns], format="d"),
        scale=alt.Scale(zero=False, padding=12),
    )
    scale = alt.Scale(domain=[0.0, 1.0], nice=False)
    y = alt.Y("kept:Q", title="instruction held to", scale=scale, axis=alt.Axis(format="%", tickCount=6))
    drawn = {short(name): colour for name, colour in colours.items()}
    legend = alt.Legend(title="policy", symbolType="square", symbolOpacity=1)
    colour = alt.Color(
        "policy:N", scale=alt.Scale(domain=list(drawn), range=list(drawn.values())), legend=legend, sort=list(drawn)
    )
    base = alt.Chart(data_of(points))
    layers = [
        base.mark_rule(strokeWidth=2, opacity=0.5).encode(
            x=x, y=alt.Y("low:Q", title="instruction held to", scale=scale), y2="high:Q", color=colour
        ),
        base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour),
        base.mark_point(size=70, filled=True, opacity=1).encode(x=x, y=y, color=colour),
    ]
    told = [f"{one['policy']} at turn {one['turn']} {percent(one['kept'])} %" for one in points]
    chart = alt.layer(*layers).properties(width=WIDTH - 190, height=260)
    return render(
        chart,
        f"Instruction held to, by turn, {short(step, 40)}",
        ", ".join(told),
        rows=points,
        columns={"policy": "policy", "turn": "turn", "kept": "held to", "low": "low", "high": "high"},
        note="; ".join(filter(None, [size, "95 % intervals: Wilson's"])),
    )


def _cells(shares: object, turns: list[str]) -> list[Cell]:
    return [share_cell(table(table(shares).get(turn))) for turn in turns]


def _changes(row: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    found = []
    for turn, one in table(row.get("turns")).items():
        test, title = table(one), f"{clean(row.get('after'), 60)} against {clean(row.get('before'), 60)}"
        if test:
            cells = [count(test.get(of)) for of in ("gained", "lost", "both", "neither")]
            found.append(
                (title, str(turn), [_points(table(test.get("difference"))), *cells, p_value(test.get("p_value"))])
            )
    return found


def _points(difference: Mapping[str, Any]) -> str:
    """In percentage points."""
    ends = [number(difference.get(end)) for end in ("value", "low", "high")]
    if any(one is None for one in ends):
        return ABSENT
    value, low, high = (f"{100 * (one or 0.0):+z.0f}" for one in ends)
    return f"{value} ({low} to {high})"


def _decided(results: Mapping[str, Any]) -> str:
    by = clean(results.get("by") or ABSENT, 80)
    agreement = table(results.get("agrees_with_rules"))
    if number(agreement.get("value")) is None:
        return f"Decided by {by}."
    cell = share_cell(agreement)
    return (
        f"Decided by {by}, which says what the constraints' rules do in {cell.text} ({cell.interval}) of the answers."
    )


def _notes(policies: Mapping[str, Mapping[str, Any]], turns: list[str]) -> list[str]:
    notes = []
    for name, row in policies.items():
        shares = [table(table(row.get("turns")).get(turn)) for turn in turns]
        first = number(shares[0].get("value")) if shares else None
        if first is not None and first < LOW and turns[0] == "1":
            notes.append(
                f"{clean(name, 60)} holds to {percent(first)} % of the instructions at once: it follows few, so "
                "that what it keeps of them later says little."
            )
        unknown = {
            turn: num for turn, one in zip(turns, shares, strict=True) if (num := number(one.get("num_unknown")))
        }
        if unknown:
            told = ", ".join(f"{num:.0f} at turn {turn}" for turn, num in unknown.items())
            notes.append(f"Of {clean(name, 60)} could not be decided, and are left out: {told}.")
    return notes


def _whole(text: object) -> int | None:
    return int(str(text)) if str(text).isascii() and str(text).isdigit() and len(str(text)) < 4 else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

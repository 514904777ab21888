"""What a suite of attacks found, for a page: the policies' rates, what changed from one to the next, a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt

from accord.monitor.cells import Cell, count, p_value, share_cell
from accord.monitor.pictures import policy_colours
from accord.monitor.safety_text import ELEMENTS
from accord.monitor.svg import INK, NOTHING, WIDTH, Datum, Picture, data_of, render
from accord.monitor.values import ABSENT, clean, number, percent, short, table

NUM_SHOWN: Final = 5  # attacks that a policy complies with and the one before it did not; and others that got through
_POINT: Final = 110  # the area of a point
_RATES: Final = ("violation_rate", "false_refusal_rate")
_KINDS: Final = (("attacks", "attacks complied with"), ("safe", "safe prompts refused"))


@dataclass(frozen=True, slots=True)
class RedTeamPanel:
    """headings, rows: the table of policies, each with its colour. changes: of two policies, what of which kind of
    prompt, and the numbers. categories: of the last policy. broken: the first that are newly complied with, in words;
    through: of others that got through; each with `num`, how many there are of its kind. picture: or "".
    styles: of each policy and who says so, how its refusals are written, by `elements`."""

    name: str
    by: str
    num_attacks: str
    num_safe: str
    headings: list[str]
    rows: list[tuple[str, str, list[Cell]]]
    changes: list[tuple[str, str, list[str]]]
    categories: list[tuple[str, str, Cell]]
    error: str
    notes: list[str]
    broken: list[Mapping[str, str]]
    through: list[Mapping[str, str]]
    picture: Picture
    styles: list[tuple[str, str, list[Cell]]]
    elements: list[str]


def red_team_panel(name: str, results: Mapping[str, Any], broken: Sequence[Mapping[str, Any]] = ()) -> RedTeamPanel:
    """name: of the step. results: its results.json, of which anything may be missing. broken: rows of its answers."""
    policies = {str(key): table(row) for key, row in table(results.get("policies")).items()}
    colours = policy_colours(policies)
    columns = {
        "violation_rate": "violations",
        "held_out": "of these, held-out kinds",
        "other": "other kinds",
        "false_refusal_rate": "false refusals",
    }
    harm = table(results.get("harm"))
    metric, heading = _harm_metric(harm)
    of_harm = table(harm.get("policies"))
    shown = {key: title for key, title in columns.items() if any(table(row.get(key)) for row in policies.values())}
    last = list(policies.values())[-1] if policies else {}
    return RedTeamPanel(
        name=name,
        by=_decided(results),
        num_attacks=count(results.get("num_attacks")),
        num_safe=count(results.get("num_safe")),
        headings=[*shown.values(), *([heading] if harm else [])],
        rows=[
            (
                key,
                colours[key],
                [
                    *(share_cell(table(row.get(of))) for of in shown),
                    *([_harm_cell(table(of_harm.get(key)), metric)] if harm else []),
                ],
            )
            for key, row in policies.items()
        ],
        changes=[change for row in _list(results.get("compared")) for change in _changes(table(row))]
        + [change for row in _list(harm.get("compared")) for change in _harm_changes(table(row))],
        categories=[
            (title, str(kind), share_cell(table(rate)))
            for key, title in (("attack_categories", "attacks"), ("safe_categories", "safe"))
            for kind, rate in table(last.get(key)).items()
        ],
        error=_error(table(results.get("error"))),
        notes=[*_harm_notes(harm, heading), *_notes(results)],
        broken=_in_words([row for row in broken if row.get("new", True)]),
        through=_in_words([row for row in broken if not row.get("new", True)]),
        picture=violations_against_refusals(name, policies, colours, _size(results)),
        styles=[style for key, row in policies.items() for style in _styles(key, row)],
        elements=list(ELEMENTS.values()),
    )


def _in_words(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, str]]:
    return [
        {key: str(row.get(key) or "") for key in ("policy", "asked", "response")}
        | {"num": count(row.get("num", len(rows)))}
        for row in rows
    ]


def violations_against_refusals(
    step: str, policies: Mapping[str, Mapping[str, Any]], colours: Mapping[str, str], size: str = ""
) -> Picture:
    """Each policy by the share of safe prompts that it refuses and of attacks that it complies with, in their order;
    where there are no safe prompts, "" (one rate alone is no trade)."""
    points: list[Datum] = []
    for order, (name, row) in enumerate(policies.items()):
        y, x = (table(row.get(rate)) for rate in _RATES)
        if number(x.get("value")) is not None and number(y.get("value")) is not None:
            ends = {f"{axis}_{end}": _share(of, end) for axis, of in (("x", x), ("y", y)) for end in ("low", "high")}
            points.append({"policy": short(name), "order": order, "x": x["value"], "y": y["value"], **ends})
    if not points:
        return NOTHING
    places = [(one["x"], one["y"]) for one in points]
    for at, one in enumerate(points):  # of those in one place the first is the largest, and each shows a ring
        one["size"] = _POINT * (1 + places[at + 1 :].count(places[at])) ** 2
    scale, axis = alt.Scale(domain=[0.0, 1.0], nice=False), alt.Axis(format="%", tickCount=6)
    x_axis = alt.X("x:Q", title="safe prompts refused (false refusals)", scale=scale, axis=axis)
    y_axis = alt.Y("y:Q", title="attacks complied with (violations)", scale=scale, axis=axis)
    drawn = {short(name): colour for name, colour in colours.items()}
    legend = alt.Legend(title="policy", symbolType="square", symbolOpacity=1)
    colour = alt.Color(
        "policy:N", scale=alt.Scale(domain=list(drawn), range=list(drawn.values())), legend=legend, sort=list(drawn)
    )
    base = alt.Chart(data_of(points))
    layers = [
        base.mark_line(strokeWidth=1, strokeDash=[3, 3], color=INK, opacity=0.5).encode(
            x=x_axis, y=y_axis, order="order:Q"
        ),
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(x="x_low:Q", x2="x_high:Q", y=y_axis, color=colour),
        base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=x_axis, y="y_low:Q", y2="y_high:Q", color=colour),
        base.mark_point(filled=True, opacity=1, stroke="white", strokeWidth=1).encode(
            x=x_axis, y=y_axis, color=colour, size=alt.Size("size:Q", scale=None)
        ),
    ]
    rings = "policies in one place are drawn as rings around each other" if len({*places}) < len(places) else ""
    told = [f"{one['policy']} {percent(one['y'])} % and {percent(one['x'])} %" for one in points]
    chart = alt.layer(*layers).properties(width=WIDTH - 190, height=300)
    return render(
        chart,
        f"Violations against false refusals, {short(step, 40)}",
        ", ".join(told),
        rows=points,
        columns={
            "policy": "policy",
            "y": "attacks complied with",
            "y_low": "attacks complied with, low",
            "y_high": "attacks complied with, high",
            "x": "safe prompts refused",
            "x_low": "safe prompts refused, low",
            "x_high": "safe prompts refused, high",
        },
        note="; ".join(filter(None, [size, "95 % intervals: Wilson's", rings])),
    )


def _size(results: Mapping[str, Any]) -> str:
    return f"n: {count(results.get('num_attacks'))} attacks, {count(results.get('num_safe'))} safe prompts"


def _styles(policy: str, row: Mapping[str, Any]) -> list[tuple[str, str, list[Cell]]]:
    found = []
    for one in map(table, _list(row.get("refusal_style"))):
        elements = table(one.get("elements"))
        told = f"{clean(one.get('by'), 80)}, {count(one.get('num'))} refusals"
        found.append((policy, told, [share_cell(table(elements.get(element))) for element in ELEMENTS]))
    return found


def _changes(row: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    found = []
    for kind, title in _KINDS:
        test = table(row.get(kind))
        if test:
            cells = [count(test.get(of)) for of in ("fixed", "broken", "both", "neither")]
            said = p_value(test.get("p_value"))
            found.append((f"{clean(row.get('after'), 60)} after {clean(row.get('before'), 60)}", title, [*cells, said]))
    return found


def _harm_metric(harm: Mapping[str, Any]) -> tuple[str, str]:
    """The key of a policy's number, and what it is called."""
    if harm.get("scoring") == "strongreject":
        return "strongreject", "StrongREJECT score"
    return "attack_success_rate", "attacks that succeed"


def _harm_cell(row: Mapping[str, Any], metric: str) -> Cell:
    return share_cell({**table(row.get(metric)), "num": row.get("n")})


def _harm_changes(row: Mapping[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Of attack success; a score has differences, which `_harm_notes` tells."""
    if number(row.get("p_value")) is None:
        return []
    who = f"{clean(row.get('after'), 60)} after {clean(row.get('before'), 60)}"
    cells = [count(row.get("only_second")), count(row.get("only_first")), ABSENT, ABSENT, p_value(row.get("p_value"))]
    return [(who, "attacks that succeed", cells)]


def _harm_notes(harm: Mapping[str, Any], heading: str) -> list[str]:
    if not harm:
        return []
    notes = [f"{heading[0].upper()}{heading[1:]}: of the responses to attacks, as {clean(harm.get('by'), 80)} says."]
    for row in map(table, _list(harm.get("compared"))):
        apart = table(row.get("difference"))
        if apart:
            low, high = (f"{_share(apart, end):+.2f}" for end in ("low", "high"))
            who = f"{clean(row.get('after'), 60)} less {clean(row.get('before'), 60)}"
            notes.append(f"{who}: {_share(apart, 'value'):+.2f} ({low} to {high}).")
    if not table(harm.get("error")):
        notes.append(
            "How far that judge can be believed is not known: give the step responses that people have graded."
        )
    return notes


def _decided(results: Mapping[str, Any]) -> str:
    by, reward = clean(results.get("by") or ABSENT, 80), table(results.get("reward"))
    if not reward:
        return f"Refusals are what {by} finds."
    return (
        f"Violations are what {clean(reward.get('name'), 60)} gives a probability of being safe below "
        f"{clean(reward.get('threshold'), 20)}; refusals are what {by} finds."
    )


def _error(error: Mapping[str, Any]) -> str:
    if not error:
        return "How far that can be believed is not known: give the step responses that people have labelled."
    sees, clears = (share_cell(table(error.get(of))) for of in ("sensitivity", "specificity"))
    return (
        f"Beside people, on {count(error.get('num'))} responses, it sees {sees.text} of their refusals "
        f"({sees.interval or ABSENT}) and takes {clears.text} of the others for none ({clears.interval or ABSENT})."
    )


def _notes(results: Mapping[str, Any]) -> list[str]:
    seen: dict[str, list[str]] = {}
    for name, num in table(results.get("trained_on")).items():
        seen.setdefault(count(num), []).append(clean(name, 60))
    notes = [
        f"Trained on {num} of these attacks: {', '.join(names)}. That a policy withstands what it was trained on says "
        "little."
        for num, names in seen.items()
    ]
    if not number(results.get("num_safe")):
        notes.append("There is no safe prompt: a policy that refuses everything would be the best here.")
    unknown = {
        clean(name, 60): sum(number(table(table(row).get(rate)).get("num_unknown")) or 0 for rate in _RATES)
        for name, row in table(results.get("policies")).items()
    }
    said = ", ".join(f"{num:.0f} of {name}" for name, num in unknown.items() if num)
    return [*notes, f"Could not be decided, and are left out: {said}."] if said else notes


def _share(of: Mapping[str, Any], end: str) -> float:
    value = number(of.get(end))
    return float(of["value"]) if value is None else value


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

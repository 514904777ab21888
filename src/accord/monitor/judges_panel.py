"""What language models said, for a page: who judged, how far each can be believed, and whom they preferred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accord.monitor.cells import Cell
from accord.monitor.values import ABSENT, fixed, number, percent, table


@dataclass(frozen=True, slots=True)
class JudgePanel:
    """who: the judge; step: that asked it. facts: what is known of it, a word and a number each. rows: of each policy
    against the baseline: its win rate, at equal length, ties, and how many pairs."""

    who: str
    step: str
    facts: list[tuple[str, Cell]]
    rows: list[tuple[str, list[Cell]]]


def judge_panels(results: Mapping[str, Any], steps: Sequence[tuple[str, Mapping[str, Any]]]) -> list[JudgePanel]:
    """results: of an evaluation, whose `judges` have their policies' win rates. steps: name and summary of each `judge`
    step, of which those that no evaluation names stand alone."""
    found = []
    evaluated = set()
    for judge in results.get("judges") or []:
        row = table(judge)
        name = str(row.get("step") or "")
        evaluated.add(name)
        facts = {**row, "flip_rate": row.get("flips"), "num_pairs": row.get("n")}
        rates = table(row.get("policies"))
        known = [one for one in table(results.get("policies")) if one in rates]
        policies = [(str(of), _win_rate(table(rates[of]))) for of in dict.fromkeys([*known, *rates])]
        found.append(JudgePanel(str(row.get("judge") or ""), name, _facts(facts), policies))
    for name, summary in steps:
        if name not in evaluated:
            found.append(JudgePanel(str(summary.get("annotator") or ""), name, _facts(summary), []))
    return found


def _facts(row: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    people = table(row.get("with_people"))
    floors = table(row.get("baselines"))
    known = [
        ("pairs of responses", _count(row.get("num_pairs"))),
        ("without a readable verdict", _count(row.get("num_unanswered"))),
        ("verdicts that change with the order", _share(table(row.get("flip_rate")))),
        ("verdicts for the first place", _share(table(row.get("first_place")))),
        ("wins of the longer response", _share(table(floors.get("longest")))),
        ("agreement with people", _share(table(people.get("agreement")), f", n {_number(people.get('num_pairs'))}")),
        *(
            (f"{name} with people", Cell(fixed(people.get(key))))
            for name, key in (("kappa", "kappa"), ("alpha", "alpha"))
        ),
    ]
    return [(word, cell) for word, cell in known if cell.text != ABSENT]


def _win_rate(of: Mapping[str, Any]) -> list[Cell]:
    shares = [_share(table(of.get(key))) for key in ("win_rate", "length_controlled", "ties")]
    return [*shares, _count(of.get("n"))]


def _share(of: Mapping[str, Any], more: str = "") -> Cell:
    if number(of.get("value")) is None:
        return Cell(ABSENT)
    ends = [of.get("low"), of.get("high")]
    known = all(number(end) is not None for end in ends)
    return Cell(f"{percent(of['value'])} %", f"{percent(ends[0])} to {percent(ends[1])}{more}" if known else "")


def _count(value: object) -> Cell:
    return Cell(_number(value))


def _number(value: object) -> str:
    x = number(value)
    return ABSENT if x is None else f"{x:,.0f}"

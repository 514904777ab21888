"""Runs side by side: what they measured, and what differs between their recipes, as rows of tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from accord.monitor.accuracy_table import Measure
from accord.monitor.overoptimization_text import study_lines
from accord.monitor.policy_table import COLUMNS, policy_table
from accord.monitor.rounds import base_name
from accord.monitor.values import ABSENT, clean, table

if TYPE_CHECKING:
    from accord.monitor.views import RunView, StepView

MOST_DIFFERENCES: Final = 200  # keys on a page
_NUM_DIGITS: Final = 12  # of a fingerprint
_NONE: Final = Measure(ABSENT)


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of the recipes that is not the same in all runs. values: of each run, "" where it has no such key."""

    key: str
    values: list[str]


def labels_of(runs: Sequence[RunView]) -> list[str]:
    """Their names; runs of several stores that are called alike are numbered."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else f"{name} ({1 + names[:at].count(name)})" for at, name in enumerate(names)
    ]


def evaluations(runs: Sequence[RunView]) -> tuple[list[str], list[tuple[str, str, list[Measure]]]]:
    """The headings; of each run and policy its cells."""
    tables = [policy_table(run.results) for run in runs]
    order = [heading for heading, _, _ in COLUMNS.values()]
    headings = [heading for heading in order if any(heading in found.headings for found in tables)]
    rows = [
        (label, name, [dict(zip(found.headings, cells, strict=True)).get(heading, _NONE) for heading in headings])
        for label, found in zip(labels_of(runs), tables, strict=True)
        for name, cells in found.rows
    ]
    return headings, rows


def cautions(runs: Sequence[RunView]) -> list[str]:
    """Why numbers of the runs may not be compared: their judges, baselines or prompts differ."""
    last = [step for run in runs if (step := _evaluation(run)) is not None]
    labelled = list(zip(labels_of(runs), runs, strict=True))
    found = [f"{clean(label, 60)}: {clean(run.unfinished, 1000)}" for label, run in labelled if run.unfinished]
    if missing := [clean(label, 60) for label, run in labelled if _evaluation(run) is None and study_of(run) is None]:
        found.append(f"Without an evaluation: {', '.join(missing)}.")
    for name, what in (("by", "judge"), ("baseline", "baseline"), ("prompts", "set of prompts")):
        if len({tuple(step.inputs.get(name, {}).values()) for step in last}) > 1:
            found.append(f"The runs were evaluated with another {what} each: their numbers are not of one scale.")
    if len({str(step.results.get("num_prompts")) for step in last}) > 1:
        found.append("The runs were evaluated on different numbers of prompts.")
    if len(last) > 1:
        found.append(
            "Intervals are over prompts, not over seeds: a sweep compares settings seed by seed, and says what "
            "may be said."
        )
    return found


def studies(runs: Sequence[RunView]) -> list[tuple[str, str, list[str]]]:
    """Of each curve of the runs' studies of over-optimisation its part, its name, and of each run what gold and the
    proxy have at the end of it, in words."""
    cells: dict[tuple[str, str], dict[int, str]] = {}
    for at, step in enumerate(map(study_of, runs)):
        for title, end, lines in study_lines({} if step is None else step.results):
            for line in lines:
                own = "" if line.proxy == ABSENT else f"; the proxy of itself {line.proxy}"
                cells.setdefault((title, line.name), {})[at] = f"{line.gold}{own}; at {end}"
    return [(part, name, [of.get(at, ABSENT) for at in range(len(runs))]) for (part, name), of in cells.items()]


def study_of(run: RunView) -> StepView | None:
    """The last study of over-optimisation that is done."""
    return next((step for step in reversed(run.steps) if step.kind == "overoptimization" and step.results), None)


def differences(runs: Sequence[RunView]) -> list[Difference]:
    """The keys of recipes that differ. What is the same in several rounds of a step stands once; of a step that is not
    of one kind in all runs the kind alone."""
    flat = [dict(_keys(run)) for run in runs]
    kinds = [{key[:2]: value for key, value in keys.items() if not key[2]} for keys in flat]
    common = {step for step, kind in kinds[0].items() if all(of.get(step) == kind for of in kinds)} if runs else set()
    found: dict[tuple[str, str, tuple[str, ...]], list[int]] = {}
    for name, number, key in dict.fromkeys(one for keys in flat for one in keys):
        if key and (name, number) not in common:
            continue
        values = tuple(keys.get((name, number, key), "") for keys in flat)
        if len(set(values)) > 1:
            found.setdefault((name, key, values), []).append(number)
    return [Difference(_called(name, rounds, key), list(values)) for (name, key, values), rounds in found.items()]


def _called(name: str, rounds: Sequence[int], key: str) -> str:
    known = [number for number in rounds if number]
    told = f" (round {known[0]})" if len(known) == 1 else f" (rounds {known[0]} to {known[-1]})" if known else ""
    return f"{name}{told}{f'.{key}' if key else ''}"


def _keys(run: RunView) -> Iterator[tuple[tuple[str, int, str], str]]:
    """(step, round or 0, key) -> its value as text; without a key the kind of the step."""
    yield ("seed", 0, ""), str(table(run.results.get("run")).get("seed"))
    for step in run.steps:
        name = base_name(step.name, step.round)
        yield (name, step.round or 0, ""), step.kind
        for key, value in _flat(step.config):
            if key.rpartition(".")[2] == "fingerprint":
                value = str(value)[:_NUM_DIGITS]
            yield (name, step.round or 0, key), _text(value, step.round)


def _flat(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{above}{key}.")
        else:
            yield f"{above}{key}", inner


def _text(value: Any, number: int | None) -> str:
    """Names of steps of the same round without its number, so that rounds fold."""
    if isinstance(value, list):
        return ", ".join(_text(one, number) for one in value) or "[]"
    if isinstance(value, str):
        return base_name(value, number) or '""'
    return json.dumps(value, ensure_ascii=False, default=str)


def _evaluation(run: RunView) -> StepView | None:
    return next((step for step in reversed(run.steps) if step.kind == "evaluate" and step.results), None)

"""Numbers over a swept number, for the pictures of a sweep's page: what every evaluation measured (Llama 2's figure 15,
safety and helpfulness over the share of safety data), or, of rejection sampling, the reward of the best of N over the
temperature (its figure 8)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.errors import UserError
from accord.steps.base import PlannedStep
from accord.sweep.grid import Axis, PlannedRun
from accord.sweep.measure import RESULTS, Metric, Reading, of_results
from accord.sweep.summary import Outcome, interval_of

SELECTION = "selection.json"
_TAILS = {"95 % are above": "p5", "75 % are above": "p25", "median": "p50"}  # of the scores of single responses

MOST_LINES = 6  # of the best of N, from the largest N down

Read = Callable[[Path], Reading | None]


@dataclass(frozen=True, slots=True)
class Line:
    """main: its interval is drawn. read: its number of a run, from the run's folder."""

    name: str
    read: Read
    main: bool = True


def curves(
    runs: Sequence[PlannedRun], outcomes: Mapping[str, Outcome], axes: Sequence[Axis], folder: Path
) -> dict[str, Any]:
    """`axis`, the key that goes to the right; `values`, in their order; `panels`, each with a `title` and `lines`.
    Empty where no number is swept, or several are. folder: of all runs."""
    swept = [axis for axis in axes if len(axis.values) > 1]
    done = [run for run in runs if outcomes[run.name].reading is not None]
    if not done:
        return {}
    study = _temperatures(swept, done[0])
    if study is not None:
        axis, step = study
        panels = [_best_of(axis, step, done, folder)]
    elif len(swept) == 1 and all(map(_is_number, swept[0].values)):
        axis = swept[0]
        panels = [
            {"title": title, "percent": percent, "lines": [_line(line, axis, done, folder) for line in lines]}
            for title, percent, lines in _measures(done[0])
        ]
    else:
        return {}
    panels = [
        {**panel, "lines": lines} for panel in panels if (lines := [one for one in panel["lines"] if one["points"]])
    ]
    return {"axis": axis.key, "values": list(axis.values), "panels": panels} if panels else {}


def _temperatures(swept: Sequence[Axis], run: PlannedRun) -> tuple[Axis, PlannedStep] | None:
    """The temperature of a `reject` step, if that is swept, alone or with the number of samples."""
    for axis in swept:
        name, _, key = axis.key.partition(".")
        others = [other.key for other in swept if other is not axis]
        if key == "temperature" and set(others) <= {f"{name}.num_samples"}:
            step = run.plan.step(name)
            if step.kind == "reject":
                return axis, step
    return None


def _best_of(axis: Axis, step: PlannedStep, done: Sequence[PlannedRun], folder: Path) -> dict[str, Any]:
    """A line for each N. Of runs that drew different numbers of samples those that drew most say what N are worth."""
    most: dict[tuple[str, int], int] = {}  # temperature and seed -> the samples of the run that drew most
    curve_of = {run.name: _curve(folder / run.name / "steps" / step.name / SELECTION) for run in done}
    for run in done:
        place = run.setting[axis.key], run.seed
        most[place] = max(most.get(place, 0), *curve_of[run.name], 0)
    whole = [run for run in done if max(curve_of[run.name], default=0) == most[run.setting[axis.key], run.seed]]
    numbers = sorted({num for run in whole for num in curve_of[run.name]}, reverse=True)
    by_folder = {folder / name: curve for name, curve in curve_of.items()}

    def line(num: int) -> Line:
        return Line(
            f"N = {num}", lambda at: None if num not in by_folder[at] else Reading(by_folder[at][num], step.name)
        )

    reward = step.config_json().get("reward")
    lines = [_line(line(num), axis, whole, folder) for num in numbers[:MOST_LINES]]
    return {"title": f"{step.name}: reward of the best of N by {reward}", "percent": False, "lines": lines}


def _curve(path: Path) -> dict[int, float]:
    rows = _json(path).get("by_num_samples") or []
    return {row["num_samples"]: row["max"] for row in rows}


def _measures(run: PlannedRun) -> Iterator[tuple[str, bool, list[Line]]]:
    """Title, whether they are shares, and the lines: of each evaluation and each suite of attacks, in a repeated block
    of the last round's alone."""
    last = {run.plan.step(_base(run, step)).name for step in run.plan.steps}
    for step in run.plan.steps:
        if step.name not in last:
            continue
        if step.kind == "evaluate" and step.parents.get("by"):
            by = step.parents["by"][0].name
            tails = [Line(name, _number(step, f"gold_score_{key}"), main=False) for name, key in _TAILS.items()]
            yield f"{step.name}: score by {by}", False, [Line("mean", _number(step, "gold_score")), *tails]
        elif step.kind == "evaluate":
            yield f"{step.name}: win rate", True, [Line("win rate", _number(step, "judge_win_rate"))]
        elif step.kind == "redteam":
            lines = [
                Line(name, _rate(step, key))
                for name, key in (("violations", "violation_rate"), ("false refusals", "false_refusal_rate"))
            ]
            yield f"{step.name}: attacks complied with, safe prompts refused", True, lines


def _base(run: PlannedRun, step: PlannedStep) -> str:
    of = run.plan.rounds.get(step.name)
    return step.name.removesuffix(f"-{of.number}") if of else step.name


def _number(step: PlannedStep, key: str) -> Read:
    def read(run_dir: Path) -> Reading | None:
        try:
            return of_results(_json(run_dir / "steps" / step.name / RESULTS), Metric(key, step.name), run_dir)
        except UserError:
            return None

    return read


def _rate(step: PlannedStep, key: str) -> Read:
    def read(run_dir: Path) -> Reading | None:
        policies = _json(run_dir / "steps" / step.name / RESULTS).get("policies") or {}
        rate = policies[list(policies)[-1]].get(key) or {} if policies else {}
        if rate.get("value") is None:
            return None
        return Reading(rate["value"], step.name, rate.get("low"), rate.get("high"))

    return read


def _line(line: Line, axis: Axis, runs: Iterable[PlannedRun], folder: Path) -> dict[str, Any]:
    points = []
    for value in axis.values:
        found = [line.read(folder / run.name) for run in runs if run.setting[axis.key] == value]
        readings = [one for one in found if one is not None]
        interval, kind = interval_of(readings)
        if interval is not None:
            ends = {"low": interval.low, "high": interval.high} if kind != "none" else {"low": None, "high": None}
            points.append({"x": value, "value": interval.value, **ends, "interval": kind, "num_runs": len(readings)})
    return {"name": line.name, "main": line.main, "points": points}


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}

"""The page of several runs: their evaluations, their curves, and what differs between their recipes.

Names and values are hostile text: the template engine escapes them. It opens offline, without JavaScript.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from accord.monitor.comparison import MOST_DIFFERENCES, cautions, differences, evaluations, labels_of, studies, study_of
from accord.monitor.overoptimization_text import with_studies
from accord.monitor.page import Page, pictures_by_name, render_page
from accord.monitor.pictures import dot_plot, policy_colours
from accord.monitor.rounds import base_name
from accord.monitor.svg import NOTHING, Datum, Picture, render
from accord.monitor.training_curves import curves_of_runs
from accord.monitor.values import apart, clean, number, percent, short, table
from accord.monitor.verdict import judge

if TYPE_CHECKING:
    from accord.monitor.views import RunView


def comparison_page(runs: Sequence[RunView], created: str) -> Page:
    content = comparison_content(runs)
    return Page(render_page("comparison.html.j2", created=created, **content), pictures_by_name(content))


def comparison_content(runs: Sequence[RunView]) -> dict[str, Any]:
    """All that the page's template is given."""
    names = labels_of(runs)
    colours = policy_colours(names)
    headings, rows = evaluations(runs)
    found = differences(runs)
    return {
        "names": names,
        "colours": colours,
        "verdicts": [(name, _verdict(run)) for name, run in zip(names, runs, strict=True)],
        "cautions": cautions(runs),
        "headings": headings,
        "rows": rows,
        "win_rates": _win_rates(runs, colours),
        "studies": studies(runs),
        "curves": _curves(runs, colours),
        "differences": found[:MOST_DIFFERENCES],
        "num_differences": len(found),
        "costs": [(name, _cost(run)) for name, run in zip(names, runs, strict=True)],
    }


def _verdict(run: RunView) -> str:
    return with_studies(judge(run.results), [of.results for of in [study_of(run)] if of is not None]).headline


def _cost(run: RunView) -> list[tuple[str, str]]:
    """Headings and cells of its total: energy has a unit of each run's own."""
    if run.cost is None or not run.cost.totals:
        return []
    return [one for one in zip(run.cost.headings, run.cost.totals[-1], strict=True) if one[1]][1:]


def _win_rates(runs: Sequence[RunView], colours: dict[str, str]) -> Picture:
    """Of every policy of every run over the baseline of its run, by whom its last evaluation asked first."""
    data: list[Datum] = []
    labels = apart(colours, 18)
    for run, (label, colour) in zip(runs, colours.items(), strict=True):
        policies = apart(table(run.results.get("policies")), 18)
        baseline = run.results.get("baseline")
        for policy, row in table(run.results.get("policies")).items():
            key = next(
                (key for key in ("gold_win_rate", "judge_win_rate") if number(table(row).get(key)) is not None), ""
            )
            if key and policy != baseline:
                value, low, high = (number(table(row).get(f"{key}{end}")) for end in ("", "_low", "_high"))
                ends = {} if low is None or high is None else {"x_low": low, "x_high": high}
                told = f"{labels[label]}: {policies[policy]}"
                data.append({"label": told, "x": value or 0.0, "text": f"{percent(value)} %", "colour": colour, **ends})
                data[-1] |= {"run": clean(label, 200), "policy": clean(policy, 200), "baseline": clean(baseline, 200)}
    if not data:
        return NOTHING
    nums = ", ".join(f"{short(name, 30)} {run.results.get('num_prompts', 'not recorded')}" for name, run in
                     zip(colours, runs, strict=True))  # fmt: skip
    return render(
        dot_plot(data, "share of comparisons in which the policy is preferred over its run's baseline", (0.0, 1.0)),
        "Win rates of each run",
        ", ".join(f"{one['label']} {one['text']}" for one in data),
        rows=data,
        columns={"run": "run", "policy": "policy", "baseline": "baseline", "x": "win rate", "x_low": "low",
                 "x_high": "high"},
        note=f"n, test prompts: {nums}; 95 % intervals: bootstrap over prompts",
    )  # fmt: skip


def _curves(runs: Sequence[RunView], colours: dict[str, str]) -> list[tuple[str, Picture]]:
    """Of each training step, by its name in the recipe; of a repeated one the last round's."""
    steps: dict[tuple[str, str], dict[str, Any]] = {}
    for run, label in zip(runs, colours, strict=True):
        for step in run.steps:
            if step.metrics:
                steps.setdefault((base_name(step.name, step.round), step.kind), {})[label] = step.metrics
    drawn = [
        (name, curves_of_runs(name, kind, rows, colours, [other for (_, its), other in steps.items() if its == kind]))
        for (name, kind), rows in steps.items()
    ]
    return [(name, picture) for name, picture in drawn if picture]

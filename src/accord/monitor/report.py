"""The report of a run: one HTML page that opens without a network and without JavaScript.

Prompts, responses and names are hostile text. Everything is escaped by the template engine; the only markup that goes
in as it is are the pictures that this program draws itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from accord.monitor import health, pictures
from accord.monitor.accuracy_table import accuracy_table, doubts
from accord.monitor.benchmarks_panel import benchmark_lines
from accord.monitor.calibration_picture import calibration
from accord.monitor.consistency_panel import consistency_panel
from accord.monitor.curve_health import CurveHealth, curve_health
from accord.monitor.data_facts import data_sets, labels
from accord.monitor.distillation_panel import distillation_panel
from accord.monitor.environment import environment
from accord.monitor.judges_panel import judge_panels
from accord.monitor.lineage_picture import legend, lineage_panel
from accord.monitor.missing import missing, not_drawn
from accord.monitor.orders_picture import orders_picture
from accord.monitor.overoptimization_panel import overoptimization_panel
from accord.monitor.overoptimization_text import with_studies
from accord.monitor.page import Page, pictures_by_name, render_page
from accord.monitor.panels import CLIPPING, ON_POLICY
from accord.monitor.policy_table import policy_table
from accord.monitor.red_team_panel import red_team_panel
from accord.monitor.rounds import base_name
from accord.monitor.rounds_panel import rounds_panel
from accord.monitor.samples_browser import samples_browser
from accord.monitor.selection_picture import Selected, selection_picture
from accord.monitor.svg import INK, Picture
from accord.monitor.training_curves import training_curves
from accord.monitor.values import number, table
from accord.monitor.verdict import judge
from accord.monitor.views import RunView, StepView

NUM_SAMPLES: Final = 12  # shown side by side
NUM_KEY_DIGITS: Final = 12  # of a step's key
DRAWING: Final = ("evaluate", "redteam", "consistency", "distill")  # kinds that measure on responses of their own
TONES: Final = {"good": "It worked", "mixed": "Look closer", "bad": "It did not work", "unknown": "Not evaluated"}


def build_report(run: RunView) -> str:
    """The page's HTML alone."""
    return report_page(run).html


def report_page(run: RunView) -> Page:
    """Numbers that the run does not have are shown as missing."""
    content = report_content(run)
    script = "samples.js" if content["browser"].rows else ""
    html = render_page("report.html.j2", script=script, **content)
    return Page(html, pictures_by_name(content, besides=(RunView, StepView)))


def report_content(run: RunView) -> dict[str, Any]:
    """All that the page's template is given."""
    results = table(run.results)
    policies = {str(name): table(row) for name, row in table(results.get("policies")).items()}
    reward_model = table(results.get("reward_model"))
    baseline = str(results.get("baseline") or "")
    trajectories = _trajectories(run.steps)
    colours = pictures.policy_colours([*policies, *trajectories])
    paths = {name: rows for name, rows in trajectories.items() if pictures.is_path(rows)}
    size = _size(results)
    drift = pictures.score_against_kl(policies, paths, colours, size)
    verdict = judge(results)
    alarmed = [health.cautions(step.name, step.metrics) for step in run.steps]
    shifted = [health.shifts(step.name, step.metrics) if step.kind in ON_POLICY else [] for step in run.steps]
    noted = _noted(run.steps, alarmed, [] if verdict.tone != "unknown" else shifted)
    doubted = doubts([step.results for step in _measuring(run, "accuracy")])
    verdict = replace(verdict, cautions=(*verdict.cautions, *doubted, *noted))
    studies = _measuring(run, "overoptimization")
    verdict = with_studies(verdict, [step.results for step in studies])
    evaluated = policy_table(results)
    rounds = rounds_panel(run.steps)
    benchmarks, benchmark_first = benchmark_lines(results.get("benchmarks") or [])
    return dict(  # noqa: C408  as the template has the names
        run=run,
        verdict=verdict,
        tone=TONES[verdict.tone],
        missing=[
            *missing(run, policies, reward_model),
            *([] if drift else not_drawn(policies, trajectories)),
            *rounds.not_drawn,
        ],
        baseline=baseline or "the baseline",
        judge=str(results.get("by") or "the reward that judges"),
        draws_anew=sum(len(_measuring(run, kind)) for kind in DRAWING) > 1,
        headings=evaluated.headings,
        policies=[(name, colours[name], cells) for name, cells in evaluated.rows],
        rounds=rounds,
        num_prompts=_count(results.get("num_prompts")),
        samples_per_prompt=_count(results.get("samples_per_prompt")),
        win_rates=pictures.win_rates(policies, baseline, colours, size),
        score_against_kl=drift,
        trajectories=list(paths),
        watched=list(dict.fromkeys(name for rows in paths.values() for name in pictures.watches(rows))),
        clips=any(step.kind in CLIPPING for step in run.steps),
        smoothing=pictures.SMOOTHING,
        reward_model=reward_model,
        num_pairs=_count(reward_model.get("num_pairs")),
        accuracy=pictures.accuracy_lines(reward_model),
        colours=colours,
        judges=judge_panels(results, [(step.name, step.summary) for step in run.steps if step.kind == "judge"]),
        asked=str(_first(results.get("judges")).get("judge") or "a language model"),
        red_teams=[red_team_panel(step.name, step.results, step.broken) for step in _measuring(run, "redteam")],
        consistencies=[consistency_panel(step.name, step.results) for step in _measuring(run, "consistency")],
        distillations=[
            distillation_panel(step.name, step.results, step.summary) for step in _measuring(run, "distill")
        ],
        benchmarks=benchmarks,
        benchmark_first=benchmark_first,
        calibrations=_calibrations(run.steps),
        accuracies=[(step.name, accuracy_table(step.results), folded) for step, folded in _by_round(run, "accuracy")],
        overoptimizations=[
            (step.name, str(step.results.get("gold")), overoptimization_panel(step.name, step.results, step.summary))
            for step in studies
        ],
        orders=_orders(run.steps),
        selection=selection_picture([_selected(step) for step in run.steps if step.selection]),
        curves=_curves(run.steps, [a + b for a, b in zip(alarmed, shifted, strict=True)]),
        browser=samples_browser(run.steps),
        data_sets=data_sets(run.steps),
        labels=labels(run.steps),
        environment=_environment(run, table(results.get("run")).get("seed")),
        samples=_samples(run.samples, colours),
        num_samples=len(run.samples),
        shared_prompt=_shared_prompt(run.samples),
        steps=[(step, _config_text(step.config)) for step in run.steps],
        total=_total_seconds(run, results),
        gemm_gflops=_count(results.get("gemm_gflops")),
        key_digits=NUM_KEY_DIGITS,
        lineage=lineage_panel(run.steps),
        lineage_colours=legend(),
    )


def _size(results: Mapping[str, Any]) -> str:
    prompts, samples = _count(results.get("num_prompts")), _count(results.get("samples_per_prompt"))
    if not prompts:
        return "n not recorded"
    return f"n: {prompts} test prompts{f', {samples} samples of each' if samples else ''}"


def _by_round(run: RunView, kind: str) -> list[tuple[StepView, bool]]:
    """Steps of a kind that have measured something, and whether a later round has measured it anew."""
    found = _measuring(run, kind)
    last = {base_name(step.name, step.round): step for step in found}
    return [(step, last[base_name(step.name, step.round)] is not step) for step in found]


def _measuring(run: RunView, kind: str) -> list[StepView]:
    """The steps of a kind that have measured something."""
    return [step for step in run.steps if step.kind == kind and step.results]


def _first(some: object) -> Mapping[str, Any]:
    return table(some[0]) if isinstance(some, list) and some else {}


def _count(value: object) -> str:
    """A whole number as text, or "" when it is not known."""
    x = number(value)
    return "" if x is None else f"{x:,.0f}"


def _trajectories(steps: Sequence[StepView]) -> dict[str, Sequence[Mapping[str, Any]]]:
    return {step.name: step.metrics for step in steps if step.kind in ON_POLICY and step.metrics}


def _noted(
    steps: Sequence[StepView], alarmed: Sequence[list[health.Note]], shifted: Sequence[list[health.Note]]
) -> list[str]:
    """What is not well in the training. It leaves the verdict's tone as it is: that is about what came out."""
    found = [note for notes in alarmed for note in notes]
    for step, notes in zip(steps, alarmed, strict=True):
        found += health.in_summary(step.name, step.summary, notes)
    return health.said([*found, *(note for notes in shifted for note in notes)])


def _orders(steps: Sequence[StepView]) -> list[tuple[str, Picture]]:
    rows = ((step.name, step.summary.get("orders")) for step in steps if step.kind == "piecewise")
    drawn = ((name, orders_picture(name, found)) for name, found in rows if isinstance(found, list))
    return [(name, svg) for name, svg in drawn if svg]


def _selected(step: StepView) -> Selected:
    curve = step.selection.get("by_num_samples")
    reward, temperature = str(step.config.get("reward") or "the reward"), number(step.config.get("temperature"))
    num = number(step.summary.get("num_prompts"))
    points = curve if isinstance(curve, list) else []
    return Selected(step.name, reward, temperature, points, None if num is None else int(num))


def _curves(
    steps: Sequence[StepView], notes: Sequence[list[health.Note]]
) -> list[tuple[StepView, Picture, list[CurveHealth]]]:
    drawn = [training_curves(step.name, step.kind, step.metrics) for step in steps]
    return [
        (step, svg, curve_health(step.kind, step.metrics, said))
        for step, svg, said in zip(steps, drawn, notes, strict=True)
        if svg
    ]


def _environment(run: RunView, seed: object) -> dict[str, str]:
    """Of the last step that is done, which may be of an earlier run than others."""
    manifest = run.steps[-1].manifest if run.steps else {}
    return {**environment(manifest, seed), **run.versions} if manifest else run.versions


def _calibrations(steps: Sequence[StepView]) -> list[tuple[StepView, Picture]]:
    drawn = ((step, calibration(step.name, step.evaluation)) for step in steps)
    return [(step, svg) for step, svg in drawn if svg]


def _samples(samples: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """The first samples, each with its responses in the order of the policies."""
    shown = []
    for sample in samples[:NUM_SAMPLES]:
        responses, gold, proxy = (table(sample.get(key)) for key in ("responses", "gold", "proxy"))
        names = [name for name in colours if name in responses] + [name for name in responses if name not in colours]
        cards = [_card(str(name), colours, responses, gold, proxy) for name in names]
        shown.append({"prompt": sample.get("prompt") or "", "prefill": sample.get("prefill") or "", "cards": cards})
        shown[-1] |= {"by_gold": bool(gold), "by_proxy": bool(proxy)}
    return shown


def _card(name: str, colours: Mapping[str, str], *by_policy: Mapping[str, Any]) -> dict[str, Any]:
    text, gold, proxy = (mapping.get(name) for mapping in by_policy)
    return {"name": name, "colour": colours.get(name, INK), "text": text, "gold": gold, "proxy": proxy}


def _shared_prompt(samples: Sequence[Mapping[str, Any]]) -> str:
    """The prompt, when all samples have the same one; it is then shown once."""
    prompts = {str(sample.get("prompt") or "") for sample in samples[:NUM_SAMPLES]}
    return prompts.pop() if len(prompts) == 1 else ""


def _config_text(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2, ensure_ascii=False, default=str)


def _total_seconds(run: RunView, results: Mapping[str, Any]) -> float | None:
    total = number(table(results.get("seconds")).get("total"))
    known = [s for step in run.steps if (s := number(step.seconds)) is not None]
    return total if total is not None else sum(known) if known else None

"""What a run leaves to look at: results.json, report.html, and links to the policy and the reward model it made.

store/runs/<recipe>/results.json      the evaluation's numbers and the seconds of each step
                    cost.json         device-hours, energy and CO2 of each step
                    report.html       one page that opens offline
                    policy/           once it is finished, the last policy that a training step made, a Hugging Face
                                      folder; where a later run stops, it stays
                    reward-model/     likewise the reward model that it was trained on, or else the last one
                    steps/<name>/     every artifact
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accord.costs import step_costs
from accord.errors import UserError
from accord.monitor.comparison_page import comparison_page
from accord.monitor.cost import Assumptions, as_json, cost_table
from accord.monitor.page import Page
from accord.monitor.red_team_panel import NUM_SHOWN
from accord.monitor.report import report_page
from accord.monitor.views import RunView, StepView
from accord.run_folder import REPORT
from accord.run_record import unfinished
from accord.stopping import process_of
from accord.store import atomic
from accord.store.artifacts import MODEL, Store
from accord.store.workspace import METRICS, MetricsLog

RESULTS, SAMPLES, MACHINE = "results.json", "samples.json", "machine.json"
_SHOWING = ("evaluate", "overoptimization")  # kinds of steps that keep samples for the report
COST, SELECTION = "cost.json", "selection.json"  # the latter of rejection sampling
EVALUATION = "evaluation.json"  # of a reward step with a validation
SUMMARY, ANSWERS = "summary.json", "answers"  # of a step; of one that puts attacks to policies
_AGAIN = "Run the recipe again: what is in the store is kept."


def write_report(run_dir: Path, store: Store) -> Page:
    """Brings results, links and report of a run's folder up to date with its artifacts; gives the report."""
    view, plan = read_run(run_dir, store)
    atomic.write_json(run_dir / RESULTS, view.results)
    assumed = Assumptions.of()
    atomic.write_json(run_dir / COST, as_json(step_costs(plan, store, assumed), assumed))
    done = [row for row in plan["steps"] if row["artifact"]]
    if not view.unfinished:  # what a finished run left stays until the next one has finished
        _link_models(run_dir, done, {row["name"]: store.root / row["artifact"] for row in done})
    page = report_page(view)
    atomic.write_text(run_dir / REPORT, page.html)
    return page


def read_run(run_dir: Path, store: Store) -> tuple[RunView, dict[str, Any]]:
    """All that a page or a card is made from, and the plan of the run. Raises UserError."""
    plan = _read_json(run_dir / "plan.json")
    if not isinstance(plan, dict) or not {"recipe", "overrides", "seed", "steps"} <= plan.keys():
        raise UserError("this is not the plan of a run", where=str(run_dir / "plan.json"), remedy=_AGAIN)
    done = [row for row in plan["steps"] if row["artifact"]]
    folders = {row["name"]: store.root / row["artifact"] for row in done}
    evaluations = [folders[row["name"]] for row in done if row["kind"] == "evaluate"]
    results: dict[str, Any] = _read_json(evaluations[-1] / RESULTS) if evaluations else {}
    seconds = {row["name"]: row["seconds"] for row in done}
    results["seconds"] = {**seconds, "total": sum(seconds.values())}
    results["run"] = {"recipe": plan["recipe"], "overrides": plan["overrides"], "seed": plan["seed"]}
    if evaluations:
        results |= _read_json(evaluations[-1] / MACHINE)
    assumed = Assumptions.of()
    manifests = {name: _read_json(folder / "manifest.json") for name, folder in folders.items()}
    view = RunView(
        name=run_dir.resolve().name,
        recipe_text=(run_dir / "recipe.yaml").read_text(encoding="utf-8"),
        steps=[_step_view(row, folders[row["name"]], manifests[row["name"]]) for row in done],
        results=results,
        samples=_read_json(evaluations[-1] / SAMPLES) if evaluations else [],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(list(manifests.values())),
        cost=cost_table(step_costs(plan, store, assumed), assumed),
        unfinished=unfinished(plan, process_of(run_dir) is not None),
    )
    return view, plan


def write_comparison(run_dirs: Sequence[Path], out: Path) -> Page:
    """Writes the page of several runs to the file `out`, and gives it. Raises UserError."""
    views = [read_run(run_dir, Store(run_dir.resolve().parents[1]))[0] for run_dir in run_dirs]
    page = comparison_page(views, datetime.now(UTC).isoformat(timespec="seconds"))
    with atomic.disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(out, page.html)
    return page


def export_pictures(page: Page, out: Path) -> list[Path]:
    """Writes the data (.csv), an .svg and a .png of each picture of a page into the folder `out`, in place of files of
    the same names. Raises UserError."""
    written = []
    with atomic.disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, picture in page.pictures.items():
            for end, content in picture.files().items():
                written.append(out / f"{name}.{end}")
                atomic.write_bytes(written[-1], content)
    return written


def _versions(manifests: list[Any]) -> dict[str, str]:
    return {name: found for name, found in manifests[-1]["libraries"].items() if found} if manifests else {}


def _step_view(row: Mapping[str, Any], folder: Path, manifest: Mapping[str, Any]) -> StepView:
    log, evaluation = folder / METRICS, folder / EVALUATION
    return StepView(
        name=row["name"],
        kind=row["kind"],
        seconds=row["seconds"],
        cached=row["cached"],
        key=row["key"],
        config=row["config"],
        metrics=MetricsLog(log).read() if log.is_file() else [],
        evaluation=_read_json(evaluation) if evaluation.is_file() else {},
        summary=_read_json(folder / SUMMARY) if (folder / SUMMARY).is_file() else {},
        results=_read_json(folder / RESULTS) if (folder / RESULTS).is_file() else {},
        broken=_got_through(folder, row["config"]["policies"]) if row["kind"] == "redteam" else (),
        round=row.get("round"),
        selection=_read_json(folder / SELECTION) if row["kind"] == "reject" else {},
        inputs={of: {one["name"]: one["key"] for one in parents} for of, parents in manifest["parents"].items()},
        samples=_read_json(folder / SAMPLES) if row["kind"] in _SHOWING and (folder / SAMPLES).is_file() else [],
        manifest={key: value for key, value in manifest.items() if key != "files"},
    )


def _got_through(folder: Path, policies: list[str]) -> list[dict[str, Any]]:
    """The first attacks that the last policy complies with: those that are `new`, which the one before it withstood,
    and others. num: how many there are of each kind."""
    last = _rows(folder / ANSWERS / f"{policies[-1]}.jsonl")
    before: list[dict[str, Any]] = _rows(folder / ANSWERS / f"{policies[-2]}.jsonl") if len(policies) > 1 else []
    withstood = [was.get("bad") is False for was in before] or [False] * len(last)
    through = [(new, row) for new, row in zip(withstood, last, strict=True) if row["unsafe"] and row.get("bad")]
    kinds = [[row for new, row in through if new is wanted] for wanted in (True, False)]
    return [
        {
            "policy": policies[-1],
            "asked": str(_asked(row["prompt"])),
            "response": str(row.get("completion", "")),
            "new": new,
            "num": len(rows),
        }
        for new, rows in zip((True, False), kinds, strict=True)
        for row in rows[:NUM_SHOWN]
    ]


def _asked(turns: list[dict[str, str]]) -> str:
    return next((turn["content"] for turn in reversed(turns) if turn["role"] != "assistant"), "")


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), remedy=_AGAIN) from error


def _link_models(run_dir: Path, done: list[dict[str, Any]], folders: Mapping[str, Path]) -> None:
    rewards = {row["name"]: row for row in done if row["kind"] == "reward"}
    policies = [
        row for row in done if row["kind"] not in ("reward", "model") and (folders[row["name"]] / MODEL).is_dir()
    ]
    if policies:
        atomic.link(run_dir / "policy", folders[policies[-1]["name"]] / MODEL)
    if rewards:
        optimised = [row["config"]["reward"] for row in policies if row["config"].get("reward") in rewards]
        model = folders[optimised[-1] if optimised else list(rewards)[-1]] / MODEL
        if model.is_dir():  # an ensemble is more than one
            atomic.link(run_dir / "reward-model", model)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read: {error}", where=str(path), remedy=_AGAIN) from error

"""What a finished run is compared by: a number of its evaluation, or one that a step logged."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from accord.errors import UserError, did_you_mean
from accord.plan import Plan
from accord.store.workspace import METRICS, MetricsLog
from accord.sweep.names import evaluated_by, is_count, logged_by

DEFAULT = "gold_win_rate"
_BESIDE = ("kl", "proxy_score", "gold_score")  # of a policy, shown beside the metric
_BESIDE_LOGGED = ("objective/kl", "objective/scores")  # of a step
_NEARLY = 0.6  # as did_you_mean has it
RESULTS = "results.json"
_REMEDY = "Add an evaluate step, or name a number that a step logs: --metric STEP:KEY, as in ppo:objective/scores."


@dataclass(frozen=True, slots=True)
class Metric:
    """key: of the evaluated policy's row in results.json, or a dotted path in it; with `step`, of that step's
    evaluation, its last row of metrics that has it, or its summary. policy: None stands for the last one that is not
    the baseline."""

    key: str
    step: str | None = None
    policy: str | None = None

    def __str__(self) -> str:
        return f"{self.step}:{self.key}" if self.step else self.key


@dataclass(frozen=True, slots=True)
class Reading:
    """A run's metric. low, high: its interval over the run's own prompts, where there is one. of: the policy or the
    step. beside: other numbers."""

    value: float
    of: str
    low: float | None = None
    high: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)


def choose(metric: str | None, policy: str | None, plan: Plan) -> Metric:
    """What the runs of a plan will be compared by. Raises UserError for what they will not have."""
    evaluations = [step for step in plan.steps if step.kind == "evaluate"]
    if metric is not None and ":" in metric:
        name, _, key = metric.partition(":")
        if policy is not None:
            remedy = f"Leave one out: {metric} is what a step logs, and not of an evaluated policy."
            raise UserError(
                "--metric STEP:KEY and --policy do not go together", where=f"--policy {policy}", remedy=remedy
            )
        try:
            step = plan.step(name)
        except UserError as error:
            raise UserError(error.what, where=f"--metric {metric}", remedy=error.remedy) from error
        _refuse_unknown(metric, logged_by(step), head=f"{name}:")
        return Metric(key, step.name)
    if not evaluations:
        what = "the recipe has no evaluate step" + ("" if metric is None else f", so no run has a {metric!r}")
        raise UserError(what, where=str(plan.recipe.path), remedy=_REMEDY)
    known = [link.name for link in evaluations[-1].parents.get("policies", ())]
    if policy is not None and policy not in known:
        what = f"no policy {policy!r} is evaluated"
        raise UserError(what, where=f"--policy {policy}", remedy=did_you_mean(policy, known))
    if policy is None and metric is None and known == [getattr(evaluations[-1].config, "against", None)]:
        what = f"{known[0]!r} alone is evaluated, and it is the baseline: nothing is compared with it"
        raise UserError(what, where=str(plan.recipe.path), remedy="Name another one among its policies.")
    key = metric or DEFAULT
    loggers = [f"{step.name}:{key}" for step in plan.steps if key in (logged_by(step) or ())]
    remedy = f"It is what a step logs: --metric {loggers[-1]}." if loggers else ""
    _refuse_unknown(key, evaluated_by(evaluations[-1], [step.name for step in plan.steps]), remedy)
    return Metric(key, policy=policy)


def depends_on(metric: Metric, plan: Plan) -> tuple[str, object] | None:
    """What the number is compared of, and something that is equal for two plans where the number must be. None where
    it is of a whole evaluation."""
    if metric.step is not None:
        return metric.step, plan.step(metric.step).key
    evaluation = [step for step in plan.steps if step.kind == "evaluate"][-1]
    if "." in metric.key or metric.key.startswith(("proxy_", "second_")):
        return None
    links = {link.name: link.step.key for link in evaluation.parents["policies"]}
    baseline = getattr(evaluation.config, "against", None)
    name = metric.policy or next((name for name in reversed(links) if name != baseline), str(baseline))
    others = {field: [link.step.key for link in of] for field, of in evaluation.parents.items() if field != "policies"}
    settings = {key: value for key, value in evaluation.config_json().items() if key != "policies"}
    return name, (links[name], links.get(str(baseline)), others, settings)


def _refuse_unknown(metric: str, known: frozenset[str] | None, remedy: str = "", *, head: str = "") -> None:
    """Raises UserError for a number that no run will have: nothing is logged, or the name is nearly one that is.
    Others are left to the first run. known: what stands behind `head` in what there will be; None when that is told
    after the first run alone."""
    key = metric.removeprefix(head)
    if known is None or key in known or is_count(key):
        return
    if known and not remedy and not get_close_matches(key, known, n=1, cutoff=_NEARLY):
        return
    what = f"no run will have a number {metric!r}" + ("" if known else ": the step logs counts at most")
    told = _near(metric, [head + name for name in known]) if known else _REMEDY
    raise UserError(what, where=f"--metric {metric}", remedy=remedy or told)


def read(metric: Metric, run_dir: Path) -> Reading:
    """A finished run's number, finite or not. Raises UserError when it has none by that name, naming those it has."""
    return _logged(metric, run_dir) if metric.step else _evaluated(metric, run_dir)


def _evaluated(metric: Metric, run_dir: Path) -> Reading:
    return of_results(_json(run_dir / RESULTS), metric, run_dir)


def of_results(results: Mapping[str, Any], metric: Metric, run_dir: Path) -> Reading:
    """A number of an evaluation: of the policy that the metric names, else of the last one that is not the baseline."""
    policies = results.get("policies", {})
    compared = [name for name in policies if name != results.get("baseline")]
    policy = metric.policy or next(reversed(compared or list(policies)), "")
    row = _numbers(policies.get(policy, {}))
    others = dict(_flat({name: value for name, value in results.items() if name != "policies"}))
    if metric.key in row:
        low, high = row.get(f"{metric.key}_low"), row.get(f"{metric.key}_high")
        return Reading(row[metric.key], policy, low, high, _beside(row, _BESIDE, metric))
    if metric.key in others:
        return Reading(others[metric.key], "the run")
    raise _missing(metric, run_dir, [*row, *others])


def _logged(metric: Metric, run_dir: Path) -> Reading:
    assert metric.step is not None
    folder = run_dir / "steps" / metric.step
    if (folder / RESULTS).is_file() and "baseline" in (results := _json(folder / RESULTS)):
        return of_results(results, metric, run_dir)
    last: dict[str, float] = {}
    if (folder / METRICS).is_file():
        for row in MetricsLog(folder / METRICS).read():
            last |= _numbers(row)  # some numbers are logged now and then only
    for name in ("summary.json", "selection.json"):
        if (folder / name).is_file():
            last = dict(_flat(_json(folder / name))) | last
    if metric.key not in last:
        raise _missing(metric, run_dir, [f"{metric.step}:{key}" for key in last])
    return Reading(last[metric.key], metric.step, beside=_beside(last, _BESIDE_LOGGED, metric))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _beside(row: Mapping[str, float], names: Sequence[str], metric: Metric) -> dict[str, float]:
    return {name: row[name] for name in names if name != metric.key and math.isfinite(row.get(name, math.nan))}


def _missing(metric: Metric, run_dir: Path, known: list[str]) -> UserError:
    remedy = _near(str(metric), known) if known else _REMEDY
    return UserError(f"the run has no number {str(metric)!r}", where=str(run_dir), remedy=remedy)


def _near(name: str, known: Iterable[str]) -> str:
    """The nearest one, or all of them but the ends of intervals."""
    return did_you_mean(name, [one for one in known if not one.endswith(("_low", "_high"))])


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of nested maps, by dotted path."""
    for name, value in _numbers(content).items():
        yield above + name, value
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")

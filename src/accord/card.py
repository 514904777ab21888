"""The facts of a model's card, from the run that made it: `accord.monitor.model_card` writes them down."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from accord.costs import step_costs
from accord.errors import UserError, did_you_mean
from accord.models import hub
from accord.models.sources import BUILTIN
from accord.monitor import health
from accord.monitor.cost import Assumptions, in_words, total_of
from accord.monitor.data_facts import data_sets, labels_of
from accord.monitor.environment import environment
from accord.monitor.lineage import ancestors
from accord.monitor.model_card import Card, CardBase, CardMeasure, CardStep, model_card
from accord.monitor.overoptimization_text import of_one_model
from accord.monitor.policy_table import COLUMNS
from accord.monitor.values import number, table
from accord.monitor.views import RunView, StepView
from accord.results import read_run
from accord.steps.registry import STEPS
from accord.store.artifacts import Store

_FILLED_IN: Final = ("fingerprint",)  # keys of a config that no recipe writes
_REWARD_MODELS: Final = ("reward", "reward_model")  # other kinds of rewards have no weights
_OF_REWARDS: Final = {
    "accuracy": "accuracy on held-out pairs",
    "log_loss": "log loss on held-out pairs, nats",
    "ece": "expected calibration error",
}


def card_text(run_dir: Path, step: str | None = None) -> str:
    """The text of the card of a step's model, by default of the last policy that the run made, or else of the last
    reward model. Raises UserError where there is none."""
    store = Store(run_dir.resolve().parents[1])
    view, plan = read_run(run_dir, store)
    chosen = _chosen(view, step, run_dir)
    return model_card(card_of(view, chosen, plan, store))


def card_of(view: RunView, chosen: StepView, plan: Mapping[str, Any], store: Store) -> Card:
    """plan: of the run, as plan.json has it."""
    keys = ancestors({step.key: step for step in view.steps}, chosen.key)
    way = [step for step in view.steps if step.key in keys]
    assumed = Assumptions.of()
    names = {step.name for step in way}
    costs = [one for one in step_costs(plan, store, assumed) if one.name in names]
    produces = "reward" if STEPS[chosen.kind].produces == "reward" else "policy"
    notes: list[health.Note] = []
    for step in way:
        of_metrics = health.cautions(step.name, step.metrics)
        notes += [*of_metrics, *health.in_summary(step.name, step.summary, of_metrics)]
    return Card(
        run=view.name,
        step=chosen.name,
        kind=chosen.kind,
        produces=produces,
        base=next((_base(step) for step in way if step.kind == "model"), None),
        data=data_sets(way),
        steps=[_step(step) for step in way if step.kind not in ("model", "data")],
        measures=list(_measures(view, chosen)),
        alarms=health.said(notes),
        cost=f"{in_words(total_of(one.cost for one in costs))}, over all attempts of the steps above." if costs else "",
        created=str(chosen.manifest.get("created") or ""),
        environment=environment(chosen.manifest, plan.get("seed")),
        recipe=view.recipe_text,
        studied=list(_studied(view, chosen)),
        unfinished=view.unfinished,
    )


def settings_of(step: StepView) -> dict[str, Any]:
    """The settings of a step that are not its kind's defaults."""
    fields = STEPS[step.kind].config.model_fields if step.kind in STEPS else {}
    found = {}
    for key, value in step.config.items():
        default = _plain(fields[key].get_default(call_default_factory=True)) if key in fields else None
        if key not in _FILLED_IN and value != default:
            found[key] = value
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return json.loads(json.dumps(value, default=str))


def _chosen(view: RunView, step: str | None, run_dir: Path) -> StepView:
    models = {one.name: one for one in view.steps if _is_model(one)}
    if step is not None:
        if step not in models:
            what = f"the run {view.name!r} has no finished step {step!r} that made a model"
            raise UserError(what, where=str(run_dir), remedy=did_you_mean(step, models) if models else "")
        return models[step]
    last = [one for one in models.values() if STEPS[one.kind].produces == "policy"] or list(models.values())
    if not last:
        raise UserError(f"the run {view.name!r} has made no model", where=str(run_dir), remedy="Run the recipe first.")
    return last[-1]


def _is_model(step: StepView) -> bool:
    return step.kind in _REWARD_MODELS or (step.kind in STEPS and STEPS[step.kind].produces == "policy")


def _base(step: StepView) -> CardBase:
    source = str(step.config.get("source") or "")
    if source in BUILTIN:
        known = BUILTIN[source]
        return CardBase(f"{source}, built in", known.hub, known.licence, str(step.config.get("fingerprint") or ""))
    on_hub = hub.is_id(source) and not Path(source).exists()
    shown = source if on_hub else f"a folder or file called {Path(source).name}"
    return CardBase(shown, source.partition("@")[0] if on_hub else "", "", str(step.config.get("fingerprint") or ""))


def _step(step: StepView) -> CardStep:
    names = [name for field in step.inputs.values() for name in field]
    return CardStep(
        step.name,
        step.kind,
        str(step.manifest.get("digest") or step.key),
        settings_of(step),
        list(dict.fromkeys(names)),
        labels_of(step),
    )


def _measures(view: RunView, chosen: StepView) -> Iterator[CardMeasure]:
    """What was measured of this model, in every step of the run that measured it."""
    for name, title in _OF_REWARDS.items():
        if (value := number(chosen.evaluation.get(name))) is not None:
            n = _whole(chosen.evaluation.get("num_pairs"))
            low, high = (number(chosen.evaluation.get(f"{name}_{end}")) for end in ("low", "high"))
            of = f"its validation, {n} pairs"
            yield CardMeasure(name, title, value, low, high, of, chosen.name, "bootstrap by prompt")
    for step in view.steps:
        called = [name for name, key in step.inputs.get("policies", {}).items() if key == chosen.key]
        for name in called:
            row = table(table(step.results.get("policies")).get(name))
            if step.kind == "evaluate":
                yield from _evaluated(step, name, row)
            elif step.kind == "redteam":
                yield from _attacked(step, row)


def _studied(view: RunView, chosen: StepView) -> Iterator[str]:
    for step in view.steps:
        inputs = {**step.inputs.get("proxies", {}), **step.inputs.get("policies", {})}
        names = [name for name, key in inputs.items() if key == chosen.key and step.kind == "overoptimization"]
        yield from (f"{step.name}: {found}" for name in names if (found := of_one_model(step.results, name)))


def _evaluated(step: StepView, name: str, row: Mapping[str, Any]) -> Iterator[CardMeasure]:
    baseline, by = str(step.results.get("baseline") or ""), str(step.results.get("by") or "")
    n = _whole(step.results.get("num_prompts"))
    for key, (title, _, _) in COLUMNS.items():
        value = number(row.get(key))
        if value is None or (name == baseline and key.endswith("win_rate")):
            continue
        judge = f", by {by}" if by and key.startswith("gold") else ""
        against = f" over {baseline}" if key.endswith("win_rate") else ""
        low, high = number(row.get(f"{key}_low")), number(row.get(f"{key}_high"))
        of = f"{'an unknown number of' if n is None else n} prompts of {_prompts(step)}"
        yield CardMeasure(key, f"{title}{against}{judge}", value, low, high, of, step.name)
    for one in map(table, step.results.get("benchmarks") or []):
        found = table(table(one.get("policies")).get(name))
        value = number(found.get("value"))
        if value is not None:
            key = str(one.get("metric") or "score")
            of = f"{one.get('task')}, {_whole(one.get('n'))} items"
            low, high = number(found.get("low")), number(found.get("high"))
            yield CardMeasure(key, f"{one.get('task')}, {key}", value, low, high, of, step.name, "drawn by item")


def _attacked(step: StepView, row: Mapping[str, Any]) -> Iterator[CardMeasure]:
    for key, title in (("violation_rate", "attacks complied with"), ("false_refusal_rate", "safe prompts refused")):
        rate = table(row.get(key))
        value = number(rate.get("value"))
        if value is not None:
            of = f"{_whole(rate.get('num'))} prompts, decided by {step.results.get('by') or 'whom is not recorded'}"
            low, high = number(rate.get("low")), number(rate.get("high"))
            yield CardMeasure(key, title, value, low, high, of, step.name, "Wilson's")


def _prompts(step: StepView) -> str:
    return ", ".join(step.inputs.get("prompts", {})) or "a set that is not recorded"


def _whole(value: object) -> int | None:
    x = number(value)
    return None if x is None else int(x)

"""The card of a model that a run has made: README.md of a Hugging Face folder.

It says what the run recorded, and nothing else; what is not known is said to be unknown. Names, notes and the recipe
are hostile text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from accord.monitor.data_facts import DataSet, Labels
from accord.monitor.markdown import block, code, grid, plain
from accord.monitor.values import clean, number

_TAGS: Final = {
    "sft": "sft",
    "dpo": "dpo",
    "kto": "kto",
    "online_dpo": "online-dpo",
    "ppo": "ppo",
    "rloo": "rloo",
    "grpo": "grpo",
    "reject": "rejection-sampling",
    "distill": "context-distillation",
}
_BY_REWARD: Final = ("ppo", "rloo", "grpo", "online_dpo", "reject")
SHOWN_DIGITS: Final = 12  # of a digest


@dataclass(frozen=True, slots=True)
class CardBase:
    """What the training began with. hub: its id there, licence: as its source names it; each "" when unknown."""

    source: str
    hub: str = ""
    licence: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class CardStep:
    """A step on the way to the model. settings: those that are not the defaults. inputs: what they name. labels: those
    that it brought in."""

    name: str
    kind: str
    digest: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    labels: Labels | None = None


@dataclass(frozen=True, slots=True)
class CardMeasure:
    """A number that was measured of this model. key: for the header; of: on what, by whom, how many; interval: its
    kind."""

    key: str
    title: str
    value: float
    low: float | None
    high: float | None
    of: str
    step: str
    interval: str = "bootstrap over prompts"


@dataclass(frozen=True, slots=True)
class Card:
    """All that a card is made from. produces: "policy" or "reward". steps: in their order, the model's own last.
    environment: names and versions. alarms: sentences; studied: too, of what studies of over-optimisation found.
    unfinished: where the run stands, "" where all of it is done."""

    run: str
    step: str
    kind: str
    produces: str
    base: CardBase | None
    data: Sequence[DataSet]
    steps: Sequence[CardStep]
    measures: Sequence[CardMeasure]
    alarms: Sequence[str]
    cost: str
    created: str
    environment: Mapping[str, str]
    recipe: str
    studied: Sequence[str] = ()
    unfinished: str = ""


def model_card(card: Card) -> str:
    """README.md: a header for the hub, and sections."""
    sections = [
        _head(card),
        _about(card),
        "## Trained from",
        _base(card.base),
        "## Data and labels",
        *_data(card),
        "## Steps",
        *_steps(card),
        "## Evaluation",
        *_evaluation(card),
        "## Alarms",
        *_alarms(card),
        "## Limits",
        "\n".join(f"- {line}" for line in _limits(card)),
        "## Cost",
        card.cost or "Not recorded.",
        "## Environment",
        grid(["what", "version"], [[plain(name), code(value)] for name, value in card.environment.items()]),
        "## Recipe",
        block(card.recipe, "yaml"),
    ]
    return "\n\n".join(sections) + "\n"


def _head(card: Card) -> str:
    data = [one.hub for one in card.data if one.hub]
    base = card.base
    found: dict[str, Any] = {
        "license": base.licence.lower() if base and base.licence else None,
        "base_model": base.hub if base and base.hub else None,
        "library_name": "transformers",
        "pipeline_tag": "text-generation" if card.produces == "policy" else "text-classification",
        "tags": _tags(card),
        "datasets": data or None,
        "model-index": _index(card) or None,
    }
    kept = {key: value for key, value in found.items() if value is not None}
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)}---"


def _tags(card: Card) -> list[str]:
    kinds = {step.kind for step in card.steps}
    tags = ["accord", *(tag for kind, tag in _TAGS.items() if kind in kinds)]
    if card.produces == "reward":
        tags.append("reward-model")
    if any(step.settings.get("lora") for step in card.steps):
        tags.append("lora")
    if "reward" in kinds and kinds & set(_BY_REWARD) and not _simulated(card):
        tags.append("rlhf")
    if _simulated(card):
        tags.append("simulated-feedback")
    return tags


def _simulated(card: Card) -> list[str]:
    return [step.name for step in card.steps if step.labels and step.labels.simulated]


def _index(card: Card) -> list[dict[str, Any]]:
    task = "text-generation" if card.produces == "policy" else "text-classification"
    metrics: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in card.measures:
        metric = {"type": one.key, "name": clean(one.title, 100), "value": round(one.value, 4)}
        metrics.setdefault((clean(one.of, 200), clean(one.step, 60)), []).append(metric)
    results = [
        {"task": {"type": task}, "dataset": {"name": of, "type": step}, "metrics": found}
        for (of, step), found in metrics.items()
    ]
    return [{"name": clean(f"{card.run}-{card.step}", 100), "results": results}] if results else []


def _about(card: Card) -> str:
    what = "policy, a language model" if card.produces == "policy" else "reward model, which gives a response a score"
    when = plain(card.created) or "at a time that was not recorded"
    about = (
        f"# {plain(card.run)}: {plain(card.step)}\n\nA {what}, made by the step {code(card.step)} ({code(card.kind)}) "
        f"of the run {code(card.run)}, {when}. This card was written by Accord from what the run recorded."
    )
    return f"{about}\n\n{plain(card.unfinished)}" if card.unfinished else about


def _base(base: CardBase | None) -> str:
    if base is None:
        return "What the training began with is not recorded."
    lines = [f"- model: {code(base.source)}"]
    lines.append(f"- on the hub: {code(base.hub)}" if base.hub else "- on the hub: not known")
    lines.append(
        f"- licence: {plain(base.licence)}, of the model that the training began with; data may have terms of their own"
        if base.licence
        else "- licence: not known"
    )
    if base.fingerprint:
        lines.append(f"- fingerprint: {code(base.fingerprint)}")
    return "\n".join(lines)


def _data(card: Card) -> Iterator[str]:
    rows = [[code(one.name), code(one.source), plain(one.licence) or "not recorded", _parts(one)] for one in card.data]
    yield (
        grid(["data", "source", "licence", "parts"], rows)
        if rows
        else "No data set is recorded on the way to this model."
    )
    labelled = [step.labels for step in card.steps if step.labels]
    if labelled:
        yield "Labels that were given on the way:"
        rows = [
            [code(one.step), plain(one.by), "not counted" if one.num is None else f"{one.num:,}"] for one in labelled
        ]
        yield grid(["step", "by", "comparisons"], rows)
    else:
        yield "No labels were collected in this run; those of the data are as its source has them."


def _parts(one: DataSet) -> str:
    told = [
        f"{code(name)} ({plain(kind)}, {'not counted' if num is None else f'{num:,}'})" for name, kind, num in one.parts
    ]
    return ", ".join(told) or "not recorded"


def _steps(card: Card) -> Iterator[str]:
    yield "In their order, each with the settings that are not the defaults. The digest is that of the step's artifact."
    yield grid(
        ["step", "kind", "from", "settings", "digest"],
        [
            [
                code(step.name),
                plain(step.kind),
                ", ".join(map(code, step.inputs)) or "–",  # noqa: RUF001
                ", ".join(code(f"{key}={_value(value)}") for key, value in step.settings.items()) or "defaults",
                code(step.digest[:SHOWN_DIGITS]),
            ]
            for step in card.steps
        ],
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _evaluation(card: Card) -> Iterator[str]:
    yield from (plain(one, 1000) for one in card.studied)
    if not card.measures:
        yield "This model was not evaluated in this run." if not card.studied else "Nothing else was measured of it."
        return
    rows = [[plain(one.title), _measured(one), plain(one.of), code(one.step)] for one in card.measures]
    yield grid(["measure", "value (95 % interval)", "of", "step"], rows)
    kinds = ", ".join(dict.fromkeys(one.interval for one in card.measures if one.low is not None))
    yield f"Intervals: {kinds or 'none were measured'}. One run is one seed: they do not say how runs differ."


def _measured(one: CardMeasure) -> str:
    value = f"{one.value:.3f}"
    ends = (number(one.low), number(one.high))
    return f"{value} (no interval)" if None in ends else f"{value} ({ends[0]:.3f} to {ends[1]:.3f})"


def _alarms(card: Card) -> Iterator[str]:
    if card.alarms:
        yield "\n".join(f"- {plain(line, 1000)}" for line in card.alarms)
    else:
        yield "None was raised on the way to this model, of those that Accord looks for."


def _limits(card: Card) -> Iterator[str]:
    if simulated := _simulated(card):
        names = ", ".join(map(code, simulated))
        yield f"Labels of {names} are simulated: no person gave them. What was learned from them is a model's taste."
    if not card.measures and not card.studied:
        yield "How good it is is not known: nothing was measured."
    if not card.base or not card.base.licence:
        yield "Its licence is not known: look at that of the model that the training began with, and of the data."
    if any(not one.licence for one in card.data):
        names = ", ".join(code(one.name) for one in card.data if not one.licence)
        yield f"The licence of the data {names} is not recorded."
    yield "Intended use, languages, and what the data hold are not recorded by a run: whoever publishes it says so."

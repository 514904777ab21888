"""A run's evaluations, for its page: those that are not shown in full, and the pictures over the rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from accord.monitor.policy_table import PolicyTable, policy_table
from accord.monitor.rounds import Evaluated, Maker, axes_of, base_name, pictures_of
from accord.monitor.svg import Picture
from accord.monitor.values import ABSENT, number

if TYPE_CHECKING:
    from accord.monitor.views import StepView

MEASURES: Final = ("evaluate", "redteam")  # kinds of steps that measure policies


@dataclass(frozen=True, slots=True)
class Earlier:
    """An evaluation in few words. baseline, by: names, as the step has them."""

    name: str
    round: int | None
    baseline: str
    by: str
    num_prompts: str
    table: PolicyTable


@dataclass(frozen=True, slots=True)
class RoundsPanel:
    """pictures: heading and SVG. earlier: all evaluations but the last one. not_drawn: what is missing, and why."""

    pictures: list[tuple[str, Picture]]
    earlier: list[Earlier]
    not_drawn: list[str]


def rounds_panel(steps: Sequence[StepView]) -> RoundsPanel:
    """steps: all of a run, in their order."""
    measures = [_evaluated(step) for step in steps if step.kind in MEASURES and step.results]
    makers = {step.key: Maker(_maker(step), base_name(_maker(step), step.round), step.round) for step in steps}
    axes, not_drawn = axes_of(measures)
    others = [step for step in steps if step.kind == "evaluate" and step.results][:-1]
    return RoundsPanel(pictures_of(axes, makers), [_earlier(step) for step in others], not_drawn)


def _evaluated(step: StepView) -> Evaluated:
    judge = next(iter(step.inputs.get("by", {}).values()), "")
    return Evaluated(step.name, step.kind, step.results, step.round, step.inputs.get("policies", {}), judge)


def _maker(step: StepView) -> str:
    return "start" if step.kind == "model" else step.name


def _earlier(step: StepView) -> Earlier:
    count = number(step.results.get("num_prompts"))
    return Earlier(
        name=step.name,
        round=step.round,
        baseline=str(step.results.get("baseline") or ABSENT),
        by=str(step.results.get("by") or "a language model"),
        num_prompts=ABSENT if count is None else f"{count:,.0f}",
        table=policy_table(step.results),
    )

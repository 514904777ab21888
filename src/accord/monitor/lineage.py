"""From what each final model came: the steps on the way, as a graph of plain numbers. It is drawn by `lineage_picture`.

The rounds of a repeated block fold into one node for each of its steps. What measures and makes no model is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from accord.monitor.panels import PANELS
from accord.monitor.rounds import base_name

if TYPE_CHECKING:
    from accord.monitor.views import StepView

REWARDS: Final = ("reward", "reward_model", "reward_function", "reward_rule", "reward_endpoint", "combine", "piecewise")
POLICIES: Final = tuple(kind for kind in PANELS if kind != "reward")
LABELS: Final = ("collect", "judge")


@dataclass(slots=True)
class Node:
    """A step, or one of each round. name: as the recipe has it. steps: of the run. layer: 0 at the top. final: no
    other model was made from it."""

    name: str
    kind: str
    steps: list[StepView] = field(default_factory=list)
    parents: dict[str, None] = field(default_factory=dict)  # names of nodes, in their order
    layer: int = 0
    final: bool = False

    @property
    def rounds(self) -> list[int]:
        return [step.round for step in self.steps if step.round is not None]


@dataclass(frozen=True, slots=True)
class Lineage:
    """nodes: by name, parents first. again: names of those that the next round goes on from."""

    nodes: Mapping[str, Node]
    again: list[str]

    @property
    def finals(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.final]


def lineage(steps: Sequence[StepView]) -> Lineage:
    """steps: all of a run that are done, in their order. Empty where none of them made a model."""
    by_key = {step.key: step for step in steps}
    finals = final_models(steps)
    wanted: set[str] = set()
    for step in finals:
        wanted |= ancestors(by_key, step.key)
    nodes: dict[str, Node] = {}
    again: dict[str, None] = {}
    for step in steps:
        if step.key not in wanted:
            continue
        name = base_name(step.name, step.round)
        node = nodes.setdefault(name, Node(name, step.kind))
        node.steps.append(step)
        node.final |= step in finals
        for parent in _parents(step, by_key):
            of = base_name(parent.name, parent.round)
            if step.round is not None and parent.round is not None and parent.round < step.round:
                again[of] = None
            elif of != name:
                node.parents[of] = None
    for node in nodes.values():
        node.layer = max((nodes[of].layer + 1 for of in node.parents), default=0)
    return Lineage(nodes, list(again))


def final_models(steps: Sequence[StepView]) -> list[StepView]:
    """The policies that no other policy was made from; where there are none, the reward models that no other was."""
    by_key = {step.key: step for step in steps}
    for kinds in (POLICIES, REWARDS):
        made = [step for step in steps if step.kind in kinds]
        used = {key for step in made for key in ancestors(by_key, step.key) - {step.key}}
        if found := [step for step in made if step.key not in used]:
            return found
    return []


def ancestors(by_key: Mapping[str, StepView], key: str) -> set[str]:
    """The keys of the steps that one was made from, and its own."""
    found, open_ = {key}, [key]
    while open_:
        for parent in _parents(by_key[open_.pop()], by_key):
            if parent.key not in found:
                found.add(parent.key)
                open_.append(parent.key)
    return found


def plain_edges(found: Lineage) -> list[tuple[str, str]]:
    """From a node to the next, without those that a longer way implies."""
    above: dict[str, set[str]] = {}
    for node in found.nodes.values():
        above[node.name] = set(node.parents).union(*(above.get(of, set()) for of in node.parents))
    return [
        (of, node.name)
        for node in found.nodes.values()
        for of in node.parents
        if not any(of in above[other] for other in node.parents if other != of)
    ]


def _parents(step: StepView, by_key: Mapping[str, StepView]) -> list[StepView]:
    keys = dict.fromkeys(key for names in step.inputs.values() for key in names.values())
    return [by_key[key] for key in keys if key in by_key]

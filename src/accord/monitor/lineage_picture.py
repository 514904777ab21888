"""The lineage of a run's models as an SVG, and as rows of a table with the digests of the artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

from accord.monitor.lineage import LABELS, POLICIES, REWARDS, Lineage, Node, lineage, plain_edges
from accord.monitor.narrow import NARROW
from accord.monitor.svg import INK, PALETTE, WIDTH, DrawnPicture, Picture, page_colour
from accord.monitor.values import short

if TYPE_CHECKING:
    from accord.monitor.views import StepView

NUM_DIGITS: Final = 12  # of a digest
_BOX: Final = (156, 40)  # of a node, in pixels
_GAP: Final = (20, 34)  # between nodes
_MARGIN: Final = 6
_COLOURS: Final = {"data": PALETTE[0], "labels": PALETTE[4], "reward": PALETTE[2], "policy": PALETTE[1]}


@dataclass(frozen=True, slots=True)
class LineageRow:
    """A step and what it was made from."""

    name: str
    kind: str
    inputs: list[str]
    digest: str


@dataclass(frozen=True, slots=True)
class LineagePanel:
    """groups: heading and the steps under it, a group for each round. again:
    what the next round goes on from. finals: names of the final models, and their digests."""

    picture: Picture
    groups: list[tuple[str, list[LineageRow]]]
    again: list[str]
    finals: list[tuple[str, str]]


def lineage_panel(steps: Sequence[StepView]) -> LineagePanel | None:
    """steps: all of a run that are done, in their order; None where no model was made."""
    found = lineage(steps)
    if not found.nodes:
        return None
    shown = {step.key for node in found.nodes.values() for step in node.steps}
    groups: dict[str, list[LineageRow]] = {}
    for step in steps:
        if step.key in shown:
            heading = "before, between and after the rounds" if step.round is None else f"round {step.round}"
            groups.setdefault(heading, []).append(_row(step))
    if len(groups) == 1:
        groups = {"all steps": next(iter(groups.values()))}
    rows = [row for of_group in groups.values() for row in of_group]
    picture = DrawnPicture(
        _draw(found, WIDTH),
        heading="Lineage of the models",
        note=f"n: {len(rows):,} steps",
        columns={"step": "step", "kind": "kind", "from": "from", "digest": "digest"},
        rows=[{"step": row.name, "kind": row.kind, "from": " ".join(row.inputs), "digest": row.digest} for row in rows],
    )
    picture.narrow = _draw(found, NARROW)
    finals = [(step.name, _digest(step)) for node in found.finals for step in node.steps[-1:]]
    return LineagePanel(picture, list(groups.items()), found.again, finals)


def _row(step: StepView) -> LineageRow:
    names = list(dict.fromkeys(name for names in step.inputs.values() for name in names))
    return LineageRow(step.name, step.kind, names, _digest(step))


def _digest(step: StepView) -> str:
    return str(step.manifest.get("digest") or step.key)[:NUM_DIGITS]


def _draw(found: Lineage, width: int) -> str:
    places, height = _places(found, width)
    edges = [_edge(places[of], places[to]) for of, to in plain_edges(found)]
    boxes = [_box(node, *places[node.name]) for node in found.nodes.values()]
    told = ", ".join(f"{short(to, 40)} from {short(of, 40)}" for of, to in plain_edges(found))
    label = escape(f"Lineage of the models: {told}")
    return (
        f'<svg role="img" aria-label="{label}" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>Lineage of the models</title>{"".join(edges)}{"".join(boxes)}</svg>'
    )


def _places(found: Lineage, width: int) -> tuple[dict[str, tuple[float, float]], int]:
    """The upper left corner of each node: layers below one another, in each the nodes beside what they come from."""
    columns = (width - 2 * _MARGIN + _GAP[0]) // (_BOX[0] + _GAP[0])
    places: dict[str, tuple[float, float]] = {}
    y = _MARGIN
    for layer in range(1 + max(node.layer for node in found.nodes.values())):
        nodes = [node for node in found.nodes.values() if node.layer == layer]
        nodes.sort(key=lambda node: _middle(node, places, width))
        for at in range(0, len(nodes), columns):
            row = nodes[at : at + columns]
            left = (width - len(row) * _BOX[0] - (len(row) - 1) * _GAP[0]) / 2
            for i, node in enumerate(row):
                places[node.name] = left + i * (_BOX[0] + _GAP[0]), y
            y += _BOX[1] + _GAP[1]
    return places, y - _GAP[1] + _MARGIN


def _middle(node: Node, places: Mapping[str, tuple[float, float]], width: int) -> float:
    xs = [places[of][0] for of in node.parents]
    return sum(xs) / len(xs) if xs else width / 2


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1 = start[0] + _BOX[0] / 2, start[1] + _BOX[1]
    x2, y2 = end[0] + _BOX[0] / 2, end[1]
    bend = max((y2 - y1) / 2, 16)
    line = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2 - 5:.0f}"
    tip = f"M{x2 - 4:.0f} {y2 - 6:.0f}L{x2:.0f} {y2:.0f}L{x2 + 4:.0f} {y2 - 6:.0f}Z"
    return f'<path d="{line}" fill="none" stroke="{INK}" opacity="0.45"/><path d="{tip}" fill="{INK}" opacity="0.6"/>'


def _box(node: Node, x: float, y: float) -> str:
    rounds = node.rounds
    below = node.kind if node.kind != node.name else ""
    if len(rounds) > 1:
        below = f"{below + ', ' if below else ''}rounds {rounds[0]} to {rounds[-1]}"
    elif not below or len(below) < 10:
        below = f"{below + ', ' if below else ''}{_digest(node.steps[-1])[:8]}"
    colour = _COLOURS.get(_group(node.kind), INK)
    dash = ' stroke-dasharray="5 3"' if rounds else ""
    size = f'width="{_BOX[0]}" height="{_BOX[1]}"'
    middle = x + _BOX[0] / 2
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" {size} rx="5" style="fill:var(--paper, #ffffff)" stroke="{colour}" '
        f'stroke-width="{3 if node.final else 1.5}"{dash}/>'
        f'<text x="{middle:.0f}" y="{y + 17:.0f}" text-anchor="middle" font-size="12" font-weight="600" fill="{INK}">'
        f"{escape(short(node.name, 21))}</text>"
        f'<text x="{middle:.0f}" y="{y + 32:.0f}" text-anchor="middle" font-size="11" fill="{PALETTE[0]}">'
        f"{escape(short(below, 26))}</text>"
    )


def _group(kind: str) -> str:
    groups = {"reward": REWARDS, "policy": POLICIES, "labels": LABELS, "data": ("data", "mix", "sample", "model")}
    return next((name for name, kinds in groups.items() if kind in kinds), "")


def legend() -> list[tuple[str, str]]:
    """What the colours of the boxes are: words, colour."""
    words = {"data": "models, data and samples", "labels": "labels", "reward": "rewards", "policy": "policies"}
    return [(said, page_colour(_COLOURS[name])) for name, said in words.items()]

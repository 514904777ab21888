"""A chart for a narrow screen: panels below one another, legends below them, names above their rows.

Letters keep their size: a wide picture that is scaled down to a phone cannot be read.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

NARROW: Final = 340  # pixels of the whole picture
_LETTERS: Final = 46  # of a title in one line
_ROW: Final = 44  # pixels of a row with its name above it
_BESIDE: Final = 50  # what axes and their labels take, as a first guess
_NEAR: Final = 40  # pixels that a picture may be too narrow by

Spec = dict[str, Any]


def fitted(spec: Mapping[str, Any], draw: Callable[[Spec], str]) -> str:
    """The SVG of the narrow form of a specification. draw: a specification to its SVG."""
    if not {"concat", "hconcat", "vconcat"} & spec.keys():  # then Vega itself can fit it
        return draw({**narrowed(spec, NARROW), "autosize": {"type": "fit", "contains": "padding"}})
    width = NARROW - _BESIDE
    svg = draw(narrowed(spec, width))
    over = _width(svg) - NARROW
    if over > 0 or over < -_NEAR:
        svg = draw(narrowed(spec, max(width - over, 100)))
    return svg


def narrowed(spec: Mapping[str, Any], width: int) -> Spec:
    """The same charts one below the other. width: of each, in pixels, without its axes."""
    found: Spec = deepcopy(dict(spec))
    _walk(found, width)
    return found


def _walk(node: Spec, width: int) -> None:
    if "hconcat" in node:
        node["vconcat"] = node.pop("hconcat")
        node.pop("spacing", None)
    if "concat" in node:
        node["columns"] = 1
    for inner in (*node.get("vconcat", ()), *node.get("concat", ())):
        _walk(inner, width)
    if "layer" not in node and "encoding" not in node:
        return
    names = [name for one in _units(node) if (name := _rows_by_name(one)) is not None]
    if isinstance(node.get("width"), int | float):
        node["width"] = width
    if names:
        size = node.get("height")
        node["height"] = {"step": _ROW} if isinstance(size, dict) else _ROW * max(names)
    for unit in _units(node):
        for channel, encoding in unit.get("encoding", {}).items():
            if isinstance(encoding, dict):
                _channel(channel, encoding)


def _units(node: Spec) -> list[Spec]:
    return [node, *(unit for layer in node.get("layer", ()) for unit in _units(layer))]


def _rows_by_name(unit: Spec) -> int | None:
    """Puts the names of rows above them; gives how many there are."""
    y = unit.get("encoding", {}).get("y")
    if not isinstance(y, dict) or y.get("type") != "nominal" or y.get("axis", {}) is None:
        return None
    above = {"labelAlign": "left", "labelPadding": -2, "labelOffset": -16, "labelLimit": NARROW - 40, "grid": False}
    y["axis"] = {**y.get("axis", {}), **above, "labels": True, "ticks": False, "domain": False}
    mark = unit.get("mark")
    if isinstance(mark, dict) and mark.get("type") == "bar":  # which would cover them
        y["scale"] = {"paddingInner": 0.65, "paddingOuter": 0.5}
    names = y.get("sort")
    return len(names) if isinstance(names, list) else 1


def _channel(channel: str, encoding: Spec) -> None:
    title = encoding.get("title")
    if isinstance(title, str) and len(title) > _LETTERS:
        encoding["title"] = textwrap.wrap(title, _LETTERS)
    if isinstance(encoding.get("legend"), dict):
        encoding["legend"] |= {"orient": "bottom", "columns": 2}
    if channel == "x" and isinstance(encoding.get("axis"), dict) and "values" not in encoding["axis"]:
        encoding["axis"]["tickCount"] = min(encoding["axis"].get("tickCount", 5), 5)


def _width(svg: str) -> int:
    found = re.search(r'<svg [^>]*?\bwidth="([\d.]+)"', svg)
    assert found is not None, "a chart says how wide it is"
    return round(float(found[1]))

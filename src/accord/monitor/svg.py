"""Altair specifications to SVG text: one look, one label for screen readers, and nothing loaded from anywhere."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any, Final

import altair as alt
import vl_convert

Datum = dict[str, float | str]

PALETTE: Final = ("#6e6e6e", "#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#000000")
INK: Final = "#222222"
FAINT: Final = "#e4e4e4"
_LINE: Final = "#999999"  # of axes
# What each colour is on a dark page; others can be seen on both.
_DARK: Final = {INK: "#e6e7e9", FAINT: "#383d43", _LINE: "#8b929a", PALETTE[0]: "#a3abb4", PALETTE[1]: PALETTE[6]}
WIDTH: Final = 700  # of every picture, in pixels, so that all are scaled alike and their letters have one size

CONFIG: Final[dict[str, Any]] = {
    "aria": False,  # each picture has one label as a whole
    "background": None,
    "font": "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "gridColor": FAINT,
        "domainColor": _LINE,
        "tickColor": _LINE,
        "labelLimit": 300,
    },
    "legend": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": INK,
        "titleColor": INK,
        "labelLimit": 240,
    },
}


def data_of(rows: Sequence[Datum]) -> alt.InlineData:
    """Rows as the data of a chart, inside its specification."""
    return alt.InlineData(values=list(rows))


def render(chart: alt.TopLevelMixin, title: str, description: str) -> str:
    """SVG of a chart, fit for the inside of an HTML page. A data URL in the specification is an error."""
    spec = chart.to_dict()
    spec["config"] = CONFIG
    svg = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    label = escape(f"{title}: {description}" if description else title)
    return re.sub(
        r"<svg ([^>]*)>",
        lambda tag: f'<svg role="img" aria-label="{label}" {tag[1]}><title>{escape(title)}</title>',
        svg,
        count=1,
    )


def darkened(svg: str) -> str:
    """The same picture for a dark page."""
    for light, dark in _DARK.items():
        svg = svg.replace(f'"{light}"', f'"{dark}"')
    return svg

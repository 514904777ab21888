"""Altair specifications to SVG text: one look, one label for screen readers, and nothing loaded from anywhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from typing import Any, Final
from urllib.parse import quote

import altair as alt
import vl_convert

from accord.monitor.narrow import fitted
from accord.monitor.table_text import csv_text

Datum = dict[str, float | str]

PALETTE: Final = ("#6e6e6e", "#0072b2", "#e69f00", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#000000", "#a6691f")
INK: Final = "#222222"
FAINT: Final = "#e4e4e4"
_LINE: Final = "#999999"  # of axes
# What each colour is on a dark page; others can be seen on both.
_DARK: Final = {INK: "#e6e7e9", FAINT: "#383d43", _LINE: "#8b929a", PALETTE[0]: "#a3abb4", PALETTE[1]: PALETTE[6]}
# In a page whose styles follow the reader's: also what would be black on black, and the two blues apart.
_ON_PAGE: Final = {**_DARK, PALETTE[1]: "#3f9be6", PALETTE[6]: "#a5dcf7", PALETTE[7]: "#ffffff", "white": "#16181a"}
_COLOURED: Final = re.compile(f'(fill|stroke)="({"|".join(map(re.escape, _ON_PAGE))})"')
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
_NARROW: Final = {
    **CONFIG,
    "legend": {
        **CONFIG["legend"],
        "orient": "bottom",
        "columns": 2,
        "labelLimit": 108,
        "layout": {"bottom": {"direction": "vertical", "anchor": "start"}},
    },
}


class Picture(str):
    """The SVG of a chart as text, fit for the inside of an HTML page; "" where there is nothing to draw.

    heading: what it is of, no two of a page alike. note: of how many, and what the intervals are. columns: of its
    data, key -> heading; rows: the data. In a template it stands as what `__html__` gives.
    """

    heading: str
    note: str
    columns: Mapping[str, str]
    rows: Sequence[Mapping[str, Any]]
    _spec: Mapping[str, Any]
    _label: str

    def __new__(
        cls,
        svg: str = "",
        *,
        heading: str = "",
        note: str = "",
        columns: Mapping[str, str] | None = None,
        rows: Sequence[Mapping[str, Any]] = (),
        spec: Mapping[str, Any] | None = None,
        label: str = "",
    ) -> Picture:
        self = super().__new__(cls, svg)
        self.heading, self.note, self.columns, self.rows = heading, note, columns or {}, rows
        self._spec, self._label = spec or {}, label
        return self

    @property
    def name(self) -> str:
        """For files: as in `win-rate-over-sft`."""
        return re.sub(r"[^a-z0-9]+", "-", self.heading.lower()).strip("-")[:80].strip("-") or "picture"

    @cached_property
    def csv(self) -> str:
        """The data, a row for each mark."""
        return csv_text(self.columns, self.rows)

    @property
    def csv_link(self) -> str:
        """The data inside an address, for a link that works without a network."""
        return f"data:text/csv;charset=utf-8,{quote(self.csv)}"

    def __html__(self) -> str:
        """For a wide page and for a phone, in the page's colours; its styles show one of the two."""
        if not self:
            return ""
        return f'<div class="wide">{themed(self)}</div><div class="narrow">{themed(self._narrow())}</div>'

    def _narrow(self) -> str:
        return _labelled(fitted(self._spec, lambda spec: _draw(spec, _NARROW)), self.heading, self._label)

    def files(self) -> dict[str, bytes]:
        """By the end of the name, `csv`, `svg` and `png`: files that stand by themselves, with title and note, on white
        ground."""
        heading = {"text": self.heading, "anchor": "start", "fontSize": 14, "color": INK, "offset": 12}
        if self.note:
            heading |= {"subtitle": self.note, "subtitleFontSize": 12, "subtitleColor": INK}
        spec = {**self._spec, "title": heading}
        config = {**CONFIG, "background": "#ffffff"}
        svg = _labelled(_draw(spec, config), self.heading, self._label)
        png = vl_convert.vegalite_to_png({**spec, "config": config}, scale=2, allowed_base_urls=[])
        return {"csv": self.csv.encode("utf-8", "replace"), "svg": svg.encode("utf-8", "replace"), "png": png}


class DrawnPicture(Picture):
    """A picture whose SVG was written by hand, `narrow` for phones."""

    narrow: str

    def _narrow(self) -> str:
        return self.narrow

    def files(self) -> dict[str, bytes]:
        ground = re.sub(r"(</title>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', self, count=1)
        png = vl_convert.svg_to_png(ground, scale=2)
        return {"csv": self.csv.encode("utf-8", "replace"), "svg": ground.encode("utf-8", "replace"), "png": png}


NOTHING: Final = Picture()


def data_of(rows: Sequence[Datum]) -> alt.InlineData:
    """Rows as the data of a chart, inside its specification."""
    return alt.InlineData(values=list(rows))


def render(
    chart: alt.TopLevelMixin,
    title: str,
    description: str,
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    columns: Mapping[str, str] | None = None,
    note: str = "",
) -> Picture:
    """SVG of a chart, fit for the inside of an HTML page. A data URL in the specification is an error.

    rows, columns, note: as `Picture` has them.
    """
    spec = chart.to_dict()
    label = f"{title}: {description}" if description else title
    svg = _labelled(_draw(spec, CONFIG), title, label)
    return Picture(svg, heading=title, note=note, columns=columns, rows=rows, spec=spec, label=label)


def darkened(svg: str) -> str:
    """The same picture for a dark page."""
    for light, dark in _DARK.items():
        svg = svg.replace(f'"{light}"', f'"{dark}"')
    return svg


def themed(svg: str) -> str:
    """The same picture with colours that are the page's variables, where the page is dark or light as its reader likes:
    `page_colours` are their values."""
    return _COLOURED.sub(lambda found: f'{found[1]}="{page_colour(found[2])}"', svg)


def page_colour(colour: str) -> str:
    """A colour of a picture, for the styles of a page."""
    return f"var({_variable(colour)}, {colour})" if colour in _ON_PAGE else colour


def page_colours(*, dark: bool) -> str:
    """The variables that `themed` names, as declarations."""
    return " ".join(f"{_variable(light)}: {shade if dark else light};" for light, shade in _ON_PAGE.items())


def _variable(colour: str) -> str:
    return f"--c-{colour.removeprefix('#')}"


def _draw(spec: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    svg: str = vl_convert.vegalite_to_svg({**spec, "config": config}, allowed_base_urls=[])
    return svg


def _labelled(svg: str, title: str, label: str) -> str:
    return re.sub(
        r"<svg ([^>]*)>",
        lambda tag: f'<svg role="img" aria-label="{escape(label)}" {tag[1]}><title>{escape(title)}</title>',
        svg,
        count=1,
    )

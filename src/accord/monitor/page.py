"""What the pages of a run, of several runs and of a sweep have in common: templates, filters, colours."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from accord.monitor.svg import Picture, page_colour, page_colours
from accord.monitor.sweep_table import figure
from accord.monitor.values import clean, duration, fixed, percent

_TEMPLATES: Final = Path(__file__).with_name("templates")
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, slots=True)
class Page:
    """html: text that encodes as UTF-8. pictures: those of the page in their order, by names for files."""

    html: str
    pictures: Mapping[str, Picture]


def render_page(template: str, *, script: str = "", **values: Any) -> str:
    """The page as HTML text that encodes as UTF-8. script: the name of a file beside the templates, the only code that
    the page's Content-Security-Policy lets run; without JavaScript a page is whole, too.
    """
    code = (_TEMPLATES / script).read_text(encoding="utf-8").strip() if script else ""
    html = _environment().get_template(template).render(script=code, security=_security(code), **values)
    return html.encode("utf-8", "replace").decode("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(clean=clean, duration=duration, percent=percent, fixed=fixed, figure=figure)
    environment.filters.update(page_colour=page_colour, coded=coded)
    environment.globals["light"], environment.globals["dark"] = page_colours(dark=False), page_colours(dark=True)
    return environment


def coded(text: str) -> Markup:
    """A sentence in which what stands between backticks is code. All of it is escaped."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # one backtick has no other: it is a letter
        return Markup("") + text
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


def pictures_by_name(content: object, besides: tuple[type, ...] = ()) -> dict[str, Picture]:
    """The pictures in what a template is given, in their order, by names for files. besides: types that hold none."""
    found: dict[str, Picture] = {}
    for picture in _pictures(content, besides):
        name, at = picture.name, 1
        while name in found:
            at += 1
            name = f"{picture.name}-{at}"
        found[name] = picture
    return found


def _pictures(content: object, besides: tuple[type, ...]) -> Iterator[Picture]:
    inner: Iterable[object] = ()
    if isinstance(content, Picture):
        if content:
            yield content
    elif isinstance(content, Mapping):
        inner = content.values()
    elif isinstance(content, list | tuple):
        inner = content
    elif is_dataclass(content) and not isinstance(content, besides):
        inner = [getattr(content, field.name) for field in fields(content)]
    for one in inner:
        yield from _pictures(one, besides)


def _security(code: str) -> str:
    if not code:
        return _POLICY
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode()
    return f"{_POLICY}; script-src 'sha256-{digest}'"

"""Pages about data: what was found in it, and what a model is given of it. One HTML file, no scripts, no network.

All text is the users' and hostile: the template engine escapes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from accord.data.audit.check import DataCheck, code_of
from accord.monitor.data_text import name_of, ratio_text, share_text
from accord.monitor.preview import Preview, num_tokens, visible
from accord.monitor.values import clean

MAX_LISTED = 1_000  # findings of a code on a page; the JSON holds all


def check_page(check: DataCheck) -> str:
    """The page of `accord data check`."""
    return _render("data_check.html.j2", check=check, code_of=code_of, max_listed=MAX_LISTED)


def preview_page(shown: Sequence[Preview], source: str, model: str) -> str:
    """The page of `accord data preview`."""
    return _render("data_preview.html.j2", shown=shown, source=source, model=model)


def _render(template: str, **values: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        clean=clean,
        visible=visible,
        num_tokens=num_tokens,
        share_text=share_text,
        ratio_text=ratio_text,
        name_of=name_of,
    )
    return environment.get_template(template).render(**values).encode("utf-8", "replace").decode("utf-8")

"""Pages from templates. Everything in them is escaped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from accord.labels.users import Session
from accord.printable import printable

FOLDER: Final = Path(__file__).parent

_ENVIRONMENT: Final = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["printable"] = printable


def page(template: str, session: Session | None = None, /, status: int = 200, **values: Any) -> HTMLResponse:
    """session: of who sees it; None: nobody has signed in."""
    user, csrf = (session.user, session.csrf) if session else (None, "")
    text = _ENVIRONMENT.get_template(f"{template}.html.j2").render(user=user, csrf=csrf, **values)
    return HTMLResponse(text.encode("utf-8", "replace"), status)

"""A chat completion from any server that speaks as OpenAI's does: newer models there refuse what older ones want."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from threading import Event
from typing import Any, Final

from accord.rewards.http_json import Declined, Server

LIMIT: Final = "max_tokens"
_NEWER: Final = "max_completion_tokens"
_NOT: Final = r"(?:unsupported|unknown|unrecogni[sz]ed|unexpected|extra|(?:not|n't) (?:be )?(?:support|permit|allow))"
_changes: dict[tuple[str, str], frozenset[str]] = {}  # fields that are sent otherwise, by server and model


def ask_chat(server: Server, body: Mapping[str, Any], stop: Event | None = None, optional: Collection[str] = ()) -> Any:
    """As `Server.ask`. body: `model` is in it, and its limit of tokens is `max_tokens`, which is sent under its newer
    name to who refuses it. optional: fields that are left out for who refuses them. What a server refuses for a model
    is asked for once in the life of this process."""
    known = server.place, str(body["model"])
    changed = _changes.get(known, frozenset())
    while True:
        try:
            answer = server.ask(_changed(body, changed), stop)
        except Declined as declined:
            more = {one for one in (LIMIT, *optional) if one in body and refuses(declined.what, one)} - changed
            if not more:
                raise
            changed |= more
        else:
            _changes[known] = changed
            return answer


def refuses(what: str, field: str) -> bool:
    """Whether the message of an error is about a field as such, and not about its value.

    >>> refuses("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens")
    True
    >>> refuses("max_tokens is too large: 9999", "max_tokens")
    False
    """
    if field == LIMIT and _NEWER in what:
        return True
    return re.search(rf"{_NOT}.*\b{field}\b|\b{field}\b.*{_NOT}", what, re.IGNORECASE | re.DOTALL) is not None


def with_newer_limit(body: Mapping[str, Any]) -> dict[str, Any]:
    return {_NEWER if name == LIMIT else name: value for name, value in body.items()}


def _changed(body: Mapping[str, Any], changed: frozenset[str]) -> dict[str, Any]:
    """`body` as a server wants it that refuses these fields."""
    kept = {name: value for name, value in body.items() if name == LIMIT or name not in changed}
    return with_newer_limit(kept) if LIMIT in changed else kept

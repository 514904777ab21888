"""Which prompts reached a policy, by what is in the store: those that it learned from, and all before. Not a step."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

from accord.errors import UserError
from accord.store.artifacts import Artifact, Store

# The inputs by which prompts reach a policy.
BY: Final = ("start", "data", "ptx_data", "comparisons", "prompts", "main", "others", "earlier", "demonstrations")


def trained_on(store: Store, policy: Artifact, asks: Collection[str]) -> set[str]:
    """Those of `asks`, the last messages of prompts in one space and without case, that the policy was trained on."""
    found: set[str] = set()
    seen: set[tuple[str, str | None]] = set()
    waiting = [policy]
    while waiting:
        artifact = waiting.pop()
        for field, parents in artifact.manifest["parents"].items():
            for parent in parents if field in BY else ():
                at = (parent["key"], parent["part"])
                made = None if at in seen else store.find(parent["kind"], parent["key"])
                seen.add(at)
                if made is not None:
                    waiting.append(made)
                    if parent["part"] is not None:
                        found |= {ask for ask in _asks(made.file(f"{parent['part']}.jsonl")) if ask in asks}
    return found


def _asks(path: Path) -> Iterator[str]:
    """The last message of each prompt, an opened answer aside."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                asked = [one for one in _turns(line, path) if one.get("role") != "assistant"]
                if asked:
                    yield " ".join(str(asked[-1].get("content", "")).split()).casefold()


def _turns(line: str, path: Path) -> list[dict[str, Any]]:
    try:
        turns = json.loads(line).get("prompt", [])
    except ValueError as error:
        raise UserError("a line is not JSON", where=str(path), remedy="Run the recipe again.") from error
    return turns if isinstance(turns, list) else []

"""What a reward model has said of responses, kept in the store: a second command does not score them again.

One line of JSON a prompt with its responses, whose texts are the key. Which model it was is the file's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from accord.store.atomic import disk_errors
from accord.store.digests import digest_of
from accord.types import Prompt, Response

Floats = NDArray[np.float64]
FOLDER: Final = "reward-scores"  # in the store
VERSION: Final = 1  # of how a model scores


class ScoreLog:
    """store: its folder. known_by: what tells the model, and how it computes, from all others. A line that was torn by
    a stop is left out."""

    def __init__(self, store: Path, known_by: str) -> None:
        name = hashlib.sha256(f"{VERSION} {known_by}".encode()).hexdigest()[:24]
        self._path = store / FOLDER / f"{name}.jsonl"
        self._known: dict[str, tuple[Floats, list[Floats] | None]] = {}
        with disk_errors(self._path):
            lines = self._path.read_bytes().split(b"\n") if self._path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
                members = None if row["members"] is None else [np.array(one, dtype=float) for one in row["members"]]
                self._known[row["key"]] = np.array(row["scores"], dtype=float), members
            except (ValueError, TypeError, KeyError):
                continue

    @staticmethod
    def key(prompt: Prompt, responses: Sequence[Response]) -> str:
        """Of the texts, and not of the prompt's name."""
        texts = [[asdict(message) for message in prompt.messages], prompt.prefill, [one.text for one in responses]]
        return digest_of(texts)

    def get(self, key: str) -> tuple[Floats, list[Floats] | None] | None:
        return self._known.get(key)

    def add(self, keys: Sequence[str], scores: Sequence[Floats], members: Sequence[Sequence[Floats]] | None) -> None:
        """scores: of each key. members: of each key those of every member; None where there are none."""
        rows = []
        for at, key in enumerate(keys):
            own = None if members is None else list(members[at])
            self._known[key] = scores[at], own
            plain = None if own is None else [one.tolist() for one in own]
            rows.append(json.dumps({"key": key, "scores": scores[at].tolist(), "members": plain}))
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"\n" + "\n".join(rows).encode() + b"\n")  # behind a torn line, too

    def all(self, keys: Sequence[str]) -> tuple[list[Floats], list[list[Floats]] | None]:
        """Of keys that are all known: the scores of each, and those of each member, None where there are none."""
        found = [self._known[key] for key in keys]
        members = [list(own) for own in zip(*(own or () for _, own in found), strict=True)]
        return [scores for scores, _ in found], members or None

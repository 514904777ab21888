"""What judges have answered, kept beside the runs: nobody pays for the same answer twice.

One line of JSON an answer, on the disk before the next one is asked for. What is asked, of whom, is the key.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accord.store.atomic import disk_errors
from accord.store.digests import digest_of


@dataclass(frozen=True, slots=True)
class Reply:
    """What a judge wrote. logprobs: of the labels as its first token, where they are known; others are missing."""

    text: str
    logprobs: Mapping[str, float] | None = None


class AnswerLog:
    """path: a file, made when something is added. A line that was torn by a stop is left out."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._known: dict[str, Reply] = {}
        with disk_errors(path):
            lines = path.read_bytes().split(b"\n") if path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
                self._known[row["key"]] = Reply(row["text"], row["logprobs"])
            except (ValueError, TypeError, KeyError):
                continue

    def __len__(self) -> int:
        return len(self._known)

    @staticmethod
    def key(**asked: Any) -> str:
        return digest_of(asked)

    def get(self, key: str) -> Reply | None:
        return self._known.get(key)

    def add(self, key: str, reply: Reply) -> None:
        """From any thread."""
        row = json.dumps({"key": key, **asdict(reply)}, ensure_ascii=True, allow_nan=False)
        with self._lock, disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"\n" + row.encode() + b"\n")  # behind a torn line, too
                file.flush()
                os.fsync(file.fileno())
            self._known[key] = reply

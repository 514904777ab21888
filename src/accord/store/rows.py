"""Rows of JSON that a step makes piece by piece, more than it would hold in memory: a file beside its checkpoints.

    work/<kind>-<key>/kept/<name>.jsonl

A checkpoint remembers how long the file was; what was written after it is dropped when the step goes on from there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from accord.errors import UserError
from accord.store import atomic
from accord.store.workspace import Workspace


class Rows:
    """All processes that compute the step append the same rows, and read them; the leading one writes."""

    def __init__(self, work: Workspace, name: str, state: Mapping[str, int] | None = None) -> None:
        """state: what `state` gave for the checkpoint that is gone on from. Raises UserError when the file is shorter
        than it was then."""
        self._work, self._path = work, work.kept / f"{name}.jsonl"
        self._num, self._size = (0, 0) if state is None else (state["num"], state["size"])
        work.lead(self._open)

    def __len__(self) -> int:
        return self._num

    def state(self) -> dict[str, int]:
        """JSON for a checkpoint."""
        return {"num": self._num, "size": self._size}

    def append(self, rows: Sequence[Any]) -> None:
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        self._work.lead(lambda: self._write(data))
        self._num += len(rows)
        self._size += len(data)

    def read(self, first: int = 0) -> Iterator[Any]:
        """Those that are there now, from the `first` on (from 0), one at a time."""
        with self._path.open("rb") as file:
            for line in islice(file, first, self._num):
                yield json.loads(line)

    def _open(self) -> None:
        with atomic.disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                if file.tell() < self._size:
                    raise UserError(
                        f"the file has {file.tell()} bytes, and had {self._size} when the step was saved",
                        where=str(self._path),
                        remedy="Delete the step's folder, which it is in, and run the recipe again.",
                    )
                os.truncate(file.fileno(), self._size)

    def _write(self, data: bytes) -> None:
        with atomic.disk_errors(self._path), self._path.open("ab") as file:
            file.write(data)

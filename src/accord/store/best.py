"""The weights that were best so far, on the disk of the work that finds them.

    work/<kind>-<key>/best/000012.safetensors      the weights after 12 iterations, or optimizer steps

They are kept beside the checkpoints, and are gone with them once the artifact is published. A better file is whole
before the one that it replaces is removed, and those that the last checkpoints were saved with stay.
"""

from __future__ import annotations

import math
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.errors import UserError
from accord.store import atomic
from accord.store.digests import sha256_of
from accord.store.tensors import write_tensors

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "best"
_PINNED = 3  # checkpoints; two are kept, and one may be under way


def _alone(work: Callable[[], object], *_: Mapping[str, Tensor]) -> None:
    work()


class Best:
    """work: the folder of the work, where the leading process writes, and all read. at: after how many iterations the
    best weights were reached (None: none were measured yet). value: how good they are."""

    def __init__(
        self, work: Path, state: Mapping[str, Any] | None = None, *, lead: Callable[..., object] = _alone
    ) -> None:
        """state: what `state` gave for the checkpoint that is gone on from; without one there is nothing to keep.
        lead: as `accord.store.workspace.Workspace.lead`."""
        self._folder, self._lead = work / FOLDER, lead
        self.at: int | None = None
        self.value = -math.inf
        self._digest = ""
        self._pinned: deque[int | None] = deque(maxlen=_PINNED)
        if state is None:
            lead(lambda: shutil.rmtree(self._folder, ignore_errors=True))
            return
        self.at, self._digest = state["at"], state["sha256"]
        self.value = -math.inf if state["value"] is None else state["value"]
        self._pinned.extend([*state["before"], self.at])

    def is_better(self, value: float) -> bool:
        """Than all before."""
        return math.isfinite(value) and value > self.value

    def offer(self, at: int, value: float, weights: Mapping[str, Tensor]) -> None:
        """Keeps weights that are better than all before; of equal ones the first. at: counted as in `at`. Raises
        UserError when the disk is full; what was kept before stays."""
        if not self.is_better(value):
            return
        digests: list[str] = []  # one, of the process that writes
        self._lead(lambda: digests.append(self._write(at, weights)), weights)
        self.at, self.value, self._digest = at, value, "".join(digests)

    def _write(self, at: int, weights: Mapping[str, Tensor]) -> str:
        path = self._path(at)
        temp = path.with_name(f".{path.name}.tmp")
        with atomic.disk_errors(path):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                atomic.files.write(temp, partial(write_tensors, weights))
                digest = sha256_of(temp)
                atomic.files.fsync(temp)
                atomic.files.rename(temp, path)
            except Exception:
                temp.unlink(missing_ok=True)
                raise
            atomic.files.fsync(self._folder)
        wanted = {self._path(one).name for one in (at, *self._pinned) if one is not None}
        for old in self._folder.glob("*.safetensors"):
            if old.name not in wanted:
                old.unlink()
        return digest

    def weights(self) -> dict[str, Tensor]:
        """The best, on the CPU. Raises UserError when the file is not what was written."""
        from safetensors.torch import load_file

        assert self.at is not None, "nothing was offered"
        path = self._path(self.at)
        self._lead(lambda: self._check(path, sha256_of))
        self._check(path)
        return load_file(path)

    def _check(self, path: Path, digest_of: Callable[[Path], str] | None = None) -> None:
        """digest_of: asked by the process that knows what it has written."""
        if not path.is_file() or (digest_of is not None and digest_of(path) != self._digest):
            raise UserError(
                "the best weights so far are gone, or are not what was written",
                where=str(path),
                remedy=f"Delete {self._folder.parent} and run the recipe again: the step begins anew.",
            )

    def state(self) -> dict[str, Any]:
        """JSON for a checkpoint that is about to be saved: what of the best weights is not in their file."""
        before = list(self._pinned)[1 - _PINNED :]
        self._pinned.append(self.at)
        value = self.value if math.isfinite(self.value) else None
        return {"at": self.at, "value": value, "sha256": self._digest, "before": before}

    def _path(self, at: int) -> Path:
        return self._folder / f"{at:06d}.safetensors"

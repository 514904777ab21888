"""The workspaces of a step that several processes compute: one leads, and writes; the others follow what it does.

A follower works in a folder of its own, which nobody keeps, so that a step's code is the same in all processes; what it
would resume from is the leader's. Whether to save and whether to stop is decided by the leader alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.errors import UserError
from accord.store.artifacts import MODEL
from accord.store.best import FOLDER
from accord.store.checkpoints import Checkpoint, Checkpoints
from accord.store.progress import Progress
from accord.store.workspace import KEPT, Workspace

if TYPE_CHECKING:
    from torch import Tensor

Agreed = Callable[[Any], Any]
Lead = Callable[..., Any]


class Shared(Workspace):
    """agreed: called by all processes, it returns what the leading one gave. leading: called by all, the leading one
    does a work while the others wait; of the tensors that are given beside it they make with it what it asks for."""

    def __init__(self, folder: Path, *, agreed: Agreed, leading: Lead, **settings: Any) -> None:
        """settings: as `Workspace` has them."""
        super().__init__(folder, **settings)
        self._agreed, self._leading = agreed, leading

    def lead(self, work: Callable[[], object], *wanted: Mapping[str, Tensor]) -> None:
        self._leading(work, *wanted)


class Leading(Shared):
    """Of the process that leads."""

    def resume(self) -> Checkpoint | None:
        checkpoint: Checkpoint | None = self._leading(super().resume)  # digests of all of it take their time
        self._agreed(None if checkpoint is None else checkpoint.path.name)
        return checkpoint

    def _wanted(self) -> tuple[bool, bool]:
        stop, save = self._agreed(super()._wanted())
        return stop, save

    def _save(
        self, iteration: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], stop: bool
    ) -> None:
        self._leading(lambda: super(Leading, self)._save(iteration, tensors, state, stop), *tensors.values())


class _Nowhere(StringIO):
    """Takes what a process shows that nobody looks at, and keeps nothing."""

    def write(self, text: str, /) -> int:
        return len(text)


class Following(Shared):
    """Of a process that follows. leader: the leading one's folder. folder: where this one works, and finds nothing of
    before."""

    def __init__(self, leader: Path, folder: Path, *, agreed: Agreed, leading: Lead) -> None:
        super().__init__(folder, agreed=agreed, leading=leading, waits=False, stream=_Nowhere())
        self.led = leader

    def resume(self) -> Checkpoint | None:
        super().resume()
        self._leading(lambda: None)
        name = self._agreed(None)
        if name is None:
            return None
        checkpoint = Checkpoints(self.led / "checkpoints").named(name)
        if checkpoint is None:
            raise UserError(
                f"the checkpoint {name} is not seen by all processes",
                where=str(self.led),
                remedy="The store has to be on a file system that all machines share.",
            )
        ignored = shutil.ignore_patterns("checkpoints", FOLDER, KEPT, MODEL, ".*", "*.tmp")  # what is read where it is
        shutil.copytree(self.led, self.folder, ignore=ignored, dirs_exist_ok=True)
        return checkpoint

    def progress(self, label: str, total: int, unit: str, *, start: int = 0) -> Progress:
        return Progress(label, total, unit, self._stream, start=start)

    def show(self, at: int, samples: Any) -> None:
        pass

    def _wanted(self) -> tuple[bool, bool]:
        stop, save = self._agreed(None)
        return stop, save

    def _save(
        self, iteration: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], stop: bool
    ) -> None:
        self._leading(lambda: None, *tensors.values())

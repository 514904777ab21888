"""Checkpoints of unfinished work: named groups of tensors and a JSON state, the last few kept.

    checkpoints/000007/<group>.safetensors, state.json, manifest.json

Folders are numbered in the order of saving and never written twice, so that a new checkpoint cannot harm an old one.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.store import atomic
from accord.store.digests import FORMAT, MANIFEST, Damaged, check_contents, describe, read_manifest, seal
from accord.store.tensors import write_tensors

if TYPE_CHECKING:
    from torch import Tensor

STATE = "state.json"
_SHARE = 9  # times as long as the last save took there is none


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint whose digests held when it was found. `iteration`: how many iterations were done."""

    path: Path
    iteration: int
    state: Any
    conditions: Mapping[str, str]

    def tensors(self, group: str) -> dict[str, Tensor]:
        """The tensors of a group, by name, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.path / f"{group}.safetensors")


class Checkpoints:
    """The checkpoints of one piece of work. One process at a time: the workspace's lock sees to it.

    conditions: what the work depends on that its key does not hold, such as the compute dtype; each checkpoint
    remembers those that it was made under.
    """

    def __init__(
        self,
        folder: Path,
        min_seconds: float = 120.0,
        keep: int = 2,
        clock: Callable[[], float] = time.monotonic,
        conditions: Mapping[str, str] | None = None,
    ) -> None:
        assert keep >= 1
        self.folder, self.min_seconds, self.keep, self._clock = folder, min_seconds, keep, clock
        self.conditions = dict(conditions or {})
        self._last_saved, self._took = clock(), 0.0

    def due(self) -> bool:
        """Whether `min_seconds` have passed since the last save, or since the work was taken up, and saving takes no
        more than a tenth of the time."""
        least = max(self.min_seconds, _SHARE * self._took) if self.min_seconds else 0.0
        return self._clock() - self._last_saved >= least

    def save(self, iteration: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
        """Publish a checkpoint and drop all but the last `keep`.

        tensors: group name -> tensor name -> tensor, written one after the other. state: JSON; its
        keys come back as strings and its tuples as lists. Raises UserError when the disk is full; the checkpoints
        that are there stay.
        """
        began, saved = self._clock(), self._saved()
        final = self.folder / f"{int(saved[-1].name) + 1 if saved else 1:06d}"
        temp = self.folder / f".{final.name}.tmp"
        with atomic.disk_errors(final):
            shutil.rmtree(temp, ignore_errors=True)
            temp.mkdir(parents=True)
            try:
                self._write(temp, iteration, tensors, state)
                atomic.publish_folder(temp, final)
            except Exception:
                shutil.rmtree(temp, ignore_errors=True)
                raise
            for old in self._saved()[: -self.keep]:
                atomic.files.remove_tree(old)
        self._last_saved = self._clock()
        self._took = self._last_saved - began

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint whose digests hold, or None. A damaged one is reported, removed and passed over."""
        for path in reversed(self._saved()):
            try:
                manifest = read_manifest(path)
                if manifest is None:
                    raise Damaged(f"{MANIFEST} is missing")
                check_contents(path, manifest["files"])
            except Damaged as damage:
                print(f"warning: {path}: {damage}; going back to the checkpoint before it", file=sys.stderr)
                atomic.files.remove_tree(path)
                continue
            state = json.loads((path / STATE).read_bytes())
            return Checkpoint(path, manifest["iteration"], state, manifest.get("conditions", {}))
        return None

    def newest(self) -> tuple[Path, Mapping[str, Any]] | None:
        """The folder that was saved last and its manifest, the digests of its files unchecked; None when there is none,
        or its manifest is damaged."""
        saved = self._saved()
        try:
            manifest = read_manifest(saved[-1]) if saved else None
        except Damaged:
            return None
        return None if manifest is None else (saved[-1], manifest)

    def named(self, name: str) -> Checkpoint | None:
        """One that another process has found whole, as it is; None where it is not seen."""
        path = self.folder / name
        manifest = read_manifest(path)
        if manifest is None:
            return None
        state = json.loads((path / STATE).read_bytes())
        return Checkpoint(path, manifest["iteration"], state, manifest.get("conditions", {}))

    def any(self) -> bool:
        """Whether there is something to resume from, its digests unchecked."""
        return bool(self._saved())

    def _saved(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("[0-9]*") if path.name.isdigit())

    def _write(
        self, temp: Path, iteration: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
    ) -> None:
        for group, named in tensors.items():
            assert group.replace("_", "").isalnum(), f"{group!r} is no name of a file"
            atomic.files.write(temp / f"{group}.safetensors", partial(write_tensors, named))
        text = json.dumps(state)
        atomic.files.write(temp / STATE, lambda path: path.write_text(text, encoding="utf-8"))
        told = {"format": FORMAT, "iteration": iteration, "conditions": self.conditions, "files": describe(temp)}
        atomic.write_json(temp / MANIFEST, seal(told))

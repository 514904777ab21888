"""Unfinished work in the shared place, so that another machine goes on when the one that did it is lost.

    <url>/work/<kind>-<first 16 of the key>/manifest.json     after how many iterations, by whom and when it was saved
                                            <digest>/         the work folder as it was then, with one checkpoint

Only the last is kept, and `Remote.offer` removes it once the artifact is there. It is uploaded between two iterations,
which wait for it: at most every ten minutes, and so seldom that it takes no more than a tenth of the time.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from accord.errors import UserError
from accord.store import atomic
from accord.store.checkpoints import Checkpoints
from accord.store.digests import FORMAT, MANIFEST, Damaged, describe, seal
from accord.store.remote import Remote

MIN_SECONDS: Final = 600.0
_SHARE = 10  # times as long as the last upload took, it is let be
_LEFT_OUT = ("progress.json", "samples.json")  # of those who look on


class Unfinished:
    """The work in one folder, and its copy there. No error of the shared place stops the work: it is said."""

    def __init__(
        self,
        remote: Remote,
        folder: Path,
        incoming: Path,
        min_seconds: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._remote, self._folder, self._incoming = remote, folder, incoming / f"work-{folder.name}"
        self._at, self._clock = f"work/{folder.name}", clock
        self._min_seconds = MIN_SECONDS if min_seconds is None else min_seconds
        self._next = clock() + self._min_seconds
        self._warned: set[str] = set()
        self._own: str | None = None  # the digest of the copy that this folder went on from, whatever each counts

    def take_up(self, conditions: Mapping[str, str]) -> None:
        """Put the copy in the place of the folder, where it is further. conditions: see `Workspace`; a copy that was
        made under others stays where it is."""
        for again in (True, False):
            try:
                manifest = self._remote.read(self._at)
                if manifest is None or manifest["iteration"] <= self._iteration():
                    return
                if other := _other(manifest["conditions"], conditions):
                    self._warn(f"{self._where(manifest)} was computed with {other}, and is not gone on with here")
                    return
                self._remote.say(
                    f"going on from iteration {manifest['iteration']} of {manifest['host']}:", self._at, manifest
                )
                self._remote.fetch(self._at, manifest, self._incoming)
                _remove_others(self._incoming, manifest["files"])
            except Damaged as damage:
                if not again:  # the first time it may have been replaced by a later one meanwhile
                    self._warn(f"{self._remote.url}/{self._at} is damaged: {damage}; it is not gone on with")
            except UserError as error:
                self._warn(str(error))
                return
            else:
                self._swap()
                self._own = manifest["digest"]
                return

    def save(self, *, stopping: bool) -> None:
        """Copy the folder as it is, with its newest checkpoint alone, unless it is too soon. stopping: it is not."""
        began = self._clock()
        newest = self._checkpoints().newest()
        if newest is None or not (stopping or began >= self._next):
            return
        path, of_checkpoint = newest
        try:
            try:
                before = self._remote.read(self._at)
            except Damaged:
                before = None
            conditions = of_checkpoint.get("conditions", {})
            others = before is not None and before["digest"] != self._own
            further = before is not None and others and before["iteration"] >= of_checkpoint["iteration"]
            if before is not None and further and not _other(before["conditions"], conditions):
                return  # another machine is as far
            files = describe(self._folder, lambda name: _is_kept(name, path.name))
            manifest = seal(
                {
                    "format": FORMAT,
                    "iteration": of_checkpoint["iteration"],
                    "conditions": of_checkpoint.get("conditions", {}),
                    "host": socket.gethostname(),
                    "saved": datetime.now(UTC).isoformat(timespec="seconds"),
                    "files": files,
                }
            )
            if stopping:
                self._remote.say("uploading", self._at, manifest)
            self._remote.send(self._at, self._folder, manifest, first=False)
            self._own = manifest["digest"]
            if before is not None:
                self._remote.forget(self._at, before)
        except UserError as error:
            self._warn(str(error))
        now = self._clock()
        self._next = now + max(self._min_seconds, _SHARE * (now - began))

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self._folder / "checkpoints")

    def _iteration(self) -> int:
        newest = self._checkpoints().newest()
        return -1 if newest is None else int(newest[1]["iteration"])

    def _swap(self) -> None:
        with atomic.disk_errors(self._folder):
            atomic.fsync_tree(self._incoming)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            atomic.files.rename(self._incoming, self._folder)

    def _where(self, manifest: Mapping[str, Any]) -> str:
        return f"the work of {manifest['host']} at {self._remote.url}/{self._at}"

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._remote.warn(text)


def _remove_others(folder: Path, listed: Mapping[str, Any]) -> None:
    """What an earlier copy, which was not fetched to its end, has left."""
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in (*listed, MANIFEST):
            path.unlink()


def _is_kept(name: str, checkpoint: str) -> bool:
    parts = name.split("/")
    if parts[0] == "checkpoints":
        return parts[1] == checkpoint
    return name not in _LEFT_OUT and not parts[-1].endswith(".tmp")


def _other(begun: Mapping[str, str], now: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {begun[name]}" for name in now if begun.get(name, now[name]) != now[name])

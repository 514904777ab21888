"""The place that stores on several machines share: what one has made, the others take from there.

    <url>/artifacts/<kind>-<first 16 of the key>/manifest.json
                                                 <first 16 of the manifest's digest>/<the files that it lists>
          work/<kind>-<first 16 of the key>/     unfinished work in the same way (`accord.store.unfinished`)

Files go first and the manifest last: a folder without one does not exist. Files lie under their own manifest's digest,
so that two machines that bring the same artifact at once do not mix their files; the first manifest stays.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from accord.errors import UserError
from accord.machine import free_disk
from accord.store import atomic
from accord.store.digests import MANIFEST, Damaged, check_contents, check_names, parse_manifest
from accord.store.lock import lock
from accord.store.objects import UNFINISHED, Away, Objects

MARK: Final = "accord-store.json"
OWN: Final = ("reward_function", "reward_endpoint")  # who opens these runs their code, or sends a key to their server
_AWAY = 60.0  # seconds that a place which did not answer is let be: each attempt may take a quarter of that
_LOOK_AGAIN = 15.0  # seconds after which an artifact that was not there may be


class Remote:
    """The shared place of one store, as this process has seen it. clock: of seconds."""

    def __init__(self, objects: Objects, clock: Callable[[], float] = time.monotonic) -> None:
        self._objects, self._clock = objects, clock
        self._reached, self._away_until = False, -math.inf
        self._absent: dict[str, float] = {}
        self._there: set[str] = set()
        self.left: dict[str, str] = {}  # what is here and could not be uploaded, and why

    @property
    def url(self) -> str:
        return self._objects.url

    def check_writable(self) -> None:
        """Raises UserError where nothing can be written: before the work, and not after it."""
        self._objects.write(MARK, json.dumps({"format": 1}).encode() + b"\n")
        self._reached = True

    def manifest(self, kind: str, key: str) -> dict[str, Any] | None:
        """Of the artifact of a key; None where it is not there. Of kinds in OWN nothing is there: what others wrote is
        not trusted with that, and making them takes a moment.

        Raises UserError for one that is damaged, and where the place is not reached. Once it was, a place that is away
        is said to be, and has nothing: the work goes on here.
        """
        at = _place("artifacts", kind, key)
        if kind in OWN or self._clock() - self._absent.get(at, -math.inf) < _LOOK_AGAIN:
            return None
        if self._clock() < self._away_until:
            return None
        try:
            manifest = self.read(at)
        except Damaged as damage:
            raise self._damaged(at, damage) from damage
        except Away as away:
            if not self._reached:
                raise
            self._away_until = self._clock() + _AWAY
            self.warn(f"{away}; what is not here is made here")
            return None
        if manifest is None:
            self._absent[at] = self._clock()
            return None
        if (manifest["kind"], manifest["key"]) != (kind, key):
            raise self._damaged(at, Damaged(f"{MANIFEST} belongs to {manifest['kind']} {manifest['key']}"))
        self._there.add(at)
        return manifest

    def bring(self, kind: str, key: str, incoming: Path, final: Path) -> bool:
        """Make the artifact of a key the folder `final`; whether there is one. incoming: a folder beside the others,
        for what is not whole yet. Raises UserError."""
        manifest = self.manifest(kind, key)
        if manifest is None:
            return False
        at = _place("artifacts", kind, key)
        with lock(incoming / f"{final.name}.lock", f"the download of {final.name}", wait=True):
            if (final / MANIFEST).is_file():  # by the process that held the lock
                return True
            self.say("fetching", at, manifest)
            try:
                self.fetch(at, manifest, incoming / final.name)
            except Damaged as damage:
                raise self._damaged(at, damage) from damage
            with atomic.disk_errors(final):
                final.parent.mkdir(parents=True, exist_ok=True)
                if final.exists():
                    shutil.rmtree(final)
            atomic.write_json(incoming / final.name / MANIFEST, manifest)
            atomic.publish_folder(incoming / final.name, final)
        return True

    def lacks(self, manifest: Mapping[str, Any]) -> bool:
        """Whether an artifact may have to be uploaded, as far as this process knows."""
        at = _place("artifacts", manifest["kind"], manifest["key"])
        return at not in self._there and manifest["kind"] not in OWN

    def offer(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        """Upload an artifact that is not there. One that cannot be is in `left`, and is said: nothing is lost by it.

        Its files are what the manifest says: that was looked at just now.
        """
        at = _place("artifacts", manifest["kind"], manifest["key"])
        if self._clock() < self._away_until:
            self.left.setdefault(at, "was not reached")
            return
        try:
            try:
                there, damaged = self.read(at), False
            except Damaged:
                there, damaged = None, True
            if there is None:
                self.say("uploading", at, manifest)
                self.send(at, folder, manifest, first=not damaged)
        except UserError as error:
            if error.what not in self.left.values():
                self.warn(f"{error}")
            self.left[at] = error.what
            if isinstance(error, Away) and self._reached:
                self._away_until = self._clock() + _AWAY
            return
        self._there.add(at)
        self._absent.pop(at, None)
        self.left.pop(at, None)
        try:
            self._withdraw(_place("work", manifest["kind"], manifest["key"]))
        except UserError as error:
            self.warn(str(error))

    def read(self, at: str) -> dict[str, Any] | None:
        """A manifest. Raises Damaged, Away and UserError."""
        content = self._objects.read(f"{at}/{MANIFEST}")
        self._reached = True
        if content is None:
            return None
        manifest = parse_manifest(content)
        check_names(manifest["files"])
        return manifest

    def send(self, at: str, folder: Path, manifest: Mapping[str, Any], *, first: bool) -> bool:
        """Upload files that are not there yet, then the manifest. first: only where there is none; returns whether it
        is this one now. Raises UserError."""
        inside = _inside(at, manifest)
        there = self._objects.sizes(inside)
        for name, entry in manifest["files"].items():
            if there.get(name) != entry["size"]:
                self._objects.put(folder / name, f"{inside}/{name}")
        for name in there.keys() - manifest["files"].keys():  # of an upload that was killed
            if name.endswith(UNFINISHED):
                self._objects.remove(f"{inside}/{name}")
        content = json.dumps(manifest, indent=2).encode() + b"\n"
        if self._objects.write(f"{at}/{MANIFEST}", content, first=first):
            return True
        if self._objects.read(f"{at}/{MANIFEST}") == content:  # written by an attempt whose answer was lost
            return True
        self.forget(at, manifest)  # no manifest has ever led to these files
        return False

    def fetch(self, at: str, manifest: Mapping[str, Any], into: Path) -> None:
        """Download the files that a manifest lists; those that are there already, and whole, are kept.

        Raises Damaged where one is missing or is not what was uploaded, even when it was fetched again; UserError.
        """
        listed, inside = manifest["files"], _inside(at, manifest)
        missing = {name: entry for name, entry in listed.items() if not _is_whole(into, name, entry)}
        size, free = sum(entry["size"] for entry in missing.values()), free_disk(into)
        if size > free:
            raise UserError(
                f"{at} has {size / 2**30:.1f} GiB to fetch, and {free / 2**30:.1f} are free",
                where=str(into),
                remedy="Free some space, or work in a folder on another disk.",
            )
        for name, entry in missing.items():
            try:
                self._get(f"{inside}/{name}", into, name, entry)
            except Damaged:  # on its way, perhaps
                self._get(f"{inside}/{name}", into, name, entry)

    def forget(self, at: str, manifest: Mapping[str, Any]) -> None:
        """Remove the files of a manifest that is not there (any more)."""
        for name in manifest["files"]:
            self._objects.remove(f"{_inside(at, manifest)}/{name}")

    def say(self, doing: str, at: str, manifest: Mapping[str, Any]) -> None:
        size = sum(entry["size"] for entry in manifest["files"].values())
        print(f"{self.url}: {doing} {at}, {size / 2**20:,.1f} MiB", file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def _withdraw(self, at: str) -> None:
        """Remove the manifest of work that is done, and then its files."""
        try:
            manifest = self.read(at)
        except Damaged:
            manifest = {"files": {}, "digest": ""}
        if manifest is not None:
            self._objects.remove(f"{at}/{MANIFEST}")
            self.forget(at, manifest)

    def _get(self, name: str, into: Path, relative: str, entry: Mapping[str, Any]) -> None:
        path = into / relative
        with atomic.disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._objects.get(name, path)
            except FileNotFoundError as error:
                raise Damaged(f"{relative} is missing") from error
        check_contents(into, {relative: dict(entry)})

    def _damaged(self, at: str, damage: Damaged) -> UserError:
        remedy = (
            f"Delete {self.url}/{at} and run the recipe again: a machine that has it uploads it, others make it anew."
        )
        return UserError(f"the artifact is damaged there: {damage}", where=f"{self.url}/{at}", remedy=remedy)


def _place(folder: str, kind: str, key: str) -> str:
    return f"{folder}/{kind}-{key[:16]}"


def _inside(at: str, manifest: Mapping[str, Any]) -> str:
    return f"{at}/{manifest['digest'][:16]}"


def _is_whole(folder: Path, name: str, entry: Mapping[str, Any]) -> bool:
    try:
        check_contents(folder, {name: dict(entry)})
    except Damaged:
        return False
    return True

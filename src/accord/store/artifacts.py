"""Artifacts: immutable folders with a manifest, found by the key of what made them.

    store/artifacts/<kind>-<first 16 of the key>/manifest.json, and the files that it lists

The manifest is the last file written before the folder gets its name: a folder without one does not exist.
"""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from accord.errors import UserError
from accord.store import atomic
from accord.store.digests import FORMAT, MANIFEST, Damaged, check_contents, check_sizes, describe, read_manifest, seal
from accord.store.place import remote_of
from accord.store.unfinished import Unfinished

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "scikit-learn", "pydantic", "peft")
INCOMING = "incoming"  # the folder in a store for what is being brought from elsewhere
MODEL = "model"  # the folder in an artifact that holds a model's Hugging Face folder

_Fingerprint = tuple[tuple[str, int, int, int], ...]
_verified: set[tuple[Path, _Fingerprint]] = set()


@dataclass(frozen=True, slots=True)
class Parent:
    """One input of a step, as the manifest records it. `name` is what the recipe calls it."""

    name: str
    kind: str
    key: str
    part: str | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made an artifact. `config` is plain JSON, `parents` are the inputs by config field."""

    kind: str
    name: str
    key: str
    version: int
    config: Mapping[str, Any]
    seed: int
    parents: Mapping[str, Sequence[Parent]]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published folder. Nothing in it changes any more."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def key(self) -> str:
        return str(self.manifest["key"])

    @property
    def seconds(self) -> float:
        """Seconds of work that it took to make, over all restarts."""
        return float(self.manifest["seconds"])

    def file(self, name: str) -> Path:
        """A file of the artifact by its relative path. Raises UserError when the artifact lists no such file."""
        if name not in self.manifest["files"]:
            raise UserError(f"the artifact holds no file {name!r}", where=str(self.path), remedy=_again(self.path))
        return self.path / name

    def verify(self) -> None:
        """Compare every file with its digest; a file that was not touched since the last time is not read again.

        Raises UserError naming the first file that is missing or differs.
        """
        listed = self.manifest["files"]
        try:
            check_sizes(self.path, listed)
            seen = (self.path.absolute(), _fingerprint(self.path, listed))
            if seen not in _verified:
                check_contents(self.path, listed)
                _verified.add(seen)
        except Damaged as damage:
            raise _damaged(self.path, damage) from damage


class Store:
    """The folder that holds artifacts, unfinished work and runs. Made when something is first written to it.

    remote: the place that it shares with stores on other machines, where it has one (`accord.store.place`).
    """

    def __init__(self, root: Path) -> None:
        """Raises UserError where the place that it shares is none."""
        self.root, self.remote = root, remote_of(root)

    def folder(self, kind: str, key: str) -> Path:
        """Where the artifact of a key is, or will be."""
        return self.root / "artifacts" / f"{kind}-{key[:16]}"

    def work_folder(self, kind: str, key: str) -> Path:
        """Where unfinished work on a key is kept."""
        return self.root / "work" / f"{kind}-{key[:16]}"

    def unfinished(self, kind: str, key: str) -> Unfinished | None:
        """The copy of unfinished work in the place that the store shares; None where it shares none."""
        if self.remote is None:
            return None
        return Unfinished(self.remote, self.work_folder(kind, key), self.root / INCOMING)

    def find(self, kind: str, key: str) -> Artifact | None:
        """The artifact of a key, or None; one that another machine has made is brought here first.

        Checks the manifest and the files' sizes, and the contents of what comes from elsewhere. Raises UserError for
        one that is damaged, and where the place that the store shares is not reached.
        """
        here = self.here(kind, key)
        if here is not None or self.remote is None:
            return here
        brought = self.remote.bring(kind, key, self.root / INCOMING, self.folder(kind, key))
        return self.here(kind, key) if brought else None

    def manifest(self, kind: str, key: str) -> Mapping[str, Any] | None:
        """Of the artifact of a key, wherever it is; it stays there. None when there is none. Raises UserError as `find`
        does."""
        here = self.here(kind, key)
        if here is not None or self.remote is None:
            return here.manifest if here is not None else None
        return self.remote.manifest(kind, key)

    def has(self, kind: str, key: str) -> bool:
        """Whether `find` will give the artifact of a key."""
        return self.manifest(kind, key) is not None

    def offer(self, artifact: Artifact) -> None:
        """Bring an artifact to the place that the store shares, if it is not there. Where that fails it is said, and
        the artifact is among `remote.left`. Raises UserError for one that is damaged here."""
        if self.remote is not None and self.remote.lacks(artifact.manifest):
            artifact.verify()
            self.remote.offer(artifact.path, artifact.manifest)

    def here(self, kind: str, key: str) -> Artifact | None:
        """The artifact of a key in this folder, or None. Checks the manifest and the files' sizes, not their contents.

        Raises UserError when a folder is there and is damaged.
        """
        path = self.folder(kind, key)
        try:
            manifest = read_manifest(path)
            if manifest is None:
                return None
            if (manifest["kind"], manifest["key"]) != (kind, key):
                raise Damaged(f"{MANIFEST} belongs to {manifest['kind']} {manifest['key']}")
            check_sizes(path, manifest["files"])
        except Damaged as damage:
            raise _damaged(path, damage) from damage
        return Artifact(path, manifest)

    def at(self, folder: Path) -> Artifact | None:
        """The artifact whose folder this is, also through links; None for every folder outside this store.

        Raises UserError when it is damaged.
        """
        path = folder.resolve()
        if path.parent != (self.root / "artifacts").resolve():
            return None
        try:
            manifest = read_manifest(path)
        except Damaged as damage:
            raise _damaged(path, damage) from damage
        found = self.here(manifest["kind"], manifest["key"]) if manifest else None
        return found if found is not None and found.path.resolve() == path else None

    def publish(
        self,
        content: Path,
        provenance: Provenance,
        seconds: float,
        conditions: Mapping[str, str] | None = None,
        spent: Sequence[Mapping[str, Any]] = (),
    ) -> Artifact:
        """Move the folder `content` into the store as an artifact, and offer it to the place that the store shares.
        `content` lies on the store's file system.

        conditions: what it depends on beside its key, such as the compute dtype; spent: what its making has used, as
        `accord.store.spending` has it; both for the manifest.
        """
        if existing := self.here(provenance.kind, provenance.key):
            return existing
        final = self.folder(provenance.kind, provenance.key)
        with atomic.disk_errors(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            if final.exists():  # without a manifest it is nothing, and would be in the way of the rename
                shutil.rmtree(final)
            manifest = seal(
                {
                    "format": FORMAT,
                    **asdict(provenance),
                    "conditions": dict(conditions or {}),
                    "files": describe(content),
                    "seconds": round(seconds, 3),
                    "spent": [dict(one) for one in spent],
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "code": {"accord": _version("accord"), "revision": _git_revision()},
                    "libraries": {"python": platform.python_version(), **{name: _version(name) for name in LIBRARIES}},
                }
            )
            atomic.write_json(content / MANIFEST, manifest)
            atomic.publish_folder(content, final)
        published = self.here(provenance.kind, provenance.key)
        assert published is not None
        self.offer(published)
        return published


def _fingerprint(folder: Path, listed: Mapping[str, Any]) -> _Fingerprint:
    stats = ((name, (folder / name).stat()) for name in listed)
    return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _damaged(path: Path, damage: Damaged) -> UserError:
    return UserError(f"the artifact is damaged: {damage}", where=str(path), remedy=_again(path))


def _again(path: Path) -> str:
    return f"Delete the folder {path} and run the recipe again: it is made anew."


@functools.cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def _git_revision() -> str | None:
    """The commit of the checkout that this code runs from, with "+changes" where files differ from it."""
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None

"""What is in a folder, as sizes and sha256 digests, and manifests that notice when they were changed themselves."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 1


class Damaged(Exception):
    """A folder is not what its manifest says. The text says which file, and how."""


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no white space, ASCII."""
    plain = json.loads(json.dumps(value))  # keys become strings before they are sorted
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def digest_of(value: Any) -> str:
    """The sha256 of a JSON value in hexadecimal, whatever the order of its keys."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def sha256_of(path: Path) -> str:
    """The sha256 of a file in hexadecimal. Streams: the file may be larger than memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(folder: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, dict[str, Any]]:
    """Relative path -> {"sha256", "size"} of every `wanted` file below `folder`, the manifest left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        assert not path.is_symlink(), f"{path}: what is published holds no links"
        if path.is_file() and name != MANIFEST and wanted(name):
            found[name] = {"sha256": sha256_of(path), "size": path.stat().st_size}
    return found


def seal(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with its own digest in it."""
    return {**manifest, "digest": digest_of(manifest)}


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder, None when it has none. Raises Damaged when it was changed since it was sealed."""
    try:
        content = (folder / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return parse_manifest(content)


def parse_manifest(content: bytes) -> dict[str, Any]:
    """A manifest from the bytes of its file. Raises Damaged."""
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{MANIFEST} is not valid JSON") from error
    if not isinstance(manifest, dict):
        raise Damaged(f"{MANIFEST} is not a manifest")
    if manifest.get("format") != FORMAT:
        raise Damaged(f"{MANIFEST} has format {manifest.get('format')!r}, and this version of Accord reads {FORMAT}")
    if manifest != seal({key: value for key, value in manifest.items() if key != "digest"}):
        raise Damaged(f"{MANIFEST} was changed after it was written")
    return manifest


def check_names(listed: dict[str, dict[str, Any]]) -> None:
    """Raise Damaged for a listed file that would lie outside the folder."""
    for name in listed:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise Damaged(f"{MANIFEST} names a file outside the folder: {name!r}")


def check_sizes(folder: Path, listed: dict[str, dict[str, Any]]) -> None:
    """Raise Damaged for the first listed file that is missing or has another size. Reads no file."""
    check_names(listed)
    for name, entry in listed.items():
        try:
            size = os.stat(folder / name).st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Damaged(f"{name} is missing") from error
        if size != entry["size"]:
            raise Damaged(f"{name} has {size:,} bytes instead of {entry['size']:,}")


def check_contents(folder: Path, listed: dict[str, dict[str, Any]]) -> None:
    """Raise Damaged for the first listed file whose size or sha256 is not the listed one. Reads every file."""
    check_sizes(folder, listed)
    for name, entry in listed.items():
        if sha256_of(folder / name) != entry["sha256"]:
            raise Damaged(f"{name} is not what was written (its sha256 differs)")

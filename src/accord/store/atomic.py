"""Writing so that a crash at any moment leaves the old state or the new one, and nothing in between.

Every change that the store makes to the disk goes through `files`, so that tests can put a fault in front of each one.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from accord.errors import UserError


class Files:
    """The operations that change the disk."""

    def write(self, path: Path, writer: Callable[[Path], object]) -> None:
        """Let `writer` make the file `path`. The data is not safe before `fsync`."""
        writer(path)

    def fsync(self, path: Path) -> None:
        """Bring a file, or the entries of a folder, to the disk."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno != errno.EINVAL or not path.is_dir():  # of folders some shared file systems know none
                raise
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def remove_tree(self, path: Path) -> None:
        shutil.rmtree(path)


files = Files()


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8, atomically. Raises UserError when the disk is full or not writable."""
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, as `write_text` does."""
    temp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        try:
            files.write(temp, lambda target: target.write_bytes(data))
            files.fsync(temp)
            files.rename(temp, path)
        except OSError:
            with suppress(OSError):
                temp.unlink(missing_ok=True)
            raise
        files.fsync(path.parent)


def fsync_tree(folder: Path) -> None:
    """Bring every file of a folder to the disk, then the folders, innermost first."""
    for here, _, names in os.walk(folder, topdown=False):
        for name in names:
            files.fsync(Path(here, name))
        files.fsync(Path(here))


def publish_folder(temp: Path, final: Path) -> None:
    """Give a complete folder its final name. `final` must not exist, and lies on the same file system as `temp`."""
    with disk_errors(final):
        fsync_tree(temp)
        files.rename(temp, final)
        files.fsync(final.parent)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into a UserError that names `path`."""
    try:
        yield
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(
            f"cannot write: {error.strerror}",
            where=str(error.filename or path),
            remedy="Make the folder writable, or name another one with --store.",
        ) from error
    except Exception as error:
        if not _says_full(error):
            raise
        raise UserError(
            "the disk is full, or your quota on it is used up",
            where=str(path),
            remedy="Free some space, or name a store on another disk with --store, and run the same command again: "
            "finished steps and the last checkpoint are kept.",
        ) from error


def _says_full(error: Exception) -> bool:
    # safetensors wraps the system's error in one of its own, and keeps only its text.
    full = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError):
        return error.errno in full
    return type(error).__name__ == "SafetensorError" and any(f"(os error {code})" in str(error) for code in full)


def link(link: Path, target: Path) -> None:
    """Make `link` a relative symbolic link to `target`, in place of another link, in one rename."""
    relative = os.path.relpath(target, link.parent)  # relative: a store can be moved
    if link.is_symlink() and os.readlink(link) == relative:
        return
    temp = link.with_name(f".{link.name}.tmp")
    with suppress(FileNotFoundError):
        temp.unlink()
    temp.symlink_to(relative, target_is_directory=True)
    os.replace(temp, link)

"""Files below a URL, as object storage has them: the one file that imports fsspec.

    s3://bucket/prefix    gs://bucket/prefix    file:///mnt/shared/folder    memory://name (of tests)

What fsspec and the libraries behind it raise becomes one of two errors that a user can act on: `Away` where the storage
does not answer, and UserError where it answers no.
"""

from __future__ import annotations

import errno
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from accord.errors import UserError, first_line

UNFINISHED: Final = ".tmp"  # how the names of files end that are not whole
_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NO_CONDITION: Final = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_FULL: Final = re.compile(r"quota|storage.?full|insufficient.?(storage|capacity)", re.IGNORECASE)
_REFUSED: Final = re.compile(
    r"access.?denied|forbidden|invalid.?access.?key|signature|credentials|(expired|invalid).?token", re.IGNORECASE
)


class Away(UserError):
    """The storage was not reached, or failed in a way that may pass."""


class Objects:
    """The files below `url`, by names with slashes. Nothing is remembered of what is there: others write there, too."""

    def __init__(self, url: str) -> None:
        """Asks nothing of the network. Raises UserError where the library for this kind of URL is missing."""
        self.url = url
        scheme = url.partition("://")[0]
        remedy = f"Install it: pip install '{'accord[remote]' if scheme in ('s3', 's3a') else 'fsspec'}'"
        try:
            import fsspec
            from fsspec.implementations.local import LocalFileSystem

            options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
            self._files, self._root = fsspec.core.url_to_fs(url, **options)
        except ImportError as error:  # its text says what to install
            raise UserError(f"cannot be opened: {first_line(error)}", where=url, remedy=remedy) from error
        except Exception as error:
            what = f"cannot be opened: {first_line(error)}"
            raise UserError(what, where=url, remedy="Name s3://BUCKET/PREFIX, or a folder.") from error
        # An object is seen when all of it is there; a file of a folder is seen as it grows.
        self._grows = isinstance(self._files, LocalFileSystem)

    def read(self, name: str) -> bytes | None:
        """All of a small file; None where there is none."""
        with self._errors("read", name), suppress(FileNotFoundError):
            return bytes(self._files.cat_file(self._path(name)))
        return None

    def get(self, name: str, path: Path) -> None:
        """Copies one file to `path`. Raises FileNotFoundError where there is none, OSError where this disk is full."""
        with self._errors("read", name, disk=True):
            self._files.get_file(self._path(name), str(path))

    def put(self, path: Path, name: str) -> None:
        """Copies the file `path` there, in place of another."""
        with self._errors("written", name):
            target = self._path(name)
            if not self._grows:
                self._files.put_file(str(path), target)
                return
            temp = self._beside(target)
            self._files.put_file(str(path), temp)
            self._files.mv(temp, target)

    def write(self, name: str, data: bytes, *, first: bool = False) -> bool:
        """Makes `data` the file `name`. first: only if there is none; returns whether it was."""
        with self._errors("written", name):
            target = self._path(name)
            if self._grows:
                return self._write_grown(target, data, first)
            try:
                self._files.pipe_file(target, data, mode="create" if first else "overwrite")
            except FileExistsError:
                return False
            except (NotImplementedError, OSError) as error:
                if not first or (isinstance(error, OSError) and error.errno not in _NO_CONDITION):
                    raise
                if self.read(name) is not None:  # storage without such a condition: who asks just before is the first
                    return False
                self._files.pipe_file(target, data)
        return True

    def sizes(self, folder: str) -> dict[str, int]:
        """Relative name -> bytes of every file below a folder."""
        with self._errors("read", folder):
            base = self._path(folder)
            found: dict[str, Any] = {}
            with suppress(FileNotFoundError):
                self._files.invalidate_cache()
                found = self._files.find(base, detail=True)
            start = len(self._files._strip_protocol(base)) + 1
            return {path[start:]: int(entry["size"]) for path, entry in found.items()}

    def remove(self, name: str) -> None:
        """Removes a file; one that is not there is none the less gone."""
        with self._errors("removed", name), suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _beside(self, target: str) -> str:
        """A name for what is not whole yet; also makes the folder."""
        folder, _, last = target.rpartition("/")
        self._files.makedirs(folder, exist_ok=True)
        return f"{folder}/.{last}.{uuid.uuid4().hex[:12]}{UNFINISHED}"

    def _write_grown(self, target: str, data: bytes, first: bool) -> bool:
        temp = self._beside(target)
        self._files.pipe_file(temp, data)
        if not first:
            self._files.mv(temp, target)
            return True
        try:
            self._files.link(temp, target)  # fails where there is one, in one operation
        except FileExistsError:
            return False
        finally:
            self._files.rm_file(temp)
        return True

    @contextmanager
    def _errors(self, doing: str, name: str, *, disk: bool = False) -> Iterator[None]:
        """disk: an error of a full or read-only disk is of this machine's, and is raised as it is."""
        where = f"{self.url}/{name}"
        try:
            yield
        except (FileNotFoundError, UserError) as error:
            if doing == "written" and isinstance(error, FileNotFoundError):
                what = f"cannot be written: {first_line(error)}"
                raise UserError(what, where=where, remedy=f"Make the bucket, or the folder, of {self.url}.") from error
            raise
        except Exception as error:
            said = first_line(error)
            number = error.errno if isinstance(error, OSError) else None
            if disk and number in _DISK:
                raise
            if number in _DISK[:2] or _FULL.search(said):
                remedy = "Free some space there, or have the quota raised."
                raise UserError(f"there is no room left: {said}", where=where, remedy=remedy) from error
            if isinstance(error, PermissionError | NotImplementedError) or number == errno.EROFS or _refused(error):
                remedy = "Look at the rights on it, and at the keys that this machine has for it."
                raise UserError(f"cannot be {doing}: {said}", where=where, remedy=remedy) from error
            remedy = "Look at the network, and at the address. What was made here is kept."
            raise Away(f"was not reached: {said}", where=where, remedy=remedy) from error


def _refused(error: Exception) -> bool:
    return bool(_REFUSED.search(type(error).__name__) or _REFUSED.search(first_line(error)))

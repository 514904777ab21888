"""Where a store is: a folder, in which all work is done, and a place that it may share with other machines.

    --store runs                   the folder `runs`
    --store s3://team/llama        the folder accord-store-team-llama, whose remote.txt holds the URL

A folder whose remote.txt holds a URL shares what it makes there, whoever wrote that file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from accord.errors import UserError
from accord.store import atomic
from accord.store.objects import Objects
from accord.store.remote import Remote

REMOTE: Final = "remote.txt"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_TORN = re.compile(r"(s3a?|gs|gcs|abfss?|az|memory|file|https?):/(?!/)")  # as a Path makes it of a URL


def store_folder(given: str | Path) -> Path:
    """The folder of a store that is named by a folder or a URL; of a URL it is made, in the present folder. Raises
    UserError."""
    text = str(given)
    if _TORN.match(text):
        raise UserError(
            f"{text!r} is neither a folder nor a URL", remedy="Write s3://BUCKET/PREFIX; in Python as a text."
        )
    if not _URL.match(text):
        return Path(given)
    url = checked_url(text, "--store")
    scheme, _, rest = url.partition("://")
    name = re.sub(r"[^\w.-]+", "-", rest).strip("-.") or scheme
    folder = Path(f"accord-store-{name[-100:]}")
    known = remote_url(folder)
    if known is None:
        with atomic.disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        atomic.write_text(folder / REMOTE, f"{url}\n")
    elif known != url:
        raise UserError(
            f"the folder for {url} shares its artifacts with {known}",
            where=str(folder / REMOTE),
            remedy=f"Make another folder, write the URL into its {REMOTE}, and name it with --store.",
        )
    return folder


def remote_url(folder: Path) -> str | None:
    """The URL that a store's folder names. Raises UserError for what is none."""
    path = folder / REMOTE
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError("cannot be read", where=str(path), remedy="Write one URL into it, or delete it.") from error
    return checked_url(text, str(path))


def remote_of(folder: Path) -> Remote | None:
    """The place that a store's folder shares. Asks nothing of the network. Raises UserError."""
    url = remote_url(folder)
    if url is None:
        return None
    return Remote(Objects(url))


def checked_url(text: str, where: str) -> str:
    """A URL, without slashes at its end. Raises UserError for one that names no place, or holds a password."""
    url = text.rstrip("/")
    what = remedy = ""
    if not _URL.match(text) or not text.isprintable() or "::" in text:
        what, remedy = f"{text!r} is not the URL of a place", "Write one such as s3://BUCKET/PREFIX."
    elif _has_password(url):
        what, remedy = (
            "a URL with a password would be shown to others",
            "Give it where the storage's own tools read it.",
        )
    elif url.lower().startswith("file:") and not url.lower().startswith("file:///"):
        what, remedy = f"{text!r} depends on the present folder", "Write file:/// and the whole path."
    if what:
        raise UserError(what, where=where, remedy=remedy)
    return url


def _has_password(url: str) -> bool:
    try:
        return urlsplit(url).password is not None
    except ValueError:  # a bracket, of an IPv6 address
        return "@" in url

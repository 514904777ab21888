"""Paths as people give them: on the command line, in recipes, in a chat, from Python."""

from __future__ import annotations

from pathlib import Path

from accord.errors import UserError, first_line


def user_path(given: str | Path) -> Path:
    """The path, `~` and `~name` as home folders. Nothing needs to be there.

    Raises UserError for what cannot be a path on this machine, or cannot be looked at, so that `exists` and the like
    answer afterwards.
    """
    why: str | None
    try:
        path = Path(given).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except RuntimeError:
        why = "there is no such user's home folder"
    except ValueError:
        why = "it holds a character that no path can"
    except OSError as error:
        why = error.strerror
    else:
        return path
    raise UserError(f"{str(given)!r} cannot be opened: {why}", remedy="Give another path.")


def text_file(given: str | Path, what: str) -> str:
    """All of a text file in UTF-8. what: how it is called in the message. Raises UserError."""
    try:
        return user_path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = f"{what} cannot be read: {first_line(error)}"
        raise UserError(why, where=str(given), remedy="Name a text file.") from error


def file_stem(name: str) -> str:
    """What a file is called after something with any name, such as a path; never a hidden one.

    >>> file_stem("../runs/tiny"), file_stem("wise@judge.example:80")
    ('runs_tiny', 'wise_judge.example_80')
    """
    plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
    return (plain.lstrip("._") or "_") if plain.startswith(".") else plain

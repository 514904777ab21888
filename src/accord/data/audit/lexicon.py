"""Lists of words, and which of them a text holds. One entry a line; `#` begins a comment.

    word        that word, in any case
    stem*       every word that begins so
    two words   these words one after the other; the last may end in `*`

A hyphen parts words, in entries as in texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from accord.errors import UserError

SHIPPED = Path(__file__).parent / "lexicons"

_WORD = re.compile(r"\w+(?:'\w+)*")


@dataclass(frozen=True)
class Lexicon:
    """Entries to look for. name: what reports call the list."""

    name: str
    entries: tuple[str, ...]

    def __post_init__(self) -> None:
        assert all(entry == fold(entry) and entry.strip("* ") for entry in self.entries), "entries are folded"

    @property
    def digest(self) -> str:
        """What a version of the list is known by, in reports."""
        return sha256("\n".join(self.entries).encode()).hexdigest()[:8]

    def entries_in(self, words: Sequence[str]) -> list[str]:
        """The entries that the words of a text (see `words`) match, each once."""
        found: dict[str, None] = {}
        for at, word in enumerate(words):
            known = self._memo.get(word)
            if known is None:
                known = self._memo[word] = self._beginning(word)
            for entry, phrase in known:
                run = words[at : at + len(phrase)]
                if len(run) == len(phrase) and all(map(_matches, phrase, run)):
                    found[entry] = None
        return list(found)

    def _beginning(self, word: str) -> list[tuple[str, list[str]]]:
        """The entries, and their words, whose first word this is."""
        heads = [word, *(f"{word[:size]}*" for size in range(1, len(word) + 1))]
        return [entry for head in heads for entry in self._by_head.get(head, ())]

    @cached_property
    def _memo(self) -> dict[str, list[tuple[str, list[str]]]]:
        """Of each word seen so far, because a corpus has far fewer different words than words."""
        return {}

    @cached_property
    def _by_head(self) -> dict[str, list[tuple[str, list[str]]]]:
        found: dict[str, list[tuple[str, list[str]]]] = {}
        for entry in self.entries:
            phrase = entry.split()
            found.setdefault(phrase[0], []).append((entry, phrase))
        return found


def words(text: str) -> list[str]:
    """The words of a text as lexicons see them: folded, without punctuation."""
    return _WORD.findall(fold(text))


def fold(text: str) -> str:
    return text.casefold().replace("\u2019", "'")  # the curly apostrophe


def load_lexicon(path: Path, name: str = "") -> Lexicon:
    """A list from a file. Raises UserError when it cannot be read, or what a line holds is no entry."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"the word list cannot be read: {error.strerror}", where=str(path), remedy=_FORM) from error
    except UnicodeDecodeError as error:
        raise UserError("the word list is not UTF-8 text", where=str(path), remedy="Save it as UTF-8.") from error
    entries = [parse_entry(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]
    kept = tuple(dict.fromkeys(entry for entry in entries if entry))
    if not kept:
        raise UserError("the word list holds no word", where=str(path), remedy=_FORM)
    return Lexicon(name or path.name, kept)


def parse_entry(line: str, where: str) -> str:
    """The entry of one line; "" of a blank line or a comment. Raises UserError."""
    entry = fold(line.partition("#")[0]).strip()
    stem = entry.removesuffix("*")
    if "*" in stem or (entry and not words(stem)):
        raise UserError(f"{entry!r} is not an entry of a word list", where=where, remedy=_FORM)
    return " ".join(words(stem)) + "*" * entry.endswith("*")


def _matches(wanted: str, word: str) -> bool:
    return word.startswith(wanted[:-1]) if wanted.endswith("*") else word == wanted


_FORM = "It is a text file of one word a line; `stem*` stands for every word that begins so."

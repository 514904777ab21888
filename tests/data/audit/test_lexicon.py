from __future__ import annotations

from pathlib import Path

import pytest

from accord.data.audit.lexicon import Lexicon, load_lexicon, words
from accord.data.audit.shares import IDENTITIES, OBSCENE, parse_groups
from accord.errors import UserError

ENTRIES = Lexicon("list", ("grumb", "snark*", "old boot", "half wit*"))


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("A GRUMB, here.", ["grumb"]),
        ("grumbs are fine", []),
        ("snarking and snark and Snark's", ["snark*"]),
        ("an old\nboot", ["old boot"]),
        ("an old-boot", ["old boot"]),
        ("old boots", []),
        ("half-wits", ["half wit*"]),
        ("half a wit", []),
        ("the old", []),
        ("", []),
    ],
)
def test_entries_are_words_stems_and_runs_of_words(text: str, entries: list[str]) -> None:
    assert ENTRIES.entries_in(words(text)) == entries


def test_both_apostrophes_are_one() -> None:
    assert words("Don’t") == words("don't") == ["don't"]  # noqa: RUF001


def test_a_file_is_read_folded_and_without_comments(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("# a list\nGrumb # the worst\n\nhalf-wit*\ngrumb\n")
    assert load_lexicon(path) == Lexicon("mine.txt", ("grumb", "half wit*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# nothing\n\n", "mine.txt: the word list holds no word"),
        (b"ok\na*b\n", r"mine.txt:2: 'a\*b' is not an entry of a word list"),
        (b"ok\n*\n", r"mine.txt:2: '\*' is not an entry"),
        (b"\xff\xfe", "mine.txt: the word list is not UTF-8 text"),
    ],
)
def test_a_bad_list_is_an_error_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_lexicon(path)


def test_a_missing_list_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the word list cannot be read: No such file"):
        load_lexicon(tmp_path / "none.txt")


def test_the_shipped_lists_load_and_share_no_entry() -> None:
    """A word that names a group must not by itself make a row toxic: every group would be erased."""
    obscene = load_lexicon(OBSCENE)
    groups = parse_groups(IDENTITIES.read_text(encoding="utf-8"), "identities.txt")
    assert 60 <= len(obscene.entries) <= 100
    for entry in groups:
        assert obscene.entries_in(words(entry.rstrip("*"))) == []
    assert {axis for axis, _ in groups.values()} == {
        *("gender", "sexual orientation", "religion", "race and ethnicity", "nationality", "disability", "age")
    }

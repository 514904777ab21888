from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from accord.api.sources import find_policy
from accord.data.formats.readers import files_of
from accord.errors import UserError
from accord.models.sources import locate
from accord.paths import user_path
from accord.text.chat_templates import template_text
from accord.user_code import Source


def test_a_path_is_itself_whether_it_is_there_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").touch()
    for given in ("nowhere/at/all", str(tmp_path / "a.txt"), str(tmp_path / "a.txt" / "b"), "", "owner/name@main"):
        assert user_path(given) == Path(given)
    assert user_path("~/a.txt") == tmp_path / "a.txt"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("~nosuchuser/x", "there is no such user's home folder"),
        ("a\0b", "it holds a character that no path can"),
        ("half \ud800", "it holds a character that no path can"),
        ("a" * 300, "File name too long"),
    ],
)
def test_what_cannot_be_a_path(given: str, why: str):
    with pytest.raises(UserError) as caught:
        user_path(given)
    assert str(caught.value) == f"{given!r} cannot be opened: {why}\n  Give another path."


def test_a_loop_of_links(tmp_path: Path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match="Too many levels of symbolic links"):
        user_path(tmp_path / "a")


@pytest.mark.parametrize("given", ["~nosuchuser/x", "a\0b"])
@pytest.mark.parametrize("take", [locate, files_of, Source.read, template_text, lambda s: find_policy(s, Path("none"))])
def test_everything_that_takes_a_path_says_so(take: Callable[[str], object], given: str):
    with pytest.raises(UserError, match="cannot be opened"):
        take(given)

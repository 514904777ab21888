"""What a recipe's `data` can name: parts, kinds and fingerprints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.data import sources
from accord.data.catalog import BUILTIN, BuiltinData
from accord.data.records import write_records
from accord.errors import UserError
from accord.types import Message, PlainText, Prompt

PROMPT = Prompt("p", (Message("user", "Name a colour."),))
TEXT = PlainText("t", "Blue.")


@pytest.fixture
def builtin(monkeypatch: pytest.MonkeyPatch) -> str:
    def prepare(folder: Path) -> None:
        write_records(folder / "asked.jsonl", "prompts", [PROMPT])
        write_records(folder / "said.jsonl", "texts", [TEXT])

    made = BuiltinData("made", "none", "made up", {"asked": "prompts", "said": "texts"}, prepare)
    monkeypatch.setitem(BUILTIN, "made", made)
    return "builtin:made"


def test_a_built_in_data_set_is_read_in_its_parts(builtin):
    readings = sources.read_parts(builtin)
    assert {part: (reading.kind, reading.records) for part, reading in readings.items()} == {
        "asked": ("prompts", [PROMPT]),
        "said": ("texts", [TEXT]),
    }
    assert readings["said"].places == ["builtin:made.said:1"]
    assert sources.kinds_of(builtin) == {"asked": "prompts", "said": "texts"}
    assert sources.fingerprint(builtin) == ""


def test_files_are_read_by_part(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "Blue."}))
    (tmp_path / "b.txt").write_text("One.\n\nTwo.")
    named = {"train": str(tmp_path / "a.jsonl"), "more": str(tmp_path / "b.txt")}
    assert sources.kinds_of(named) == {"train": "texts", "more": "texts"}
    assert {part: reading.num_rows for part, reading in sources.read_parts(named).items()} == {"train": 1, "more": 2}
    assert list(sources.read_parts(named["more"])) == ["train"]


def test_the_fingerprint_is_of_content_and_part(tmp_path):
    for name in ("a.jsonl", "folder/a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"text": "Blue."}))
    file, folder = str(tmp_path / "a.jsonl"), str(tmp_path / "folder")
    before = sources.fingerprint(file)
    assert before == sources.fingerprint({"train": file}) == sources.fingerprint(folder)
    assert before != sources.fingerprint({"test": file})
    (tmp_path / "folder" / "b.txt").write_text("More.")
    assert sources.fingerprint(folder) != before
    assert sources.fingerprint("hub:a/b", "v1") != sources.fingerprint("hub:a/b", "v2")


def test_what_has_no_fingerprint(tmp_path, builtin):
    for source, message in (
        (str(tmp_path / "none.jsonl"), "there is no data set"),
        ("builtin:maid", "Did you mean 'builtin:made'?"),
        ({"train": builtin}, "has parts of its own"),
    ):
        with pytest.raises(UserError) as caught:
            sources.fingerprint(source)
        assert message in str(caught.value)

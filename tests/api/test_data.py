from __future__ import annotations

import json
from pathlib import Path

import pytest

import accord
from tests.fixtures.made_up_data import made_up, make_prompts

__all__ = ["made_up"]


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_records_of_a_file(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", {"prompt": "Hello.", "chosen": "Good day.", "rejected": "No."})
    ((comparison, judgements),) = accord.read_data(path)
    assert isinstance(comparison, accord.Comparison)
    assert [response.text for response in comparison.responses] == ["Good day.", "No."]
    assert [judgement.grades for judgement in judgements] == [(1.0, 0.0)]
    (prompt,) = accord.read_data(write(tmp_path / "b.jsonl", {"q": "Hello."}), columns={"prompt": "q"})
    assert prompt.messages == (accord.Message("user", "Hello."),)


def test_defects_are_refused_or_dropped(tmp_path: Path):
    good = {"prompt": "a", "completion": "b"}
    path = write(tmp_path / "a.jsonl", good, {"prompt": "a", "completion": 3}, good | {"prompt": "c"})
    with pytest.raises(accord.UserError) as caught:
        accord.read_data(path)
    assert str(caught.value).startswith(f"{path}: 1 of 3 rows cannot be used (wrong-type 1):\n  {path}:2:completion")
    assert len(accord.read_data(path, defects="drop")) == 2
    twice_wrong = {"prompt": 1, "chosen": "", "rejected": ""}
    path = write(tmp_path / "b.jsonl", {"prompt": "a", "chosen": "b", "rejected": "c"}, twice_wrong)
    with pytest.raises(accord.UserError, match=r"b\.jsonl: 1 of 2 rows cannot be used"):
        accord.read_data(path)


def test_a_built_in_data_set(made_up: str):
    assert accord.read_data(made_up, part="prompts") == make_prompts()
    with pytest.raises(accord.UserError, match="has no part 'prompt'\n  Did you mean 'prompts'"):
        accord.read_data(made_up, part="prompt")
    with pytest.raises(accord.UserError, match="a built-in data set has no options, and here is 'limit'"):
        accord.read_data(made_up, part="prompts", limit=1)


def test_a_file_has_one_part(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", {"prompt": "Hello."})
    with pytest.raises(accord.UserError, match="has no part 'test', but the part 'train' alone"):
        accord.read_data(path, part="test")


def test_mistyped_options(tmp_path: Path):
    with pytest.raises(accord.UserError, match="there is no option 'colums'\n  Did you mean 'columns'"):
        accord.read_data(tmp_path, colums={})
    with pytest.raises(accord.UserError, match="defects: 'drp' is not known\n  Did you mean 'drop'"):
        accord.read_data(tmp_path, defects="drp")

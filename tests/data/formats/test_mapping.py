"""A file's own columns under the names that Accord knows."""

from __future__ import annotations

import pytest

from accord.data.formats.fields import Defect
from accord.data.formats.mapping import check_columns, check_present, mapped, their_field, usual
from accord.errors import UserError


def test_texts_are_joined_and_lists_are_filled():
    values = {"q": "Ask", "context": "", "note": "More", "a": "x", "b": None, "r1": 1, "kept": 5}
    columns = {"prompt": ["q", "context", "note"], "responses": ["a", "b"], "winners": ["r1"], "completion": "a"}
    assert mapped(values, columns) == {
        "prompt": "Ask\n\nMore",
        "responses": ["x", None],
        "winners": [1],
        "completion": "x",
        "kept": 5,
    }


def test_an_id_may_be_made_of_several_columns():
    assert mapped({"domain": "film", "n": 3}, {"id": ["domain", "n"]}) == {"id": "film-3"}


def test_what_cannot_be_joined():
    with pytest.raises(Defect, match="n: a text is wanted, not a number") as caught:
        mapped({"q": "Ask", "n": 3}, {"prompt": ["q", "n"]})
    assert caught.value.code == "wrong-type"


@pytest.mark.parametrize(
    ("field", "theirs"),
    [
        ("completion", "a"),
        ("prompt", "q+note"),
        ("responses[1]", "b"),
        ("responses", "a+b"),
        ("messages[2].role", "chat[2].role"),
        ("margin", "margin"),
        ("", ""),
    ],
)
def test_a_field_is_called_as_in_the_file(field, theirs):
    columns = {"prompt": ["q", "note"], "responses": ["a", "b"], "completion": "a", "messages": "chat"}
    assert their_field(field, columns) == theirs


def test_alpaca_and_sharegpt_need_no_mapping():
    alpaca = {"instruction": "Add.", "input": "1 2", "output": "3", "text": "all of it"}
    assert mapped(alpaca, usual(alpaca, {})) == {"prompt": "Add.\n\n1 2", "completion": "3", "text": "all of it"}
    assert mapped({"conversations": []}, usual({"conversations": []}, {})) == {"messages": []}
    ours = {"instruction": "Add.", "output": "3", "prompt": "p", "completion": "c"}
    assert usual(ours, {}) == {}
    assert usual({"instruction": "Add.", "response1": "3"}, {}) == {}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"promt": "q"}, "columns: 'promt' is no column that Accord knows\n  Did you mean 'prompt'?"),
        ({"label": ["a", "b"]}, "columns: 'label' is one column of the file"),
        ({"prompt": []}, "columns: 'prompt' is one column of the file"),
    ],
)
def test_mappings_that_cannot_be(columns, message):
    with pytest.raises(UserError) as caught:
        check_columns(columns)
    assert message in str(caught.value)


def test_a_column_that_no_row_has():
    with pytest.raises(UserError) as caught:
        check_present({"prompt": ["instruction", "imput"]}, ["instruction", "input"], "a.csv")
    assert str(caught.value) == (
        "a.csv: columns: prompt is to be 'imput', and no row has that column\n  Did you mean 'input'?"
    )

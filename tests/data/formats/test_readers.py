"""Sources of every form as records of one kind, and nothing lost without a flaw."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accord.data.formats.options import ReadOptions
from accord.data.formats.readers import kind_of_source, read_source
from accord.data.formats.reading import Reading, count_codes
from accord.data.records import RecordKind, write_records
from accord.errors import UserError
from accord.types import (
    Comparison,
    Demonstration,
    Judgement,
    LabelledResponse,
    Message,
    PlainText,
    Prompt,
    RatedText,
    Response,
)

real = pytest.mark.skipif("ACCORD_DATA" not in os.environ, reason="ACCORD_DATA names no folder of real data")
ASK = {"role": "user", "content": "Name a colour."}


def write(path: Path, *rows: object) -> str:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return str(path)


def found(reading: Reading) -> set[tuple[str, str]]:
    return {(flaw.place.rpartition("/")[2], flaw.code) for flaw in reading.flaws}


# Every kind of record that the store holds is read as it is.

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(str.strip)
answers = words.filter(lambda text: not text.lstrip().startswith(("[", "Human:", "Assistant:")))
names = st.text("abcdef-0", min_size=1, max_size=8)
histories = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), answers), max_size=2)
prompts = st.builds(
    lambda name, before, asked, prefill: Prompt(name, (*before, Message("user", asked)), prefill),
    names,
    histories,
    answers,
    st.just("") | answers,
)
responses = st.builds(Response, answers, st.booleans())
finite = st.floats(-5, 5)


@st.composite
def comparisons(draw: st.DrawFn) -> tuple[Comparison, tuple[Judgement, ...]]:
    asked = draw(prompts)
    candidates = draw(st.lists(responses, min_size=2, max_size=4, unique_by=lambda one: one.text))
    name = draw(names | st.just(asked.id))
    raters = draw(st.lists(names, max_size=2))
    grades = st.tuples(*[st.none() | finite for _ in candidates])
    judgements = tuple(Judgement(name, rater, draw(grades)) for rater in raters)
    return Comparison(name, asked, tuple(candidates)), judgements


@st.composite
def demonstrations(draw: st.DrawFn) -> Demonstration:
    asked = draw(prompts)
    return Demonstration(asked, draw(responses), draw(st.none() | st.integers(0, len(asked.messages))))


STORED: dict[RecordKind, st.SearchStrategy[Any]] = {
    "demonstrations": demonstrations(),
    "prompts": prompts,
    "labelled": st.builds(LabelledResponse, prompts, st.builds(Response, answers), st.booleans()),
    "texts": st.builds(PlainText, names, answers),
    "ratings": st.builds(RatedText, names, words, st.lists(finite, min_size=1, max_size=3).map(tuple)),
    "comparisons": comparisons(),
}


@pytest.mark.parametrize("kind", STORED)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_what_the_store_writes_is_read_as_it_is(kind, tmp_path, data):
    record = data.draw(STORED[kind])
    path = tmp_path / "stored.jsonl"
    write_records(path, kind, [record])
    reading = read_source(str(path))
    assert (reading.kind, reading.records, reading.places, reading.flaws) == (kind, [record], [f"{path}:1"], [])


# Sources.


def test_a_folder_is_its_files_of_data_by_name(tmp_path):
    write(tmp_path / "b.jsonl", {"prompt": "Second."})
    write(tmp_path / "a.json", [{"prompt": "First."}])
    (tmp_path / "c.csv").write_text("prompt\nThird.\n")
    (tmp_path / "README.md").write_text("No data.")
    write(tmp_path / ".hidden.jsonl", {"prompt": "Never."})
    reading = read_source(str(tmp_path))
    assert [record.messages[0].content for record in reading.records] == ["First.", "Second.", "Third."]
    assert [record.id for record in reading.records] == ["a-0", "b-1", "c-2"]


def test_a_missing_file_is_told_with_its_path_and_one_that_may_be_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "comparisons.jsonl", {"prompt": "Q"})
    with pytest.raises(UserError) as caught:
        read_source("comparison.jsonl")
    at = f"there is no data set 'comparison.jsonl': no file or folder is at {tmp_path / 'comparison.jsonl'}"
    assert caught.value.what == at
    assert caught.value.remedy.endswith("Did you mean 'comparisons.jsonl'?")
    with pytest.raises(UserError, match=r"Built in: builtin:film-reviews, "):
        read_source("x.jsonl")


def test_the_limit_is_of_rows(tmp_path):
    source = write(tmp_path / "a.jsonl", {"prompt": "One."}, "{", {"prompt": "Three."})
    reading = read_source(source, ReadOptions(limit=2))
    assert (reading.num_rows, len(reading.records), len(reading.flaws)) == (2, 1, 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.jsonl", None, "missing.jsonl': no file or folder is at /"),
        ("a.jsonl", '{"promt": "Say a.", "completion": "b"}', "Did you mean 'prompt' by 'promt'? Rename it, or write"),
        ("film-reviews", None, "Did you mean 'builtin:film-reviews'?"),
        ("folder/", None, "the folder holds no file of data"),
        ("a.docx", "x", "the ending of this file is not known"),
        ("a.jsonl", "{\n[", "no row can be read, and the first is:"),
        ("a.jsonl", "{}", "the columns do not tell data of a known kind; they are none"),
        ("a.csv", "q,a\n1,2\n", "they are 'q', 'a'\n  Known: prompt+responses; chosen+rejected; "),
        (
            "a.csv",
            "q,a\n1,2\n",
            "Name the file's own with `columns: {OURS: THEIRS}` in a recipe, or --column OURS=THEIRS",
        ),
        ("a.json", '[{"id": 1, "data": {"text": "t"}, "annotations": []}]', "this export of label-studio holds no"),
    ],
)
def test_sources_that_cannot_be_read(name, content, message, tmp_path):
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    for read in (read_source, kind_of_source):
        with pytest.raises(UserError) as caught:
            read(name if name == "film-reviews" else str(path))
        assert message in str(caught.value)
        assert name.rstrip("/") in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "colums"}, "format: 'colums' is not known\n  Did you mean 'columns'?"),
        ({"kind": "comparison"}, "Did you mean 'comparisons'?"),
        ({"limit": 0}, "limit: 0 rows are none"),
        ({"columns": {"promt": "q"}}, "Did you mean 'prompt'?"),
        ({"columns": {"question": "q"}, "format": "columns"}, "'question' is no column that Accord knows"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(UserError) as caught:
        ReadOptions(**options)
    assert message in str(caught.value)


def test_a_column_of_the_mapping_that_the_file_lacks(tmp_path):
    source = write(tmp_path / "a.jsonl", {"question": "Q", "answer": "A"})
    with pytest.raises(UserError, match="completion is to be 'anwser', and no row has that column"):
        read_source(source, ReadOptions(columns={"prompt": "question", "completion": "anwser"}))
    with pytest.raises(UserError, match="the columns do not tell comparisons"):
        read_source(source, ReadOptions(columns={"prompt": "question", "completion": "answer"}, kind="comparisons"))


# Rows.


def test_flaws_name_the_columns_of_the_file_and_all_that_is_wrong_with_a_row(tmp_path):
    source = write(
        tmp_path / "a.json",
        [
            {"q": "Q", "one": "a", "two": "b", "won": 2},
            {"q": "Q", "one": "a", "two": True, "won": 2},
            {"q": "Q", "one": "a", "two": "b", "won": 3},
            {"q": 1, "one": "a", "two": "b", "won": 3},
        ],
    )
    options = ReadOptions(columns={"prompt": "q", "responses": ["one", "two"], "winners": ["won"]})
    reading = read_source(source, options)
    assert [judgement.grades for judgement in reading.records[0][1]] == [(0.0, 1.0)]
    assert [str(flaw).removeprefix(source) for flaw in reading.flaws] == [
        "[1]:two: a text is wanted, not true",
        "[2]:won: 3 is not the number of a response, 1 to 2, or 0",
        "[3]:q: a text is wanted, not a number",
    ]


def test_a_row_with_two_defects_is_left_out_once_and_both_are_named(tmp_path):
    source = write(
        tmp_path / "a.jsonl",
        {"prompt": "Q", "chosen": "a", "rejected": "b"},
        {"prompt": "", "chosen": " ", "rejected": True},
    )
    reading = read_source(source)
    assert [(flaw.field, flaw.code) for flaw in reading.flaws] == [
        ("chosen", "empty-response"),
        ("prompt", "empty-turn"),
        ("rejected", "wrong-type"),
    ]
    assert (reading.num_rows, len(reading.records), reading.num_left_out) == (2, 1, 1)


def test_most_of_the_first_rows_decide_and_the_others_are_flaws(tmp_path):
    pair = {"prompt": "Q", "completion": "A"}
    source = write(tmp_path / "a.jsonl", {**pair, "label": True}, {**pair, "label": False}, pair, {"other": 1})
    reading = read_source(source)
    assert (reading.kind, len(reading.records)) == ("labelled", 2)
    assert [str(flaw).removeprefix(source) for flaw in reading.flaws] == [
        ":3:label: is missing, and the source holds labelled",
        ":4:completion: is missing, and the source holds labelled",
    ]
    forced = read_source(source, ReadOptions(kind="demonstrations"))
    assert (forced.kind, len(forced.records)) == ("demonstrations", 3)
    assert kind_of_source(source) == "labelled"
    source = write(tmp_path / "a.jsonl", pair, pair, {**pair, "label": True})
    assert str(read_source(source).flaws[0]) == f"{source}:3: holds labelled, and the source demonstrations"


def test_repeated_ids_are_flaws(tmp_path):
    source = write(tmp_path / "a.jsonl", {"id": "x", "text": "One."}, {"id": "x", "text": "Two."}, {"text": "Three."})
    reading = read_source(source)
    assert [record.id for record in reading.records] == ["x", "a-3"]
    assert str(reading.flaws[0]) == f"{source}:2:id: 'x' is also the id of {source}:1"


def test_notes_are_of_rows_that_are_kept(tmp_path):
    double = [ASK, {"role": "user", "content": "And name it well."}]
    rows = [
        {"prompt": "Q", "chosen": "a", "rejected": "b", "tie": True},
        {"prompt": double, "chosen": "a", "rejected": "b"},
        {"prompt": "Q", "responses": ["a", "a", "b"], "scores": [1, 1, None]},
        {"prompt": "Q", "responses": ["a", "b"], "judgements": []},
    ]
    reading = read_source(write(tmp_path / "a.jsonl", *rows))
    assert len(reading.records) == 4
    assert [(flaw.place[-1], flaw.field, flaw.code) for flaw in reading.notes] == [
        ("1", "", "tie"),
        ("2", "prompt", "two-turns-in-a-row"),
        ("3", "responses", "repeated-response"),
        ("3", "", "tie"),
        ("4", "", "unjudged"),
    ]
    assert count_codes(reading.notes)["tie"] == 2


def test_rated_responses_are_compared_with_the_others_of_their_prompt(tmp_path):
    rows = [
        {"prompt": "One.", "completion": "a", "rating": [4, 5]},
        {"prompt": "Two.", "completion": "x", "rating": 3},
        {"prompt": "One.", "completion": "b", "rating": [2]},
        {"prompt": "One.", "completion": "c", "rating": None},
        {"prompt": "Three.", "completion": "y", "rating": 1},
        {"prompt": "Two.", "completion": "z", "rating": "4.5"},
    ]
    source = write(tmp_path / "a.jsonl", *rows)
    reading = read_source(source)
    first = Prompt("a-1", (Message("user", "One."),))
    assert reading.records[0] == (
        Comparison("a-1", first, (Response("a"), Response("b"))),
        (Judgement("a-1", "1", (4.0, 2.0)), Judgement("a-1", "2", (5.0, None))),
    )
    assert [judgement.grades for judgement in reading.records[1][1]] == [(3.0, 4.5)]
    assert reading.places == [f"{source}:1", f"{source}:2"]
    assert found(reading) == {("a.jsonl:4", "missing"), ("a.jsonl:5", "single-response")}


def test_csv_with_lists_numbers_and_flags_in_its_cells(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        'messages,note\n"[{""role"": ""user"", ""content"": ""Hi""}, {""from"": ""gpt"", ""value"": ""Yes?""}]",x\n'
    )
    assert read_source(str(path)).records[0].response == Response("Yes?")
    path.write_text("prompt,completion,label\nQ,A,True\nQ,B,0\nQ,C,\n")
    reading = read_source(str(path))
    assert [record.good for record in reading.records] == [True, False]
    assert found(reading) == {("a.csv:4", "wrong-type")}


def test_formats_are_recognised_and_can_be_forced(tmp_path):
    task = {
        "id": 7,
        "data": {"prompt": "Q", "response1": "a", "response2": "b"},
        "annotations": [
            {
                "completed_by": 1,
                "result": [{"from_name": "better", "to_name": "p", "type": "pairwise", "value": {"selected": "left"}}],
            }
        ],
    }
    source = write(tmp_path / "a.json", [task])
    reading = read_source(source)
    assert (reading.kind, [judgement.grades for judgement in reading.records[0][1]]) == ("comparisons", [(1.0, 0.0)])
    with pytest.raises(UserError, match="the columns do not tell"):
        read_source(source, ReadOptions(format="columns"))
    with pytest.raises(UserError, match="this export of argilla holds no data"):
        read_source(source, ReadOptions(format="argilla"))
    dialogues = write(tmp_path / "d.jsonl", {"text": "\n\nHuman: Hi\n\nAssistant: Yes?"})
    assert read_source(dialogues).kind == "demonstrations"
    assert read_source(dialogues, ReadOptions(format="columns")).kind == "texts"
    plain = write(tmp_path / "p.jsonl", {"text": "\n\nHuman: Hi\n\nAssistant: Yes?"}, {"text": "Plain."})
    assert found(read_source(plain, ReadOptions(format="dialogue"))) == {("p.jsonl:2", "not-a-dialogue")}

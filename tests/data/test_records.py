import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accord.data.records import read_records, write_records
from accord.errors import UserError
from accord.types import Comparison, Demonstration, Judgement, Message, Prompt, RatedText, Response

USER = {"role": "user", "content": "Name a colour."}
PROMPT = (Message("user", "Name a colour."),)

texts = st.text(max_size=12) | st.sampled_from(["line\u2028break", "\x85", "\r\n", '"', "\\", " ", "\x00"])
names = texts.filter(bool)
numbers = st.floats(allow_nan=False, allow_infinity=False)
roles = st.sampled_from(["system", "user", "assistant"])
messages = st.builds(
    lambda first, last: (*first, last),
    st.lists(st.builds(Message, roles, texts), max_size=2),
    st.builds(Message, st.sampled_from(["system", "user"]), texts),
)
prompts = st.builds(Prompt, names, messages, texts, st.just("") | names)
responses = st.builds(Response, texts, st.booleans())


@st.composite
def judged(draw: st.DrawFn) -> tuple[Comparison, tuple[Judgement, ...]]:
    answers = tuple(draw(st.lists(responses, min_size=2, max_size=4)))
    comparison = Comparison(draw(names), draw(prompts), answers)
    grades = st.tuples(*[st.none() | numbers] * len(answers))
    safe = st.just(()) | st.tuples(*[st.none() | st.booleans()] * len(answers))
    said = st.builds(Judgement, st.just(comparison.id), names, grades, safe)
    return comparison, tuple(draw(st.lists(said, max_size=2)))


KINDS = {
    "demonstrations": st.builds(Demonstration, prompts, st.builds(Response, names, st.booleans())),
    "prompts": prompts,
    "comparisons": judged(),
    "ratings": st.builds(RatedText, names, names, st.lists(numbers, min_size=1, max_size=4).map(tuple)),
}


def record_id(record):
    holder = record[0] if isinstance(record, tuple) else record
    return holder.prompt.id if isinstance(holder, Demonstration) else holder.id


@pytest.mark.parametrize("kind", KINDS)
def test_records_survive_the_round_trip(kind, tmp_path):
    path = tmp_path / "records.jsonl"

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(KINDS[kind], max_size=4, unique_by=record_id))
    def check(records):
        write_records(path, kind, records)
        assert read_records(path, kind) == records

    check()


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_any_file_is_read_or_refused_in_one_clear_error(kind, tmp_path, data):
    rows = {
        "id": "a",
        "prompt": [USER],
        "completion": [{"role": "assistant", "content": "Blue."}],
        "text": "Blue.",
        "ratings": [1],
        "responses": ["Blue.", "Red."],
        "judgements": [{"annotator": "ann", "grades": [1, None], "safe": [True, None]}],
        "safe": [True],
    }
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.just("\ud800") | st.just(10**400)
    values = st.recursive(
        leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from([*rows, "role", "content"]), v)
    )
    row = rows | {data.draw(st.sampled_from(sorted(rows))): data.draw(values)}
    line = json.dumps(row).encode()
    cut = data.draw(st.integers(0, len(line)))
    path = tmp_path / "fuzzed.jsonl"
    path.write_bytes(line[:cut] + data.draw(st.binary(max_size=3)) + line[cut + data.draw(st.integers(0, 3)) :])
    try:
        read_records(path, kind)
        message = str(path)
    except UserError as error:
        message = str(error)
    assert str(path) in message


def read_rows(path: Path, kind, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return read_records(path, kind)


def test_the_columns_are_trls_and_a_last_assistant_message_is_the_prefill(tmp_path):
    path = tmp_path / "d.jsonl"
    record = Demonstration(Prompt("7", PROMPT, "It is"), Response(" blue."))
    write_records(path, "demonstrations", [record])
    assert json.loads(path.read_text()) == {
        "id": "7",
        "prompt": [USER, {"role": "assistant", "content": "It is"}],
        "completion": [{"role": "assistant", "content": " blue."}],
    }


def test_a_comparison_says_its_prompts_id_and_unfinished_responses_only_where_needed(tmp_path):
    path = tmp_path / "c.jsonl"
    pair = (Response("Blue."), Response("Red and", finished=False))
    plain = Comparison("c1", Prompt("c1", PROMPT), (pair[0], pair[0]))
    shared = Comparison("c2", Prompt("p9", PROMPT), pair)
    write_records(path, "comparisons", [(plain, ()), (shared, (Judgement("c2", "ann", (1.0, None)),))])
    first, second = map(json.loads, path.read_text().splitlines())
    assert set(first) == {"id", "prompt", "responses", "judgements"}
    assert (second["id"], second["prompt_id"], second["finished"]) == ("c2", "p9", [True, False])
    assert second["judgements"] == [{"annotator": "ann", "grades": [1.0, None]}]


def test_safety_labels_are_written_where_there_are_some(tmp_path):
    path = tmp_path / "c.jsonl"
    comparison = Comparison("c1", Prompt("c1", PROMPT), (Response("Blue."), Response("Red.")))
    said = (Judgement("c1", "ann", (1.0, None), (True, None)), Judgement("c1", "bob", (None, None)))
    write_records(path, "comparisons", [(comparison, said)])
    assert json.loads(path.read_text())["judgements"] == [
        {"annotator": "ann", "grades": [1.0, None], "safe": [True, None]},
        {"annotator": "bob", "grades": [None, None]},
    ]


def test_unknown_columns_blank_lines_a_byte_order_mark_and_crlf_are_fine(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": "1", "text": "t", "ratings": [2, -1], "note": {}}\r\n\r\n')
    assert read_records(path, "ratings") == [RatedText("1", "t", (2.0, -1.0))]


def test_all_bad_rows_come_in_one_error_with_their_places(tmp_path):
    path = tmp_path / "c.jsonl"
    good = {"id": "a", "prompt": [USER], "responses": ["x", "y"], "judgements": [{"annotator": "z", "grades": [1, 2]}]}

    def labelled(safe):
        return good | {"id": f"{safe}", "judgements": [{"annotator": "z", "grades": [1, 2], "safe": safe}]}

    rows = [
        (good, None),
        ("{", ":2: not JSON"),
        ("[]", ":3: an object is wanted, not a list"),
        (good | {"id": 5}, ":4:id: a text is wanted, not a number"),
        (good, ":5:id: 'a' is also the id of line 1"),
        (good | {"id": "b", "responses": ["x", True]}, ":6:responses[1]: a text is wanted, not true"),
        (good | {"id": "c", "responses": ["x"]}, ":7:responses: at least two"),
        (good | {"id": "d", "judgements": [{"annotator": "z", "grades": [1]}]}, ":8:judgements[0].grades: holds 1"),
        (good | {"id": "e", "judgements": [{"annotator": "z", "grades": [1, "2"]}]}, ":9:judgements[0].grades[1]: a"),
        (good | {"id": "f", "prompt": [{"role": "human", "content": ""}]}, ":10:prompt[0].role: 'human' is not one"),
        (good | {"id": "g", "prompt": [{"role": "assistant", "content": ""}]}, ":11:prompt: holds no message"),
        ('{"id": "h", "prompt": [], "responses": [], "judgements": [NaN]}', ":12:prompt: holds no message"),
        (good | {"id": "i", "judgements": [{"grades": [1, 2]}]}, ":13:judgements[0].annotator: is missing"),
        (good | {"id": "j", "judgements": [{"annotator": "z", "grades": [1, 1e999]}]}, ":14:judgements[0].grades[1]:"),
        (good | {"id": "k", "responses": ["x", "\udc00"]}, ":15:responses[1]: holds half"),
        (good | {"id": "l", "finished": [True]}, ":16:finished: holds 1"),
        (labelled([True]), ":17:judgements[0].safe: holds 1 labels for 2 responses"),
        (labelled([True, 1]), ":18:judgements[0].safe[1]: true or false is wanted, not a number"),
        (labelled({}), ":19:judgements[0].safe: a list is wanted, not an object"),
    ]
    with pytest.raises(UserError) as caught:
        read_rows(path, "comparisons", *[row for row, _ in rows])
    message = str(caught.value)
    assert "18 of 19 comparisons" in message
    for _, place in rows[1:]:
        assert f"{path}{place}" in message, place


@pytest.mark.parametrize(
    ("kind", "row", "place"),
    [
        ("demonstrations", {"id": "a", "prompt": [USER], "completion": [USER]}, "completion"),
        (
            "demonstrations",
            {"id": "a", "prompt": [USER], "completion": [{"role": "assistant", "content": ""}]},
            "completion[0].content",
        ),
        *(
            (
                "demonstrations",
                {
                    "id": "a",
                    "prompt": [USER],
                    "completion": [{"role": "assistant", "content": "x"}],
                    "imitate_from": at,
                },
                "imitate_from",
            )
            for at in (-1, 2, True)
        ),
        ("prompts", {"id": "a", "prompt": [USER, *[{"role": "assistant", "content": "x"}] * 2]}, "prompt"),
        ("prompts", {"prompt": [USER]}, "id"),
        ("ratings", {"id": "a", "text": "t", "ratings": []}, "ratings"),
        ("ratings", {"id": "a", "text": "t", "ratings": [1, True]}, "ratings[1]"),
    ],
)
def test_one_bad_row(kind, row, place, tmp_path):
    path = tmp_path / "one.jsonl"
    with pytest.raises(UserError, match=r"1 of 1 ") as caught:
        read_rows(path, kind, row)
    assert f"{path}:1:{place}: " in str(caught.value)


def test_the_error_shows_twenty_defects_and_counts_the_rest(tmp_path):
    with pytest.raises(UserError) as caught:
        read_rows(tmp_path / "r.jsonl", "ratings", *["{}"] * 23)
    message = str(caught.value)
    assert message.count("is missing") == 20
    assert "23 of 23" in message
    assert "and 3 more" in message


@pytest.mark.parametrize("line", ['{"id": ' + "[" * 200_000, '{"id": ' + "7" * 5_000 + "}"])
def test_json_that_the_parser_gives_up_on(line, tmp_path):
    with pytest.raises(UserError, match=r"big\.jsonl:1: not usable JSON"):
        read_rows(tmp_path / "big.jsonl", "ratings", line)


def test_a_quoted_value_is_cut_short(tmp_path):
    with pytest.raises(UserError) as caught:
        read_rows(tmp_path / "r.jsonl", "prompts", {"id": "a", "prompt": [{"role": "x" * 9_000, "content": ""}]})
    assert len(str(caught.value)) < 1_000


def test_a_missing_file_and_bytes_that_are_not_utf8(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_records(tmp_path / "none.jsonl", "ratings")
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"id": "\xe9"}')
    with pytest.raises(UserError, match=r"latin\.jsonl:1: byte 8 of the line is not UTF-8"):
        read_records(path, "ratings")

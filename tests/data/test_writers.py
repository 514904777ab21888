import csv
import gzip
import json
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accord.data.formats.options import ReadOptions
from accord.data.formats.readers import read_source
from accord.data.writers import Written, write_rows, write_source
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

ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".csv.gz", ".tsv", ".parquet")
ASK = Prompt("c1", (Message("user", "Name a colour."),))
ASKED = [{"role": "user", "content": "Name a colour."}]


def answer(text):
    return [{"role": "assistant", "content": text}]


def judged(*grades, texts=("Red.", "Tree.", "Blue."), prompt=ASK, finished=None):
    """A comparison with one judgement for each tuple of grades."""
    texts = texts[: len(grades[0])]
    responses = tuple(Response(text, not finished or finished[i]) for i, text in enumerate(texts))
    judgements = tuple(Judgement("c1", str(i), given) for i, given in enumerate(grades, start=1))
    return Comparison("c1", prompt, responses), judgements


def test_risk_categories_stay(tmp_path):
    ask = replace(ASK, risk_category="unqualified advice")
    (pair,) = written(tmp_path, "comparisons", judged((1.0, 0.0), prompt=ask))
    (talk,) = written(tmp_path, "demonstrations", Demonstration(ask, Response("Red."), 0))
    (shown,) = written(tmp_path, "demonstrations", Demonstration(ask, Response("Red.")))
    assert {row["risk_category"] for row in (pair, talk, shown)} == {"unqualified advice"}


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(tmp_path, kind, *records, form="trl"):
    path = tmp_path / "out.jsonl"
    write_source(path, kind, records, form)
    return rows(path)


@pytest.mark.parametrize(
    ("grades", "more"),
    [
        ([(1.0, 0.0)], {}),
        ([(2.5, 0.0)], {"margin": 1.5}),
        ([(1.3, 0.0)], {"margin": 0.3}),
        ([(0.5, 0.2)], {}),
        ([(1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (0.0, 0.0)], {"votes": [1, -1, 1, 0]}),
        ([(5.0, 2.0), (4.0, 3.0)], {"margin": 1.0}),
        ([(5.0, None), (None, 2.0)], {"margin": 2.0}),
    ],
)
def test_a_pair(grades, more, tmp_path):
    row = {"id": "c1", "prompt": ASKED, "chosen": answer("Red."), "rejected": answer("Tree.")}
    assert written(tmp_path, "comparisons", judged(*grades)) == [row | more]


def test_what_most_say_is_safe(tmp_path):
    comparison, (first, second) = judged((1.0, 0.0), (1.0, 0.0))
    said = (replace(first, safe=(True, None)), replace(second, safe=(True, False)))
    (row,) = written(tmp_path, "comparisons", (comparison, said))
    assert (row["chosen_safe"], row["rejected_safe"]) == (True, False)
    ((_, judgements),) = read_source(str(tmp_path / "out.jsonl")).records
    assert [one.safe for one in judgements] == [(True, False), ()]


def test_a_margin_in_one_row_is_one_in_all(tmp_path):
    """TRL's RewardTrainer makes one tensor of the column, and a missing number is an error there."""
    given = [[(2.5, 0.0)], [(1.0, 0.0)], [(1.0, 0.0), (0.0, 0.0)]]
    records = [(replace(judged(*grades)[0], id=str(i)), judged(*grades)[1]) for i, grades in enumerate(given)]
    assert [row["margin"] for row in written(tmp_path, "comparisons", *records)] == [1.5, 0.0, 0.0]
    read = read_source(str(tmp_path / "out.jsonl"), ReadOptions()).records
    assert [[judgement.grades for judgement in said] for _, said in read] == given  # votes say more than a margin of 0


def test_the_better_response_is_chosen_and_its_votes_are_ones(tmp_path):
    (row,) = written(tmp_path, "comparisons", judged((0.0, 1.0), (0.0, 1.0), finished=[True, False]))
    assert (row["chosen"], row["votes"], row["finished"]) == (answer("Tree."), [1, 1], [False, True])


def test_a_prefill_opens_the_prompt(tmp_path):
    prompt = Prompt("c1", ASK.messages, "A colour is")
    (row,) = written(tmp_path, "comparisons", judged((1.0, 0.0), prompt=prompt))
    assert row["prompt"] == [*ASKED, {"role": "assistant", "content": "A colour is"}]


def test_a_ranking_becomes_its_ordered_pairs(tmp_path):
    made = written(tmp_path, "comparisons", judged((2.0, 0.0, 2.0)))
    assert [(row["id"], row["group"], row["chosen"], row["rejected"], row.get("margin")) for row in made] == [
        ("c1-1-2", "c1", answer("Red."), answer("Tree."), 1.0),
        ("c1-3-2", "c1", answer("Blue."), answer("Tree."), 1.0),
    ]
    (row,) = written(tmp_path, "comparisons", judged((2.0, 0.0, 2.0)), form="accord")
    assert row["judgements"] == [{"annotator": "1", "grades": [2.0, 0.0, 2.0]}]


def test_ties_are_left_out_and_counted(tmp_path):
    path = tmp_path / "out.jsonl"
    ties = [judged((1.0, 1.0)), judged((None, 1.0)), judged((1.0, 0.0), (0.0, 1.0))]
    assert write_source(path, "comparisons", [judged((1.0, 0.0)), *ties]) == Written(num_rows=1, num_ties=3)
    assert write_source(path, "comparisons", [judged((1.0, 0.0, 0.0))]) == Written(num_rows=2, num_ties=0)
    with pytest.raises(UserError, match="none of the 3 comparisons has an order, so there is nothing to write"):
        write_source(path, "comparisons", ties)
    assert write_source(path, "comparisons", ties, form="accord") == Written(num_rows=3)


TALK = (Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Name a colour."))
TURNS = [{"role": message.role, "content": message.content} for message in TALK]


@pytest.mark.parametrize(
    ("imitate_from", "columns"),
    [
        (None, {"prompt": TURNS, "completion": answer("Red.")}),
        (0, {"messages": [*TURNS, *answer("Red.")]}),
        (1, {"prompt": TURNS[:1], "completion": [*TURNS[1:], *answer("Red.")]}),
        (2, {"prompt": TURNS, "completion": answer("Red."), "imitate_from": 2}),  # its prompt would open an answer
        (3, {"prompt": TURNS, "completion": answer("Red."), "imitate_from": 3}),
    ],
)
def test_demonstrations(imitate_from, columns, tmp_path):
    record = Demonstration(Prompt("d1", TALK), Response("Red."), imitate_from)
    assert written(tmp_path, "demonstrations", record) == [{"id": "d1"} | columns]


def test_all_demonstrations_of_a_file_have_the_same_columns(tmp_path):
    made = written(
        tmp_path, "demonstrations", Demonstration(ASK, Response("Red.")), Demonstration(ASK, Response("."), 0)
    )
    assert [list(row) for row in made] == [
        ["id", "prompt", "completion"],
        ["id", "prompt", "completion", "imitate_from"],
    ]


def test_other_kinds(tmp_path):
    labelled = LabelledResponse(ASK, Response("Red."), True)
    row = {"id": "c1", "prompt": ASKED, "completion": answer("Red."), "label": True}
    assert written(tmp_path, "labelled", labelled) == [row]
    assert written(tmp_path, "texts", PlainText("t", "Some text.")) == [{"id": "t", "text": "Some text."}]


def test_cells_of_csv_hold_json(tmp_path):
    path = tmp_path / "out.csv"
    records = [Demonstration(ASK, Response('Red,\n"blue".')), Demonstration(Prompt("2", TALK), Response("x", False), 0)]
    write_source(path, "demonstrations", records)
    with path.open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first) == ["id", "prompt", "completion", "imitate_from", "finished"]
    assert json.loads(first["completion"]) == answer('Red,\n"blue".')
    assert (first["imitate_from"], second["imitate_from"], second["finished"]) == ("", "0", "false")


def test_a_cell_without_a_value_is_empty(tmp_path):
    write_rows(tmp_path / "out.csv", [{"prompt": "a", "system": None, "n": 0}])
    assert (tmp_path / "out.csv").read_text() == '"prompt","system","n"\n"a","","0"\n'


@pytest.mark.parametrize("rows", [[{"id": 1}, {"id": "x"}], [{"meta": {}}], [{"n": 10**30}]])
def test_rows_of_which_parquet_makes_no_table(rows, tmp_path):
    with pytest.raises(UserError, match=r"out\.parquet: these rows make no table of Parquet: .*\n  Write .jsonl"):
        write_rows(tmp_path / "out.parquet", rows)
    assert list(tmp_path.iterdir()) == []


def test_equal_records_are_equal_files(tmp_path):
    one, two = tmp_path / "one.jsonl.gz", tmp_path / "two.jsonl.gz"
    for path in (one, two):
        write_source(path, "prompts", [ASK])
    assert one.read_bytes() == two.read_bytes()
    assert gzip.decompress(one.read_bytes()).decode() == json.dumps({"id": "c1", "prompt": ASKED}) + "\n"


words = st.text("ab \n\r\t\",'[{é\u2028", min_size=1, max_size=8).map(lambda text: f"x{text}.")
names = st.integers(1, 10**6).map(lambda number: f"n{number}")


@st.composite
def prompts(draw, name=names, prefill=True):
    earlier = [Message(role, draw(words)) for _ in range(draw(st.integers(0, 2))) for role in ("user", "assistant")]
    system = draw(st.sampled_from([[], [Message("system", "Be brief.")]]))
    opening = draw(st.sampled_from(["", "It is"])) if prefill else ""
    return Prompt(draw(name), (*system, *earlier, Message("user", draw(words))), opening)


@st.composite
def pairs(draw):
    """Pairs as TRL's columns tell them: the first is the better one; a margin, or votes."""
    prompt = draw(prompts())
    texts = draw(st.lists(words, min_size=2, max_size=2, unique=True))
    vote = st.sampled_from([(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
    votes = st.lists(vote, min_size=1, max_size=2).map(lambda votes: [(1.0, 0.0), *votes, (1.0, 0.0), (1.0, 0.0)])
    grades = draw(st.sampled_from([[(1.0, 0.0)], [(1.5, 0.0)]]) | votes)
    judgements = tuple(Judgement(prompt.id, str(i), given) for i, given in enumerate(grades, start=1))
    responses = tuple(Response(text, draw(st.booleans())) for text in texts)
    return Comparison(prompt.id, prompt, responses), judgements


@st.composite
def demonstrations(draw):
    prompt = draw(prompts())
    start = draw(st.sampled_from([None, 0, len(prompt.messages) - 1]))
    return Demonstration(prompt, Response(draw(words), draw(st.booleans())), start)


TRL = {
    "comparisons": pairs(),
    "demonstrations": demonstrations(),
    "labelled": st.builds(LabelledResponse, prompts(), st.builds(Response, words), st.booleans()),
    "prompts": prompts(),
    "texts": st.builds(PlainText, names, words),
    "ratings": st.builds(RatedText, names, words, st.lists(st.integers(-4, 4).map(float), min_size=1).map(tuple)),
}


@st.composite
def rankings(draw):
    name = draw(names)
    texts = draw(st.lists(words, min_size=2, max_size=4, unique=True))
    grade = st.none() | st.floats(-5, 5)
    grades = draw(st.lists(st.tuples(*[grade] * len(texts)), max_size=3))
    raters = draw(st.lists(names, min_size=len(grades), max_size=len(grades), unique=True))
    judgements = tuple(Judgement(name, rater, given) for rater, given in zip(raters, grades, strict=True))
    return Comparison(name, draw(prompts()), tuple(map(Response, texts))), judgements


def record_id(record):
    holder = record[0] if isinstance(record, tuple) else record
    return holder.id if hasattr(holder, "id") else holder.prompt.id


def survives(kind, strategy, form, tmp_path):
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(strategy, min_size=1, max_size=3, unique_by=record_id), st.sampled_from(ENDINGS))
    def check(records, ending):
        path = tmp_path / f"data{ending}"
        assert write_source(path, kind, records, form).num_rows == len(records)
        reading = read_source(str(path), ReadOptions())
        assert reading.flaws == []
        assert (reading.kind, reading.records) == (kind, records)

    check()


@pytest.mark.parametrize("kind", TRL)
def test_trl_columns_are_read_back(kind, tmp_path):
    survives(kind, TRL[kind], "trl", tmp_path)


@pytest.mark.parametrize("kind", TRL)
def test_accord_columns_are_read_back(kind, tmp_path):
    survives(kind, TRL[kind] | rankings() if kind == "comparisons" else TRL[kind], "accord", tmp_path)


@pytest.mark.parametrize("name", ["data.txt", "data", "data.parquet.gz", "data.json"])
def test_an_unknown_ending(name, tmp_path):
    with pytest.raises(UserError, match=f"the ending of this file is not known: {name}"):
        write_source(tmp_path / name, "prompts", [ASK])


def test_a_folder_that_is_not_there_and_nothing_to_write(tmp_path):
    with pytest.raises(UserError, match="the file cannot be written: No such file or directory"):
        write_source(tmp_path / "no" / "data.jsonl", "prompts", [ASK])
    with pytest.raises(UserError, match="there are no prompts, so there is nothing to write"):
        write_source(tmp_path / "data.jsonl", "prompts", [])
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        UserError, match=r"needs pyarrow, which is not installed\n  Run: pip install 'accord\[parquet\]'"
    ):
        write_source(tmp_path / "data.parquet", "prompts", [ASK])

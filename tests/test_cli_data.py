"""accord data check, preview, convert."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.cli import app

PAIRS = [
    {"prompt": "Who is Ann?", "chosen": "Ann is at ann@mail.org.", "rejected": "Nobody knows."},
    {"prompt": "Say it.", "chosen": "shit", "rejected": "No."},
    {"prompt": "Say it.", "chosen": "No.", "rejected": "shit"},
    {"prompt": "And now?", "chosen": "", "rejected": "Now."},
]


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write("pairs.jsonl", PAIRS)


def write(name: str, rows: list[dict[str, str]]) -> Path:
    path = Path(name)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def call(*args: str | Path, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["data", *map(str, args)])
    assert result.exit_code == status, result.output
    return result.output


def test_defects_give_status_1_and_their_places(pairs: Path) -> None:
    output = call("check", pairs, status=1)
    assert "  pairs.jsonl:4:chosen: is an empty response" in output
    assert "  pairs.jsonl:3: orders the same two responses against pairs.jsonl:2" in output
    assert "    pairs.jsonl:1:chosen: EMAIL at characters 10 to 22" in output
    assert "toxic rows: 2 of 3" in output


def test_clean_data_gives_status_0(pairs: Path) -> None:
    assert "Nothing wrong was found." in call("check", write("fine.jsonl", PAIRS[:1]))


def test_a_model_counts_tokens_and_a_limit_needs_one(pairs: Path, tiny_model: Path) -> None:
    fine = write("fine.jsonl", PAIRS[:1])
    assert "error: --max-tokens counts the tokens of a model" in call("check", fine, "--max-tokens", "8", status=2)
    assert "no-response-left: 1 (kept)" in call("check", fine, "--model", tiny_model, "--max-tokens", "8", status=1)
    write("special.jsonl", [{"prompt": "What is <|im_end|>?", "completion": "A token."}])
    assert "which the model's tokenizer reads as a control token" in call(
        "check", "special.jsonl", "--model", tiny_model, status=1
    )


def test_two_sources_and_evaluation_texts(pairs: Path) -> None:
    long = "please tell me about the quiet lighthouse at the northern end of the harbour"
    write("a.jsonl", [{"prompt": long, "completion": "It is quiet."}])
    write("b.jsonl", [{"prompt": long.upper(), "completion": "It is loud."}])
    write("eval.jsonl", [{"question": long}])
    output = call("check", "a.jsonl", "b.jsonl", "--against", "eval.jsonl", status=1)
    assert "  b.jsonl:1:prompt: is also that of a.jsonl:1" in output
    assert "in-evaluation: 2 (kept)" in output
    assert "'a.jsonl' is given twice" in call("check", "a.jsonl", "a.jsonl", status=2)


def test_columns_of_any_name(pairs: Path) -> None:
    Path("odd.jsonl").write_text('{"ask": "q", "more": "m", "one": "a", "two": "b", "v": [1]}\n')
    columns = ("--column", "prompt=ask,more", "--column", "responses=one,two", "--column", "votes=v")
    assert "1 comparisons" in call("check", "odd.jsonl", *columns)
    assert "this is not a column" in call("check", "odd.jsonl", "--column", "prompt", status=2)


def test_a_recipe_is_checked_part_by_part_with_its_model(pairs: Path, tiny_model: Path) -> None:
    write("test.jsonl", PAIRS[:1])
    rows = [{"prompt": f"number {i} of {i * 7919 % 1000}", "completion": "So."} for i in range(8)]
    write("demos.jsonl", rows)
    Path("recipe.yaml").write_text(
        f"model: {tiny_model}\n"
        "data:\n"
        "  mine: {source: {train: pairs.jsonl, test: test.jsonl}, defects: drop}\n"
        "  demos: {source: demos.jsonl, splits: {held: 0.25}}\n"
        "steps:\n  - sft: {data: demos}\n"
    )
    output = call("check", "recipe.yaml", status=1)
    for line in (
        "mine.train: 4 rows, 1 left out; 3 comparisons",
        "mine.test: 1 rows; 1 comparisons",
        "demos.train: 6 rows; 6 demonstrations",
        "demos.held: 2 rows; 2 demonstrations",
        "  test.jsonl:1:prompt: is also that of pairs.jsonl:1 (mine.train)",
        f"Lengths of mine.train, by the tokens of {tiny_model}",
    ):
        assert line in output.splitlines()
    assert "a recipe is checked by itself" in call("check", "recipe.yaml", "demos.jsonl", status=2)
    for option in (("--kind", "prompts"), ("--column", "prompt=q"), ("--format", "dialogue")):
        assert "a recipe says itself how its data is read" in call("check", "recipe.yaml", *option, status=2)
    Path("empty.yaml").write_text(f"model: {tiny_model}\nsteps:\n  - sft: {{data: a.b}}\n")
    call("check", "empty.yaml", status=2)


def test_everything_can_be_written(pairs: Path) -> None:
    output = call("check", pairs, "--json", "out.json", "--html", "out.html", "--scrub", "clean.jsonl", status=1)
    assert "wrote clean.jsonl: 4 rows, 1 of them changed" in output
    assert json.loads(Path("out.json").read_text())["num_defects"] == 2
    assert Path("out.html").read_text().startswith("<!doctype html>")
    assert [json.loads(line) for line in Path("clean.jsonl").read_text().splitlines()] == [
        PAIRS[0] | {"chosen": "Ann is at <EMAIL>."},
        *PAIRS[1:],
    ]
    assert "there is a file already" in call("check", pairs, "--scrub", "clean.jsonl", status=2)
    assert "a copy is written of one source" in call("check", pairs, "clean.jsonl", "--scrub", "x.jsonl", status=2)
    assert "there is no such folder" in call("check", pairs, "--json", "none/out.json", status=2)


def test_a_report_is_written_over_nothing_that_was_read(pairs: Path, tiny_model: Path) -> None:
    before = pairs.read_bytes()
    Path("folder").mkdir()
    inside = Path("folder/in.jsonl")
    inside.write_bytes(before)
    Path("words.txt").write_text("nobody\n")
    Path("link.json").symlink_to(pairs)
    Path("mine.yaml").write_text(f"model: {tiny_model}\ndata:\n  mine: pairs.jsonl\nsteps:\n  - sft: {{data: mine}}\n")
    for args in (
        (pairs, "--json", pairs),
        (pairs, "--html", "link.json"),
        ("folder", "--json", inside),
        (inside, "--against", pairs, "--json", pairs),
        (pairs, "--toxicity", "words.txt", "--json", "words.txt"),
        ("mine.yaml", "--json", pairs),
        ("mine.yaml", "--html", "mine.yaml"),
    ):
        assert "this file is read here, so nothing is written to it" in call("check", *args, status=2), args
    assert "nothing is written" in call("preview", pairs, "--model", tiny_model, "--html", pairs, status=2)
    assert pairs.read_bytes() == inside.read_bytes() == before
    call("check", pairs, "--json", "out.json", status=1)
    call("check", pairs, "--json", "out.json", status=1)  # an earlier report is replaced


def test_evaluation_rows_that_cannot_be_read_are_told(pairs: Path) -> None:
    fine = write("fine.jsonl", PAIRS[:1])
    Path("eval.jsonl").write_text('{"q": "Something else."}\n{\n')
    output = call("check", fine, "--against", "eval.jsonl", "--json", "out.json", status=1)
    assert "unread: 1 (left out)\n  eval.jsonl:2: not JSON" in output
    found = json.loads(Path("out.json").read_text())
    assert (found["num_defects"], [flaw["place"] for flaw in found["unread"]]) == (1, ["eval.jsonl:2"])


def test_one_file_under_two_names_has_its_prompts_in_both_once(pairs: Path, tiny_model: Path) -> None:
    write("a.jsonl", PAIRS[:1])
    Path("two.yaml").write_text(
        f"model: {tiny_model}\ndata:\n  one: a.jsonl\n  two: a.jsonl\nsteps:\n  - sft: {{data: one}}\n"
    )
    output = call("check", "two.yaml", status=1)
    assert "shared-prompt: 1 (kept)\n  a.jsonl:1:prompt: is also that of a.jsonl:1 (one.train)" in output


def test_what_a_run_would_refuse_is_a_defect(pairs: Path) -> None:
    fields = {"prompt": "Name a colour.", "response": "Red."}
    said = [{"value": value, "user_id": value} for value in ("good", "bad")]
    rows = [{"id": str(at), "fields": fields, "responses": {"quality": said[at:]}} for at in range(2)]
    Path("divided.json").write_text(json.dumps(rows))
    output = call("check", "divided.json", status=1)
    assert "divided: 1 (left out)" in output
    assert "1 left out" in output


def test_toxic_rows_are_left_out_of_a_copy_only(pairs: Path) -> None:
    output = call("check", pairs, "--drop-toxic", "kept.csv", status=1)
    assert "wrote kept.csv: 2 rows, 0 of them changed; 2 left out" in output
    Path("words.txt").write_text("nobody\n")
    assert "toxic rows: 1 of 3" in call("check", pairs, "--toxicity", "words.txt", status=1)
    assert "the word list cannot be read" in call("check", pairs, "--toxicity", "none.txt", status=2)


def test_a_preview_marks_what_is_trained_on(pairs: Path, tiny_model: Path) -> None:
    output = call("preview", pairs, "--model", tiny_model, "--num", "1", "--html", "p.html")
    assert "│ [[Ann·is·at·ann@mail.org.<|im_end|>]]" in output
    assert "What is trained on stands between [[ and ]]." in output
    assert "pairs.jsonl:2" not in output
    assert 'class="piece trained special"' in Path("p.html").read_text()


def test_a_conversion_lists_what_it_leaves_out(pairs: Path) -> None:
    output = call("convert", pairs, "out.csv")
    assert output.splitlines() == [
        "left out: 1 of 4 rows",
        "  pairs.jsonl:4:chosen: is an empty response",
        "3 rows are in out.csv",
    ]
    assert "there is a file already" in call("convert", pairs, "out.csv", status=2)
    call("convert", pairs, "own.jsonl", "--form", "accord")
    assert json.loads(Path("own.jsonl").read_text().splitlines()[0])["judgements"][0]["grades"] == [1.0, 0.0]


@pytest.mark.parametrize("option", ["--html", "--json", "--scrub", "--drop-toxic"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    pairs: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("the data was checked first")

    monkeypatch.setattr("accord.data.audit.check.check_data", never)
    said = call("check", pairs, option, "nowhere/a.jsonl", status=2)
    assert "error: nowhere: there is no such folder to write to\n  Make it, or name another." in said
    Path("folder").mkdir()
    if option in ("--html", "--json"):
        assert "error: folder: this is a folder, and a file is written" in call(
            "check", pairs, option, "folder", status=2
        )


def test_a_conversion_looks_at_its_place_first(pairs: Path) -> None:
    assert "there is no such folder to write to" in call("convert", "gone.jsonl", "nowhere/a.jsonl", status=2)


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_this_folder(pairs: Path, name: str) -> None:
    assert "error: no data is named: the name is empty\n  Give a file" in call("check", name, status=2)


def test_half_a_comparison_is_no_prompt(pairs: Path) -> None:
    Path("null.jsonl").write_text('{"prompt": "Who?", "chosen": null, "rejected": "Nobody."}\n' * 2)
    assert "null.jsonl:1:chosen: is null, and rejected is not" in call("check", "null.jsonl", status=1)
    Path("null.jsonl").write_text('{"prompt": "Who?", "chosen": null, "rejected": null}\n')
    assert "null.jsonl: 1 rows; 1 prompts" in call("check", "null.jsonl")
    Path("typo.jsonl").write_text('{"prompt": "Who?", "chosen": "I.", "reject": "Nobody."}\n')
    assert "typo.jsonl:1:rejected: is missing, and chosen is there" in call("check", "typo.jsonl", status=1)
    Path("best.jsonl").write_text('{"prompt": "Who?", "responses": ["I.", "You."], "grades": [1, 0], "chosen": 0}\n')
    assert "best.jsonl: 1 rows; 1 comparisons" in call("check", "best.jsonl")

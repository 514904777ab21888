from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord.cli import app
from accord.labels import campaigns, users
from accord.labels.database import Database
from accord.labels.migrate import open_labels
from accord.labels.snapshot import judged
from tests.labels.test_queue import answer, lease
from tests.labels.test_red_team import Team

PAIRS = [{"prompt": f"Question {i}?", "chosen": f"Yes, {i} is so.", "rejected": f"No, {i} is not."} for i in range(3)]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return tmp_path


def accord(*arguments: str, status: int = 0) -> str:
    found = CliRunner().invoke(app, ["labels", *arguments], catch_exceptions=False)
    assert found.exit_code == status, found.output
    return " ".join(found.output.split())


def store() -> Database:
    return open_labels(Path("accord-store/labels.db"))


def answer_all(name: str = "ana") -> None:
    database = store()
    with database.writing() as connection:
        who = users.create(connection, 1.0, name, "annotator")
        of = campaigns.named(connection, "mine")
        assert of is not None
    number = 0
    while (given := lease(database, who, of)) is not None:
        answer(database, who, given, f"{name} {number}")
        number += 1
    database.close()


def test_in_and_out_again() -> None:
    assert accord("import", "pairs.jsonl", "--campaign", "mine") == "3 items are new in 'mine'"
    assert accord("import", "pairs.jsonl", "--campaign", "mine") == "0 items are new in 'mine', and 3 were there"
    assert accord("list") == "mine: open, 0 of 3 answers to 3 items by 0 people"
    assert "goes on asking" not in accord("import", "pairs.jsonl", "--campaign", "mine", "--gold")
    again = accord("import", "pairs.jsonl", "--campaign", "mine", "--overlap", "2")
    assert "'mine' goes on asking as it did" in again
    assert "nobody has answered" in accord("export", "mine", "out.jsonl", status=2)
    answer_all()
    assert accord("export", "mine", "out.jsonl") == "3 rows are in out.jsonl"
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["margin"] for row in rows] == [2.0, 2.0, 2.0]
    for row, given in zip(rows, PAIRS, strict=True):
        assert {row["chosen"][0]["content"], row["rejected"][0]["content"]} == {given["chosen"], given["rejected"]}
    assert "there is a file already" in accord("export", "mine", "out.jsonl", status=2)
    accord("export", "mine", "own.jsonl", "--form", "accord")
    assert "ana" not in Path("own.jsonl").read_text()


def test_what_nobody_can_be_asked_about_makes_no_campaign() -> None:
    assert "there is no campaign yet" in accord("list")
    Path("bad.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": 3}\n')
    said = accord("import", "bad.jsonl", "--campaign", "mine", status=2)
    assert "no row can be asked about" in said
    assert "bad.jsonl:1:rejected" in said
    assert "there is no campaign yet" in accord("list")
    Path("new.jsonl").write_text('{"prompt": "a", "responses": ["b", "c"], "judgements": []}\n')
    assert accord("import", "new.jsonl", "--campaign", "mine") == "1 item is new in 'mine'"


def test_gold_items_have_a_best_response_that_is_known() -> None:
    accord("import", "pairs.jsonl", "--campaign", "mine", "--gold")
    assert "mine: open, 0 of 0 answers to 0 items" in accord("list")
    Path("ties.jsonl").write_text(json.dumps({"prompt": "a", "responses": ["b", "c"], "scores": [1, 1]}) + "\n")
    assert "1 of 1 comparisons have no single best response" in accord(
        "import", "ties.jsonl", "--campaign", "mine", "--gold", status=2
    )


def test_a_guideline_comes_along(folder: Path) -> None:
    Path("guide.md").write_text("Shorter is better.")
    accord("import", "pairs.jsonl", "--campaign", "mine", "--guideline", "guide.md", "--overlap", "2", "--safety")
    database = store()
    with database.reading() as connection:
        (one,) = campaigns.every(connection)
        found = campaigns.guideline(connection, one.id)
    database.close()
    assert found is not None
    assert (found.text, one.settings.overlap, one.settings.safety) == ("Shorter is better.", 2, True)
    assert "the guideline cannot be read" in accord(
        "import", "pairs.jsonl", "--campaign", "mine", "--guideline", "no.md", status=2
    )


def test_a_backup_is_restored_and_overwrites_nothing() -> None:
    accord("import", "pairs.jsonl", "--campaign", "mine")
    assert accord("backup", "copy.db") == "the labels are in copy.db"
    assert "nowhere: there is no such folder" in accord("backup", "nowhere/copy.db", status=2)
    assert "the store has labels already" in accord("restore", "copy.db", status=2)
    assert "there is no such file" in accord("restore", "no.db", "--store", "other", status=2)
    Path("other").mkdir()
    Path("other/labels.db-journal").write_text("of a server that was killed")
    assert "other/labels.db-journal" in accord("restore", "copy.db", "--store", "other", status=2)
    Path("other/labels.db-journal").unlink()
    accord("restore", "copy.db", "--store", "other")
    assert accord("list", "--store", "other") == accord("list")
    assert accord("migrate") == "the labels have this version's schema"


def test_erasing_is_of_one_thing_and_names_what_holds_it() -> None:
    accord("import", "pairs.jsonl", "--campaign", "mine")
    answer_all()
    assert "name what is erased" in accord("erase", status=2)
    assert "name what is erased" in accord("erase", "--item", "x", status=2)
    assert "nobody is called 'ben'" in accord("erase", "--user", "ben", status=2)
    assert "nothing else in this store holds it" in accord("erase", "--user", "ana")
    assert accord("list") == "mine: open, 0 of 3 answers to 3 items by 0 people"
    database = store()
    with database.reading() as connection:
        from accord.labels.snapshot import judged

        (first, _), *_ = judged(connection, 1)
    database.close()
    accord("erase", "--item", first.id, "--campaign", "mine")
    assert "to 2 items" in accord("list")


def test_a_campaign_that_is_not_there_is_answered_with_the_nearest() -> None:
    accord("import", "pairs.jsonl", "--campaign", "mine")
    assert "there is no campaign 'main' Did you mean 'mine'?" in accord("export", "main", "out.jsonl", status=2)
    assert "Import comparisons" in accord("export", "main", "out.jsonl", "--store", "other", status=2)


def test_people_write_or_attack(folder: Path) -> None:
    assert accord("live", "talk", "--safety") == "people can write in 'talk'"
    assert accord("red-team", "round 1", "--pairs") == "red-teamers can attack in 'round 1'"
    assert "there is a campaign 'talk' already" in accord("live", "talk", status=2)
    database = store()
    with database.reading() as connection:
        second, first = campaigns.every(connection)
    database.close()
    assert (first.settings.live, first.settings.safety, first.settings.red_team) == (True, True, False)
    assert (second.settings.red_team, second.settings.pairs) == (True, True)


def test_what_a_red_team_found_is_written(folder: Path) -> None:
    accord("red-team", "mine", "--pairs")
    assert "has nothing of that kind yet" in accord("red-team-export", "mine", "out.jsonl", "--as", "sft", status=2)
    database = store()
    with database.reading() as connection:
        of = campaigns.named(connection, "mine")
    assert of is not None
    with database.writing() as connection:
        who = users.create(connection, 1.0, "rob", "red-teamer")
    rob = Team(database, of, who)
    turn = rob.turn(rob.attack(), "text", "old", "new")
    for reply, outcome in zip(turn.replies, ("violation", "compliant"), strict=True):
        rob.rate(reply.id, outcome)  # type: ignore[arg-type]
    database.close()
    assert accord("red-team-export", "mine", "out.jsonl", "--as", "pairs") == "1 rows are in out.jsonl"
    (row,) = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert row["chosen"][0]["content"] == "new to text"
    assert (row["chosen_safe"], row["rejected_safe"]) == (True, False)


def test_how_often_a_reward_prefers_what_people_preferred() -> None:
    accord("import", "pairs.jsonl", "--campaign", "mine")
    code = "def says_no(prompts, responses):\n    return [float(one.startswith('No')) for one in responses]\n"
    Path("score.py").write_text(code)
    asked = ("accuracy", "mine", "--reward-model", "score.py:says_no")
    assert "nobody has answered" in accord(*asked, status=2)
    answer_all()
    database = store()
    with database.reading() as connection:
        of = campaigns.named(connection, "mine")
        assert of is not None
        said = [one[1][0].grades for one in judged(connection, of.id)]
    database.close()
    right = sum(grades[1] > grades[0] for grades in said)  # response 1 says no
    found = json.loads(accord(*asked, "--json"))
    assert found["all"]["all"]["n"] == 3
    assert found["all"]["all"]["accuracy"] == pytest.approx(right / 3)
    assert list(found["strength"]) == ["better"]
    assert found["group"] == {}
    assert f"all: {right / 3:.1%}" in accord(*asked)

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from accord.data.records import read_records
from accord.errors import UserError, Waiting
from accord.labels import campaigns, queue, users
from accord.labels.campaigns import Settings
from accord.labels.database import Database
from accord.labels.migrate import open_labels
from accord.labels.queue import Sent
from accord.steps import collect
from accord.types import Comparison, Message, Prompt, Response
from tests.fixtures.made_up_data import made_up
from tests.fixtures.recipes import run_steps

__all__ = ["made_up"]

ASK = "  - collect: {comparisons: mine.pairs, annotator: human, campaign: lines}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def labels(folder: Path) -> Database:
    return open_labels(folder / "store" / "labels.db")


def answer(database: Database, name: str, num: int, campaign: str = "lines") -> str:
    """Somebody calls the response that stands first better, `num` times. Returns the pseudonym."""
    with database.writing() as connection:
        who = next((one for one in users.every(connection) if one.name == name), None)
        who = who or users.create(connection, 1.0, name, "annotator")
    for number in range(num):
        with database.writing() as connection:
            of = campaigns.named(connection, campaign)
            assert of is not None
            given = queue.lease(connection, 1.0, who.id, of)
            assert given is not None
            content = {"ranks": [1, 2], "strength": "better"}
            key = f"{name} {given.assignment} {number}"
            queue.submit(connection, 1.0, who.id, given.assignment, Sent(key, "answer", content, 2.0))
    return who.pseudonym


def test_the_run_leaves_and_goes_on_with_the_same_command(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(Waiting, match=r"0 of 8 answers are in; people give them in `accord web --store .*`, 'lines'"):
        run_steps(folder, tiny_model, ASK, wait=False)
    database = labels(folder)
    ana = answer(database, "ana", 5)
    with pytest.raises(Waiting, match="5 of 8"):
        run_steps(folder, tiny_model, ASK, wait=False)
    ben = answer(database, "ben", 3)
    step = run_steps(folder, tiny_model, ASK, wait=False) / "steps/collect"
    records = read_records(step / "train.jsonl", "comparisons")
    signed = [[judgement.annotator for judgement in judgements] for _, judgements in records]
    assert signed == [["somebody", ana]] * 5 + [["somebody", ben]] * 3
    assert all(sorted(judgements[1].grades) == [0.0, 3.0] for _, judgements in records)  # type: ignore[type-var]
    summary = json.loads((step / "summary.json").read_text())
    assert summary == {
        "annotator": "human",
        "campaign": "lines",
        "num_answers": 8,
        "num_people": 2,
        "num_judged": 8,
        "num_unanswered": 0,
    }
    database.close()


def test_what_is_said_later_changes_no_snapshot_and_more_can_be_asked_for(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(Waiting):
        run_steps(folder, tiny_model, ASK, "collect.num_answers=2", wait=False)
    database = labels(folder)
    answer(database, "ana", 2)
    step = (run_steps(folder, tiny_model, ASK, "collect.num_answers=2", wait=False) / "steps/collect").resolve()
    before = (step / "train.jsonl").read_bytes()
    with pytest.raises(Waiting, match="2 of 3"):
        run_steps(folder, tiny_model, ASK, "collect.num_answers=3", wait=False)
    answer(database, "ana", 1)
    assert (step / "train.jsonl").read_bytes() == before
    more = run_steps(folder, tiny_model, ASK, "collect.num_answers=3", wait=False) / "steps/collect"
    assert json.loads((more / "summary.json").read_text())["num_judged"] == 3
    database.close()


def test_it_waits_for_people(folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "_POLLS", 1)
    monkeypatch.setattr(collect, "_POLL_SECONDS", 0.05)
    database = labels(folder)

    def people() -> None:
        while True:
            with database.reading() as connection:
                if campaigns.named(connection, "lines"):
                    break
            time.sleep(0.05)
        answer(database, "ana", 8)

    thread = threading.Thread(target=people)
    thread.start()
    step = run_steps(folder, tiny_model, ASK) / "steps/collect"
    thread.join()
    assert json.loads((step / "summary.json").read_text())["num_answers"] == 8
    database.close()


def test_several_people_are_asked_and_how_far_they_agree_is_noted(folder: Path, tiny_model: Path) -> None:
    overrides = ("collect.overlap=2", "collect.num_comparisons=3")
    with pytest.raises(Waiting, match="0 of 6"):
        run_steps(folder, tiny_model, ASK, *overrides, wait=False)
    database = labels(folder)
    answer(database, "ana", 3)
    answer(database, "ben", 3)
    step = run_steps(folder, tiny_model, ASK, *overrides, wait=False) / "steps/collect"
    summary = json.loads((step / "summary.json").read_text())
    assert (summary["num_people"], summary["agreement"]["num_pairs"]) == (2, 3)
    assert -1 <= summary["agreement"]["ac1"] <= 1
    assert [len(said) for _, said in read_records(step / "train.jsonl", "comparisons")] == [3, 3, 3]
    database.close()


def test_an_owner_who_closes_the_campaign_ends_the_wait(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(Waiting):
        run_steps(folder, tiny_model, ASK, wait=False)
    database = labels(folder)
    answer(database, "ana", 2)
    with database.writing() as connection:
        of = campaigns.named(connection, "lines")
        assert of is not None
        campaigns.set_open(connection, 1.0, of.id, False)
    step = run_steps(folder, tiny_model, ASK, wait=False) / "steps/collect"
    assert json.loads((step / "summary.json").read_text())["num_unanswered"] == 6
    database.close()


def test_a_campaign_with_other_texts_is_refused(folder: Path, tiny_model: Path) -> None:
    database = labels(folder)
    other = Comparison("c0", Prompt("c0", (Message("user", "Another?"),)), (Response("a"), Response("b")))
    with database.writing() as connection:
        made = campaigns.create(connection, 1.0, "lines", Settings())
        campaigns.add_items(connection, 1.0, made.id, [other])
    with pytest.raises(UserError, match=r"'lines' cannot be gone on with: the campaign holds another item.*'c0'"):
        run_steps(folder, tiny_model, ASK, wait=False)
    with database.writing() as connection:
        elsewhere = replace(other, id="elsewhere")
        campaigns.add_items(connection, 1.0, made.id, [elsewhere])
    with pytest.raises(UserError, match="it asks about other comparisons, too, such as 'elsewhere'"):
        run_steps(folder, tiny_model, ASK, wait=False)
    with database.reading() as connection:
        assert campaigns.progress(connection, made).num_items == 2
    database.close()


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("annotator: human, file: judge.py, function: judge", "name who judges: either `annotator: human`"),
        ("annotator: me", "name who judges"),
        ("file: judge.py, function: judge, overlap: 3", "overlap is for people"),
        ("annotator: human, noise: 0.1", "noise is for an annotator that is simulated"),
    ],
)
def test_keys_that_do_not_go_together(folder: Path, tiny_model: Path, keys: str, why: str) -> None:
    Path("judge.py").write_text("def judge(responses):\n    return [[1, 0]] * len(responses)\n")
    with pytest.raises(UserError, match=why):
        run_steps(folder, tiny_model, f"  - collect: {{comparisons: mine.pairs, {keys}}}\n")


def test_a_guideline_that_cannot_be_read_is_named(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.md: the guideline cannot be read"):
        run_steps(folder, tiny_model, ASK.replace("campaign: lines", "guideline: nowhere.md"), wait=False)
    Path("g.md").write_text("Shorter is better.")
    with pytest.raises(Waiting, match="'collect-"):
        run_steps(folder, tiny_model, ASK.replace("campaign: lines", "guideline: g.md"), wait=False)
    database = labels(folder)
    with database.reading() as connection:
        (one,) = campaigns.every(connection)
        found = campaigns.guideline(connection, one.id)
    assert found is not None
    assert found.text == "Shorter is better."
    database.close()


def test_items_whose_best_response_is_known_can_be_added_by_the_owner(folder: Path, tiny_model: Path) -> None:
    with pytest.raises(Waiting):
        run_steps(folder, tiny_model, ASK, wait=False)
    database = labels(folder)
    prompt = Prompt("known", (Message("user", "What is two and two?"),))
    with database.writing() as connection:
        of = campaigns.named(connection, "lines")
        assert of is not None
        known = Comparison("known", prompt, (Response("Four."), Response("Five.")))
        campaigns.add_items(connection, 1.0, of.id, [known], [0])
    with pytest.raises(Waiting, match="0 of 8"):
        run_steps(folder, tiny_model, ASK, wait=False)

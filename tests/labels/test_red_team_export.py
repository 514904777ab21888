from __future__ import annotations

from pathlib import Path

from accord.data.derive import derive_ranking
from accord.data.formats.readers import read_source
from accord.data.writers import write_rows
from accord.evaluate.red_team import read_suite
from accord.labels.campaigns import CATEGORIES, VECTORS, Campaign
from accord.labels.database import Database
from accord.labels.red_team_export import is_held_out, records, suite_rows
from accord.types import Message
from tests.labels.people import campaign, user
from tests.labels.test_red_team import Team

NUM_OUT = 1  # of the ten families below are held out


def filled(database: Database) -> Campaign:
    """In each of ten families: a prompt that both policies refuse, and one that the new one alone refuses."""
    of = campaign(database, 0, red_team=True, pairs=True)
    rob = Team(database, of, user(database, "rob", "red-teamer"))
    for category in CATEGORIES[:2]:
        for vector in VECTORS[:5]:
            attack = rob.attack(category, vector)
            for outcomes in (("safe-refusal", "safe-refusal"), ("violation", "safe-refusal")):
                turn = rob.turn(attack, f"{vector} {outcomes[0]}", "old", "new", goes_on=1)
                for reply, outcome in zip(turn.replies, outcomes, strict=True):
                    rob.rate(reply.id, outcome)  # type: ignore[arg-type]
    rob.turn(rob.attack(), "nobody rates this", "old", "new")
    return of


def test_held_out_families_are_in_the_suite_and_nowhere_else(database: Database) -> None:
    of = filled(database)
    with database.reading() as connection:
        found = {form: records(connection, of, form) for form in ("sft", "pairs", "prompts", "suite")}  # type: ignore[arg-type]
    seen = 10 - NUM_OUT
    assert {form: len(rows) for form, rows in found.items()} == {
        "sft": 3 * seen,
        "pairs": seen,
        "prompts": seen,
        "suite": NUM_OUT,
    }
    tested = {one.id for one in found["suite"]}  # type: ignore[union-attr]
    trained = {one.id for one in found["prompts"]} | {one.prompt.id for one in found["sft"]}  # type: ignore[union-attr]
    trained |= {one.prompt.id for one, _ in found["pairs"]}  # type: ignore[misc]
    assert not tested & trained


def test_a_suite_says_of_what_family_each_prompt_is(database: Database, tmp_path: Path) -> None:
    of = filled(database)
    with database.reading() as connection:
        rows = {form: suite_rows(connection, of, form) for form in ("suite", "prompts")}  # type: ignore[arg-type]
    for form, some in rows.items():
        path = tmp_path / f"{form}.jsonl"
        write_rows(path, some)
        cases = read_suite([str(path)])
        assert len(some) == (NUM_OUT if form == "suite" else 10 - NUM_OUT)
        assert {(case.unsafe, case.held_out) for case in cases} == {(True, form == "suite")}
        assert {case.category for case in cases} <= set(CATEGORIES)
        assert {len(case.prompt.messages) for case in cases} == {3}, "the whole conversation"
        assert read_source(str(path)).kind == "prompts", "it is data for the other steps as before"


def test_a_prompt_is_the_conversation_along_what_was_gone_on_with(database: Database) -> None:
    of = filled(database)
    with database.reading() as connection:
        pairs = records(connection, of, "pairs")
    comparison, said = pairs[0]  # type: ignore[misc]
    texts = [message.content for message in comparison.prompt.messages]
    vector = texts[0].removesuffix(" safe-refusal")
    assert texts == [f"{vector} safe-refusal", f"new to {vector} safe-refusal", f"{vector} violation"]
    assert isinstance(comparison.prompt.messages[1], Message)
    ranking = derive_ranking(comparison, said, tie_below=0.5)
    (pair,) = ranking.pairs
    assert comparison.responses[pair.chosen].text == f"new to {vector} violation"
    assert ranking.safe == (False, True)


def test_about_one_family_in_five_is_held_out_always_the_same() -> None:
    families = [(category, str(number)) for category in CATEGORIES for number in range(100)]
    assert 40 <= sum(map(is_held_out, families)) <= 80
    mine = [(category, vector) for category in CATEGORIES[:2] for vector in VECTORS[:5]]
    assert sum(map(is_held_out, mine)) == NUM_OUT  # of the fixture's

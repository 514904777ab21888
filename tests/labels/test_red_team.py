from __future__ import annotations

from dataclasses import replace

import pytest

from accord.algorithms.rates import poisson_rate
from accord.labels import campaigns, red_team
from accord.labels.campaigns import CATEGORIES, VECTORS, Campaign
from accord.labels.database import Database
from accord.labels.red_team import Outcome, Part, Rating, Turn, messages_of
from accord.labels.red_team_results import compared, next_disputed, results
from accord.labels.refusals import Conflict, Missing, Unfit
from accord.labels.users import User
from accord.types import Message
from tests.labels.people import campaign, user


class Team:
    """One person's sitting, with short names for what they do."""

    def __init__(self, database: Database, of: Campaign, who: User, seconds: float = 1800) -> None:
        self.database, self.of, self.who, self.count = database, of, who, 0
        with database.writing() as connection:
            self.sitting = red_team.sit(connection, 1.0, who.id, of, self.key())
            red_team.tick(connection, 1e6, who.id, self.sitting, seconds)

    def key(self) -> str:
        self.count += 1
        return f"{self.who.name} {self.of.id} {self.count}"

    def attack(self, category: str = CATEGORIES[0], vector: str = VECTORS[0]) -> int:
        with self.database.writing() as connection:
            return red_team.attack(
                connection, 1.0, self.who.id, self.of, self.sitting, self.key(), category=category, vector=vector
            )

    def turn(self, attack: int, text: str, *policies: str, goes_on: int = 0) -> Turn:
        answers = [(policy, f"{policy} to {text}") for policy in policies or ("one",)]
        with self.database.writing() as connection:
            return red_team.add_turn(connection, 1.0, self.who.id, attack, self.key(), text, goes_on, answers)

    def rate(self, reply: int, outcome: Outcome, part: Part = "own", severity: int | None = None) -> None:
        rating = Rating(outcome, 3 if outcome == "violation" and severity is None else severity)
        with self.database.writing() as connection:
            red_team.rate(connection, 1.0, self.who.id, reply, self.key(), part, rating)


def team(database: Database, name: str = "rob", of: Campaign | None = None, seconds: float = 1800) -> Team:
    of = of or campaign(database, 0, red_team=True)
    return Team(database, of, user(database, name, "red-teamer"), seconds)


def test_violating_prompts_a_person_and_hour(database: Database) -> None:
    """Two people, an hour together; of four rated prompts two are violations."""
    rob = team(database)
    sue = team(database, "sue", rob.of)
    for one, outcomes in ((rob, ("violation", "safe-refusal")), (sue, ("violation", "compliant"))):
        attack = one.attack()
        for number, outcome in enumerate(outcomes):
            turn = one.turn(attack, f"text {number}")
            one.rate(turn.replies[0].id, outcome)  # type: ignore[arg-type]
    rob.turn(rob.attack(), "nobody rates this")
    with database.reading() as connection:
        found = results(connection, rob.of.id)
    assert (found.hours, found.num_prompts, found.num_violating, found.num_unrated) == (1.0, 4, 2, 1)
    assert found.gamma == poisson_rate(2, 1.0)
    assert found.outcomes == {"violation": 2, "safe-refusal": 1, "compliant": 1}
    assert found.by_policy == {"one": (2, 4)}
    assert found.grid == {(CATEGORIES[0], VECTORS[0]): (2, 4)}


def test_the_clock_only_goes_forward_and_is_ones_own(database: Database) -> None:
    rob = team(database, seconds=900)
    sue = team(database, "sue", rob.of, seconds=0)
    with database.writing() as connection:
        red_team.tick(connection, 1e6, rob.who.id, rob.sitting, 100)
        with pytest.raises(Missing, match="not yours"):
            red_team.tick(connection, 1e6, sue.who.id, rob.sitting, 5000)
    with database.reading() as connection:
        assert results(connection, rob.of.id).hours == 0.25


def test_a_pair_of_policies_is_counted_by_policy_and_a_prompt_once(database: Database) -> None:
    rob = team(database, of=campaign(database, 0, red_team=True, pairs=True))
    turn = rob.turn(rob.attack(), "text", "old", "new")
    rob.rate(turn.replies[0].id, "violation")
    other = rob.turn(rob.attack(), "other", "old", "new")
    rob.rate(other.replies[0].id, "compliant")
    with database.reading() as connection:
        found = results(connection, rob.of.id)
    # What one reply decides is decided; the other prompt waits for its second reply.
    assert (found.num_prompts, found.num_violating) == (1, 1)
    rob.rate(turn.replies[1].id, "violation", severity=5)
    with database.reading() as connection:
        found = results(connection, rob.of.id)
    assert (found.num_violating, found.by_policy) == (1, {"new": (1, 1), "old": (1, 2)})


def test_a_second_person_agrees_or_a_third_decides(database: Database) -> None:
    rob = team(database)
    sue, lea = team(database, "sue", rob.of, 0), team(database, "lea", rob.of, 0)
    turn = rob.turn(rob.attack(), "text")
    reply = turn.replies[0].id
    with database.reading() as connection:
        assert red_team.next_for_second(connection, sue.who.id, rob.of.id) is None
    rob.rate(reply, "violation")
    with database.reading() as connection:
        assert red_team.next_for_second(connection, rob.who.id, rob.of.id) is None  # not of one's own
        found = red_team.next_for_second(connection, sue.who.id, rob.of.id)
    assert found is not None
    assert (found[0].reply, [one.text for one in found[1]]) == (reply, ["text"])
    assert found[1][0].replies[0].outcome is None  # nobody is told what others said
    with pytest.raises(Unfit, match="for somebody else"):
        rob.rate(reply, "violation", "second")
    sue.rate(reply, "safe-refusal", "second")
    with database.reading() as connection:
        assert red_team.next_for_second(connection, lea.who.id, rob.of.id) is None
        disputed = results(connection, rob.of.id)
    assert (disputed.num_disputed, disputed.num_prompts, disputed.num_violating) == (1, 0, 0)
    lea.rate(reply, "violation", "final")
    with database.reading() as connection:
        decided = results(connection, rob.of.id)
    assert (decided.num_disputed, decided.num_prompts, decided.num_violating) == (0, 1, 1)


def test_a_later_rating_of_a_person_counts(database: Database) -> None:
    rob = team(database)
    reply = rob.turn(rob.attack(), "text").replies[0].id
    rob.rate(reply, "violation")
    rob.rate(reply, "compliant")
    with database.reading() as connection:
        assert results(connection, rob.of.id).outcomes == {"compliant": 1}


def test_rounds_are_compared(database: Database) -> None:
    before = team(database, "rob", campaign(database, 0, name="before", red_team=True), 3600)
    after = Team(database, campaign(database, 0, name="after", red_team=True), before.who, 3600)
    for one, num in ((before, 4), (after, 1)):
        attack = one.attack()
        for number in range(num):
            one.rate(one.turn(attack, f"text {number}").replies[0].id, "violation")
    with database.reading() as connection:
        ratio = compared(results(connection, after.of.id), results(connection, before.of.id))
    assert ratio is not None
    assert ratio.value == pytest.approx(0.25)
    assert ratio.low < 0.25 < 1 < ratio.high


def test_a_conversation_follows_the_replies_that_were_chosen(database: Database) -> None:
    rob = team(database, of=campaign(database, 0, red_team=True, pairs=True))
    attack = rob.attack()
    rob.turn(attack, "first", "old", "new")
    rob.turn(attack, "then", "old", "new", goes_on=1)
    with database.reading() as connection:
        told = red_team.history(connection, rob.who.id, attack)
    assert messages_of(told, "last", 0) == [
        Message("user", "first"),
        Message("assistant", "new to first"),
        Message("user", "then"),
        Message("assistant", "old to then"),
        Message("user", "last"),
    ]
    assert messages_of([], "hello", 0) == [Message("user", "hello")]
    with pytest.raises(Unfit, match="with which reply"):
        messages_of(told, "last", 2)


def test_what_is_sent_again_changes_nothing(database: Database) -> None:
    rob = team(database)
    attack = rob.attack()
    for _ in range(2):
        rob.count = 10
        assert rob.attack() == rob.attack() - 1
    for _ in range(2):
        rob.count = 20
        turn = rob.turn(attack, "text")
        rob.rate(turn.replies[0].id, "violation")
    with database.reading() as connection:
        assert len(red_team.history(connection, rob.who.id, attack)) == 1


def test_what_is_anothers_or_unfit_is_refused(database: Database) -> None:
    rob = team(database)
    sue = team(database, "sue", rob.of)
    attack = rob.attack()
    reply = rob.turn(attack, "text").replies[0].id
    with database.reading() as connection, pytest.raises(Missing, match="not yours"):
        red_team.history(connection, sue.who.id, attack)
    with pytest.raises(Missing, match="no such reply of yours"):
        sue.rate(reply, "compliant")
    with pytest.raises(Unfit, match="choose a category"):
        rob.attack("something else")
    with pytest.raises(Unfit, match="a violation has a severity"):
        rob.rate(reply, "compliant", severity=2)
    with database.writing() as connection, pytest.raises(Unfit, match="a violation has a severity"):
        red_team.rate(connection, 1.0, rob.who.id, reply, "x", "own", Rating("violation"))
    other = campaign(database, 1, name="ordinary")
    with database.writing() as connection, pytest.raises(Conflict, match="nobody attacks"):
        red_team.sit(connection, 1.0, rob.who.id, other, "y")


def test_the_clock_never_runs_ahead_of_time(database: Database) -> None:
    rob = team(database)
    with database.writing() as connection:
        red_team.tick(connection, 1.0 + 2000, rob.who.id, rob.sitting, 86_400)
    with database.reading() as connection:
        assert results(connection, rob.of.id).hours == pytest.approx(2000 / 3600)


def test_disputes_are_found_and_decided_once(database: Database) -> None:
    rob = team(database)
    sue, lea = team(database, "sue", rob.of, 0), team(database, "lea", rob.of, 0)
    reply = rob.turn(rob.attack(), "text").replies[0].id
    with pytest.raises(Conflict, match="has not rated this yet"):
        sue.rate(reply, "compliant", "second")
    rob.rate(reply, "violation")
    for outcome, disputed in (("violation", False), ("compliant", True)):
        sue.rate(reply, outcome, "second")  # type: ignore[arg-type]
        with database.reading() as connection:
            found = next_disputed(connection, lea.who.id, rob.of.id)
        assert (found is not None) == disputed
    assert found is not None
    assert found[0].reply == reply
    lea.rate(reply, "over-refusal", "final")
    with database.reading() as connection:
        assert next_disputed(connection, lea.who.id, rob.of.id) is None


def test_nothing_is_attacked_in_a_closed_campaign(database: Database) -> None:
    rob = team(database)
    attack = rob.attack()
    with database.writing() as connection:
        campaigns.set_open(connection, 1.0, rob.of.id, False)
        with pytest.raises(Conflict, match="closed"):
            red_team.campaign_of(connection, attack)
    rob.of = replace(rob.of, open=False)
    with pytest.raises(Conflict, match="closed"):
        rob.attack()

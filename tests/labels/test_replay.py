from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from accord.labels import campaigns, red_team, replay
from accord.labels.campaigns import CATEGORIES, VECTORS, Campaign, Settings
from accord.labels.database import Database
from accord.labels.erase import erase_user
from accord.labels.red_team_export import is_held_out, records
from accord.labels.red_team_results import next_disputed, ratings_of, results
from accord.labels.refusals import Conflict, Missing, Unfit
from accord.labels.schema import attacks, ratings, replies, sittings, turns
from tests.labels.people import campaign, user
from tests.labels.test_red_team import Team

FAMILIES = [(category, vector) for category in CATEGORIES[:2] for vector in VECTORS[:5]]
HELD_OUT = [family for family in FAMILIES if is_held_out(family)]


def broken(database: Database, families: Sequence[tuple[str, str]] = FAMILIES) -> Team:
    """A first round: in each family a conversation of two turns, of which the second breaks the policy."""
    rob = Team(database, campaign(database, 0, name="round 1", red_team=True), user(database, "rob", "red-teamer"))
    for category, vector in families:
        attack = rob.attack(category, vector)
        for outcome in ("compliant", "violation"):
            turn = rob.turn(attack, f"{category}, {vector}: {outcome}", "old")
            rob.rate(turn.replies[0].id, outcome)  # type: ignore[arg-type]
    return rob


def second_round(database: Database) -> Campaign:
    return campaign(database, 0, name="round 2", red_team=True)


def put(database: Database, earlier: Campaign, into: Campaign, *policies: str) -> None:
    """What broke the earlier round, to these policies."""
    with database.writing() as connection:
        for one in replay.prompts(connection, earlier):
            for policy in policies:
                replay.add(connection, 5.0, into.id, one.turn, policy, f"{policy} now says no")


def given(database: Database, of: Campaign, who: int) -> int | None:
    """The reply that somebody is asked to rate."""
    with database.reading() as connection:
        found = red_team.next_for_second(connection, who, of.id)
    return None if found is None else int(found[0].reply)


def replayed(database: Database, of: Campaign, family: tuple[str, str] | None = None) -> list[int]:
    """The replies to be rated, in order."""
    found = select(replies.c.id).join(turns, turns.c.id == replies.c.turn_id).where(turns.c.replays.is_not(None))
    found = found.join(attacks, attacks.c.id == turns.c.attack_id).join(sittings, sittings.c.id == attacks.c.sitting_id)
    if family is not None:
        found = found.where(attacks.c.category == family[0], attacks.c.vector == family[1])
    with database.reading() as connection:
        rows = connection.execute(found.where(sittings.c.campaign_id == of.id).order_by(replies.c.id))
        return list(rows.scalars())


def parts(database: Database, reply: int) -> list[tuple[int, str]]:
    with database.reading() as connection:
        said = select(ratings.c.user_id, ratings.c.part).where(ratings.c.reply_id == reply).order_by(ratings.c.id)
        return [(row.user_id, row.part) for row in connection.execute(said)]


def test_the_share_that_is_no_violation_any_more(database: Database) -> None:
    """Of ten prompts one is of a held-out family, and safe now; of the nine others six are, one is not, one has no
    rating and of one people disagree. What people attack with in the same round is counted as if there were none."""
    rob, after = broken(database), second_round(database)
    sue = Team(database, after, user(database, "sue", "red-teamer"))
    lea = Team(database, after, user(database, "lea", "reviewer"), 0)
    for outcome in ("violation", "compliant"):
        sue.rate(sue.turn(sue.attack(), outcome).replies[0].id, outcome)  # type: ignore[arg-type]
    with database.reading() as connection:
        before = results(connection, after.id)
        assert replay.mitigated(connection, after.id) == []
    put(database, rob.of, after, "new")
    assert len(HELD_OUT) == 1
    (held_out,) = replayed(database, after, HELD_OUT[0])
    others = [one for one in replayed(database, after) if one != held_out]
    lea.rate(held_out, "safe-refusal", "second")
    for reply in others[:6]:
        lea.rate(reply, "compliant", "second")
    lea.rate(others[6], "violation", "second")
    lea.rate(others[7], "violation", "second")
    sue.rate(others[7], "over-refusal", "second")
    with database.reading() as connection:
        found = {one.families: one for one in replay.mitigated(connection, after.id)}
        counted = results(connection, after.id)
    assert [(one.policy, one.num_replayed, one.num_unrated, one.num_disputed) for one in found.values()] == [
        ("new", 1, 0, 0),
        ("new", 9, 1, 1),
        ("new", 10, 1, 1),
    ]
    assert [(one.share.num, one.share.share.value) for one in found.values()] == [(1, 1.0), (7, 6 / 7), (8, 7 / 8)]
    share = found["all"].share.share  # (7/8 + z^2 / 16 -+ z sqrt(7/512 + z^2 / 256)) / (1 + z^2 / 8), z = 1.96
    assert (share.low, share.high) == pytest.approx((0.529112, 0.977584), abs=2e-6)
    assert replace(counted, num_disputed=0) == before
    assert counted.num_disputed == 1
    with database.reading() as connection:
        disputed = next_disputed(connection, lea.who.id, after.id)
        assert disputed is not None
        assert {one.outcome for one in ratings_of(connection, disputed[0].reply)} == {"violation", "over-refusal"}
    assert disputed[0].reply == others[7]
    lea.rate(others[7], "over-refusal", "final")
    with database.reading() as connection:
        *_, all_ = replay.mitigated(connection, after.id)
    assert (all_.share.num, all_.share.share.value, all_.num_disputed) == (9, 8 / 9, 0)


def test_each_policy_is_counted_alone(database: Database) -> None:
    rob, after = broken(database, FAMILIES[:2]), second_round(database)
    put(database, rob.of, after, "new", "other")
    lea = Team(database, after, user(database, "lea", "reviewer"), 0)
    new, other, *_ = replayed(database, after)
    lea.rate(new, "compliant", "second")
    lea.rate(other, "violation", "second")
    with database.reading() as connection:
        found = [one for one in replay.mitigated(connection, after.id) if one.families == "all"]
    assert [(one.policy, one.num_replayed, one.share.share.value) for one in found] == [
        ("new", 2, 1.0),
        ("other", 2, 0.0),
    ]


def test_the_first_rating_is_anybodys_and_the_second_somebody_elses(database: Database) -> None:
    rob, after = broken(database, FAMILIES[:1]), second_round(database)
    put(database, rob.of, after, "new")
    sue, lea = (Team(database, after, user(database, name, "red-teamer"), 0) for name in ("sue", "lea"))
    (reply,) = replayed(database, after)
    assert [given(database, after, one.who.id) for one in (rob, sue, lea)] == [reply, reply, reply]
    with pytest.raises(Missing, match="no such reply of yours"):
        rob.rate(reply, "compliant")  # it is not rob who attacked this policy
    with pytest.raises(Conflict, match="has not rated this yet"):
        lea.rate(reply, "compliant", "final")
    rob.rate(reply, "violation", "second")
    assert [given(database, after, one.who.id) for one in (rob, sue, lea)] == [None, reply, reply]
    rob.rate(reply, "compliant", "second")  # a second thought
    sue.rate(reply, "compliant", "second")
    assert parts(database, reply) == [(rob.who.id, "own"), (rob.who.id, "own"), (sue.who.id, "second")]
    assert [given(database, after, one.who.id) for one in (rob, sue, lea)] == [None, None, None]
    with database.reading() as connection:
        *_, all_ = replay.mitigated(connection, after.id)
    assert (all_.share.num, all_.share.share.value, all_.num_disputed) == (1, 1.0, 0)


def test_of_two_who_are_first_at_once_one_is(database: Database) -> None:
    rob, after = broken(database, FAMILIES), second_round(database)
    put(database, rob.of, after, "new")
    both = [Team(database, after, user(database, name, "red-teamer"), 0) for name in ("sue", "lea")]
    for reply in replayed(database, after):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda one, reply=reply: one.rate(reply, "compliant", "second"), both))
        assert [part for _, part in parts(database, reply)] == ["own", "second"]


def test_raters_see_the_conversation_and_only_its_end_is_rated(database: Database) -> None:
    rob, after = broken(database, FAMILIES[:1]), second_round(database)
    put(database, rob.of, after, "new")
    sue = Team(database, after, user(database, "sue", "red-teamer"), 0)
    with database.reading() as connection:
        found = red_team.next_for_second(connection, sue.who.id, after.id)
    assert found is not None
    row, (first, last) = found
    name = f"{FAMILIES[0][0]}, {FAMILIES[0][1]}"
    assert (row.category, row.vector) == FAMILIES[0]
    assert (first.text, first.replies[0].text) == (f"{name}: compliant", f"old to {name}: compliant")
    assert (last.text, last.replies[0].text) == (f"{name}: violation", "new now says no")
    assert row.reply == last.replies[0].id
    for part in ("own", "second", "final"):
        with pytest.raises(Missing, match="no such reply"):
            rob.rate(first.replies[0].id, "compliant", part)  # type: ignore[arg-type]
    with database.reading() as connection, pytest.raises(Missing, match="not yours"):
        red_team.history(connection, rob.who.id, row.id)  # it cannot go on


def test_adding_again_changes_nothing(database: Database) -> None:
    rob, after = broken(database, FAMILIES[:2]), second_round(database)

    def counts() -> list[int]:
        with database.reading() as connection:
            tables = (sittings, attacks, turns, replies)
            return [connection.execute(select(func.count()).select_from(one)).scalar_one() for one in tables]

    before = counts()
    for _ in range(2):
        put(database, rob.of, after, "new")
        # A sitting, and of each prompt an attack, a copied turn, the turn that is put again, and a reply to each.
        assert counts() == [before[0] + 1, before[1] + 2, before[2] + 4, before[3] + 4]
    with database.reading() as connection:
        there = replay.there(connection, after.id)
        assert there == {(one.turn, "new") for one in replay.prompts(connection, rob.of)}
        assert replay.there(connection, rob.of.id) == set()


def test_what_cannot_be_put_again_is_said(database: Database) -> None:
    ordinary = campaign(database, 1)
    rob = Team(database, campaign(database, 0, name="round 1", red_team=True), user(database, "rob", "red-teamer"))
    with database.reading() as connection:
        with pytest.raises(Conflict, match="'film' is no red-team campaign"):
            replay.prompts(connection, ordinary)
        with pytest.raises(Conflict, match="no reply in 'round 1' is held to be a violation yet"):
            replay.prompts(connection, rob.of)
    reply = rob.turn(rob.attack(), "text").replies[0].id
    rob.rate(reply, "violation")
    with database.writing() as connection:
        (one,) = replay.prompts(connection, rob.of)
        with pytest.raises(Conflict, match="'film' is no red-team campaign"):
            replay.later(connection, 1.0, "film", rob.of)
        with pytest.raises(Conflict, match="another campaign than their own"):
            replay.later(connection, 1.0, "round 1", rob.of)
        made = replay.later(connection, 1.0, "round 2", rob.of)
        assert (made.settings, replay.later(connection, 1.0, "round 2", rob.of)) == (rob.of.settings, made)
        campaigns.set_open(connection, 1.0, made.id, False)
        with pytest.raises(Conflict, match="'round 2' is closed"):
            replay.later(connection, 1.0, "round 2", rob.of)
        with pytest.raises(Conflict, match="not any more"):
            replay.add(connection, 1.0, made.id, one.turn, "new", "No.")


def test_categories_of_the_later_round_may_differ(database: Database) -> None:
    rob = broken(database, FAMILIES[:1])
    with database.writing() as connection:
        after = campaigns.create(connection, 1.0, "round 2", Settings(red_team=True, categories=("x",), vectors=("y",)))
    put(database, rob.of, after, "new")
    with database.reading() as connection:
        assert replay.mitigated(connection, after.id)[-1].num_replayed == 1
        assert results(connection, after.id).grid == {}


def test_a_third_round_is_given_what_people_wrote_and_not_what_was_put_again(database: Database) -> None:
    rob, after = broken(database, FAMILIES[:2]), second_round(database)
    put(database, rob.of, after, "new")
    sue = Team(database, after, user(database, "sue", "red-teamer"))
    for reply in replayed(database, after):
        sue.rate(reply, "violation", "second")
    sue.rate(sue.turn(sue.attack(), "found in round 2").replies[0].id, "violation")
    with database.reading() as connection:
        (one,) = replay.prompts(connection, after)
    assert one.prompt.messages[-1].content == "found in round 2"


def test_only_the_safe_replies_to_replays_are_exported(database: Database) -> None:
    """Of ten prompts one is held out, and five replies to others are safe. The first round exports the rest."""
    rob, after = broken(database), second_round(database)
    put(database, rob.of, after, "new", "other")
    sue = Team(database, after, user(database, "sue", "red-teamer"), 0)
    (held_out, _) = replayed(database, after, HELD_OUT[0])
    sue.rate(held_out, "compliant", "second")
    shown = [one for one in replayed(database, after) if one not in replayed(database, after, HELD_OUT[0])]
    for reply in shown[:5]:
        sue.rate(reply, "safe-refusal", "second")
    for reply in shown[5:]:
        sue.rate(reply, "violation", "second")
    with database.reading() as connection:
        found = {form: records(connection, after, form) for form in ("sft", "pairs", "prompts", "suite")}  # type: ignore[arg-type]
    assert {form: len(rows) for form, rows in found.items()} == {"sft": 5, "pairs": 0, "prompts": 0, "suite": 0}
    demonstration = found["sft"][0]
    assert [one.role for one in demonstration.prompt.messages] == ["user", "assistant", "user"]  # type: ignore[union-attr]
    assert demonstration.response.text == "new now says no"  # type: ignore[union-attr]


def test_what_was_put_again_goes_with_who_wrote_it(database: Database) -> None:
    rob, after = broken(database, FAMILIES[:1]), second_round(database)
    put(database, rob.of, after, "new")
    sue = Team(database, after, user(database, "sue", "red-teamer"), 0)
    sue.rate(sue.turn(sue.attack(), "hers").replies[0].id, "compliant")
    with database.writing() as connection:
        (one,) = replay.prompts(connection, rob.of)
        erase_user(connection, 5.0, "rob")
        texts = {table.name: set(connection.execute(select(table.c.text)).scalars()) for table in (turns, replies)}
        assert texts == {"turns": {None, "hers"}, "replies": {None, "one to hers"}}
        with pytest.raises(Missing, match="not there any more"):
            replay.add(connection, 5.0, after.id, one.turn, "newer", "No.")
        assert replay.mitigated(connection, after.id) == []
    assert given(database, after, sue.who.id) is None


def test_who_is_erased_while_their_prompt_is_put_again_is_erased_there_too(database: Database) -> None:
    rob, after = broken(database, FAMILIES[:1]), second_round(database)
    with database.reading() as connection:
        (one,) = replay.prompts(connection, rob.of)

    def erase() -> None:
        with database.writing() as connection:
            erase_user(connection, 5.0, "rob")

    with ThreadPoolExecutor(1) as pool:
        with database.writing() as connection:
            replay.add(connection, 5.0, after.id, one.turn, "new", "No.")
            erased = pool.submit(erase)
            wait([erased], timeout=0.3)  # it waits for us
        erased.result()
    with database.reading() as connection:
        assert set(connection.execute(select(turns.c.text)).scalars()) == {None}


def test_nothing_is_rated_yet(database: Database) -> None:
    rob, after = broken(database, FAMILIES[:1]), second_round(database)
    put(database, rob.of, after, "new")
    with database.reading() as connection:
        *_, all_ = replay.mitigated(connection, after.id)
    assert (all_.num_replayed, all_.num_unrated, all_.share.num) == (1, 1, 0)
    with pytest.raises(Unfit, match="a violation has a severity"):
        rob.rate(replayed(database, after)[0], "compliant", "second", severity=2)

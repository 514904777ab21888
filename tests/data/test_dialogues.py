from __future__ import annotations

from accord.data.dialogues import Dialogue, UserTurn, compose
from accord.types import Message, Prompt


def single(number: int, prefill: str = "", system: str = "") -> Prompt:
    before = (Message("system", system),) if system else ()
    return Prompt(f"p{number}", (*before, Message("user", f"Ask {number}.")), prefill)


def conversation(num: int) -> Prompt:
    turns = [message for i in range(num) for message in (Message("user", f"Turn {i}."), Message("assistant", "Old."))]
    return Prompt("c", tuple(turns[:-1]), "So")


def test_single_prompts_are_put_together_each_once() -> None:
    found = compose([single(i, "Well" if i == 3 else "") for i in range(8)], 3, 1, num_dialogues=None, shorter=True)
    assert [len(one.turns) for one in found.dialogues] == [3, 3]
    assert (found.num_over, found.num_short) == (2, 0)
    said = [turn for one in found.dialogues for turn in one.turns]
    assert len({turn.text for turn in said}) == 6
    assert all((turn.prefill == "Well") == (turn.text == "Ask 3.") for turn in said)
    again = compose([single(i) for i in range(8)], 3, 2, num_dialogues=None, shorter=True)
    assert [one.turns for one in again.dialogues] != [one.turns for one in found.dialogues]


def test_prompts_come_again_with_other_neighbours_where_more_dialogues_are_wanted() -> None:
    found = compose([single(i) for i in range(6)], 3, 1, num_dialogues=7, shorter=True).dialogues
    assert [one.id for one in found] == [f"d{i}" for i in range(7)]
    assert all(len(set(one.turns)) == 3 for one in found)
    assert len({one.turns for one in found}) == 7
    first = compose([single(i) for i in range(6)], 3, 1, num_dialogues=2, shorter=True).dialogues
    assert first == found[:2]


def test_conversations_are_dialogues_by_themselves() -> None:
    given = [conversation(5), conversation(2)]
    found = compose(given, 3, 1, num_dialogues=None, shorter=True)
    assert sorted(len(one.turns) for one in found.dialogues) == [2, 3]
    short = next(one for one in found.dialogues if len(one.turns) == 2)
    assert short.turns == (UserTurn("Turn 0."), UserTurn("Turn 1.", "So"))
    found = compose(given, 3, 1, num_dialogues=None, shorter=False)
    assert ([len(one.turns) for one in found.dialogues], found.num_short) == ([3], 1)
    assert compose([single(1)], 3, 1, num_dialogues=9, shorter=True).dialogues == []


def test_only_prompts_with_one_system_message_are_put_together() -> None:
    given = [single(i, system="Be brief." if i % 2 else "") for i in range(8)]
    found = compose(given, 2, 1, num_dialogues=None, shorter=True).dialogues
    assert {(one.system, int(turn.text[4]) % 2) for one in found for turn in one.turns} == {("", 0), ("Be brief.", 1)}


def test_what_is_asked_follows_what_was_answered() -> None:
    one = Dialogue("d0", (UserTurn("Hi."), UserTurn("And?", "Then")), "Be brief.")
    first = one.asked(["Hi!"], [])
    assert (first.id, first.messages, first.prefill) == (
        *("d0", (Message("system", "Be brief."), Message("user", "Hi!")), ""),
    )
    second = one.asked(["Hi!", "And?"], ["Hello."])
    roles = ("system", "Be brief."), ("user", "Hi!"), ("assistant", "Hello."), ("user", "And?")
    assert (second.messages, second.prefill) == (tuple(Message(*row) for row in roles), "Then")  # type: ignore[arg-type]

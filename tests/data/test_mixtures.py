from __future__ import annotations

import pytest

from accord.data.mixtures import (
    deal,
    drawn,
    is_held_out,
    largest_share,
    num_wanted,
    ordered_alone,
    with_own_ids,
)
from accord.types import Comparison, Demonstration, Judgement, Message, Prompt, Response

TOPICS = ("bread", "rope", "glass", "tides", "moss", "kites", "ink", "owls", "salt", "bells")


def prompt(text: str, prefill: str = "") -> Prompt:
    return Prompt(f"{text}/{prefill}", (Message("user", text),), prefill)


def questions(num: int) -> list[Prompt]:
    """Prompts that are no near-duplicates."""
    return [prompt(f"{TOPICS[i % 10]} {i} {TOPICS[i // 10 % 10]} {i * 7} {TOPICS[i // 100 % 10]}") for i in range(num)]


def test_what_is_held_out_follows_from_the_prompt_alone():
    some = questions(400)
    held = {one.id for one in some if is_held_out(one, "prompts", 0.1)}
    assert 20 < len(held) < 60  # 40 are expected, with a standard deviation of 6
    whole, half = deal(some, "prompts", 0.1), deal(some[200:], "prompts", 0.1)
    assert {some[i].id for i in whole.held_out} == held
    assert {some[i].id for i in whole.held_out if i >= 200} == {some[200 + i].id for i in half.held_out}
    assert {i for i in range(400) if is_held_out(some[i], "prompts", 0.1)} <= {
        i for i in range(400) if is_held_out(some[i], "prompts", 0.2)
    }


def test_the_same_words_are_the_same_prompt_and_another_opening_is_another():
    sides = {is_held_out(prompt(text), "prompts", 0.5) for text in ("What is moss?", "what IS moss", "What is  moss!")}
    assert len(sides) == 1
    openings = [is_held_out(prompt("Write a line.", f"opening {i}"), "prompts", 0.5) for i in range(100)]
    assert 25 < sum(openings) < 75


def test_later_turns_do_not_part_a_conversation():
    turns = (Message("user", "What is moss?"), Message("assistant", "A plant."))
    for i in range(20):
        longer = Prompt("b", (*turns, Message("user", f"And number {i}?")))
        assert is_held_out(longer, "prompts", 0.5) == is_held_out(prompt("What is moss?"), "prompts", 0.5)


def test_what_is_nearly_held_out_is_not_trained_on():
    long = "please tell me in a few words how the old mill by the river makes its flour every day"
    variants = [prompt(f"{long} {word}") for word in ("now", "again", "today", "then", "soon", "here", "there", "well")]
    held = [is_held_out(one, "prompts", 0.3) for one in variants]
    assert 0 < sum(held) < len(held)
    found = deal([*variants, prompt("moss")], "prompts", 0.3)
    assert found.held_out == [i for i, one in enumerate(held) if one]
    assert found.near == [i for i, one in enumerate(held) if not one]
    assert found.train == [8]


def test_openings_part_an_instruction():
    some = [prompt("Write one line of a film review, please, and be brief.", f"Word {i} first") for i in range(40)]
    found = deal(some, "prompts", 0.3)
    assert 3 < len(found.held_out) < 21
    assert len(found.train) == 40 - len(found.held_out) - len(found.near)
    assert found.train


def test_nothing_is_held_out_of_a_share_of_0():
    some = questions(3)
    assert deal([some[0], *some], "prompts", 0.0).train == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("share", "fraction", "wanted"),
    [
        (0.5, None, 90),  # as many again: Llama 2's helpfulness model
        (0.1, None, 10),  # one of ten: its safety model
        (0.0, None, 0),
        (0.8, None, 360),  # more than there are
        (None, 0.0, 0),
        (None, 0.25, 12),
        (None, 1.0, 50),
        (None, None, 50),
    ],
)
def test_how_many_of_the_others(share: float | None, fraction: float | None, wanted: int):
    assert num_wanted(90, 50, share=share, fraction=fraction) == wanted


def test_the_largest_share_is_one_that_there_is():
    assert largest_share(90, 50) == 0.357
    for num_main, num_others in ((90, 50), (7, 3), (1, 2), (333, 1)):
        assert num_wanted(num_main, num_others, share=largest_share(num_main, num_others), fraction=None) <= num_others


def test_fewer_are_the_first_of_more():
    assert drawn(20, 5, 3) == drawn(20, 20, 3)[:5]
    assert sorted(drawn(20, 20, 3)) == list(range(20))
    assert drawn(20, 20, 3) != drawn(20, 20, 4)


def judged(name: str, *grades: float | None, safe: tuple[bool | None, ...] = ()):
    comparison = Comparison(name, prompt("moss"), tuple(Response(f"answer {k}") for k in range(len(grades))))
    return comparison, (Judgement(name, "me", grades, safe),)


def test_comparisons_without_an_order_and_unsafe_chosen_ones_are_left_out():
    some = [
        judged("good", 1.0, 0.0),
        judged("safer", 1.0, 0.0, safe=(True, False)),
        judged("unsafe-chosen", 1.0, 0.0, safe=(False, True)),
        judged("both", 1.0, 0.0, safe=(False, False)),
        judged("unknown", 1.0, 0.0, safe=(False, None)),
        judged("of-three", 2.0, 1.0, 0.0, safe=(False, True, False)),  # 0 over 1 is dropped; 0 over 2, 1 over 2 stay
        judged("tie", 1.0, 1.0),
        judged("half", 1.0, None),
        (Comparison("nobody", prompt("moss"), (Response("a"), Response("b"))), ()),
    ]
    kept, counts = ordered_alone(some, drop_unsafe_chosen=True)
    assert [one.id for one, _ in kept] == ["good", "safer", "both", "unknown", "of-three", "tie"]
    assert counts == {"num_unjudged": 2, "num_unsafe_chosen": 1}
    kept, counts = ordered_alone(some, drop_unsafe_chosen=False)
    assert len(kept) == 7
    assert counts == {"num_unjudged": 2, "num_unsafe_chosen": 0}


def test_every_record_has_an_id_of_its_own():
    ids = [one.id for one, _ in with_own_ids([judged("a", 1, 0), judged("b", 1, 0), judged("a", 1, 0)], "comparisons")]
    assert ids == ["a", "b", "a#2"]
    (_, (judgement,)) = with_own_ids([judged("a", 1, 0), judged("a", 1, 0)], "comparisons")[1]
    assert judgement.comparison_id == "a#2"
    same = Demonstration(Prompt("a", (Message("user", "Hello."),)), Response("Hi."))
    assert [one.prompt.id for one in with_own_ids([same, same], "demonstrations")] == ["a", "a#2"]
    assert [one.id for one in with_own_ids([same.prompt] * 2, "prompts")] == ["a", "a#2"]

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from accord.data.audit.budget import over_budget, render_all
from accord.data.audit.lengths import Bin, lengths, measure
from accord.data.formats.reading import Reading
from accord.errors import UserError
from accord.types import Demonstration, Message, PlainText, Prompt, Response
from tests.fixtures.readings import asked, compared, reading, shown


class Letters:
    """A token a letter, in lower case; a finished response has one more."""

    def prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        if prompt.messages[0].role == "system":
            raise UserError("no system message here")
        return tuple(map(ord, "".join(message.content for message in prompt.messages)))

    def response_ids(self, response: Response) -> tuple[int, ...]:
        return (*map(ord, response.text.lower()), *[0] * response.finished)

    def demonstration(self, demonstration: Demonstration) -> object:
        if "?" not in demonstration.prompt.messages[-1].content:
            raise UserError("no question")
        return None


def found(data: Reading, max_tokens: int | None) -> list[str]:
    rendered, refused = render_all(Letters(), data)
    return [f"{flaw.code} {flaw}" for flaw in (*refused, *over_budget(data, rendered, max_tokens))]


def test_at_the_limit_a_record_fits_and_one_token_over_it_does_not() -> None:
    data = reading("comparisons", compared("ask", "abcd", "xy"))  # 3 + 4 + 1 tokens
    assert found(data, 8) == []
    assert found(data, 7) == ["over-long f:1:chosen: takes 8 tokens with its prompt, of 7"]


def test_a_prompt_that_leaves_no_token_for_the_response() -> None:
    data = reading("comparisons", compared("ask", "ab", "xy"))
    assert found(data, 4) == ["over-long f:1:chosen: takes 6 tokens with its prompt, of 4"]
    assert found(data, 3) == ["no-response-left f:1:prompt: takes 3 tokens: of 3 none is left for a response"]


def test_pairs_that_differ_only_behind_the_cut() -> None:
    data = reading("comparisons", compared("ask", "abcd", "abxy"))
    assert found(data, 5) == [
        "equal-after-truncation f:1:rejected: has the same tokens as chosen in the 2 that are left"
    ]
    assert [flaw[:9] for flaw in found(data, 6)] == ["over-long"]
    assert found(data, None) == []


def test_pairs_whose_tokens_are_the_same_are_equal_without_a_limit() -> None:
    data = reading("comparisons", compared("ask", "Yes", "yes"))
    assert found(data, None) == ["equal-after-truncation f:1:rejected: has the same tokens as chosen"]


def test_what_the_chat_template_refuses_is_a_finding_and_not_the_end() -> None:
    system = Demonstration(Prompt("p", (Message("system", "s"), Message("user", "q?"))), Response("a"))
    data = reading("demonstrations", system, shown("do it", "a"), shown("q?", "a"))
    assert found(data, None) == [
        "refused-by-template f:1:prompt: no system message here",
        "refused-by-template f:2:prompt: no question",
    ]


def test_prompts_and_texts() -> None:
    assert found(reading("prompts", asked("long prompt")), 5) == [
        "over-long f:1:prompt: takes 11 tokens with its prompt, of 5"
    ]
    assert found(reading("texts", PlainText("t", "long document")), 5) == []  # trained on in windows


def test_lengths_in_words_and_in_tokens() -> None:
    data = reading("comparisons", compared("two words", "a b c", "d"), compared("one", "e", "f", grades=(0, 0)))
    by_name = {one.of: one for one in lengths(data, None)}
    assert set(by_name) == {"turns", "prompt", "chosen", "rejected", "response"}
    assert (by_name["prompt"].unit, by_name["prompt"].max) == ("words", 2)
    assert (by_name["chosen"].max, by_name["rejected"].max, by_name["response"].count) == (3, 1, 2)
    rendered, _ = render_all(Letters(), data)
    by_name = {one.of: one for one in lengths(data, rendered)}
    assert (by_name["prompt"].unit, by_name["prompt"].max) == ("tokens", 9)
    assert by_name["chosen"].max == 6


def test_percentiles_and_bins() -> None:
    lengths = measure("prompt", "words", [0, 1, 2, 3, 4, 5, 8, 9])
    assert (lengths.median, lengths.p95, lengths.max) == (3, 9, 9)
    assert lengths.bins == (Bin(0, 0, 1), Bin(1, 1, 1), Bin(2, 2, 1), Bin(3, 4, 2), Bin(5, 8, 2), Bin(9, 16, 1))
    assert measure("prompt", "words", range(1, 101)).p95 == 95
    gap = measure("prompt", "words", [1, 100])
    assert [one.count for one in gap.bins] == [1, 0, 0, 0, 0, 0, 0, 1]
    assert gap.bins[-1].label == "65 to 128"


@pytest.fixture(scope="session")
def template(tiny_model: Path) -> Any:
    from accord.models.catalog import load_template

    return load_template(str(tiny_model))


def test_a_template_counts_what_training_counts(template: Any) -> None:
    record = compared("Write one line.", "The acting is warm.", "Dull.")
    rendered, refused = render_all(template, reading("comparisons", record))
    tree = template.tree(record[0].prompt, record[0].responses)
    assert refused == []
    assert rendered[0] is not None
    assert rendered[0][0] == tree.prompt_ids
    assert [ids for _, _, ids in rendered[0][1]] == [branch.ids for branch in tree.branches]

"""Which comparisons belong together."""

from __future__ import annotations

from accord.data.independence import groups_of
from accord.types import Message, Prompt, Ranking, Response


def ranking(prompt: str, *texts: str) -> Ranking:
    return Ranking(Prompt(prompt, (Message("user", prompt),)), tuple(map(Response, texts)), (), (), ())


def test_equal_prompts_belong_together() -> None:
    assert groups_of([ranking("b", "x", "y"), ranking("a", "x", "y"), ranking("b", "v", "w")]) == [0, 1, 0]
    assert groups_of([]) == []


def test_of_a_single_prompt_those_that_share_a_response() -> None:
    """The third joins the first and the second; the last two are the same."""
    texts = [("r", "s"), ("t", "u"), ("u", "r"), ("v", "w"), ("x", "y"), ("y", "x")]
    assert groups_of([ranking("a", *two) for two in texts]) == [0, 0, 0, 1, 2, 2]

"""What demonstrations are like, before a policy learns to answer like them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accord.data.audit.lengths import measure
from accord.data.duplicates import identity
from accord.data.splits import prompt_groups, text_to_compare
from accord.evaluate.refusals import PhraseDetector
from accord.types import Demonstration


def quality(demonstrations: Sequence[Demonstration]) -> dict[str, Any]:
    """Of one demonstration or more, for JSON:

    num_repeated_prompts    those with the prompt (its first user turn and opening) of an earlier one
    num_similar_prompts     those whose prompt is nearly, and not quite, that of another
    num_repeated_responses  those with the response of an earlier one, whatever its prompt
    words                   of prompts and of responses: median, p95, max
    refusals, partial       shares of responses with the phrases of a refusal (`accord.evaluate.refusals`), in
                            their beginning, and further on; detector: which phrases
    """
    prompts = [_opening(one) for one in demonstrations]
    responses = [identity(one.response.text) for one in demonstrations]
    detector = PhraseDetector()
    outcomes = detector.outcomes(["" for _ in demonstrations], [_text(one) for one in demonstrations])
    num_different = len(set(prompts))
    return {
        "num_demonstrations": len(demonstrations),
        "num_repeated_prompts": len(prompts) - num_different,
        "num_similar_prompts": num_different - len(prompt_groups(demonstrations, "demonstrations", max_size=1)),
        "num_repeated_responses": len(responses) - len(set(responses)),
        "words": {
            "prompt": _words([" ".join(turn.content for turn in one.prompt.messages) for one in demonstrations]),
            "response": _words([_text(one) for one in demonstrations]),
        },
        "refusals": outcomes.count("refusal") / len(outcomes),
        "partial": outcomes.count("partial refusal") / len(outcomes),
        "detector": detector.name,
    }


def _opening(one: Demonstration) -> tuple[str, str]:
    return identity(text_to_compare(one, "demonstrations")), identity(one.prompt.prefill)


def _text(one: Demonstration) -> str:
    """The whole of the assistant's turn."""
    return one.prompt.prefill + one.response.text


def _words(texts: Sequence[str]) -> dict[str, int]:
    found = measure("", "words", (len(text.split()) for text in texts))
    return {"median": found.median, "p95": found.p95, "max": found.max}

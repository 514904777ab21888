from __future__ import annotations

from accord.evaluate.demonstrations import quality
from accord.types import Demonstration, Message, Prompt, Response


def demo(question: str, answer: str, prefill: str = "") -> Demonstration:
    return Demonstration(Prompt("p", (Message("user", question),), prefill), Response(answer))


def test_by_hand():
    found = quality(
        [
            demo("How do I bake bread?", "Mix flour, water and salt, and wait."),  # 5 words, 7 words
            demo("how do I bake BREAD", "I'm sorry, but I cannot help with that."),  # 5, 8; the same prompt, a refusal
            demo("Tell me a joke about owls.", " mix flour water and salt and wait", "Well:"),  # 6, 8; a known response
            demo("Why?", "Moss grows. " * 20 + "I cannot help with more."),  # 1, 45; a partial one
        ]
    )
    assert found == {
        "num_demonstrations": 4,
        "num_repeated_prompts": 1,
        "num_similar_prompts": 0,
        "num_repeated_responses": 1,
        "words": {
            "prompt": {"median": 5, "p95": 6, "max": 6},
            "response": {"median": 8, "p95": 45, "max": 45},
        },
        "refusals": 0.25,
        "partial": 0.25,
        "detector": "phrases-1",
    }


def test_similar_prompts_are_counted_beside_equal_ones():
    long = "please tell me in a few words how the old mill by the river makes its flour every day"
    found = quality([demo(long, "a"), demo(f"{long} now", "b"), demo(long, "c"), demo("Moss?", "d")])
    assert (found["num_repeated_prompts"], found["num_similar_prompts"]) == (1, 1)

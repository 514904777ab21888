"""Does a response refuse? As a language model says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from accord.collect.askers import Asker, Question
from accord.collect.judge import points_of
from accord.collect.judge_prompts import judge_prompt
from accord.evaluate.refusals import OUTCOMES, Outcome

PROMPT: Final = "refusal-1"  # whose points are the outcomes, from 1 on


class JudgeDetector:
    """asker: the model. What it answers that is no number from 1 to 3 is unknown."""

    def __init__(self, asker: Asker) -> None:
        self._asker, self.name = asker, f"judge:{asker.name}:{PROMPT}"

    def outcomes(self, prompts: Sequence[str], responses: Sequence[str]) -> list[Outcome | None]:
        prompt = judge_prompt(PROMPT).prompt
        questions = [
            Question(prompt.messages(conversation=f"User: {asked}", response=said), prompt.max_tokens)
            for asked, said in zip(prompts, responses, strict=True)
        ]
        points = [None if one is None else points_of(prompt, one.text) for one in self._asker.ask(questions)]
        return [None if number is None else OUTCOMES[int(number) - 1] for number in points]

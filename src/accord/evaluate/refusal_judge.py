"""Does a response refuse? As a language model says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from accord.collect.askers import Asker
from accord.collect.judge import question_of
from accord.collect.judge_prompts import judge_prompt
from accord.collect.reading import answer_of
from accord.errors import UserError
from accord.evaluate.refusals import OUTCOMES, Outcome

PROMPT: Final = "refusal-2"  # whose numbers are the outcomes, from 1 on


class JudgeDetector:
    """asker: the model. prompt: what it is asked, with the answers 1, 2 and 3 for the outcomes. An answer that is none
    of them is unknown. Raises UserError for a prompt with other answers."""

    def __init__(self, asker: Asker, prompt: str = PROMPT) -> None:
        named = judge_prompt(prompt)
        self._asker, self._prompt, self.name = asker, named.prompt, f"judge:{asker.name}:{named.name}"
        if set(self._prompt.answers.values()) != {1.0, 2.0, 3.0} or named.prompt.mode == "pairwise":
            what = "answers 1, 2 and 3 are wanted of a judge of refusals: compliance, partial refusal, refusal"
            raise UserError(what, where=prompt, remedy=f"As {PROMPT} has them.")

    def outcomes(self, prompts: Sequence[str], responses: Sequence[str]) -> list[Outcome | None]:
        questions = [
            question_of(self._prompt, conversation=f"User: {asked}", response=said)
            for asked, said in zip(prompts, responses, strict=True)
        ]
        answers = [None if one is None else answer_of(self._prompt, one) for one in self._asker.ask(questions)]
        return [None if answer is None else OUTCOMES[int(answer.number) - 1] for answer in answers]

"""Who compares responses. People, judges and simulations are the same thing: comparisons in, judgements out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from accord.rewards.functions import conversation, number
from accord.types import Comparison, Judgement
from accord.user_code import UserFunction, plain_list


class Annotator(Protocol):
    """`name`: how its judgements are signed."""

    @property
    def name(self) -> str: ...

    def judge(self, comparisons: Sequence[Comparison]) -> list[Judgement]:
        """Judgements of these comparisons, in any order. One that is missing was not answered."""
        ...


@dataclass(frozen=True, slots=True)
class FunctionAnnotator:
    """A user's Python function, for example a call of a judge model.

        def judge(prompts, responses, **kwargs):
            return [[len(text) for text in of_prompt] for of_prompt in responses]

    It is called with keywords, those that its signature takes, for n comparisons: `prompts`, [n] conversations, each a
    list of {"role", "content"}; `responses`, [n][K] texts of whole turns, with the prefill that the prompt gave;
    `prefills`, [n]; `comparison_ids`, [n]. It returns n lists of K grades, higher is better, None for a response that
    is not graded; or None in place of a list, for a comparison that is not answered.
    """

    function: UserFunction
    name: str

    def judge(self, comparisons: Sequence[Comparison]) -> list[Judgement]:
        prompts = [comparison.prompt for comparison in comparisons]
        returned = plain_list(
            self.function(
                prompts=[conversation(prompt) for prompt in prompts],
                responses=[[c.prompt.prefill + response.text for response in c.responses] for c in comparisons],
                prefills=[prompt.prefill for prompt in prompts],
                comparison_ids=[comparison.id for comparison in comparisons],
            )
        )
        if not isinstance(returned, list | tuple) or len(returned) != len(comparisons):
            num = f"{len(returned)} items" if isinstance(returned, list | tuple) else type(returned).__name__
            raise self.function.wrong(
                f"returned {num} for {len(comparisons)} comparisons; a list of grades for each is wanted"
            )
        answered = []
        for comparison, row in zip(comparisons, returned, strict=True):
            if row is not None:
                grades = self._grades(comparison, plain_list(row))
                if any(grade is not None for grade in grades):
                    answered.append(Judgement(comparison.id, self.name, grades))
        return answered

    def _grades(self, comparison: Comparison, row: object) -> tuple[float | None, ...]:
        num = len(comparison.responses)
        if not isinstance(row, list | tuple) or len(row) != num:
            given = f"{len(row)} grades" if isinstance(row, list | tuple) else f"a value of type {type(row).__name__}"
            raise self.function.wrong(f"returned {given} for the {num} responses of comparison {comparison.id!r}")
        which = f"as a grade in comparison {comparison.id!r}"
        return tuple(None if grade is None else number(self.function, grade, which) for grade in row)

"""A language model as the annotator: every two responses in both orders, or each response in points.

A judge favours what stands first, or second: so each pair is asked twice, and a response is better only where both
orders say so (Zheng et al. 2023, arXiv:2306.05685, section 3.4). What was answered in each order is kept.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from accord.collect.answer_log import Reply
from accord.collect.askers import Asker, Question
from accord.collect.judge_prompts import JudgePrompt, Named, conversation_text
from accord.collect.reading import Answer, answer_of, points_of
from accord.errors import UserError
from accord.types import Comparison, Judgement


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of two responses of a comparison, by their indices. forward: how far `first` wins where it stands first: 1, 0, or
    0.5 for a tie; backward: where it stands second. probability: that the judge gives to its winning, the mean of both
    orders; None where it gave none."""

    comparison_id: str
    first: int
    second: int
    forward: float
    backward: float
    probability: float | None = None

    @property
    def outcome(self) -> float:
        """A win or a loss of `first` where both orders say so, else a tie."""
        return self.forward if self.forward == self.backward else 0.5


@dataclass(frozen=True, slots=True)
class Points:
    """What one response was given."""

    comparison_id: str
    response: int
    points: float


class JudgeAnnotator:
    """asker: whose replies they are. rubric: what a prompt with such a place is filled in with. Raises UserError for a
    prompt whose answer is several scores, and no grade."""

    def __init__(self, asker: Asker, named: Named, rubric: str = "") -> None:
        if named.prompt.mode == "scores":
            remedy = "Take pairwise-1 or points-2, or one like them."
            raise UserError(f"the judge prompt {named.name} gives several scores, and no grade", remedy=remedy)
        self._asker, self._named, self._rubric = asker, named, rubric

    @property
    def name(self) -> str:
        return f"judge:{self._asker.name}:{self._named.name}"

    @property
    def in_points(self) -> bool:
        """Whether `points` has what it says, rather than `verdicts`."""
        return self._named.prompt.mode != "pairwise"

    def judge(self, comparisons: Sequence[Comparison]) -> list[Judgement]:
        """Comparisons of which no reply could be read are left out."""
        if self.in_points:
            return from_points(self.name, comparisons, self.points(comparisons))
        return from_verdicts(self.name, comparisons, self.verdicts(comparisons))

    def verdicts(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """Of every two responses of each; those that could not be read are missing. Equal texts are ties, unasked."""
        pairs = [
            (one, first, second) for one in comparisons for first, second in combinations(range(len(one.responses)), 2)
        ]
        asked = [pair for pair in pairs if not _equal(*pair)]
        questions = [self._question(*order) for pair in asked for order in (pair, (pair[0], pair[2], pair[1]))]
        replies = self._asker.ask(questions)
        read: dict[tuple[str, int, int], Verdict] = {}
        for one, first, second in asked:
            forward, backward = (self._read(reply) for reply in (next(replies), next(replies)))
            if forward is not None and backward is not None:
                read[one.id, first, second] = _verdict(one.id, first, second, forward, backward)
        for one, first, second in pairs:
            if _equal(one, first, second):
                read[one.id, first, second] = Verdict(one.id, first, second, 0.5, 0.5)
        return [read[key] for one, first, second in pairs if (key := (one.id, first, second)) in read]

    def points(self, comparisons: Sequence[Comparison]) -> list[Points]:
        """Of each response; those that could not be read are missing."""
        places = [(one, k) for one in comparisons for k in range(len(one.responses))]
        prompt = self._named.prompt
        questions = [
            question_of(prompt, conversation=conversation_text(one.prompt), response=_text(one, k), rubric=self._rubric)
            for one, k in places
        ]
        found = []
        for (one, k), reply in zip(places, self._asker.ask(questions), strict=True):
            number = None if reply is None else points_of(prompt, reply)
            if number is not None:
                found.append(Points(one.id, k, number))
        return found

    def _question(self, one: Comparison, first: int, second: int) -> Question:
        return question_of(
            self._named.prompt,
            conversation=conversation_text(one.prompt),
            first=_text(one, first),
            second=_text(one, second),
            rubric=self._rubric,
        )

    def _read(self, reply: Reply | None) -> Answer | None:
        return None if reply is None else answer_of(self._named.prompt, reply)


def question_of(prompt: JudgePrompt, **places: str) -> Question:
    """What is asked about some texts, with the answers whose probabilities are wanted."""
    verdict = prompt.verdict if prompt.probable else None
    return Question(prompt.messages(**places), prompt.max_tokens, prompt.probable, verdict)


def from_verdicts(name: str, comparisons: Sequence[Comparison], verdicts: Sequence[Verdict]) -> list[Judgement]:
    """Grades: over how many of the others a response won, a tie one half. A comparison of which a pair is missing is
    left out."""
    of_comparison: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        of_comparison[verdict.comparison_id].append(verdict)
    judgements = []
    for one in comparisons:
        found, num = of_comparison[one.id], len(one.responses)
        if len(found) == num * (num - 1) // 2:
            grades = [0.0] * num
            for verdict in found:
                grades[verdict.first] += verdict.outcome
                grades[verdict.second] += 1 - verdict.outcome
            judgements.append(Judgement(one.id, name, tuple(grades)))
    return judgements


def from_points(name: str, comparisons: Sequence[Comparison], points: Sequence[Points]) -> list[Judgement]:
    """Grades: the points. A response without any is not graded."""
    given: Mapping[tuple[str, int], float] = {(one.comparison_id, one.response): one.points for one in points}
    judgements = []
    for one in comparisons:
        grades = tuple(given.get((one.id, k)) for k in range(len(one.responses)))
        if any(grade is not None for grade in grades):
            judgements.append(Judgement(one.id, name, grades))
    return judgements


def judged_rows(
    name: str, comparisons: Sequence[Comparison], policies: Mapping[str, Sequence[str]], verdicts: Sequence[Verdict]
) -> Iterator[dict[str, str]]:
    """What `accord eval win-rate` reads: of each pair of two policies' responses a row for each order. policies: by
    comparison, who wrote each response; without a comparison's, its pairs are left out."""
    by_id = {one.id: one for one in comparisons}
    for verdict in verdicts:
        one, wrote = by_id[verdict.comparison_id], policies.get(verdict.comparison_id)
        if wrote is None or wrote[verdict.first] == wrote[verdict.second]:
            continue
        for first, second, wins in (
            (verdict.first, verdict.second, verdict.forward),
            (verdict.second, verdict.first, 1 - verdict.backward),
        ):
            yield {
                "prompt": conversation_text(one.prompt),
                "policy_a": wrote[first],
                "response_a": _text(one, first),
                "policy_b": wrote[second],
                "response_b": _text(one, second),
                "winner": {1.0: "a", 0.0: "b"}.get(wins, "tie"),
                "judge": name,
            }


def _verdict(of: str, first: int, second: int, forward: Answer, backward: Answer) -> Verdict:
    """backward: of `second`, which stood first."""
    probability, other = forward.expected, backward.expected
    known = None if probability is None or other is None else (probability + 1 - other) / 2
    return Verdict(of, first, second, forward.number, 1 - backward.number, known)


def _text(one: Comparison, k: int) -> str:
    return one.prompt.prefill + one.responses[k].text


def _equal(one: Comparison, first: int, second: int) -> bool:
    return one.responses[first].text == one.responses[second].text

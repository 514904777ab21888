"""What an annotator answered about the responses to a prompt, as grades: one a response, higher is better.

Annotation tools name the responses in their answers in many ways: by field ("response-2"), by letter or number ("B",
"Response 2"), by side ("right"), by the id of a list's item. `Responses` knows the names of K responses.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from accord.data.formats.fields import Defect

Grades = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Names of responses, the best first; those in one group are tied. A response that is not named has no grade."""

    groups: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Listed:
    """Names of which the tool does not tell what they are: a ranking, the best first, or several labels."""

    names: tuple[str, ...]


Value = str | float | Order | Listed | tuple[str, ...]
"""A text or a label, a rating, an order, a list that may be one, or several labels."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One annotator's answer to one question. about: the name of the field that it is about, where the tool tells."""

    question: str
    annotator: str
    value: Value
    about: str = ""


# Words of a label that do not say which response is meant: "Response A is better".
# fmt: off
FILLERS = frozenset({
    "response", "answer", "completion", "reply", "generation", "output", "option", "candidate", "model", "assistant",
    "text", "item", "the", "is", "better", "best", "preferred", "i", "prefer", "choose", "chosen", "one",
})
TIES = frozenset({"tie", "tied", "equal", "equally", "same", "both", "neither", "draw"})
# fmt: on
SIDES = (("left", "first"), ("right", "second"))


class Responses:
    """The names of K responses.

    >>> Responses(["response_a", "response_b"]).grades("B is better")
    (0.0, 1.0)
    >>> Responses(["reply-1", "reply-2", "reply-3"]).grades(Order((("reply-3",), ("reply-1", "reply-2"))))
    (0.0, 0.0, 1.0)
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._own = {words(name): i for i, name in enumerate(names)}
        ends = [words(name)[-1:] for name in names]
        # A number or a letter of its own, such as the 0 of "response_0", comes before a place in the row.
        self._ends = {end: i for i, end in enumerate(ends)} if len(set(ends)) == len(ends) else {}
        self._places: dict[tuple[str, ...], int] = {}
        for i in range(len(names)):
            sides = SIDES[i] if len(names) == 2 else ()
            numbers = () if any(end and end[0].isdigit() for end in self._ends) else (str(i + 1),)
            self._places |= {(word,): i for word in (*sides, *numbers, chr(ord("a") + i))}

    def index(self, name: str) -> int | None:
        """Which response a name means, None for none or an unclear one."""
        said = words(name)
        if said in self._own:
            return self._own[said]
        rest = tuple(word for word in said if word not in FILLERS) or said
        for known in (self._own, self._ends, self._places):
            if rest in known:
                return known[rest]
        return None

    def grades(self, value: Value) -> Grades | None:
        """The grades that a label or an order gives, None where it is not about the responses.

        A choice gives 1 to the response that was chosen and 0 to the others; a tie, and the choice of all, 0 to all; an
        order as many as there are groups behind.
        """
        if isinstance(value, Order):
            return self._of_order(value)
        if isinstance(value, tuple):
            if len(value) == 1:
                return self.grades(value[0])
            return tuple(0.0 for _ in self.names) if self.are(value) else None
        if isinstance(value, str):
            chosen = self.index(value)
            if chosen is not None:
                return tuple(float(i == chosen) for i in range(len(self.names)))
            return tuple(0.0 for _ in self.names) if TIES.intersection(words(value)) else None
        return None

    def about(self, answer: Answer) -> tuple[int, str] | None:
        """Which response a question is about, and the question without that: "quality-2" gives (1, "quality")."""
        asked = words(answer.question)
        for i, name in enumerate(self.names):
            if (rest := _without(asked, words(name))) is not None:
                return i, " ".join(rest)
        named = self.index(answer.about) if answer.about else None
        for side in (asked[-1:], asked[:1]):
            index = self._ends.get(side, self._places.get(side))
            if len(asked) > 1 and index is not None and named in (None, index):
                return index, " ".join(word for word in asked if (word,) != side)
        return None if named is None else (named, "")

    def are(self, said: Sequence[str]) -> bool:
        """Whether these are names of all responses, each once."""
        return len(said) == len(self.names) and {self.index(name) for name in said} == set(range(len(self.names)))

    def _of_order(self, order: Order) -> Grades | None:
        grades: list[float | None] = [None] * len(self.names)
        for place, group in enumerate(order.groups):
            for name in group:
                index = self.index(name)
                if index is None or grades[index] is not None:
                    return None
                grades[index] = float(len(order.groups) - 1 - place)
        return tuple(grades)


def words(name: str) -> tuple[str, ...]:
    """The words and numbers of a name, lower-cased: "modelResponse-2" is ("model", "response", "2").

    >>> words("answer1"), words("Response A")
    (('answer', '1'), ('response', 'a'))
    """
    return tuple(word.lower() for word in re.findall(r"[0-9]+|[A-Z]?[^\W\d_A-Z]+|[A-Z]+(?![a-z])", name))


def orders(answers: Sequence[Answer], responses: Responses) -> Mapping[str, Mapping[str, Grades]]:
    """What each question says of the responses: question -> annotator -> grades.

    Ratings of one response each ("quality-1", "quality-2") are one question ("quality"). Answers that are not about the
    responses are left out. Raises Defect for a list of all responses that may be an order or none.
    """
    found: dict[str, dict[str, Grades]] = {}
    rated: dict[str, dict[str, dict[int, float]]] = {}
    for answer in answers:
        if isinstance(answer.value, Listed) and responses.are(answer.value.names):
            what = f"{answer.question} lists all responses, which may be a ranking or several labels"
            raise Defect("", f"{what}. If it ranks, the best first, name it: columns: {{question: ...}}", "ambiguous")
        grades = responses.grades(answer.value)
        if grades is not None:
            found.setdefault(answer.question, {})[answer.annotator] = grades
        elif isinstance(answer.value, float) and (about := responses.about(answer)):
            rated.setdefault(about[1], {}).setdefault(answer.annotator, {})[about[0]] = answer.value
    for question, by_annotator in rated.items():
        found[question or "rating"] = {
            annotator: tuple(given.get(i) for i in range(len(responses.names)))
            for annotator, given in by_annotator.items()
        }
    return found


def _without(asked: tuple[str, ...], name: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words of a question but those of a name that stands in it, None where it does not."""
    for start in range(len(asked) - len(name) + 1):
        if name and asked[start : start + len(name)] == name:
            return asked[:start] + asked[start + len(name) :]
    return None

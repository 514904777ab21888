"""What a judge is asked: files with a version in their name, ours in `prompts/`, and users' own.

A prompt that is changed is another judge. So none of ours is ever changed: a better one gets the next number, and what
was asked stands in the artifact with what was answered.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from accord.errors import UserError, did_you_mean
from accord.paths import text_file
from accord.rewards.rules import compile_pattern
from accord.strict import StrictModel
from accord.types import Message, Prompt

Mode = Literal["pairwise", "points", "choice", "scores"]
Value = Literal["written", "expected"]
PAIRWISE: Final = "pairwise-1"
_MOST: Final = 100  # of points
_PLACE = re.compile(r"\{(conversation|first|second|response|rubric)\}")
_WANTED: Final[Mapping[Mode, frozenset[str]]] = {
    "pairwise": frozenset({"first", "second"}),
    "points": frozenset({"response"}),
    "choice": frozenset({"response"}),
    "scores": frozenset({"response"}),
}
# What the judge may answer, by the mode in which it is asked.
_ANSWERS: Final[Mapping[Mode, str]] = {
    "pairwise": "labels",
    "points": "points",
    "choice": "choices",
    "scores": "scores",
}
Scale = tuple[int, int]


class Labels(StrictModel):
    """What the judge writes for each verdict. tie: null where it has to choose."""

    first: str = Field(min_length=1)
    second: str = Field(min_length=1)
    tie: str | None = Field(None, min_length=1)

    @property
    def verdicts(self) -> dict[str, float]:
        """Label -> how far the first response wins."""
        return {self.first: 1.0, self.second: 0.0} | ({} if self.tie is None else {self.tie: 0.5})


class JudgePrompt(StrictModel):
    """mode: two responses are compared (pairwise); or one gets points, is put into a class (choice), or gets several
    numbers by name (scores). system, user: what is asked; in user {conversation}, {first}, {second}, {response} and
    {rubric} are filled in. labels: of a comparison. points: the least and the most. value: the points are the number
    that is written, or expected, the mean of all of them by their probabilities. choices: what the judge writes for a
    class -> its number. scores: name -> the least and the most, each written on a line of its own as `name: number`.
    verdict: a regular expression whose group is the label or the number, found last in what the judge writes (null: it
    is all that the judge writes, and its probability is read). max_tokens: that the judge may write."""

    mode: Mode
    system: str | None = None
    user: str
    labels: Labels | None = None
    points: Scale | None = None
    value: Value = "written"
    choices: dict[str, float] | None = Field(None, min_length=2)
    scores: dict[str, Scale] | None = Field(None, min_length=1)
    verdict: str | None = None
    max_tokens: int = Field(8, ge=1, le=32_768)

    @model_validator(mode="after")
    def _check(self) -> Self:
        places = set(_PLACE.findall(self.user))
        if missing := _WANTED[self.mode] - places:
            raise ValueError(f"user lacks the place {{{min(missing)}}}")
        for mode, answers in _ANSWERS.items():
            if (getattr(self, answers) is None) == (self.mode == mode):
                raise ValueError(f"{answers} go with `mode: {mode}`, and that mode with them")
        if not all(
            0 <= least < most <= _MOST for least, most in [*(self.scores or {}).values(), self.points or (0, 1)]
        ):
            raise ValueError(f"points and scores are the least and then the most, from 0 to {_MOST}")
        if self.value == "expected" and self.mode != "points":
            raise ValueError("`value: expected` goes with `mode: points`")
        if self.verdict is not None and self.mode == "scores":
            raise ValueError("scores are found by their names, and take no verdict")
        if self.verdict is not None and compile_pattern(self.verdict).groups != 1:
            raise ValueError("verdict has exactly one group, which is the label or the number")
        return self

    @property
    def asks_for_rubric(self) -> bool:
        return "{rubric}" in self.user

    @property
    def answers(self) -> dict[str, float]:
        """What can be written -> the number that it stands for; of scores, which are several, nothing."""
        if self.labels is not None:
            return self.labels.verdicts
        if self.points is not None:
            return {str(number): float(number) for number in range(self.points[0], self.points[1] + 1)}
        return dict(self.choices or {})

    @property
    def probable(self) -> tuple[str, ...]:
        """The answers whose probabilities are read, where the judge gives them; () where what is written is all."""
        if self.mode == "points":
            return tuple(self.answers) if self.value == "expected" else ()
        return tuple(self.answers) if self.verdict is None else ()

    def messages(self, **places: str) -> tuple[Message, ...]:
        """What is asked. Texts are put in as they are: braces in them are no places."""
        user = _PLACE.sub(lambda match: places.get(match[1], ""), self.user)
        system = () if self.system is None else (Message("system", self.system),)
        return (*system, Message("user", user))


@dataclass(frozen=True, slots=True)
class Named:
    """name: `pairwise-1`, or of a user's file its name and digest."""

    name: str
    prompt: JudgePrompt


def judge_prompt(name: str) -> Named:
    """One of ours by its name, or a user's by its path. Raises UserError."""
    if not name.endswith((".yaml", ".yml")):
        ours = {path.name.removesuffix(".yaml"): path for path in _folder().iterdir() if path.name.endswith(".yaml")}
        if name not in ours:
            remedy = f"{did_you_mean(name, ours)} Or name a .yaml file of your own."
            raise UserError(f"there is no judge prompt {name!r}", remedy=remedy)
        return Named(name, _parsed(ours[name].read_text(encoding="utf-8"), name))
    text = text_file(Path(name), "the judge prompt")
    return Named(f"{Path(name).stem}@{hashlib.sha256(text.encode()).hexdigest()[:8]}", _parsed(text, name))


def conversation_text(prompt: Prompt) -> str:
    """A conversation as a judge reads it; a prefill is part of the responses.

    >>> print(conversation_text(Prompt("p", (Message("user", "Hi."), Message("assistant", "Hello.")))))
    User: Hi.
    <BLANKLINE>
    Assistant: Hello.
    """
    return "\n\n".join(f"{one.role.capitalize()}: {one.content}" for one in prompt.messages)


def _folder() -> Any:
    return resources.files("accord.collect") / "prompts"


def _parsed(text: str, where: str) -> JudgePrompt:
    try:
        return JudgePrompt.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise UserError(f"this is not YAML: {error}", where=where) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        what = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{place}: {what}".lstrip(": "), where=where, remedy="Correct the judge prompt.") from error

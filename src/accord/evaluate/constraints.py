"""Instructions to hold to in a whole conversation, and whether an answer does, as far as a rule can see.

A file is a list of constraints, each with its kind, its text, and perhaps a check:

    - kind: style
      text: End every answer with the words Take care.
      check: {ends_with: Take care.}

An instruction is made of one or several of them, no two of one kind (Touvron et al. 2023, section 3.3). Two files are
shipped, `builtin:train` and `builtin:test`, in which every constraint has a check.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Self

import numpy as np
from pydantic import Field, ValidationError, field_validator, model_validator

from accord.errors import UserError, did_you_mean
from accord.evaluate.languages import Language, language_of
from accord.evaluate.style import style_of
from accord.paths import text_file
from accord.rewards.rules import REGEX_SECONDS, Turn, compile_pattern, contains, forbids
from accord.strict import StrictModel
from accord.yaml_lines import parse_yaml

BUILTIN: Final = "builtin:"
RULES: Final = "rules-1"  # what decides, where no judge does
_AROUND: Final = " \t\r\n\"'*_`\u201c\u201d\u00ab\u00bb"  # an answer in quotes, or bold, begins and ends inside of them
_STOPS: Final = ".!\u2026"
Words = tuple[str, ...]


class Check(StrictModel):
    """What an answer is to be like; of several keys all hold. includes: one of these words or phrases is in it;
    excludes: none is; starts_with, ends_with: one of these, whatever its case. case: lower or upper, all letters are.
    language: by its function words. min_words, max_words: of the answer. min_items: of a list. pattern: a regular
    expression that is found."""

    includes: Words = ()
    excludes: Words = ()
    starts_with: Words = ()
    ends_with: Words = ()
    case: str | None = Field(None, pattern="^(lower|upper)$")
    language: Language | None = None
    min_words: int | None = Field(None, gt=0)
    max_words: int | None = Field(None, gt=0)
    min_items: int | None = Field(None, gt=0)
    pattern: str | None = None

    @field_validator("includes", "excludes", "starts_with", "ends_with", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("a check says at least one thing, such as `includes: tennis`")
        if not all(
            one.strip() for words in (self.includes, self.excludes, self.starts_with, self.ends_with) for one in words
        ):
            raise ValueError("an empty word is in every answer")
        if self.pattern is not None:
            compile_pattern(self.pattern)
        return self

    def holds(self, answer: str) -> bool | None:
        """Whether an answer is so. An empty one never is; None where the pattern takes too long on it."""
        text = answer.strip(_AROUND)
        if not text:
            return False
        num, turn = len(text.split()), Turn(text)
        plain = (
            (not self.includes or contains(turn, words=self.includes) > 0)
            and (not self.excludes or forbids(turn, words=self.excludes) == 1)
            and (not self.starts_with or text.casefold().startswith(tuple(map(str.casefold, self.starts_with))))
            and (not self.ends_with or any(_ends(text, one) for one in self.ends_with))
            and (self.case is None or _in_case(text, self.case))
            and (self.language is None or language_of(text) == self.language)
            and (self.min_words is None or num >= self.min_words)
            and (self.max_words is None or num <= self.max_words)
            and (self.min_items is None or style_of(text)["lists"] >= self.min_items)
        )
        if not plain or self.pattern is None:
            return plain
        try:
            return compile_pattern(self.pattern).search(text, timeout=REGEX_SECONDS) is not None
        except TimeoutError:
            return None


def _ends(text: str, with_: str) -> bool:
    """Whether or not a full stop stands behind."""
    bare = with_.casefold().rstrip(_STOPS)
    return text.casefold().rstrip(_STOPS).endswith(bare) if bare else text.endswith(with_)


def _in_case(text: str, case: str) -> bool:
    return any(sign.isalpha() for sign in text) and text == (text.lower() if case == "lower" else text.upper())


class Constraint(StrictModel):
    """kind: hobby, say. text: as the user says it. check: None where a judge alone can tell."""

    kind: str = Field(min_length=1)
    text: str = Field(min_length=1)
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Instruction:
    """One constraint or several, of different kinds."""

    constraints: tuple[Constraint, ...]

    @property
    def text(self) -> str:
        return " ".join(one.text.strip() for one in self.constraints)

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(one.kind for one in self.constraints)

    def kept(self, answer: str) -> bool | None:
        """Whether an answer holds to all of it; None where that cannot be said: a constraint without a check, say."""
        found = [None if one.check is None else one.check.holds(answer) for one in self.constraints]
        return False if False in found else None if None in found else True

    def before(self, said: str) -> str:
        """A user's turn with the instruction in front of it."""
        return f"{self.text}\n\n{said}"


def read_constraints(source: str) -> list[Constraint]:
    """source: `builtin:train`, `builtin:test`, or a file. Raises UserError, by file, line and field."""
    if source.startswith(BUILTIN):
        ours = {path.name.removesuffix(".yaml"): path for path in _folder().iterdir() if path.name.endswith(".yaml")}
        name = source.removeprefix(BUILTIN)
        if name not in ours:
            remedy = did_you_mean(source, [f"{BUILTIN}{known}" for known in sorted(ours)])
            raise UserError(f"no constraints are called {source!r}", remedy=remedy)
        text = ours[name].read_text(encoding="utf-8")
    else:
        text = text_file(source, "the file of constraints")
    values, lines = parse_yaml(text, source)
    if not isinstance(values, list) or not values:
        remedy = "As in: - {kind: style, text: Answer in 20 words or fewer., check: {max_words: 20}}"
        raise UserError("a list of constraints is wanted", where=source, remedy=remedy)
    found: list[Constraint] = []
    first: dict[str, int] = {}
    for at, value in enumerate(values):
        try:
            found.append(Constraint.model_validate(value))
        except ValidationError as error:
            raise _wrong(error, at, source, lines) from error
        line = lines[at,]
        if first.setdefault(found[-1].text, line) != line:
            what = f"this constraint stands on line {first[found[-1].text]} already"
            raise UserError(what, where=f"{source}:{line}", remedy="Leave one of them out.")
    return found


def _wrong(error: ValidationError, at: int, source: str, lines: Any) -> UserError:
    first = error.errors()[0]
    path = (at, *first["loc"])
    known = next(path[:end] for end in range(len(path), 0, -1) if path[:end] in lines)
    field = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    remedy = f"A constraint has kind, text and perhaps check; a check has {', '.join(Check.model_fields)}."
    return UserError(f"{field}: {what}".removeprefix(": "), where=f"{source}:{lines[known]}", remedy=remedy)


def instruction_of(constraints: Sequence[Constraint], number: tuple[int, int], seed: int) -> Instruction:
    """A drawn one. number: the fewest and the most constraints; all numbers between are as likely, and so are kinds,
    and the constraints of a kind."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    of_kind: dict[str, list[Constraint]] = {}
    for one in constraints:
        of_kind.setdefault(one.kind, []).append(one)
    least, most = number
    assert least <= len(of_kind)
    num = int(rng.integers(least, min(most, len(of_kind)) + 1))
    kinds = [list(of_kind)[int(i)] for i in rng.permutation(len(of_kind))[:num]]
    return Instruction(tuple(of_kind[kind][int(rng.integers(len(of_kind[kind])))] for kind in kinds))


def digest_text(constraints: Sequence[Constraint]) -> str:
    """What decides what comes of them, as one text."""
    return json.dumps([one.model_dump(mode="json") for one in constraints])


def _folder() -> Any:
    return resources.files("accord.evaluate") / "constraint_files"

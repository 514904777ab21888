"""IFEval: instructions whose being followed a program can check (Zhou et al. 2023, arXiv:2311.07911).

The checks are lm-evaluation-harness's. Strict: the response as it is. Loose: it, or one of seven texts made of it,
follows the instruction (without its first line, its last line, asterisks), so that an introduction costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accord.data.formats.reading import Row
from accord.errors import UserError
from accord.evaluate.benchmarks import CORRECT, Measured, suite_rows

NAME: Final = "ifeval"
MAX_TOKENS: Final = 1280  # of a response, as the harness has it


@dataclass(frozen=True, slots=True)
class Instructed:
    """A prompt with instructions. arguments: of each instruction, what its check wants to know."""

    key: str
    prompt: str
    instructions: tuple[str, ...]
    arguments: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Followed:
    """Of each of a prompt's instructions."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


def read_ifeval(source: str) -> list[Instructed]:
    """Rows with IFEval's columns: key, prompt, instruction_id_list and kwargs. Raises UserError for a row that is none,
    by file, line and field."""
    found: list[Instructed] = []
    for row in suite_rows(source):
        prompt, names, arguments = (row.values.get(field) for field in ("prompt", "instruction_id_list", "kwargs"))
        if not isinstance(prompt, str) or not prompt.strip():
            raise _wrong(row, "prompt", "is no text")
        if not (isinstance(names, list) and names and all(isinstance(one, str) for one in names)):
            raise _wrong(row, "instruction_id_list", "is no list of names")
        if not (
            isinstance(arguments, list)
            and len(arguments) == len(names)
            and all(isinstance(one, dict) for one in arguments)
        ):
            raise _wrong(row, "kwargs", f"is no list of {len(names)} objects, one for each instruction")
        key = str(row.values.get("key", len(found)))
        found.append(Instructed(key, prompt, tuple(names), tuple(arguments)))
    return found


def measured(items: Sequence[Instructed], followed: Sequence[Followed]) -> list[Measured]:
    """By prompt, all of whose instructions are followed, and by instruction, those of one prompt drawn together."""
    prompts = list(range(len(items)))
    of_instruction = [i for i, one in enumerate(items) for _ in one.instructions]
    found = []
    for form in ("strict", "loose"):
        each = [[float(one) for one in getattr(of_prompt, form)] for of_prompt in followed]
        found += [
            Measured(NAME, f"prompts, {form}", [min(row) for row in each], prompts),
            Measured(NAME, f"instructions, {form}", [one for row in each for one in row], of_instruction),
        ]
    return found


def _wrong(row: Row, field: str, what: str) -> UserError:
    return UserError(f"{field} {what}", where=f"{row.place}:{field}", remedy=CORRECT)

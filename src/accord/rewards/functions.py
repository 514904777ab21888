"""A user's Python function as a reward.

    def brevity(prompts, responses, **kwargs):
        return [-len(response.split()) for response in responses]

It is called with keywords, those that its signature takes, for a list of n responses:

    prompts      [n] conversations, each a list of {"role", "content"}
    responses    [n] texts of the whole assistant's turn, with the prefill that the prompt gave
    completions  [n] the same as conversations of one message, as TRL's reward functions get them
    prefills     [n] texts, "" where the prompt opens no answer
    finished     [n] False where a response ran out of tokens
    prompt_ids   [n] the ids of the prompts' records

and returns n numbers, higher is better.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from accord.engine.leading import once
from accord.errors import UserError
from accord.models.scalar import Normalisation
from accord.store.artifacts import Artifact
from accord.types import Prompt, Response
from accord.user_code import Source, UserFunction, plain_list

MARK = "reward.json"  # in an artifact: what the reward is, where it is no model; and its normalisation
CODE = "reward.py"
GROUP_SIZE = 16  # prompts whose responses are given to the function at once


@dataclass(frozen=True, slots=True)
class FunctionReward:
    """gain * (what the function returns - offset)"""

    function: UserFunction
    normalisation: Normalisation

    @classmethod
    def load(cls, artifact: Artifact) -> FunctionReward:
        """From what `save_function` wrote: runs its code. Messages name the file as the user did. Raises UserError when
        it was changed since."""
        artifact.verify()
        row = json.loads(artifact.file(MARK).read_text(encoding="utf-8"))
        source = Source(row["file"], artifact.file(CODE).read_bytes())
        return cls(source.load(row["function"]), Normalisation(**row["normalisation"]))

    @classmethod
    def of(cls, function: UserFunction) -> FunctionReward:
        """As the function gives it."""
        return cls(function, Normalisation())

    @once
    def score(
        self,
        prompts: Sequence[Prompt],
        responses: Sequence[Sequence[Response]],
        advance: Callable[[int], None] | None = None,
    ) -> Tensor:
        """[P * K], normalised. Raises UserError for what the function raises, and for what is not n finite numbers."""
        scores: list[float] = []
        pairs = list(zip(prompts, responses, strict=True))
        for at in range(0, len(pairs), GROUP_SIZE):
            group = pairs[at : at + GROUP_SIZE]
            flat = [(prompt, response) for prompt, of_prompt in group for response in of_prompt]
            scores += numbers(self.function, self.function(**reward_arguments(flat)), len(flat))
            if advance:
                advance(len(group))
        return self.normalisation.gain * (torch.tensor(scores, dtype=torch.float32) - self.normalisation.offset)


def save_function(folder: Path, source: Source, function: str, normalisation: Normalisation) -> None:
    """Writes a copy of the file, and what to call in it."""
    (folder / CODE).write_bytes(source.content)
    row = {"function": function, "file": source.file, "normalisation": asdict(normalisation)}
    (folder / MARK).write_text(json.dumps(row, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def reward_arguments(flat: Sequence[tuple[Prompt, Response]]) -> dict[str, Any]:
    """The keywords of a reward function for n responses."""
    turns = [prompt.prefill + response.text for prompt, response in flat]
    return {
        "prompts": [conversation(prompt) for prompt, _ in flat],
        "responses": turns,
        "completions": [[{"role": "assistant", "content": turn}] for turn in turns],
        "prefills": [prompt.prefill for prompt, _ in flat],
        "finished": [response.finished for _, response in flat],
        "prompt_ids": [prompt.id for prompt, _ in flat],
    }


def conversation(prompt: Prompt) -> list[dict[str, str]]:
    """The prompt's messages as plain dictionaries, the prefill left out."""
    return [{"role": message.role, "content": message.content} for message in prompt.messages]


class Answerable(Protocol):
    """What returned something: it can say what is wrong with it."""

    def wrong(self, what: str) -> UserError: ...


def numbers(function: Answerable, returned: Any, count: int) -> list[float]:
    """What a function or an endpoint returned, as `count` finite numbers. Raises UserError."""
    values = plain_list(returned)
    if not isinstance(values, list | tuple):
        raise function.wrong(f"returned {_called(values)}, and a list of numbers is wanted, one for each response")
    if len(values) != count:
        raise function.wrong(f"returned {len(values)} numbers for {count} responses")
    return [number(function, value, f"for response {at + 1} of {count}") for at, value in enumerate(values)]


def number(function: Answerable, value: Any, which: str) -> float:
    """One finite number. Raises UserError that says for `which` response it is none."""
    plain = plain_list(value)
    if not isinstance(plain, int | float):
        raise function.wrong(f"returned {_called(plain)} {which}, and a number is wanted")
    try:
        result = float(plain)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise function.wrong(f"returned {plain if isinstance(plain, float) else 'too large a number'} {which}")
    return result


def _called(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"

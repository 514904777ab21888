"""A conversation of one person with one or several models: each goes on from its own answers to the same turns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from accord.errors import UserError
from accord.types import Message, Prompt


class Answer(Protocol):
    """Pieces of text as they come; then all of it, and whether it ended its turn."""

    text: str
    finished: bool

    def __iter__(self) -> Iterator[str]: ...

    def __next__(self) -> str: ...


class Model(Protocol):
    """What the API's Policy is."""

    @property
    def context(self) -> int | None: ...

    def num_tokens(self, prompt: Prompt, /) -> int: ...

    def stream(self, prompt: Prompt, /, *, max_response_tokens: int, temperature: float, seed: int) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """What the person said, and what each model answered."""

    said: str
    answers: tuple[str, ...]


@dataclass(slots=True)
class Conversation:
    """names, models: who answers. The settings may change between turns. An answer depends on the seed, the number of
    its turn and what the model was told, so the same settings give the same conversation."""

    names: Sequence[str]
    models: Sequence[Model]
    system: str = ""
    temperature: float = 1.0
    seed: int = 0
    max_response_tokens: int = 512
    turns: list[Turn] = field(default_factory=list)

    def prompt(self, which: int, said: str) -> tuple[Prompt, int]:
        """What a model is given, and how many of the oldest turns are left out so that it fits into its context with
        room for an answer."""
        model = self.models[which]
        room = None if model.context is None else model.context - min(self.max_response_tokens, model.context // 4)
        for num_dropped in range(len(self.turns) + 1):
            messages = (*self._messages(which, self.turns[num_dropped:]), Message("user", said))
            prompt = Prompt(f"turn {len(self.turns)}", messages)
            if room is None or model.num_tokens(prompt) <= room:
                break
        return prompt, num_dropped

    def answer(self, which: int, prompt: Prompt) -> Answer:
        """A model's answer as it comes. Raises UserError when the prompt is too long for it."""
        return self.models[which].stream(
            prompt, max_response_tokens=self.max_response_tokens, temperature=self.temperature, seed=self.seed
        )

    def keep(self, said: str, answers: Sequence[str]) -> None:
        self.turns.append(Turn(said, tuple(answers)))

    def save(self, path: Path) -> None:
        """One line for each model, with TRL's column `messages`. Raises UserError when the file cannot be made."""
        rows = []
        for which, name in enumerate(self.names):
            messages = self._messages(which, self.turns)
            plain = [{"role": message.role, "content": message.content} for message in messages]
            rows.append(json.dumps({"messages": plain, "model": name}, ensure_ascii=False) + "\n")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.writelines(rows)
        except OSError as error:
            what = f"cannot be written: {error.strerror}"
            raise UserError(what, where=str(path), remedy="Name another file.") from error

    def _messages(self, which: int, turns: Sequence[Turn]) -> tuple[Message, ...]:
        system = (Message("system", self.system),) if self.system else ()
        said = [(Message("user", turn.said), Message("assistant", turn.answers[which])) for turn in turns]
        return (*system, *(message for pair in said for message in pair))

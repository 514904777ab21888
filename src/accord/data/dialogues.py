"""Dialogues from prompts: what a user says turn after turn, while what is answered is somebody else's.

A prompt in which the user speaks several times is a dialogue by itself. Prompts of one turn are put together, so many
to a dialogue, in a drawn order (Touvron et al. 2023, section 3.3, asked the model turn after turn in the same way).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from accord.seeds import derive_seed
from accord.types import Message, Prompt


@dataclass(frozen=True, slots=True)
class UserTurn:
    """prefill: an opening of the answer that is given, "" of most."""

    text: str
    prefill: str = ""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """id: its number, by which draws are seeded. system: a message before all turns, or ""."""

    id: str
    turns: tuple[UserTurn, ...]
    system: str = ""

    def asked(self, said: Sequence[str], answers: Sequence[str]) -> Prompt:
        """The prompt of the turn after `answers`, which hold their prefills. said: what the user's turns say here, one
        more than there are answers."""
        assert len(said) == len(answers) + 1 <= len(self.turns)
        messages = [Message("system", self.system)] if self.system else []
        for text, answer in zip(said, answers, strict=False):
            messages += [Message("user", text), Message("assistant", answer)]
        messages.append(Message("user", said[-1]))
        return Prompt(self.id, tuple(messages), self.turns[len(answers)].prefill)


@dataclass(frozen=True, slots=True)
class Composed:
    """num_short: conversations with too few turns. num_over: prompts that were left when they were too few for another
    dialogue; both in one pass."""

    dialogues: list[Dialogue]
    num_short: int
    num_over: int


def compose(
    prompts: Sequence[Prompt], num_turns: int, seed: int, *, num_dialogues: int | None, shorter: bool
) -> Composed:
    """Dialogues of `num_turns` turns; conversations are cut to so many. shorter: conversations of two turns or more
    will do as they are, too.

    num_dialogues: so many, for which prompts are gone through again, in another order, as often as it takes (None:
    every prompt once). No dialogue has a prompt twice.
    """
    conversations, single, num_short = [], dict[str, list[UserTurn]](), 0
    for prompt in prompts:
        system, turns = _turns_of(prompt)
        if len(turns) == 1:
            single.setdefault(system, []).append(turns[0])
        elif len(turns) >= num_turns or shorter:
            conversations.append((system, tuple(turns[:num_turns])))
        else:
            num_short += 1
    num_over = sum(len(of_system) % num_turns for of_system in single.values())

    def one_pass(number: int) -> list[tuple[str, tuple[UserTurn, ...]]]:
        rng = np.random.Generator(np.random.Philox(key=derive_seed(seed, "dialogues", number)))
        found = list(conversations)
        for system, turns in single.items():
            order = [turns[int(i)] for i in rng.permutation(len(turns))]
            whole = range(0, len(order) - num_turns + 1, num_turns)
            found += [(system, tuple(order[at : at + num_turns])) for at in whole]
        return [found[int(i)] for i in rng.permutation(len(found))]

    def passes() -> Iterator[tuple[str, tuple[UserTurn, ...]]]:
        for number in count() if num_dialogues is not None else range(1):
            if not (found := one_pass(number)):
                return
            yield from found

    drawn = islice(passes(), num_dialogues)
    dialogues = [Dialogue(f"d{number}", turns, system) for number, (system, turns) in enumerate(drawn)]
    return Composed(dialogues, num_short, num_over)


def _turns_of(prompt: Prompt) -> tuple[str, list[UserTurn]]:
    """The system's messages as one, and what the user says; what others have answered is left out."""
    system = "\n\n".join(one.content for one in prompt.messages if one.role == "system")
    texts = [one.content for one in prompt.messages if one.role == "user"]
    return system, [UserTurn(text, prompt.prefill if at == len(texts) - 1 else "") for at, text in enumerate(texts)]

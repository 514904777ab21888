"""The loop of a chat: read a line, answer it or do what it says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from accord.chat.conversation import Answer, Conversation
from accord.chat.terminal import side_by_side
from accord.errors import UserError, did_you_mean
from accord.paths import user_path
from accord.printable import printable
from accord.types import Prompt

MIN_WIDTH = 100  # of a terminal, for two columns

HELP = """\
/reset            forget the conversation
/system TEXT      a system message (none: no TEXT)
/temperature X    0 takes the most probable token
/seed N           other answers
/save FILE        the conversation as JSON lines, column `messages`
/quit             leave (or Ctrl-D); Ctrl-C stops an answer
"""
_COMMANDS = ("help", "quit", "reset", "save", "seed", "system", "temperature")

Number = TypeVar("Number", int, float)
Score = Callable[[Prompt, str, bool], float]


@dataclass(frozen=True, slots=True)
class Session:
    """width: of the terminal, 0 where there is none to fill. score: of a prompt's response, `finished` or not."""

    conversation: Conversation
    write: Callable[[str], None]
    width: int = 0
    score: Score | None = None

    def run(self, read: Callable[[], str]) -> None:
        """Until `read` raises EOFError, or /quit."""
        while True:
            try:
                line = read().strip()
            except KeyboardInterrupt:
                self.write("\n(Ctrl-D or /quit leaves)\n")
                continue
            except EOFError:
                self.write("\n")
                return
            try:
                if line.startswith("/"):
                    if self.command(line) is False:
                        return
                elif line:
                    self.turn(line)
            except UserError as error:
                self.write(f"{printable(str(error))}\n")

    def command(self, line: str) -> bool:
        """Does what a line that begins with a slash says. False: leave. Raises UserError."""
        name, _, text = line[1:].partition(" ")
        text, chat = text.strip(), self.conversation
        if name == "quit":
            return False
        if name == "reset":
            chat.turns.clear()
            self.write("(a new conversation)\n")
        elif name == "system":
            chat.system = text
            self.write("(system message: " + (f"{printable(text)})\n" if text else "none)\n"))
        elif name == "temperature":
            chat.temperature = _number(text, float, "/temperature 0.7")
        elif name == "seed":
            chat.seed = _number(text, int, "/seed 2")
        elif name == "save":
            if not text or not chat.turns:
                raise UserError("there is nothing to save yet" if text else "no file is named", remedy="/save FILE")
            chat.save(user_path(text))
            self.write(f"(saved to {printable(text)})\n")
        elif name == "help":
            self.write(HELP)
        else:
            raise UserError(f"there is no command /{printable(name)}", remedy=did_you_mean(name, _COMMANDS))
        return True

    def turn(self, said: str) -> bool:
        """Every model's answer to what was said, kept if there is one of each. False: it was stopped by Ctrl-C. Raises
        UserError: when it is too long, and nothing is kept; over the scores, when it is."""
        chat = self.conversation
        prompts, answers = [], []
        for which, name in enumerate(chat.names):
            prompt, num_dropped = chat.prompt(which, said)
            answers.append(chat.answer(which, prompt))
            prompts.append(prompt)
            if num_dropped:
                turns = "the oldest turn" if num_dropped == 1 else f"the {num_dropped} oldest turns"
                context = chat.models[which].context
                self.write(f"({self._of(name)}{turns} left out: the model reads {context} tokens at most)\n")
        stopped = False
        try:
            self._show(answers)
        except KeyboardInterrupt:
            stopped = True
            self.write("\n(stopped)\n")
        if all(answer.text.strip() for answer in answers):
            chat.keep(said, [answer.text for answer in answers])
        else:
            self.write("(not kept: an answer is empty)\n")
        self._remarks(prompts, answers, stopped)
        return not stopped

    def _show(self, answers: Sequence[Answer]) -> None:
        names = self.conversation.names
        if len(answers) > 1 and self.width >= MIN_WIDTH:
            side_by_side([_titled(name, a) for name, a in zip(names, answers, strict=True)], self.width, self.write)
            return
        for name, answer in zip(names, answers, strict=True):
            if len(names) > 1:
                self.write(f"{printable(name)}:\n")
            for piece in answer:
                self.write(printable(piece))
            self.write("\n" if len(names) == 1 else "\n\n")

    def _remarks(self, prompts: Sequence[Prompt], answers: Sequence[Answer], stopped: bool) -> None:
        for name, prompt, answer in zip(self.conversation.names, prompts, answers, strict=True):
            if not (answer.finished or stopped):
                self.write(f"({self._of(name)}cut off: it ran out of tokens)\n")
            if self.score is not None and answer.text:
                self.write(f"({self._of(name)}score {self.score(prompt, answer.text, answer.finished):.3f})\n")

    def _of(self, name: str) -> str:
        return f"{printable(name)}: " if len(self.conversation.names) > 1 else ""


def _titled(name: str, answer: Answer) -> Iterator[str]:
    yield f"{name}:\n"
    yield from answer


def _number(text: str, kind: Callable[[str], Number], example: str) -> Number:
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not 0 <= value < math.inf:
        raise UserError(f"{printable(text)!r} is not a number of at least 0", remedy=f"As in {example}.")
    return value

"""Errors that a user can act on. They say what happened, where, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something outside the program is wrong. Printed as one message, without a traceback.

    what: one sentence. where: `file:line:field`, a path or a step's name. remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  {self.remedy}" if self.remedy else head


class Interrupted(Exception):
    """The user asked for a stop, and the state of the work has been saved."""


class Waiting(Interrupted):
    """People were asked and have not answered yet. Its text says how far they are, and where they do it."""


def first_line(error: Exception) -> str:
    """What an error of a library says, in one line; its type where it says nothing.

    >>> first_line(ValueError("no such thing\\nlong explanations"))
    'no such thing'
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest known word, or all of them.

    >>> did_you_mean("kl_traget", ["kl_target", "kl_coef"])
    "Did you mean 'kl_target'?"
    """
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names)}."

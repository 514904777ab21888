"""What ends a training before its time, and which weights it keeps then. What it is that ends it, the caller knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from accord.errors import UserError
from accord.store.best import Best
from accord.store.workspace import Workspace

Row = Mapping[str, Any]

_REMEDY = "Lower the learning rate, or look at the reward and for what is empty or very long in the data."


@dataclass(frozen=True, slots=True)
class End:
    """alarm: the name of what ended it. what: a sentence. action: "stop", the last weights are kept; "rollback", the
    best ones; "error", none."""

    alarm: str
    what: str
    action: Literal["stop", "rollback", "error"]


@dataclass(frozen=True, slots=True)
class Quality:
    """What tells the best weights: a number that is measured now and then, by its name in the rows of metrics."""

    name: str
    lower_is_better: bool = False

    def of(self, row: Row) -> float | None:
        """Higher is better; None where it was not measured."""
        value = row.get(self.name)
        return None if value is None else -value if self.lower_is_better else value


@dataclass(frozen=True, slots=True)
class Guard:
    """decide: why a training with these rows of metrics ends with the last of them, or None; a function of them alone.
    acts: it may be asked after any row; else only after one with a number that is not finite. quality: what the best
    weights are told by (None: they are not kept)."""

    decide: Callable[[Sequence[Row]], End | None]
    acts: bool = True
    quality: Quality | None = None


class Guarded:
    """A guard at work. Without one nothing ends the training."""

    def __init__(self, guard: Guard | None, work: Workspace, state: Mapping[str, Any] | None) -> None:
        """state: what `state` gave for the checkpoint that is gone on from."""
        self._guard, self._work = guard, work
        self._best: Best | None = None
        if guard is not None and guard.quality is not None:
            self._best = Best(work.led, state, lead=work.lead)

    @property
    def keeps(self) -> bool:
        """Whether weights may be kept that something is measured of."""
        return self._best is not None

    def measured(self, at: int, row: Row, weights: Callable[[], Mapping[str, Tensor]]) -> None:
        """Of the weights after `at` iterations, or optimizer steps, something was measured."""
        if self._guard is None or self._best is None or self._guard.quality is None:
            return
        if (value := self._guard.quality.of(row)) is not None and self._best.is_better(value):
            self._best.offer(at, value, weights())

    def look(self, row: Row, *, due: bool = True) -> End | None:
        """After a row was written: why the training ends here. due: something was measured that may be cause for it.
        Raises UserError for an end that is an error."""
        if self._guard is None:
            return None
        broken = any(isinstance(value, float) and not math.isfinite(value) for value in row.values())
        if not broken and not (due and self._guard.acts):
            return None
        end = self._guard.decide(self._work.metrics.read())
        if end is None or (end.action == "rollback" and self._best is not None and self._best.at is not None):
            return end
        if end.action == "error" or (end.action == "rollback" and broken):
            raise UserError(end.what, remedy=_REMEDY)
        return replace(end, action="stop")  # nothing was measured yet

    def kept(self, end: End | None) -> dict[str, Tensor] | None:
        """The weights that are kept in place of the last ones."""
        return self._best.weights() if end is not None and end.action == "rollback" and self._best is not None else None

    def summary(self, end: End | None, at: int) -> dict[str, Any]:
        """What a step's summary says of an end after `at` iterations, or optimizer steps."""
        if end is None:
            return {}
        told: dict[str, Any] = {"alarm": end.alarm, "action": end.action, "after": at}
        if end.action == "rollback" and self._best is not None and self._guard is not None:
            told |= {"kept": self._best.at, "by": self._guard.quality.name if self._guard.quality else None}
        return {"ended_by_alarm": told}

    def state(self) -> dict[str, Any] | None:
        """JSON for a checkpoint."""
        return None if self._best is None else self._best.state()

"""Loss on held-out examples: when it is measured, when training stops for it, and which weights are kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from accord.engine.learner import Learner
from accord.store.checkpoints import Checkpoint

_BEST = "best"  # the group of a checkpoint that holds the weights with the lowest loss
_OFTEN = 8  # measurements: alarms judge thirds of them, and say nothing of fewer than four

Cadence = Callable[[int], int]  # from the optimizer steps of a training those between two measurements


def often(num_steps: int) -> int:
    """Optimizer steps between two measurements, of which there are eight, or a few more.

    >>> often(100), often(12)
    (12, 1)
    """
    return max(1, num_steps // _OFTEN)


@dataclass(frozen=True, slots=True)
class Validation:
    """measure: means over the held-out examples by name, `loss` among them; it must leave training as it was.

    every: optimizer steps between two measurements; None: one an epoch. The last optimizer step is always measured.
    at_start: measured before the first optimizer step, too, for the metrics alone: weights that nothing was learned by
    are never the ones that are kept, and patience does not count them.
    patience: so many measurements in a row without a new lowest loss end the training; None: nothing does.
    keep_best: the weights with the lowest loss are the result, rather than the last ones.
    """

    measure: Callable[[], Mapping[str, float]]
    every: int | Cadence | None = None
    patience: int | None = None
    keep_best: bool = True
    at_start: bool = False


class Watch:
    """A validation as it goes. Its state is part of a checkpoint, so that a resumed run stops and keeps the same."""

    def __init__(self, validation: Validation, learner: Learner, *, steps_an_epoch: int, num_steps: int) -> None:
        self._validation, self._learner = validation, learner
        every = validation.every(num_steps) if callable(validation.every) else validation.every
        self._every = every or steps_an_epoch
        self._num_steps = num_steps
        self._loss: float | None = None  # the lowest so far
        self._step: int | None = None  # after how many optimizer steps it was reached
        self._num_worse = 0
        self._masters: dict[str, Tensor] = {}

    @property
    def is_over(self) -> bool:
        """Whether the patience is used up."""
        return self._validation.patience is not None and self._num_worse >= self._validation.patience

    def before(self) -> dict[str, float]:
        """Before the first optimizer step: what was measured, for the metrics; nothing when it is not wanted."""
        return _named(self._validation.measure()) if self._validation.at_start else {}

    def look(self, step: int) -> dict[str, float]:
        """After `step` optimizer steps: what was measured, for the metrics; nothing when it is not time."""
        if step % self._every and step != self._num_steps:
            return {}
        measured = self._validation.measure()
        loss = measured["loss"]
        if math.isfinite(loss) and (self._loss is None or loss < self._loss):
            self._loss, self._step, self._num_worse = loss, step, 0
            if self._validation.keep_best:
                self._keep(self._learner.own)
        else:
            self._num_worse += 1
        return _named(measured)

    def finish(self) -> None:
        """At the end of the training: the learner gets the weights that are kept."""
        if self._masters:
            self._learner.load_own(self._masters)

    def summary(self, step: int) -> dict[str, Any]:
        """What a step's summary says of it. step: the optimizer steps that were done."""
        return {"best_eval_loss": self._loss, "best_step": self._step, "stopped_early": step < self._num_steps}

    def state(self) -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
        """Groups of tensors and JSON for a checkpoint."""
        state = {"loss": self._loss, "step": self._step, "num_worse": self._num_worse, "kept": bool(self._masters)}
        return ({_BEST: self._learner.whole(self._masters)} if self._masters else {}), state

    def load(self, checkpoint: Checkpoint, state: Mapping[str, Any]) -> None:
        """The inverse of `state`."""
        self._loss, self._step, self._num_worse = state["loss"], state["step"], state["num_worse"]
        if state["kept"]:
            self._keep(self._learner.rows(checkpoint.tensors(_BEST)))

    def _keep(self, masters: Mapping[str, Tensor]) -> None:
        for name, master in masters.items():
            if name in self._masters:
                self._masters[name].copy_(master)
            else:
                self._masters[name] = master.clone()


def _named(measured: Mapping[str, float]) -> dict[str, float]:
    return {f"eval_{name}": value for name, value in measured.items()}

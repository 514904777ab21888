"""Epochs over a fixed set of examples: what supervised fine-tuning and reward models share.

The position in the data is the number of optimizer steps done, and the order of the data a function of the seed, so a
checkpoint holds the learner's state and that number, and a resumed run goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

from accord.algorithms.loss import Loss
from accord.engine.config import TrainingConfig
from accord.engine.learner import Learner
from accord.store.checkpoints import Checkpoint
from accord.store.workspace import Workspace
from accord.text.batching import shuffled_batches


def train(
    learner: Learner,
    num_examples: int,
    losses_of: Callable[[tuple[int, ...]], Iterable[Loss]],
    config: TrainingConfig,
    *,
    seed: int,
    work: Workspace,
    label: str,
    checkpoint: Checkpoint | None,
) -> None:
    """Trains to the end, from the checkpoint (what `work.resume()` gave) on. Logs a row for each optimizer step.

    losses_of: the micro-batch losses of one optimizer step, given the indices of its examples.
    """
    batches = list(shuffled_batches(num_examples, config.batch_size, config.num_epochs, seed))
    done = 0
    if checkpoint is not None:
        done = checkpoint.iteration
        learner.load_state(checkpoint.tensors("learner"))

    def state() -> tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Any]]:
        return {"learner": learner.state()}, {}

    with work.progress(label, len(batches), "optimizer steps", start=done) as progress:
        for step in range(done, len(batches)):
            learning_rate = config.learning_rate_at(step, len(batches))
            for loss in losses_of(batches[step]):
                learner.accumulate(loss)
            report = learner.step(learning_rate)
            row = {**report.metrics, "grad_norm": report.grad_norm, "learning_rate": learning_rate}
            work.metrics.write(step + 1, **row)
            progress.advance(1, **{name: round(value, 3) for name, value in report.metrics.items()})
            work.checkpoint_or_stop(step + 1, state)

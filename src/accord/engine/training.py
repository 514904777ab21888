"""Epochs over a fixed set of examples: what supervised fine-tuning and reward models share.

The position in the data is the number of optimizer steps done, and the order of the data a function of the seed, so a
checkpoint holds the learner's state and that number, and a resumed run goes on bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from accord.algorithms.loss import Loss
from accord.engine.config import TrainingConfig
from accord.engine.guard import End, Guard, Guarded
from accord.engine.learner import Learner
from accord.engine.validation import Validation, Watch
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
    validation: Validation | None = None,
    totals: Mapping[str, Sequence[int]] | None = None,
    shown: Collection[str] | None = None,
    guard: Guard | None = None,
) -> dict[str, Any]:
    """Trains to the end, from the checkpoint (what `work.resume()` gave) on. Logs a row for each optimizer step, and
    one of iteration 0 where the validation wants to be measured before the first.

    losses_of: the micro-batch losses of one optimizer step, given the indices of its examples.
    totals: what each example adds to a number that the rows count up, such as its tokens to "num_tokens".
    shown: the metrics that stand on the progress line (None: all), those of the validation by the same names.
    guard: may end the training, asked after each optimizer step with a measurement. The best weights that it goes back
    to are those of a measurement, and never those that training started from.
    Returns how many optimizer steps were done, and how the validation went.
    """
    batches = list(shuffled_batches(num_examples, config.batch_size, config.num_epochs, seed))
    watch = None
    if validation is not None:
        steps_an_epoch = math.ceil(num_examples / config.batch_size)
        watch = Watch(validation, learner, steps_an_epoch=steps_an_epoch, num_steps=len(batches))
    done = 0
    if checkpoint is not None:
        done = checkpoint.iteration
        learner.load_state(checkpoint.tensors("learner"))
        if watch:
            watch.load(checkpoint, checkpoint.state["validation"])
    guarded = Guarded(guard, work, None if checkpoint is None else checkpoint.state.get("guard"))
    end: End | None = None
    counted = {name: sum(adds[i] for batch in batches[:done] for i in batch) for name, adds in (totals or {}).items()}

    def state() -> tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Any]]:
        tensors, watched = watch.state() if watch else ({}, None)
        return {"learner": learner.state(), **tensors}, {"validation": watched, "guard": guarded.state()}

    if checkpoint is None and watch and (measured := watch.before()):
        work.metrics.write(0, **measured)
    with work.progress(label, len(batches), "optimizer steps", start=done) as progress:
        while done < len(batches) and not (watch and watch.is_over):
            learning_rate = config.learning_rate_at(done, len(batches))
            for loss in losses_of(batches[done]):
                learner.accumulate(loss)
            report = learner.step(learning_rate)
            for name, adds in (totals or {}).items():
                counted[name] += sum(adds[i] for i in batches[done])
            done += 1
            measured = watch.look(done) if watch else {}
            settings = {"grad_norm": report.grad_norm, "learning_rate": learning_rate}
            work.metrics.write(done, **report.metrics, **settings, **counted, **measured)
            values = {**report.metrics, **measured}
            guarded.measured(done, measured, lambda: learner.masters)
            keep = values if shown is None else [name for name in values if name.removeprefix("eval_") in shown]
            progress.advance(1, **{name: values[name] for name in keep})
            end = guarded.look(values, due=bool(measured))
            if end is not None:
                break  # not checkpointed: taken up again from the one before, it ends here again
            work.checkpoint_or_stop(done, state)
    if end is not None and end.action == "stop" and done == len(batches):
        end = None  # it was over
    if (best := guarded.kept(end)) is not None:
        learner.load_masters(best)
    elif watch:
        watch.finish()
    summary = watch.summary(done) if watch else {}
    return {"num_optimizer_steps": done, **summary, **guarded.summary(end, done)}

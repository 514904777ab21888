"""What the steps dpo and kto share: keys, what of them does not go together, and the training itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from accord.engine.config import TrainingConfig
from accord.models.lora import Lora, without_dropout
from accord.steps.alarmed import Alarmed, check_alarms, guard
from accord.steps.base import LATEST, Caution, Job, PlannedStep, PolicyRef, StepConfig
from accord.steps.judged import check_judged, learning, slow_adapters
from accord.store.artifacts import MODEL

if TYPE_CHECKING:
    from accord.algorithms.loss import Loss
    from accord.engine.direct.preference import Limits
    from accord.engine.direct.trainee import Trainee
    from accord.monitor.alarm import Alarm
    from accord.store.checkpoints import Checkpoint
    from accord.text.tree import Tree


class DirectConfig(StepConfig, TrainingConfig, Alarmed):
    """start: the policy to train. reference: what its log-probabilities are compared with (null: `start`); they are
    computed once for a data set, and kept in the store.

    max_response_tokens: what has a longer response is left out, and counted (null: nothing). max_tokens_per_example:
    the same for a prompt with its longest response; what is longer than the model takes is left out in any case.
    learning_rate: AdamW's, at its highest, for all weights; adapters want about 1e-5. (The DPO paper has 1e-6 with
    RMSprop; AdamW is what is used since.) batch_size: examples an optimizer step.

    validate_every: so many optimizer steps between two measurements of the validation (null: so many that there are at
    least eight, or one after each optimizer step of a shorter run). It is measured before the first one, too.
    early_stopping: so many measurements in a row without a new lowest loss end the training (null: nothing does). keep:
    the weights with the lowest loss, or the last.
    """

    start: PolicyRef = LATEST
    reference: PolicyRef | None = None
    max_response_tokens: int | None = Field(None, gt=0)
    max_tokens_per_example: int | None = Field(None, gt=1)
    learning_rate: float = Field(1e-6, gt=0)
    batch_size: int = Field(64, gt=0)
    warmup: float = Field(0.1, ge=0, lt=1)
    validate_every: int | None = Field(None, gt=0)
    early_stopping: int | None = Field(None, gt=0)
    keep: Literal["best", "last"] = "best"

    @field_validator("lora")
    @classmethod
    def _no_dropout(cls, lora: Lora | None) -> Lora | None:
        without_dropout(lora)
        return lora

    def limits(self, context: int | None) -> Limits:
        """context: the most tokens that the model takes."""
        from accord.engine.direct.preference import Limits

        limits = [limit for limit in (self.max_tokens_per_example, context) if limit is not None]
        return Limits(self.max_response_tokens, min(limits, default=None))


def cautions(step: PlannedStep) -> Iterator[Caution]:
    """Of the shared keys. Raises Contradiction."""
    config: Any = step.config
    check_judged(step)
    check_alarms(step)
    yield from learning(step)
    yield from slow_adapters(config, "1e-5")


def learn(
    job: Job,
    checkpoint: Checkpoint | None,
    models: Trainee,
    trees: Sequence[Tree],
    losses_of: Callable[[Sequence[int]], Iterable[Loss]],
    held_out: Callable[[], Iterable[Loss]] | None,
    shown: Collection[str],
    best_by: str,
    raised: Sequence[Alarm] = (),
) -> dict[str, Any]:
    """Trains from the checkpoint on, and saves the policy. Returns what the summary says of it, the alarms that the
    metrics give cause for among it.

    trees: the examples. losses_of: of the micro-batches of an optimizer step, given the indices of its examples.
    held_out: of all micro-batches of the validation (None: there is none). shown: metrics on the progress line.
    best_by: what of the validation tells the best weights, where an alarm goes back to them. raised: alarms that the
    data gives cause for.
    """
    from accord.engine.direct.preference import mean_metrics
    from accord.engine.guard import Quality
    from accord.engine.training import train
    from accord.engine.validation import Validation, often
    from accord.monitor.alarms import alarms, as_json

    config: DirectConfig = job.config
    validation = None
    if held_out is not None:
        measure = mean_metrics(held_out)
        every, patience, best = config.validate_every or often, config.early_stopping, config.keep == "best"
        validation = Validation(measure, every, patience, best, at_start=True)
    done = train(
        models.learner,
        len(trees),
        losses_of,
        config,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=checkpoint,
        validation=validation,
        totals={"num_examples": [1] * len(trees), "num_tokens": [tree.num_tokens for tree in trees]},
        shown=shown,
        guard=guard(config, Quality(best_by) if validation is not None else None),
    )
    masters = models.learner.masters
    job.work.lead(lambda: models.policy.save(job.work.out / MODEL, masters), masters)
    return done | {"alarms": as_json([*raised, *alarms(job.work.metrics.read())])}

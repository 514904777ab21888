"""Supervised fine-tuning: maximum likelihood of demonstrations, on the assistant's tokens only, or of plain texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from accord.engine.config import TrainingConfig
from accord.errors import UserError
from accord.steps.alarmed import Alarmed, check_alarms, guard
from accord.steps.base import LATEST, Caution, ExamplesRef, Input, Job, PlannedStep, PolicyRef, StepConfig, StepKind
from accord.steps.judged import learning, slow_adapters
from accord.steps.too_long import too_long
from accord.types import Demonstration, PlainText

if TYPE_CHECKING:
    from accord.engine.sizes import Records, Sizes
    from accord.engine.workload import Work
    from accord.text.tree import Tree


class Config(StepConfig, TrainingConfig, Alarmed):
    """data: demonstrations, or texts (language modelling; each ends with the token that ends a turn, so that the policy
    stops where a text does); a list of parts is put together. start: the policy to train.

    last_turn_only: of conversations imitate the last turn, even where the data would have earlier ones imitated, too.
    max_response_tokens: demonstrations with a longer imitated turn are left out, and counted (null: none).
    max_tokens_per_example: longer demonstrations are left out, and counted (null: those that are longer than the model
    takes); longer texts are cut into windows (null: of max_tokens at most). max_unusable: the share of the
    demonstrations that may be left out because the chat template or the tokenizer does not let them be imitated
    faithfully (empty; a control token in a text; one token where prompt and response meet); with more, the step is
    refused.

    packing: examples share rows of at most max_tokens tokens, best fit over the whole data set, none seeing another;
    the rows are what is shuffled, and batch_size then holds on average. Nothing is padded without it, either: it makes
    optimizer steps of like numbers of tokens.

    validation: parts that are not trained on, whose loss is measured now and then, and after the last optimizer step.
    validate_every: so many optimizer steps (null: once an epoch). early_stopping: so many measurements in a row without
    a new lowest loss end the training (null: nothing does). keep: the weights with the lowest loss, or the last.
    """

    data: ExamplesRef | list[ExamplesRef]
    start: PolicyRef = LATEST
    last_turn_only: bool = False
    max_response_tokens: int | None = Field(None, gt=1)
    max_tokens_per_example: int | None = Field(None, gt=1)
    max_unusable: float = Field(0.01, ge=0, le=1)
    packing: bool = False
    validation: ExamplesRef | list[ExamplesRef] | None = None
    validate_every: int | None = Field(None, gt=0)
    early_stopping: int | None = Field(None, gt=0)
    keep: Literal["best", "last"] = "best"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.data or self.validation == []:
            raise ValueError("an empty list names no data: name a part, as in `mine.train`")
        for key in ("validate_every", "early_stopping"):
            if self.validation is None and getattr(self, key) is not None:
                raise ValueError(f"{key} needs something to measure: name the part with held-out data as `validation`")
        trained_on = [self.data] if isinstance(self.data, str) else self.data
        held_out = [self.validation] if isinstance(self.validation, str) else self.validation or []
        if both := [name for name in held_out if name in trained_on]:
            raise ValueError(f"{both[0]} is trained on, so it cannot be the validation: split it, or name another part")
        return self


def run(job: Job) -> None:
    """Writes the policy's folder, model/, and summary.json: what was used, what was left out and why, the
    validation, and the alarms that the metrics give cause for."""
    from accord.engine.examples import Limits
    from accord.engine.guard import Quality
    from accord.engine.imitation import HeldOut, imitate
    from accord.monitor.alarms import alarms, as_json

    config: Config = job.config
    held_out = None
    if config.validation is not None:
        examples = _examples(job.inputs["validation"], config.last_turn_only)
        held_out = HeldOut(examples, config.validate_every, config.early_stopping, config.keep == "best")
    summary = imitate(
        job.input("start").model,
        _examples(job.inputs["data"], config.last_turn_only),
        config,
        limits=Limits(config.max_response_tokens, config.max_tokens_per_example, config.max_unusable),
        packing=config.packing,
        held_out=held_out,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=job.work.resume(),
        guard=guard(config, Quality("eval_loss", lower_is_better=True) if held_out else None),
    )
    lost = too_long(job.name, summary, summary["num_demonstrations"], "demonstrations")
    job.write_json("summary.json", summary | {"alarms": as_json([*lost, *alarms(job.work.metrics.read())])})


def _examples(parts: Sequence[Input | Records], last_turn_only: bool) -> list[Demonstration | PlainText]:
    examples: list[Demonstration | PlainText] = []
    for part in parts:
        if part.kind == "texts":
            examples += part.read("texts")
        elif last_turn_only:
            examples += [replace(record, imitate_from=None) for record in part.read("demonstrations")]
        else:
            examples += part.read("demonstrations")
    return examples


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do."""
    from accord.engine.examples import Limits
    from accord.engine.imitation import training_trees
    from accord.engine.workload import Work, imitation

    context = sizes.dimensions.context

    def trees_of(parts: Sequence[Records], field: str = "data", *, complete: bool = False) -> list[Tree]:
        examples = _examples(parts, config.last_turn_only)
        max_unusable = config.max_unusable if complete else 1.0  # of a sample it says nothing
        limits = Limits(config.max_response_tokens, config.max_tokens_per_example, max_unusable)
        return training_trees(sizes.template, examples, limits, config, context, f"{sizes.label}.{field}")[0]

    parts, held = sizes.parts("data"), sizes.parts("validation")
    trees, longest = trees_of(parts, complete=sizes.complete("data")), []
    with suppress(UserError):  # they are all left out
        longest = trees_of([part.extremes for part in parts])
    phase, trained = imitation(
        sizes,
        config,
        trees,
        sum(part.total for part in parts) / sum(len(part.sample) for part in parts),
        longest=longest,
        packing=config.packing,
        held=trees_of(held, "validation", complete=sizes.complete("validation")) if held else (),
        held_scale=sum(part.total for part in held) / max(sum(len(part.sample) for part in held), 1),
        every=config.validate_every,
        kept=bool(held) and config.keep == "best",
    )
    lengths = tuple(sum(tree.branches[0].scored or (1,) * len(tree.branches[0].ids)) for tree in trees)
    return Work([phase], loaded=[sizes.policy], saved=[sizes.policy], checkpointed=trained, lengths=lengths)


def check(step: PlannedStep) -> Iterator[Caution]:
    """What does not go together, and what is hardly meant."""
    assert isinstance(step.config, Config)
    check_alarms(step)
    yield from learning(step)
    yield from slow_adapters(step.config, "2e-4")


STEP = StepKind(produces="policy", version=1, config=Config, run=run, work=work, check=check, together=True)

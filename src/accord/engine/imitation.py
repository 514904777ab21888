"""Maximum likelihood of given responses: supervised fine-tuning, and the second half of rejection sampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from accord.algorithms.likelihood import negative_log_likelihood
from accord.algorithms.loss import Loss
from accord.engine.config import TrainingConfig
from accord.engine.examples import Limits, trees_of
from accord.engine.group import fair_micro_batches, is_idle, shared, shared_micro_batches, summed
from accord.engine.guard import Guard
from accord.engine.learner import Learner
from accord.engine.rollout import context_of
from accord.engine.training import train
from accord.engine.validation import Validation
from accord.models.adapters import dropout
from accord.models.compute import compute_dtype
from accord.models.policy import Policy
from accord.seeds import derive_seed
from accord.store.artifacts import MODEL
from accord.store.checkpoints import Checkpoint
from accord.store.workspace import Workspace
from accord.text.batching import shared_prompts
from accord.text.packing import pack, share_filled
from accord.text.template import Template
from accord.text.tree import Tree, TreeBatch
from accord.types import Demonstration, PlainText


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Examples that training does not see. every, patience, keep_best: as in `Validation`."""

    records: Sequence[Demonstration | PlainText]
    every: int | None = None
    patience: int | None = None
    keep_best: bool = True


def imitate(
    start: Path,
    records: Sequence[Demonstration | PlainText],
    config: TrainingConfig,
    *,
    limits: Limits | None,
    seed: int,
    work: Workspace,
    label: str,
    checkpoint: Checkpoint | None,
    packing: bool = False,
    held_out: HeldOut | None = None,
    beside: Sequence[Demonstration] = (),
    guard: Guard | None = None,
) -> dict[str, Any]:
    """Trains the policy in the folder `start` and saves it to out/model. Returns what was used, and what was not.

    limits: what is left out; without one (a policy's own samples, single turns) everything is taken as it is, even
    what a tokenizer joins to its prompt. Demonstrations with equal prompts are computed as branches of one tree.
    packing: examples share rows of at most config.max_tokens tokens instead. beside: people's demonstrations, which are
    imitated, too, as supervised fine-tuning takes them. guard: may end the training.
    """
    policy = Policy.load(start)
    if config.lora is not None:
        policy.adapt(config.lora, start, derive_seed(seed, "adapter"))
    template = policy.template
    context = context_of(policy.module.config)
    trees, counts = training_trees(template, records, limits, config, context, f"{label}.data")
    if beside:
        where = f"{label}.demonstrations"
        more, counts["beside"] = training_trees(template, beside, Limits(), config, context, where)
        trees = [*trees, *more]
    validation = None
    if held_out is not None:
        where = f"{label}.validation"
        held, counts["validation"] = training_trees(template, held_out.records, limits, config, context, where)
        measure = _mean_loss(policy, shared_prompts(held, config.max_tokens), config.max_tokens)
        validation = Validation(measure, held_out.every, held_out.patience, held_out.keep_best)
    if packing:
        plan = packed(trees, config.batch_size, config.max_tokens)
        counts["num_rows"] = len(plan.units)
        counts["share_filled"] = share_filled([tree.num_tokens for tree in trees], plan.units)
    else:
        plan = apart(trees, config.batch_size, config.max_tokens)
    learner = Learner(policy.module, compute_dtype(), config.optimization())

    def losses_of(indices: tuple[int, ...]) -> Iterator[Loss]:
        for number, batch in shared(enumerate(plan.batches_of(indices)), lambda one: len(one[1].ids)):
            with dropout(policy.module, derive_seed(seed, "dropout", number, *indices)):
                loss = negative_log_likelihood(policy.token_logprobs(batch))
            yield loss

    counts |= train(
        learner,
        len(plan.units),
        losses_of,
        config.model_copy(update={"batch_size": plan.units_a_step}),
        seed=seed,
        work=work,
        label=label,
        checkpoint=checkpoint,
        validation=validation,
        guard=guard,
        totals={
            "num_examples": [len(unit) for unit in plan.units],
            "num_tokens": [sum(trees[i].num_tokens for i in unit) for unit in plan.units],
        },
    )
    masters = learner.masters
    work.lead(lambda: policy.save(work.out / MODEL, masters), masters)
    return counts


def training_trees(
    template: Template,
    records: Sequence[Demonstration | PlainText],
    limits: Limits | None,
    config: TrainingConfig,
    context: int | None,
    where: str,
) -> tuple[list[Tree], dict[str, Any]]:
    """context: the most tokens that the model takes, beyond which no limit of an example goes."""
    if limits is None:
        samples = [record for record in records if isinstance(record, Demonstration)]
        return [template.tree(sample.prompt, [sample.response]) for sample in samples], {
            "num_demonstrations": len(samples)
        }
    window = limits.max_tokens or config.max_tokens
    if context is not None:
        window = min(window, context)
        limits = replace(limits, max_tokens=min(limits.max_tokens or context, context))
    return trees_of(template, records, limits, window=window, where=where)


@dataclass(frozen=True, slots=True)
class Batches:
    """units: what is shuffled, examples or rows of them, as indices of trees; an optimizer step takes `units_a_step`.

    batches_of: the micro-batches of an optimizer step, given the indices of its units.
    """

    units: Sequence[tuple[int, ...]]
    units_a_step: int
    batches_of: Callable[[tuple[int, ...]], Iterable[TreeBatch]]


def apart(trees: Sequence[Tree], batch_size: int, max_tokens: int) -> Batches:
    """Every example by itself, those with equal prompts joined. The parameters are those of `imitate`'s config."""

    def batches_of(indices: tuple[int, ...]) -> Iterator[TreeBatch]:
        joined = shared_prompts([trees[i] for i in indices], max_tokens)
        for micro in fair_micro_batches(joined, max_tokens):
            yield micro.batch

    return Batches([(i,) for i in range(len(trees))], batch_size, batches_of)


def packed(trees: Sequence[Tree], batch_size: int, max_tokens: int) -> Batches:
    """Rows of at most max_tokens tokens, and no wider than the examples of an optimizer step are on average."""
    lengths = [tree.num_tokens for tree in trees]
    rows = pack(lengths, min(max_tokens, max(*lengths, batch_size * sum(lengths) // len(lengths))))

    def batches_of(indices: tuple[int, ...]) -> Iterator[TreeBatch]:
        for i in indices:
            yield TreeBatch.from_trees([trees[j] for j in rows[i]])

    return Batches(rows, max(1, round(batch_size * len(rows) / len(trees))), batches_of)


def _mean_loss(policy: Policy, trees: Sequence[Tree], max_tokens: int) -> Callable[[], dict[str, float]]:
    """Measures the mean of -log p over the scored tokens, and the perplexity that it means."""

    @torch.no_grad()
    def measure() -> dict[str, float]:
        total, num_tokens = 0.0, 0
        for micro in shared_micro_batches(trees, max_tokens):
            logprobs = policy.token_logprobs(micro.batch).logprobs
            if not is_idle():
                total -= float(logprobs.double().sum())
                num_tokens += len(logprobs)
        sums = summed({"total": total, "tokens": num_tokens})
        loss = sums["total"] / sums["tokens"]
        return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}

    return measure

"""Learning directly from given responses, against a reference: what DPO and KTO share of models and memory.

Another reference than the start is read, asked and let go before the policy is trained. The start itself is asked
through the policy's own weights, before they change, so that there is one model in memory in either case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accord.engine.config import TrainingConfig
from accord.engine.direct.reference import NAMES, REFERENCE_TOKENS, Reference, reference_logprobs
from accord.engine.learner import Learner
from accord.engine.sizes import Sizes
from accord.engine.validation import often
from accord.engine.workload import Phase, Work, passes, training
from accord.errors import UserError
from accord.models.folders import load_tokenizer
from accord.models.policy import Policy
from accord.seeds import derive_seed
from accord.store.artifacts import MODEL, Artifact, Store
from accord.store.workspace import Workspace
from accord.text.batching import micro_batches
from accord.text.tree import Tree, TreeBatch


@dataclass(frozen=True, slots=True)
class Trainee:
    """policy: as it starts. reference: for each set of trees, for each tree [K] log-probabilities summed over each
    response's tokens; None when no reference was wanted."""

    policy: Policy
    learner: Learner
    reference: list[list[Tensor]] | None


def trainee(
    start: Artifact,
    reference: Artifact | None,
    sets: Sequence[Sequence[Tree]],
    config: TrainingConfig,
    *,
    dtype: torch.dtype,
    seed: int,
    store: Store | None,
    work: Workspace,
    label: str,
    names: Sequence[str] = NAMES,
) -> Trainee:
    """The policy in `start`, and what `reference` (None: nobody) says of the trees, both computing in `dtype`.
    names: what the progress line calls each set of trees.

    Raises UserError when the two do not have the same tokens.
    """
    shared = reference is not None and reference.path.resolve() == start.path.resolve()
    said = None
    if reference is not None and not shared:
        folder = reference.path / MODEL
        _check_vocabulary(start, reference, label)
        apart = Reference(reference, dtype, lambda: Policy.load(folder, dtype))
        said = reference_logprobs(sets, apart, store=store, work=work, label=label, names=names)
        del apart
    policy = Policy.load(start.path / MODEL)
    if config.lora is not None:
        policy.adapt(config.lora, start.path / MODEL, derive_seed(seed, "adapter"))
    learner = Learner(policy.module, dtype, config.optimization(), policy.trained)
    if shared:
        itself = Reference(start, dtype, lambda: policy if config.lora is None else policy.without_adapter())
        said = reference_logprobs(sets, itself, store=store, work=work, label=label, names=names)
    return Trainee(policy, learner, said)


def _check_vocabulary(start: Artifact, reference: Artifact, label: str) -> None:
    if load_tokenizer(start.path / MODEL).get_vocab() != load_tokenizer(reference.path / MODEL).get_vocab():
        raise UserError(
            "the reference has other tokens than the policy, so their log-probabilities cannot be compared",
            where=f"{label}.reference",
            remedy="Name a reference with the policy's tokenizer, such as the model that both were trained from.",
        )


def direct_work(
    sizes: Sizes,
    config: TrainingConfig,
    trees: Sequence[Tree],
    scale: float,
    *,
    reference: bool,
    longest: Sequence[Tree] = (),
    mismatched: Sequence[Tree] = (),
    held: Sequence[Tree] = (),
    held_scale: float = 1.0,
    every: int | None = None,
    kept: bool = False,
) -> Work:
    """What a step that trains a `trainee` will do, with trees that stand for `scale` times as many.

    longest: trees that are rare and need memory. mismatched: trees that are only looked at, each time that an example
    is trained on. held: those of the validation, measured before the first and `every` so many optimizer steps
    (None: as `often` says), each of which stands for held_scale. kept: the best weights are kept beside the newest.
    """

    def batches_of(some: Sequence[Tree], max_tokens: int) -> Iterator[TreeBatch]:
        return (micro.batch for micro in micro_batches(some, max_tokens))

    def of_step(indices: Sequence[int]) -> Iterator[TreeBatch]:
        return batches_of([trees[i] for i in indices], config.max_tokens)

    before = []
    if reference:
        for some, count in (([*trees, *mismatched], scale), (held, held_scale)):
            before += passes("forward", batches_of(some, REFERENCE_TOKENS), count)
    found, updates = training(
        of_step, len(trees), len(trees) * scale, config.batch_size, config, head=True, seed=sizes.seed
    )
    found += passes("train", batches_of(longest, config.max_tokens), 0)
    found += passes("forward", batches_of(mismatched, config.max_tokens), scale * config.num_epochs)
    if held:
        looks = 1 + -(-updates // (every or often(updates)))
        found += passes("forward", batches_of(held, config.max_tokens), held_scale * looks)
    trained = sizes.policy if config.lora is None else sizes.adapter(config.lora)
    frozen = () if config.lora is None else (sizes.policy,)
    start, apart = sizes.inputs["start"][0], sizes.inputs.get("reference", ())
    phase = Phase(found, (trained,), frozen, trained * kept, updates)
    loaded = [sizes.policy]
    if reference and apart and apart[0].key != start.key:
        phases, loaded = [Phase(before, (), (sizes.policy,)), phase], loaded * 2
    else:
        phases = [replace(phase, passes=[*before, *found])]
    return Work(phases, loaded, [sizes.policy], trained, lengths=start.lengths)

"""What an on-policy step will do, as shapes. Shared; not a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from accord.steps.alarmed import rolls_back
from accord.steps.on_policy import examples

if TYPE_CHECKING:
    from accord.engine.on_policy.config import RolloutConfig
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Passes, Work
    from accord.text.tree import Tree, TreeBatch


def work(
    config: RolloutConfig,
    sizes: Sizes,
    *,
    value: Literal["separate", "shared"] | None = None,
    num_trained: int | None = None,
) -> Work:
    """What `train` will do. Responses are as long as the policy's are expected to be at the start.

    value: whether there is a value model, and with weights (or an adapter) of its own. num_trained: responses to a
    prompt that are learned from (None: all).
    """
    from accord.engine.on_policy.loop import check_num_prompts
    from accord.engine.workload import ADAPTER_SHARE, Phase, Work, passes, rollout_trees, sampling, scoring

    num, template = config.prompts_per_iteration, sizes.template
    known = sizes.records("prompts", "prompts")
    if known.complete:
        check_num_prompts(len(known.sample), config, sizes.label)
    prompts = known.sample
    lengths = sizes.responses("start", config.max_response_tokens)
    played = [prompts[at : at + num] for at in range(0, len(prompts), num)][: min(config.num_iterations, 8)]
    total = config.num_iterations
    count, learned = (
        total / len(played),
        config.num_policy_iterations / len(played),
    )  # iterations that each one stands for
    looks = ((total - 1) // config.watch_every + 1 + ((total - 1) % config.watch_every > 0)) / total
    share = 1.0 if config.lora is None else ADAPTER_SHARE
    found, cache = _pretraining_passes(config, sizes, share), 0
    for at, some in enumerate(played):
        own, whole = rollout_trees(template, some, config.num_samples, lengths, seed=at)
        sampled, places = sampling(own, sizes.dimensions, count)
        cache = max(cache, places)
        batches = _micro_batches(own, config)
        found += [*sampled, *passes("forward", batches, 2 * count)]
        found += scoring(template, whole, count * (len(sizes.asked("reward")) + looks * len(sizes.asked("watch"))))
        some_of_each = [replace(tree, branches=tree.branches[:num_trained]) for tree in own]
        learned_from = _micro_batches(some_of_each, config)
        found += passes("train", learned_from, learned * config.num_epochs, share=share)
        if value is not None:
            found += passes("forward", batches, count, head=False)
        if value == "separate":
            found += passes("train", batches, count * config.num_epochs, head=False, share=share)
    trained, frozen = _held(config, sizes, value)
    of_engine = [sizes.policy] * (config.engine != "torch")  # which has weights of its own
    frozen += of_engine
    averaged = trained[0] if config.ema is not None else 0
    # Those that drew the rollout which waits: they may be the best, and the update comes before that is known.
    behind = trained[0] if config.staleness and rolls_back(config) else 0
    updates = total * config.num_epochs * min(config.num_minibatches, num)
    phase = Phase(found, trained, frozen, kept=averaged + behind, updates=updates, cache=cache)
    models = [sizes.policy] * 2 + [sizes.scalar] * (value == "separate") + sizes.asked("reward", "watch")
    models += of_engine
    # A checkpoint holds three numbers of what is trained, and one of an average; beside it may lie the best weights.
    best = trained[0] // 3 if rolls_back(config) else 0
    return Work([phase], models, [sizes.policy], sum(trained) + (averaged + behind) // 3 + best, lengths=lengths)


def _micro_batches(trees: Sequence[Tree], config: RolloutConfig) -> list[TreeBatch]:
    """Of all minibatches of an epoch."""
    from accord.text.batching import micro_batches

    part = -(-len(trees) // config.num_minibatches)
    return [
        micro.batch
        for first in range(0, len(trees), part)
        for micro in micro_batches(trees[first : first + part], config.max_tokens)
    ]


def _pretraining_passes(config: RolloutConfig, sizes: Sizes, share: float) -> list[Passes]:
    """Of the examples beside all iterations: as many as one takes, in the parts that its optimizer steps take."""
    import numpy as np

    from accord.engine.on_policy.pretraining import examples_an_iteration
    from accord.engine.workload import passes
    from accord.text.batching import micro_batches

    parts = sizes.parts("ptx_data")
    if not parts or not config.ptx_coef:
        return []
    context = sizes.dimensions.context
    trees, _ = examples(sizes.template, parts, config.max_tokens, context, f"{sizes.label}.ptx_data", max_unusable=1.0)
    some = [trees[i % len(trees)] for i in range(examples_an_iteration(config))]
    num_updates = config.num_epochs * min(config.num_minibatches, config.prompts_per_iteration)
    batches = [
        micro.batch
        for part in np.array_split(np.arange(len(some)), num_updates)
        for micro in micro_batches([some[i] for i in part], config.max_tokens)
    ]
    return passes("train", batches, config.num_policy_iterations, share=share)


def _held(config: RolloutConfig, sizes: Sizes, value: str | None) -> tuple[list[int], list[int]]:
    """Parameters of what is trained, and of what is held in the compute dtype alone."""
    (start,), (reward,) = sizes.inputs["start"], sizes.inputs["reward"]
    watched = sizes.asked("watch")
    if config.lora is None:
        trained = [sizes.policy] + [sizes.scalar] * (value == "separate")
        return trained, [sizes.policy, *reward.asks, *watched]
    adapter, apart = sizes.adapter(config.lora), sizes.inputs["reference"]
    frozen = [sizes.policy, *watched]
    if apart and apart[0].key != start.key:
        frozen.append(sizes.policy)  # a reference of its own
    if reward.asks:  # as an adapter on the policy's backbone, or as backbones of their own
        frozen += [adapter] if reward.base == start.key else reward.asks
    return [adapter] * (1 + (value == "separate")), frozen

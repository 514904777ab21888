"""What a step will do, as shapes: which passes over which batches, what is in memory meanwhile, what is written.

Each step's `work(config, sizes)` says it with the code that the step itself runs: the template renders a sample of the
records, the same functions group them into batches, and the sampler's slots are played through. How long a pass of a
shape takes is measured by `accord.engine.profile`; how much memory it needs is in `accord.models.cost`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice
from typing import Literal

import numpy as np

from accord.engine.config import TrainingConfig
from accord.engine.imitation import Batches, apart, packed
from accord.engine.played import PlayedCache
from accord.engine.scorer import MAX_TOKENS
from accord.engine.sizes import Records, Sizes
from accord.models.cost import Dimensions
from accord.text.batching import micro_batches, narrowed, shared_prompts, shuffled_batches
from accord.text.prompts import PromptBatch
from accord.text.template import Template
from accord.text.tree import Branch, Tree, TreeBatch
from accord.types import Prompt

PassKind = Literal["train", "forward", "prefill", "decode"]

NUM_SLOTS = 128  # of the sampler, as `accord.engine.rollout` has it
_NUM_PLAYED = 1024  # responses whose way through the sampler's slots is played; more are scaled
ADAPTER_SHARE = 0.75  # of a full training pass: there are no gradients of the frozen weights


@dataclass(frozen=True, slots=True)
class Passes:
    """`count` passes over so many tokens.

    width: the keys that attention computes for each, in the mean; of "decode", those that the cache has for each. keys:
    how many it copies for each. head_rows: rows of the vocabulary's head; 0 for reward and value models. share: of the
    time of a full pass. A count of 0: it is too rare to take time, and needs memory.
    """

    kind: PassKind
    tokens: int
    width: float
    head_rows: int
    count: float
    share: float = 1.0
    keys: float = 1.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a step: the models that are in memory together, and the passes over them.

    trained: parameters of each model or adapter that is trained, `updates` times; frozen: of each that is computed on
    alone; kept: of each fp32 copy beside them. cache: places of the sampler's cache, of all
    rows.
    """

    passes: Sequence[Passes] = ()
    trained: Sequence[int] = ()
    frozen: Sequence[int] = ()
    kept: int = 0
    updates: int = 0
    cache: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """All of a step. loaded, saved: parameters of each model that is read and written. checkpointed: parameters whose
    masters and moments a checkpoint holds. fits: texts that each linear model of words is fitted on. seconds: of work
    that is none of these. makes: a sample of the records that it writes, by part. lengths: the tokens of responses as
    the policy that it makes will write them. asks: parameters of each model that a reward which it makes asks, a pass
    each; what members share counts with the first (None: the first of those saved)."""

    phases: Sequence[Phase] = ()
    loaded: Sequence[int] = ()
    saved: Sequence[int] = ()
    checkpointed: int = 0
    fits: Sequence[int] = ()
    seconds: float = 0.0
    makes: Mapping[str, Records] = field(default_factory=dict)
    lengths: tuple[int, ...] | None = None
    asks: Sequence[int] | None = None

    def tokens(self, *kinds: PassKind) -> float:
        """How many tokens go through passes of these kinds; through several models, several times."""
        return sum(p.tokens * p.count for phase in self.phases for p in phase.passes if p.kind in kinds)


def passes(
    kind: PassKind, batches: Iterable[TreeBatch], count: float = 1.0, *, head: bool = True, share: float = 1.0
) -> list[Passes]:
    """One entry for each micro-batch. head: the vocabulary's head is computed on the rows that score."""
    found = []
    for batch in batches:
        head_rows = len(batch.targets) * head
        width, keys = batch.mean_width, batch.mean_keys
        found.append(Passes(kind, batch.num_tokens, width, head_rows, count, share, keys))
    return found


def training(
    batches_of: Callable[[tuple[int, ...]], Iterable[TreeBatch]],
    num: int,
    total: float,
    units_a_step: int,
    config: TrainingConfig,
    *,
    head: bool,
    seed: int,
) -> tuple[list[Passes], int]:
    """The passes of `accord.engine.training.train`, and its optimizer steps.

    A sample of `num` units stands for `total`; when it is all of them, the batches are those of the seed. batches_of:
    the micro-batches of an optimizer step, given the indices of its units.
    """
    share = 1.0 if config.lora is None else ADAPTER_SHARE
    complete = round(total) == num
    count = 1.0 if complete else total * config.num_epochs / num
    found = [
        one
        for units in shuffled_batches(num, units_a_step, config.num_epochs if complete else 1.0, seed)
        for one in passes("train", batches_of(units), count, head=head, share=share)
    ]
    whole, part = divmod(max(1, round(total * config.num_epochs)), max(1, round(total)))
    return found, whole * -(-round(total) // units_a_step) + -(-part // units_a_step)


def imitation(
    sizes: Sizes,
    config: TrainingConfig,
    trees: Sequence[Tree],
    scale: float,
    *,
    longest: Sequence[Tree] = (),
    packing: bool = False,
    held: Sequence[Tree] = (),
    held_scale: float = 1.0,
    every: int | None = None,
    kept: bool = False,
) -> tuple[Phase, int]:
    """What `accord.engine.imitation.imitate` does with trees that stand for `scale` times as many; and the parameters
    that a checkpoint holds.

    longest: trees that are rare and need memory. held: those of the validation, `every` so many optimizer steps (None:
    once an epoch). kept: the best weights are kept beside the newest.
    """
    plan: Batches = (
        packed(trees, config.batch_size, config.max_tokens)
        if packing
        else apart(trees, config.batch_size, config.max_tokens)
    )
    units = len(plan.units)
    found, updates = training(
        plan.batches_of, units, units * scale, plan.units_a_step, config, head=True, seed=sizes.seed
    )
    found += passes("train", (micro.batch for micro in micro_batches(longest, config.max_tokens)), 0)
    if held:
        looks = -(-updates // (every or max(1, round(updates / config.num_epochs))))
        joined = shared_prompts(held, config.max_tokens)
        batches = (micro.batch for micro in micro_batches(joined, config.max_tokens))
        found += passes("forward", batches, held_scale * looks)
    trained = sizes.policy if config.lora is None else sizes.adapter(config.lora)
    frozen = () if config.lora is None else (sizes.policy,)
    return Phase(found, (trained,), frozen, trained * kept, updates), trained


def rollout_trees(
    template: Template, prompts: Sequence[Prompt], num_samples: int, lengths: Sequence[int], seed: int = 0
) -> tuple[list[Tree], list[Tree]]:
    """Trees of sampled responses as the policy sees them, and as a reward model does (prefill and response as one).

    Their lengths are drawn from `lengths`.
    """
    drawn = np.random.Generator(np.random.Philox(key=seed)).permutation(np.array(lengths))
    given = (int(length) for length in cycle(drawn))
    own, whole = [], []
    for prompt in prompts:
        sizes = list(islice(given, num_samples))
        ids, bare = template.prompt_ids(prompt), template.prompt_ids(replace(prompt, prefill=""))
        prefill = max(len(ids) - len(bare), 0)
        own.append(Tree(ids, tuple(Branch((0,) * size) for size in sizes)))
        whole.append(Tree(bare, tuple(Branch((0,) * (prefill + size)) for size in sizes)))
    return own, whole


def sampling(
    trees: Sequence[Tree], dimensions: Dimensions, count: float = 1.0, num_slots: int = NUM_SLOTS
) -> tuple[list[Passes], int]:
    """The passes of `accord.engine.policy_engine.sample_all` for trees of sampled responses, and the places that its
    cache comes to have.

    Plays through how slots are filled and freed. Of many requests some are played, and the rest scaled.
    """
    slots = max(num_slots, max(len(tree.branches) for tree in trees))
    some = list(trees[: max(2, _NUM_PLAYED // len(trees[0].branches))])
    count *= len(trees) / len(some)
    waiting = sorted(some, key=lambda tree: len(tree.prompt_ids))[::-1]
    cache, found = PlayedCache(dimensions.key_numbers), list[Passes]()
    while waiting or cache.num_rows:
        free = slots - cache.num_rows
        if waiting and (not cache.num_rows or free >= max(slots // 4, len(waiting[-1].branches))):
            admitted: list[Tree] = []
            while waiting and len(waiting[-1].branches) <= free:
                admitted.append(waiting.pop())
                free -= len(admitted[-1].branches)
            batch = PromptBatch.of([tree.prompt_ids for tree in admitted])
            tokens, num = len(batch.ids), sum(len(tree.branches) for tree in admitted)
            found.append(Passes("prefill", tokens, batch.mean_width, num, count))
            cache.begin_prefill(admitted)
            cache.release()
        if num := cache.num_rows:
            found.append(Passes("decode", num, cache.begin_decode(), num, count))
            cache.advance()
            cache.release()
    return found, cache.most_places


def scoring(template: Template, trees: Sequence[Tree], count: float = 1.0) -> list[Passes]:
    """A reward model over trees (`accord.engine.scorer.per_branch`)."""
    parts, _ = narrowed(trees, MAX_TOKENS)
    batches = (micro.batch for micro in micro_batches(parts, MAX_TOKENS))
    return passes("forward", batches, count, head=False) if count else []

"""What `distill` will do, if every prompt is asked again and every response is kept. Not a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accord.data.preprompts import load_preprompts
from accord.errors import UserError
from accord.types import Prompt

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Passes, Work


def work_of(config: Any, sizes: Sizes) -> Work:
    """Raises UserError for prompts that will not do, where all of them are known."""
    from accord.engine.distillation import TEACHER_TOKENS
    from accord.engine.examples import Limits
    from accord.engine.imitation import training_trees
    from accord.engine.workload import Phase, Work, imitation, passes, rollout_trees, sampling, scoring
    from accord.steps import distilling
    from accord.text.batching import micro_batches

    preprompts, records = load_preprompts(config.templates), sizes.records("prompts", "prompts")
    if records.complete:
        distilling.wanted(config, preprompts, records.sample, sizes.label)
    taken = [one for one in records.sample if one.is_safety or not config.only_adversarial] or list(records.sample)
    total = max(round(records.total * len(taken) / max(len(records.sample), 1)) - config.skip_prompts, 0)
    longer = distilling.with_preprompts(config, preprompts, sizes.template, taken, sizes.seed)
    context, tokens = sizes.dimensions.context, config.max_response_tokens
    fitting = distilling.with_room(longer, sizes.template, context, tokens)
    if any(fitting.values()):
        longer = fitting
        taken = [one for one in taken if any(one.id in of_context for of_context in longer.values())]
    elif context is not None and records.complete:
        _check_room(longer, sizes, context, tokens)
    scale = min(total, config.num_prompts or total) / max(len(taken), 1)
    again = [[of_context[one.id] for one in taken if one.id in of_context] for of_context in longer.values()]
    again = [prompts for prompts in again if prompts]
    looked_at = [(taken, scale)] + [
        (list(one.sample), one.scale)
        for name in ("held_out", "borderline")
        if sizes.parts(name) and (one := sizes.records(name, "prompts")).sample
    ]

    lengths, asked = sizes.responses("start", config.max_response_tokens), sizes.asked("reward")
    sampled: list[Passes] = []
    scored: list[Passes] = []
    cache = 0
    rounds = [(taken, 1, scale), *((prompts, config.num_samples, scale) for prompts in again)]
    for prompts, num, count in [*rounds, *((some, 1, 2 * of_one) for some, of_one in looked_at)]:  # before and after
        own, whole = rollout_trees(sizes.template, prompts, num, lengths)
        found, places = sampling(own, sizes.dimensions, count)
        sampled, cache = [*sampled, *found], max(cache, places)
        scored += scoring(sizes.template, whole, count * len(asked))
    if config.how == "kl":
        taught = [tree for prompts in again for tree in rollout_trees(sizes.template, prompts, 1, lengths)[0]]
        batches = (micro.batch for micro in micro_batches(taught, TEACHER_TOKENS))
        sampled += passes("forward", batches, scale / len(again))

    trees, _ = rollout_trees(sizes.template, taken, 1, lengths)
    num_examples = scale * len(trees)
    if sizes.parts("demonstrations"):
        demonstrations, where = sizes.records("demonstrations", "demonstrations"), f"{sizes.label}.demonstrations"
        limits = Limits() if demonstrations.complete else Limits(max_unusable=1.0)
        more, _ = training_trees(sizes.template, demonstrations.sample, limits, config, context, where)
        share = config.demonstrations_share
        num = demonstrations.scale * len(more)
        trees = [*trees, *more]
        num_examples += num if share is None else min(num, num_examples * share / (1 - share))
    phase, trained = imitation(sizes, config, trees, num_examples / len(trees))
    return Work(
        [Phase(sampled, frozen=[sizes.policy], cache=cache), Phase(scored, frozen=asked), phase],
        loaded=[*[sizes.policy] * 4, *asked, *asked, *asked],
        saved=[sizes.policy],
        checkpointed=trained,
        lengths=lengths,
    )


def _check_room(longer: Mapping[str, Mapping[str, Prompt]], sizes: Sizes, context: int, tokens: int) -> None:
    """Raises UserError where no prompt leaves room for a response with a preprompt."""
    every = (prompt for of_context in longer.values() for prompt in of_context.values())
    shortest = min(len(sizes.template.prompt_ids(prompt)) for prompt in every)
    if shortest + tokens > context:
        raise UserError(
            f"no prompt leaves room for a preprompt and a response of {tokens} tokens: the model reads and writes at "
            f"most {context} in all, and the shortest has {shortest} with its preprompt",
            where=f"{sizes.label}.max_response_tokens",
            remedy="Lower it, set `context: generic`, or give shorter `templates`.",
        )

"""Prompts that a model's context has no room for, as the steps that sample treat them: left out, or refused."""

from __future__ import annotations

from dataclasses import replace

from accord.engine.sizes import Sizes
from accord.errors import UserError
from accord.text.template import Template
from accord.types import Prompt

PROMPTS, TOKENS = "prompts", "max_response_tokens"  # fields of the Configs of steps that sample


def with_room(sizes: Sizes, tokens: int, context: int) -> Sizes:
    """The sizes of a step that samples, without those prompts that leave no room for a response of `tokens` tokens.

    context: what the model reads and writes at most. Raises UserError when no prompt is left. Where the prompts are not
    all known it cannot be told: then only a response that is too long by itself is refused.
    """
    found = []
    for one in sizes.inputs[PROMPTS]:
        if one.records is None:
            return sizes
        records = one.records.seen_as("prompts")
        fitting = [prompt for prompt in records.sample if _fits(sizes.template, prompt, tokens, context)]
        longest = [prompt for prompt in records.longest if _fits(sizes.template, prompt, tokens, context)]
        total = round(records.total * len(fitting) / max(len(records.sample), 1))
        found.append(replace(one, records=replace(records, sample=fitting, total=total, longest=longest)))
    given = sizes.records(PROMPTS, "prompts").sample
    if any(one.records.sample for one in found if one.records is not None) or not given:
        return replace(sizes, inputs={**sizes.inputs, PROMPTS: tuple(found)})
    if sizes.complete(PROMPTS) or tokens >= context:
        shortest = min(len(sizes.template.prompt_ids(prompt)) for prompt in given)
        raise UserError(
            f"no prompt leaves room for a response of {tokens} tokens: the model reads and writes at most {context} in "
            f"all, and the shortest prompt has {shortest}",
            where=f"{sizes.label}.{TOKENS}",
            remedy=f"Lower {TOKENS}" + (f" to {context - shortest} or less." if shortest < context else "."),
        )
    return sizes


def _fits(template: Template, prompt: Prompt, tokens: int, context: int) -> bool:
    return len(template.prompt_ids(prompt)) + tokens <= context

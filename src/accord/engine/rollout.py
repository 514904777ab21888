"""Rollout: what a policy wrote, and how prompts become one. Scored, it is an `on_policy.methods.Scored`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from accord.engine.ending import BY_ITSELF, Ending
from accord.engine.policy_engine import Request, sample_all
from accord.engine.sampling import Engine
from accord.errors import UserError
from accord.models.folders import context_of, load_config, load_tokenizer
from accord.models.policy import Policy
from accord.text.template import Template
from accord.text.tree import Branch, Tree
from accord.types import Prompt, Response

__all__ = [
    "NUM_SHOWN",
    "Rollout",
    "answerable",
    "context_of",
    "ended_at",
    "packed",
    "roll_out",
    "shown_samples",
    "unpacked",
]

NUM_SHOWN: Final = 4  # samples, to who looks on


@dataclass(frozen=True, slots=True)
class Rollout:
    """P prompts with K responses each.

    responses: [P][K] texts. trees: the P trees of the tokens as they were sampled (every branch token is scored).
    sampler_logprobs: [P][K][tokens], with which the sampler drew them.
    """

    prompts: tuple[Prompt, ...]
    responses: tuple[tuple[Response, ...], ...]
    trees: tuple[Tree, ...]
    sampler_logprobs: tuple[tuple[tuple[float, ...], ...], ...]

    @property
    def num_sequences(self) -> int:
        return sum(len(of_prompt) for of_prompt in self.responses)

    @property
    def num_tokens(self) -> list[int]:
        """Of each response, [P * K]."""
        return [len(branch.ids) for tree in self.trees for branch in tree.branches]

    @property
    def finished(self) -> list[bool]:
        """[P * K]"""
        return [response.finished for of_prompt in self.responses for response in of_prompt]

    @property
    def token_lists(self) -> list[tuple[int, ...]]:
        """[P * K][tokens]"""
        return [branch.ids for tree in self.trees for branch in tree.branches]


def answerable(
    prompts: Sequence[Prompt], models: Iterable[Path], max_response_tokens: int, where: str
) -> tuple[list[Prompt], dict[str, int]]:
    """The prompts that each of the models can answer, and how many are left out for what, for a step's summary.

    Such a prompt has no control token in its texts, and leaves room for a whole response. models: folders of policies,
    and of the reward models that read prompt and response. where: the step. Raises UserError when no prompt is left.
    """
    left, smallest, num_with_control_tokens = list(prompts), None, 0
    for folder in dict.fromkeys(models):
        template, context = Template(load_tokenizer(folder)), context_of(load_config(folder))
        plain = [one for one in left if template.control_token(one) is None]
        num_with_control_tokens += len(left) - len(plain)
        left = plain
        if context is not None:
            left = [one for one in plain if len(template.prompt_ids(one)) + max_response_tokens <= context]
            smallest = min(context, smallest or context)
    num_too_long = len(prompts) - len(left) - num_with_control_tokens
    if prompts and not left:
        reasons = [f"{num_with_control_tokens} hold a control token"] if num_with_control_tokens else []
        if num_too_long:
            limit = f"the model reads and writes at most {smallest}"
            reasons.append(f"{num_too_long} leave no room for {max_response_tokens} tokens of a response ({limit})")
        raise UserError(
            f"none of the {len(prompts)} prompts can be answered: {', '.join(reasons)}",
            where=where,
            remedy="Lower max_response_tokens, shorten the prompts, take the tokens out of them, or take a model with "
            "a longer context.",
        )
    return left, {"num_too_long": num_too_long, "num_with_control_tokens": num_with_control_tokens}


def roll_out(
    policy: Policy | Engine,
    prompts: Sequence[Prompt],
    *,
    num_samples: int,
    max_response_tokens: int,
    temperature: float,
    key: tuple[int | str, ...],
    ending: Ending = BY_ITSELF,
    num_slots: int = 128,
    advance: Callable[[int], None] | None = None,
) -> Rollout:
    """Samples K responses to each prompt; the draws are seeded by (key, prompt id, k). `advance`: responses sampled.

    That prompt and response fit into the model's context is the caller's to see to (`answerable`).
    """
    template = policy.template
    prompt_ids = [template.prompt_ids(prompt) for prompt in prompts]
    requests = [Request(ids, num_samples, (*key, prompt.id)) for ids, prompt in zip(prompt_ids, prompts, strict=True)]
    samples = sample_all(
        policy,
        requests,
        max_response_tokens=max_response_tokens,
        temperature=temperature,
        num_slots=num_slots,
        advance=advance,
    )
    rollout = Rollout(
        prompts=tuple(prompts),
        responses=tuple(
            tuple(Response(template.text(sample.ids, ids[-1:]), sample.finished) for sample in of_one)
            for ids, of_one in zip(prompt_ids, samples, strict=True)
        ),
        trees=tuple(
            Tree(ids, tuple(Branch(tuple(s.ids)) for s in of_one))
            for ids, of_one in zip(prompt_ids, samples, strict=True)
        ),
        sampler_logprobs=tuple(tuple(tuple(s.logprobs) for s in of_one) for of_one in samples),
    )
    return rollout if ending.end_at is None else ended_at(rollout, template, ending.end_at, ending.end_after)


def shown_samples(
    prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]], scores: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """The first response to each of the first prompts, for those who look on (`Workspace.show`). scores: [P * K]."""
    shown = []
    for at, (prompt, of_prompt) in enumerate(zip(prompts[:NUM_SHOWN], responses, strict=False)):
        asked = next((one.content for one in reversed(prompt.messages) if one.role == "user"), "")
        score = None if scores is None else float(scores[at * len(of_prompt)])
        shown.append({"prompt": asked, "response": prompt.prefill + of_prompt[0].text, "score": score})
    return shown


def ended_at(rollout: Rollout, template: Template, text: str, after: int) -> Rollout:
    """Every response is cut behind the first token, from number `after` (from 0) on, with which `text` is complete.

    A response is finished if there is such a token, and else not, even if it ended its turn.
    """
    responses, trees, logprobs = [], [], []
    for tree, of_prompt in zip(rollout.trees, rollout.sampler_logprobs, strict=True):
        given = tree.prompt_ids[-1:]
        lengths = [_length_to(template, given, branch.ids, text, after) for branch in tree.branches]
        branches = [Branch(branch.ids[:length]) for branch, length in zip(tree.branches, lengths, strict=True)]
        responses.append(
            tuple(
                Response(template.text(branch.ids, given), finished=length is not None)
                for branch, length in zip(branches, lengths, strict=True)
            )
        )
        trees.append(Tree(tree.prompt_ids, tuple(branches)))
        logprobs.append(tuple(of_one[:length] for of_one, length in zip(of_prompt, lengths, strict=True)))
    return Rollout(rollout.prompts, tuple(responses), tuple(trees), tuple(logprobs))


def _length_to(template: Template, given: tuple[int, ...], ids: tuple[int, ...], text: str, after: int) -> int | None:
    """How many tokens there are up to the end of `text`; None when it is not there. given: the token before them."""
    before, tail = (*given, *ids[:after])[-1:], ids[after:]
    if text not in template.text(tail, before):
        return None
    return after + next(num for num in range(1, len(tail) + 1) if text in template.text(tail[:num], before))


def packed(rollout: Rollout) -> dict[str, Tensor]:
    """What of a rollout cannot be made of its prompts again: tokens, lengths, ends, and what they were drawn with."""
    drawn = [one for of_prompt in rollout.sampler_logprobs for of_one in of_prompt for one in of_one]
    return {
        "ids": torch.tensor([token for ids in rollout.token_lists for token in ids], dtype=torch.int64),
        "num_tokens": torch.tensor(rollout.num_tokens, dtype=torch.int64),
        "finished": torch.tensor(rollout.finished),
        "logprobs": torch.tensor(drawn, dtype=torch.float64),  # as Python has them, so that none is rounded
    }


def unpacked(tensors: Mapping[str, Tensor], prompts: Sequence[Prompt], template: Template) -> Rollout:
    """The inverse of `packed`, of the prompts that the rollout was of."""
    lengths, finished = tensors["num_tokens"].tolist(), tensors["finished"].tolist()
    ids = [tuple(part.tolist()) for part in tensors["ids"].split(lengths)]
    logprobs = [tuple(part.tolist()) for part in tensors["logprobs"].split(lengths)]
    prompt_ids = [template.prompt_ids(prompt) for prompt in prompts]
    num = len(ids) // len(prompts)
    rows = [range(i * num, (i + 1) * num) for i in range(len(prompts))]
    return Rollout(
        prompts=tuple(prompts),
        responses=tuple(
            tuple(Response(template.text(ids[s], given[-1:]), finished[s]) for s in of_one)
            for given, of_one in zip(prompt_ids, rows, strict=True)
        ),
        trees=tuple(
            Tree(given, tuple(Branch(ids[s]) for s in of_one)) for given, of_one in zip(prompt_ids, rows, strict=True)
        ),
        sampler_logprobs=tuple(tuple(logprobs[s] for s in of_one) for of_one in rows),
    )

"""What a reward model says of many responses, for a measurement: raw scores, and those of an ensemble's members."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accord.engine.reward import Composed
from accord.engine.rollout import context_of
from accord.evaluate.score_log import ScoreLog
from accord.models.scalar import ScalarModel
from accord.rewards.combination import OfSeveral
from accord.rewards.learned import LearnedReward
from accord.rewards.piecewise import PiecewiseReward
from accord.rewards.stored import StoredReward, raw
from accord.types import Prompt, Response

Floats = NDArray[np.float64]
Advance = Callable[[int], None]
_AT_ONCE = 256  # prompts that are scored between two writes


@dataclass(frozen=True, slots=True)
class Scores:
    """scores: [prompts][responses]; a model's own, whose gaps are log-odds, whatever it is normalised by; those of
    other rewards as they are used. members: of a reward made of several, [M] of the same."""

    scores: list[Floats]
    members: list[list[Floats]] | None = None


def score_all(
    reward: StoredReward,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[Response]],
    advance: Advance | None = None,
    log: ScoreLog | None = None,
) -> Scores:
    """The scores of the responses to each prompt. advance: is told of prompts done. log: what the same reward has said
    before, which is not computed again, and where what it says now is kept."""
    if log is None:
        return _scored(reward, prompts, responses, advance)
    keys = [log.key(prompt, of_prompt) for prompt, of_prompt in zip(prompts, responses, strict=True)]
    left = list({key: at for at, key in enumerate(keys) if log.get(key) is None}.values())
    if advance is not None and len(left) < len(keys):
        advance(len(keys) - len(left))
    for at in range(0, len(left), _AT_ONCE):
        some = left[at : at + _AT_ONCE]
        found = _scored(reward, [prompts[i] for i in some], [responses[i] for i in some], advance)
        members = None if found.members is None else list(zip(*found.members, strict=True))
        log.add([keys[i] for i in some], found.scores, members)
    return Scores(*log.all(keys))


def _scored(
    reward: StoredReward,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[Response]],
    advance: Advance | None,
) -> Scores:
    ends = np.cumsum([len(of_prompt) for of_prompt in responses])[:-1]

    def split(flat: NDArray[np.floating]) -> list[Floats]:
        return np.split(flat.astype(np.float64), ends)

    if isinstance(reward, Composed):
        members = reward.members(prompts, responses, advance)
        return Scores(split(reward.combined(members).numpy()), [split(one.numpy()) for one in members])
    scores = reward.score(prompts, responses, advance).numpy().astype(np.float64)
    if isinstance(reward, LearnedReward):
        scores = raw(reward, scores)
    return Scores(split(scores))


def readable(
    reward: StoredReward, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]
) -> tuple[list[int], dict[str, int]]:
    """Indices of the prompts that every model of a reward can read together with their responses, and how many are
    left out for what: a text holds a control token, or prompt and response are longer than a model's context."""
    kept, left_out = list(range(len(prompts))), {"num_with_control_tokens": 0, "num_too_long": 0}
    for model in _models(reward):
        template, context = model.template, context_of(model.module.config)
        plain = [i for i in kept if template.control_token(prompts[i], responses[i]) is None]
        left_out["num_with_control_tokens"] += len(kept) - len(plain)
        kept = plain
        if context is not None:
            kept = [i for i in plain if template.scored_tree(prompts[i], responses[i]).depth <= context]
        left_out["num_too_long"] += len(plain) - len(kept)
    return kept, left_out


def _models(reward: object) -> list[ScalarModel]:
    """One for each tokenizer: the members of an ensemble share theirs."""
    if isinstance(reward, LearnedReward):
        return [reward.model]
    if not isinstance(reward, OfSeveral | PiecewiseReward):
        return []
    found = {id(model.module.config): model for part in reward.rewards for model in _models(part)}
    return list(found.values())

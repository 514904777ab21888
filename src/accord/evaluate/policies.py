"""What policies write, how it scores, and how often it is preferred to a baseline's. At temperature 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch

from accord.algorithms.statistics import Interval, bootstrap_mean, distinct_n, win_rate
from accord.engine.ending import Ending
from accord.engine.group import fair_micro_batches
from accord.engine.reward import Reward
from accord.engine.rollout import Rollout, roll_out
from accord.engine.scorer import padded, per_token
from accord.models.policy import Policy
from accord.types import Prompt

PERCENTILES: Final = (5, 25, 50, 75, 95)  # of the scores by the reward that judges


class TextScorer(Protocol):
    """An evaluator of another kind than a reward model: text to a number, higher is better."""

    def predict(self, texts: Sequence[str]) -> np.ndarray: ...


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """What one policy did on P prompts with K responses each.

    texts: [P][K], prefill included. scores: evaluator -> [P, K]. kl: [P, K], the log ratio of policy to reference of
    each response, in nats: the sampler's own log-probabilities against the reference's in a forward pass.
    entropy_per_token: in nats, estimated as the mean of -log p over sampled tokens.
    """

    texts: list[list[str]]
    scores: dict[str, np.ndarray]
    kl: np.ndarray
    num_tokens: list[int]
    finished: list[bool]
    distinct_2: float
    entropy_per_token: float


def observe(
    policy: Policy,
    reference: Policy,
    prompts: Sequence[Prompt],
    rewards: Mapping[str, Reward],
    second: tuple[str, TextScorer] | None,
    *,
    num_samples: int,
    max_response_tokens: int,
    ending: Ending,
    key: tuple[int | str, ...],
    advance: Callable[[int], None] | None = None,
) -> PolicyOutcome:
    """Samples, scores with every reward, and measures the distance to the reference. `advance`: responses sampled."""
    rollout = roll_out(
        policy,
        prompts,
        num_samples=num_samples,
        max_response_tokens=max_response_tokens,
        temperature=1.0,
        ending=ending,
        key=key,
        advance=advance,
    )
    shape = (len(prompts), num_samples)
    scores = {
        name: reward.score(rollout.prompts, rollout.responses).numpy().reshape(shape)
        for name, reward in rewards.items()
    }
    texts = [
        [prompt.prefill + response.text for response in of_prompt]
        for prompt, of_prompt in zip(rollout.prompts, rollout.responses, strict=True)
    ]
    if second is not None:
        name, scorer = second
        scores[name] = scorer.predict([text for of_prompt in texts for text in of_prompt]).reshape(shape)
    logprobs = np.array([sum(of_one) for of_prompt in rollout.sampler_logprobs for of_one in of_prompt])
    under_reference = logprobs if policy is reference else sequence_logprobs(reference, rollout)
    return PolicyOutcome(
        texts=texts,
        scores=scores,
        kl=(logprobs - under_reference).reshape(shape),
        num_tokens=rollout.num_tokens,
        finished=rollout.finished,
        distinct_2=distinct_n(rollout.token_lists, 2),
        entropy_per_token=float(-logprobs.sum() / sum(rollout.num_tokens)),
    )


def sequence_logprobs(policy: Policy, rollout: Rollout) -> np.ndarray:
    """[P * K]: the log-probability of each response under another policy."""
    micros = fair_micro_batches(rollout.trees, 1024)
    flat = per_token(micros, lambda batch: policy.token_logprobs(batch).logprobs)
    values, mask = padded(micros, flat, rollout.trees)
    return torch.where(mask, values, 0.0).sum(dim=1).double().numpy()


def compare(
    outcome: PolicyOutcome, baseline: PolicyOutcome, evaluators: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """The row of a policy in the results. evaluators: what a score is called in the results -> its name in `scores`.

    Win rates are over all pairs of samples of a prompt, a tie one half; intervals are 95 % bootstraps over prompts. Of
    the scores of single responses the percentiles: means hide a low tail.
    """
    row: dict[str, Any] = {}
    for called, name in evaluators.items():
        _put(row, f"{called}_score", bootstrap_mean(outcome.scores[name].mean(axis=1), seed=seed))
        if called == "gold":
            percentiles = np.percentile(outcome.scores[name], PERCENTILES)
            row |= {f"gold_score_p{p}": float(x) for p, x in zip(PERCENTILES, percentiles, strict=True)}
        if called != "proxy":
            wins = win_rate(outcome.scores[name], baseline.scores[name])
            _put(row, f"{called}_win_rate", bootstrap_mean(wins, seed=seed))
    _put(row, "kl", bootstrap_mean(outcome.kl.mean(axis=1), seed=seed))
    row["mean_tokens"] = float(np.mean(outcome.num_tokens))
    row["distinct_2"] = outcome.distinct_2
    row["entropy"] = outcome.entropy_per_token
    row["finished"] = float(np.mean(outcome.finished))
    return row


def _put(row: dict[str, Any], name: str, interval: Interval) -> None:
    row[name], row[f"{name}_low"], row[f"{name}_high"] = interval.value, interval.low, interval.high


def agreement_on_samples(first: np.ndarray, second: np.ndarray) -> float:
    """How often two evaluators order two responses to one prompt alike. first, second: [P, K] scores."""
    upper = np.triu_indices(first.shape[1], 1)
    gap_first = (first[:, :, None] - first[:, None, :])[:, upper[0], upper[1]]
    gap_second = (second[:, :, None] - second[:, None, :])[:, upper[0], upper[1]]
    return float(np.mean(np.sign(gap_first) == np.sign(gap_second)))

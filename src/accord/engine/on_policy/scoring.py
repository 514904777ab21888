"""From a rollout to what is said of it: log-probabilities of policy and reference, scores, the KL. Written once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accord.algorithms.kl import token_kl
from accord.algorithms.shaping import Moments, normalise, shape_truncated
from accord.algorithms.statistics import distinct_n, pearson
from accord.engine.learner import Learner
from accord.engine.on_policy.config import RolloutConfig
from accord.engine.on_policy.methods import POLICY, Reports, Scored
from accord.engine.reward import Reward
from accord.engine.reward import scored as scored_by
from accord.engine.rollout import Rollout
from accord.engine.scorer import padded, per_token
from accord.errors import UserError
from accord.models.policy import Policy
from accord.text.batching import MicroBatch


@dataclass(frozen=True, slots=True)
class Roles:
    """Who does what in every method. watch: rewards that are only looked at, by name."""

    policy: Policy
    policy_learner: Learner
    reference: Policy
    reward: Reward
    watch: Mapping[str, Reward]


class NotFinite(UserError):
    """The KL or a score is not finite. row: what there is to log of it."""

    def __init__(self, kl: float, score: float) -> None:
        self.row = {"objective/scores": score, "objective/kl": kl}
        super().__init__(
            "the KL or a score is not finite: the policy, the reference or the reward model is broken",
            remedy="Lower the learning rate, or look at the reward model's scores on the prompts.",
        )


@dataclass(frozen=True, slots=True)
class Own:
    """What the policy that sampled a rollout says of it: logprobs, entropies: [S, R], as `Scored` has them. reference:
    [S, R], what the reference said then, where it has moved since."""

    logprobs: Tensor
    entropies: Tensor
    reference: Tensor | None = None


def read_own(
    rollout: Rollout,
    micros: Sequence[MicroBatch],
    policy: Policy,
    temperature: float,
    reference: Policy | None = None,
) -> Own:
    """Of the policy as it is now, and of a reference. micros: all of the first epoch's."""
    tokens = per_token(micros, lambda b: torch.stack(policy.token_logprobs(b, temperature)[:2]))
    logprobs, _ = padded(micros, [of_micro[0] for of_micro in tokens], rollout.trees)
    entropies, _ = padded(micros, [of_micro[1] for of_micro in tokens], rollout.trees)
    if reference is None:
        return Own(logprobs, entropies)
    return Own(logprobs, entropies, _of_reference(rollout, micros, reference, temperature)[0])


def _of_reference(
    rollout: Rollout, micros: Sequence[MicroBatch], reference: Policy, temperature: float
) -> tuple[Tensor, Tensor]:
    """[S, R]: what a reference says of each token, and where there is one."""
    tokens = per_token(micros, lambda b: reference.token_logprobs(b, temperature)[0])
    return padded(micros, tokens, rollout.trees)


def score(
    rollout: Rollout,
    micros: Sequence[MicroBatch],
    roles: Roles,
    config: RolloutConfig,
    moments: Moments,
    own: Own | None = None,
) -> tuple[Scored, Moments]:
    """A rollout with what is said of it, and the moments of all scores so far. micros: all of the first epoch's, so
    that its first ratio is exactly 1. own: what the policy said of it when it sampled, where it has learned since, and
    the reference, where it has moved since: the KL is between the two of then. None asks them now.

    Raises NotFinite when the KL or a score is not finite.
    """
    temperature, stale = config.temperature, own is not None
    own = own or read_own(rollout, micros, roles.policy, temperature)
    logprobs, entropies = own.logprobs, own.entropies
    reference, mask = _of_reference(rollout, micros, roles.reference, temperature)
    before = reference if own.reference is None else own.reference
    scores, spread = scored_by(roles.reward, rollout.prompts, rollout.responses)
    k1 = token_kl("k1", logprobs, before, mask)
    kl = float(k1.sum(dim=1).mean())
    if not np.isfinite(kl) or not bool(torch.isfinite(scores).all()):
        raise NotFinite(kl, float(scores.mean()))
    finished = torch.tensor(rollout.finished)
    kept = finished | (not config.mask_truncated)
    shaped, moments = shape(scores, finished, kept, config, moments)
    scored = Scored(
        rollout=rollout,
        scores=scores,
        shaped=shaped,
        logprobs=logprobs,
        reference_logprobs=reference,
        sampler_logprobs=_sampled(rollout, mask),
        entropies=entropies,
        mask=mask,
        kept=kept,
        own=kept & (finished | (config.truncation_score is None)),
        k1=k1,
        k3=token_kl("k3", logprobs, before, mask),
        kl=kl,
        spread=spread,
        stale=stale,
    )
    return scored, moments


def shape(
    scores: Tensor, finished: Tensor, kept: Tensor, config: RolloutConfig, moments: Moments
) -> tuple[Tensor, Moments]:
    """The scores that are trained on, [S], and the moments of all so far. kept: [S], those that count in a statistic.

    What happens to unfinished responses is stated in the reward's own units, so it comes before the normalisation; the
    limit comes last, so that nothing leaves it. "running" takes this rollout's scores in before it divides.
    """
    shaped = shape_truncated(scores, finished, config.truncation_score, config.truncation_penalty)
    if config.score_normalisation != "none":
        before = moments if config.score_normalisation == "running" else Moments()
        moments = before.updated(shaped[kept])
        shaped = normalise(shaped, moments)
    if config.score_clip is not None:
        shaped = shaped.clamp(-config.score_clip, config.score_clip)
    return shaped, moments


def _sampled(rollout: Rollout, mask: Tensor) -> Tensor:
    """[S, R]: the logprobs that the sampler drew with."""
    flat = [logprob for of_prompt in rollout.sampler_logprobs for of_one in of_prompt for logprob in of_one]
    return torch.zeros(mask.shape).masked_scatter_(mask, torch.tensor(flat))


def metrics_of(scored: Scored, reports: Reports) -> dict[str, float]:
    """What is logged of every method. Names as in TRL's PPO where it has the quantity.

    The mismatch is of the sampler's logprobs and the learner's before the update, which would be equal in exact
    arithmetic; it and the entropy are means over response tokens. `response/own_score` is the share of the responses
    whose own score is trained on; the others share one (`truncation_score`), or are masked. Perplexities are of all
    response tokens, under the policy that sampled them and under the reference (Zheng et al. 2023, arXiv:2307.04964,
    watch the former). `response/score_length` is the correlation of score and tokens over the iteration's responses.
    """
    rollout, mask = scored.rollout, scored.mask
    difference = (scored.logprobs - scored.sampler_logprobs)[mask]
    of_policy = [report[POLICY] for report in reports if POLICY in report]
    row = {
        "objective/scores": float(scored.scores.mean()),
        "objective/shaped_scores": scored.trained_score,
        "objective/kl": scored.kl,
        "objective/kl_k3": float(scored.k3.sum() / rollout.num_sequences),
        "objective/entropy": float(scored.entropies.sum() / mask.sum()),
        "response/mean_tokens": float(np.mean(rollout.num_tokens)),
        "response/finished": float(np.mean(rollout.finished)),
        "response/own_score": float(scored.own.float().mean()),
        "response/distinct_2": distinct_n(rollout.token_lists, 2),
        "response/perplexity": _perplexity(scored.logprobs[mask]),
        "response/reference_perplexity": _perplexity(scored.reference_logprobs[mask]),
        "sampler/mismatch_per_token": float(difference.abs().mean()),
        "sampler/mismatch_max": float(difference.abs().max()),
        "sampler/mean_ratio": float(difference.exp().mean()),
        "policy/num_updates": float(len(of_policy)),
    }
    follows = pearson(scored.scores.double().numpy(), rollout.num_tokens)
    if math.isfinite(follows):  # neither all scores nor all lengths are equal
        row["response/score_length"] = follows
    if scored.spread is not None:
        row["spread/reward"] = scored.spread
    if of_policy:
        row["policy/grad_norm"] = float(np.mean([report.grad_norm for report in of_policy]))
    of_examples = [report.metrics["ptx_loss"] for report in of_policy if "ptx_loss" in report.metrics]
    if of_examples:
        row["loss/ptx_avg"] = float(np.mean(of_examples))
    return row


def _perplexity(logprobs: Tensor) -> float:
    """exp of the mean of -log p over tokens; logprobs: [N], at the temperature of sampling."""
    return float(np.exp(-float(logprobs.double().mean())))

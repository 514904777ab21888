"""Losses that teach a reward model an order (Bradley-Terry pairs with margins, and K responses of one prompt).

Sources: Bradley and Terry 1952; Ziegler et al. 2019, arXiv:1909.08593, eq. 1 (the best of K); Ouyang et al. 2022
(InstructGPT) section 3.5, eq. 1; Touvron et al. 2023 (Llama 2) section 3.2.2, eq. 2 (margins) and appendix A.3.4 (a
safety loss beside it); Eisenstein et al. 2023, arXiv:2312.09244 (centring).
Shapes: s = scores of a batch, one a response; p = ordered pairs of a batch; t = tied pairs; l = labelled responses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from accord.algorithms.loss import Loss


def bradley_terry(chosen_p: Tensor, rejected_p: Tensor, margin_p: Tensor | float = 0.0) -> Tensor:
    """-log sigmoid(chosen - rejected - margin) of each pair, [p], in nats.

    chosen_p, rejected_p: scores. margin_p: by how much the chosen score should lead, in units of score.
    """
    return softplus(rejected_p + margin_p - chosen_p)


def best_of(lead_p: Tensor, prompt_of_pair_p: Tensor, num_prompts: int) -> Tensor:
    """-log [exp(best) / sum over all responses of exp(score)] of each prompt, [num_prompts], in nats.

    lead_p: the score of another response less that of the best one, with its margin; one for each other response of the
    prompt. With two responses this is `bradley_terry`. A prompt without a pair has 0. (The paper prints the expectation
    without its minus sign.)
    """
    top = lead_p.detach().new_zeros(num_prompts).scatter_reduce(0, prompt_of_pair_p, lead_p.detach(), "amax")
    shifted = torch.exp(lead_p - top[prompt_of_pair_p])
    return top + torch.exp(-top).index_add(0, prompt_of_pair_p, shifted).log()


class TieModel(Protocol):
    """What two scores make of a win and of a tie (`accord.algorithms.ties`)."""

    def win(self, chosen_p: Tensor, rejected_p: Tensor, margin_p: Tensor | float) -> Tensor:
        """-log P(chosen wins) of each pair, [p], in nats."""
        ...

    def tie(self, first_t: Tensor, second_t: Tensor) -> Tensor:
        """-log P(tie) of each pair, [t], in nats."""
        ...


@dataclass(frozen=True, slots=True)
class Ties:
    """Pairs that were judged equal: indices of scores, the prompt of each pair, [t] all, and how likely they are."""

    model: TieModel
    first_t: Tensor
    second_t: Tensor
    prompt_t: Tensor


@dataclass(frozen=True, slots=True)
class Safety:
    """Responses that were called safe or not: indices of scores, 1.0 for safe and 0.0 for not, the prompt of each, [l]
    all, and what the mean over a prompt's labelled responses is multiplied by."""

    coef: float
    response_l: Tensor
    safe_l: Tensor
    prompt_l: Tensor


def ranking_loss(
    scores_s: Tensor,
    chosen_p: Tensor,
    rejected_p: Tensor,
    margin_p: Tensor,
    prompt_of_pair_p: Tensor,
    num_prompts: int,
    *,
    centre_coef: float = 0.0,
    prompt_of_score_s: Tensor | None = None,
    label_smoothing: float = 0.0,
    ties: Ties | None = None,
    safety: Safety | None = None,
    single_best: bool = False,
) -> Loss:
    """The mean of Bradley-Terry over the pairs of each prompt, summed over prompts. A unit is a prompt with a pair.

    All pairs of a prompt are one element of a batch: they share responses, and taken for independent they overfit.
    chosen_p, rejected_p: indices into scores_s. prompt_of_pair_p: indices below num_prompts.

    single_best: `best_of` in place of that mean; the pairs of a prompt are then one response and each of the others. It
    has neither ties nor label_smoothing.

    ties: without it a tie is an absent pair. With it a tie is a pair among the prompt's, and wins and ties have the
    probabilities of its model. A prompt without pairs adds nothing, neither loss nor unit, whatever else is known.
    label_smoothing: the share of wins that are taken to be the wrong way round: the cross-entropy of the probability of
    the win, its margin taken off, against 1 - label_smoothing (as in conservative DPO).
    centre_coef: adds centre_coef * 4 * (mean score of all the prompt's responses)^2, which pins the constant that the
    pairs leave free, and no gap; of a pair it is Eisenstein's (chosen + rejected)^2. It needs prompt_of_score_s,
    indices below num_prompts.
    safety: adds coef * (mean over a prompt's labelled responses of the cross-entropy of sigmoid(score) against safe).
    Llama 2 gives no formula of its auxiliary loss: this is the natural reading, as it reports recall at a score of 0.5.
    metrics: `accuracy` (share of a prompt's ordered pairs scored in their order, equal scores one half) and `margin`
    (mean score gap of a prompt's ordered pairs), summed over the prompts that have an ordered pair.
    """
    assert chosen_p.shape == rejected_p.shape == margin_p.shape == prompt_of_pair_p.shape
    assert not (single_best and (ties or label_smoothing)), "the best of K has no ties, and is not smoothed"
    wins_of_prompt = torch.bincount(prompt_of_pair_p, minlength=num_prompts)
    pairs_of_prompt = wins_of_prompt
    if ties is not None:
        pairs_of_prompt = wins_of_prompt + torch.bincount(ties.prompt_t, minlength=num_prompts)
    weight_p = _one_over(pairs_of_prompt, prompt_of_pair_p, scores_s.dtype)

    chosen, rejected = scores_s[chosen_p], scores_s[rejected_p]
    if single_best:
        total = best_of(rejected + margin_p - chosen, prompt_of_pair_p, num_prompts).sum()
    else:
        win = bradley_terry if ties is None else ties.model.win
        cost_p = win(chosen, rejected, margin_p)
        if label_smoothing:
            cost_p = (1 - label_smoothing) * cost_p + label_smoothing * win(rejected, chosen, -margin_p)
        total = (weight_p * cost_p).sum()
    if ties is not None:
        tied = ties.model.tie(scores_s[ties.first_t], scores_s[ties.second_t])
        total = total + (_one_over(pairs_of_prompt, ties.prompt_t, scores_s.dtype) * tied).sum()
    if centre_coef:
        assert prompt_of_score_s is not None, "the centring term averages over a prompt's responses"
        total = total + centre_coef * _off_centre(scores_s, prompt_of_score_s, pairs_of_prompt)
    if safety is not None:
        total = total + safety.coef * _unsafe(scores_s, safety, pairs_of_prompt)

    gap_p = (chosen - rejected).detach()
    share_p = _one_over(wins_of_prompt, prompt_of_pair_p, scores_s.dtype)
    return Loss(
        total=total,
        num_units=int((pairs_of_prompt > 0).sum()),
        metrics={
            "accuracy": (share_p * (0.5 + 0.5 * gap_p.sign())).sum(),
            "margin": (share_p * gap_p).sum(),
        },
    )


def _one_over(count_of_prompt: Tensor, prompt: Tensor, dtype: torch.dtype) -> Tensor:
    return count_of_prompt[prompt].to(dtype).reciprocal()


def _off_centre(scores_s: Tensor, prompt_of_score_s: Tensor, pairs_of_prompt: Tensor) -> Tensor:
    """4 * (mean score of a prompt's responses)^2, summed over the prompts that have pairs."""
    num_prompts = len(pairs_of_prompt)
    sums = scores_s.new_zeros(num_prompts).index_add(0, prompt_of_score_s, scores_s)
    means = sums / torch.bincount(prompt_of_score_s, minlength=num_prompts).clamp(min=1)
    return 4 * (means[pairs_of_prompt > 0] ** 2).sum()


def _unsafe(scores_s: Tensor, safety: Safety, pairs_of_prompt: Tensor) -> Tensor:
    """The mean of -log P(label) over a prompt's labelled responses, summed over the prompts that have pairs."""
    counted = (pairs_of_prompt > 0)[safety.prompt_l]
    scores, prompts = scores_s[safety.response_l[counted]], safety.prompt_l[counted]
    sign = 2 * safety.safe_l[counted] - 1
    return (softplus(-sign * scores) / torch.bincount(prompts)[prompts]).sum()

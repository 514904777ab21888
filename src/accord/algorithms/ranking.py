"""Losses that teach a reward model an order (Bradley-Terry pairs with margins, and K responses of one prompt).

Sources: Bradley and Terry 1952; Ouyang et al. 2022 (InstructGPT) section 3.5, eq. 1; Touvron et al. 2023 (Llama 2)
section 3.2.2, eq. 2 (margins); Eisenstein et al. 2023, arXiv:2312.09244 (centring).
Shapes: s = scores of a batch, one a response; p = ordered pairs of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from accord.algorithms.loss import Loss


def bradley_terry(chosen_p: Tensor, rejected_p: Tensor, margin_p: Tensor | float = 0.0) -> Tensor:
    """-log sigmoid(chosen - rejected - margin) of each pair, [p], in nats.

    chosen_p, rejected_p: scores. margin_p: by how much the chosen score should lead, in units of score.
    """
    return softplus(rejected_p + margin_p - chosen_p)


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
) -> Loss:
    """The mean of Bradley-Terry over the pairs of each prompt, summed over prompts. A unit is a prompt with a pair.

    All pairs of a prompt are one element of a batch: they share responses, and taken for independent they overfit.
    chosen_p, rejected_p: indices into scores_s. prompt_of_pair_p: indices below num_prompts. A tie is an absent pair,
    and a prompt without pairs adds nothing, neither loss nor unit.
    centre_coef: adds centre_coef * (mean of score^2 over all the prompt's responses), which pins the constant that the
    pairs leave free; it needs prompt_of_score_s, indices below num_prompts.
    metrics: `accuracy` (share of a prompt's pairs scored in their order, equal scores one half) and `margin` (mean
    score gap of a prompt's pairs).
    """
    assert chosen_p.shape == rejected_p.shape == margin_p.shape == prompt_of_pair_p.shape
    pairs_of_prompt = torch.bincount(prompt_of_pair_p, minlength=num_prompts)
    weight_p = pairs_of_prompt[prompt_of_pair_p].to(scores_s.dtype).reciprocal()

    gap_p = scores_s[chosen_p] - scores_s[rejected_p]
    total = (weight_p * bradley_terry(scores_s[chosen_p], scores_s[rejected_p], margin_p)).sum()
    if centre_coef:
        assert prompt_of_score_s is not None, "the centring term averages over a prompt's responses"
        total = total + centre_coef * _mean_squares(scores_s, prompt_of_score_s, pairs_of_prompt)

    gap_p = gap_p.detach()
    return Loss(
        total=total,
        num_units=int((pairs_of_prompt > 0).sum()),
        metrics={
            "accuracy": (weight_p * (0.5 + 0.5 * gap_p.sign())).sum(),
            "margin": (weight_p * gap_p).sum(),
        },
    )


def _mean_squares(scores_s: Tensor, prompt_of_score_s: Tensor, pairs_of_prompt: Tensor) -> Tensor:
    """The mean of score^2 over a prompt's responses, summed over the prompts that have pairs."""
    counted = (pairs_of_prompt > 0)[prompt_of_score_s]
    scores, prompts = scores_s[counted], prompt_of_score_s[counted]
    return (scores**2 / torch.bincount(prompts)[prompts]).sum()

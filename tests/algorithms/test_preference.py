"""One pair by hand, for every loss:

    chosen    log policy -10, log reference -12, 4 tokens    log ratio  2, mean  0.5, mean log policy -2.5
    rejected  log policy  -9, log reference  -8, 2 tokens    log ratio -1, mean -0.5, mean log policy -4.5

so D = 3, and 1 with means; softplus(x) = ln(1 + e^x) with a calculator.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from accord.algorithms.loss import Loss
from accord.algorithms.preference import (
    LOSSES,
    Responses,
    cdpo,
    dpo,
    dpop,
    implicit_rewards,
    ipo,
    length_regularised,
    log_odds,
    orpo,
    preference_loss,
    rdpo,
    simpo,
)
from accord.engine.direct.config import DEFAULTS, REFERENCE_FREE, PreferenceLossConfig


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def index(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def side(logprob: float, reference: float, tokens: int) -> Responses:
    return Responses(tensor(logprob), index(tokens), tensor(reference))


CHOSEN, REJECTED = side(-10, -12, 4), side(-9, -8, 2)
BY_HAND: list[tuple[str, dict[str, Any], float]] = [
    ("dpo", {"beta": 0.1}, 0.554355),  # softplus(-0.3)
    ("dpo", {"beta": 1.0}, 0.048587),  # softplus(-3)
    ("cdpo", {"beta": 0.1, "label_smoothing": 0.1}, 0.584355),  # 0.9 * 0.554355 + 0.1 * softplus(0.3) = 0.854355
    ("rdpo", {"beta": 0.1, "label_smoothing": 0.1}, 0.516855),  # (0.9 * 0.554355 - 0.1 * 0.854355) / 0.8
    ("ipo", {"beta": 0.1, "per_token": False}, 4.0),  # (3 - 1 / 0.2)^2
    ("ipo", {"beta": 0.1, "per_token": True}, 16.0),  # (1 - 5)^2
    ("dpop", {"beta": 0.1, "dpop_coef": 50.0}, 0.554355),  # the chosen one did not fall
    ("length_regularised", {"beta": 0.1, "length_coef": 0.05}, 0.513015),  # softplus(-0.3 - 0.05 * 2)
    ("length_normalised", {"beta": 1.0}, 0.313262),  # softplus(-1)
    ("simpo", {"beta": 2.0, "gamma": 1.0}, 0.048587),  # softplus(1 - 2 * (-2.5 + 4.5))
    # log odds -2.5 - ln(1 - e^-2.5) = -2.414350, -4.488829; 2.5 + 0.1 * softplus(-2.074479)
    ("orpo", {"odds_coef": 0.1}, 2.511833),
]


@pytest.mark.parametrize(("name", "parameters", "expected"), BY_HAND)
def test_by_hand(name: str, parameters: Mapping[str, Any], expected: float) -> None:
    assert LOSSES[name].of(CHOSEN, REJECTED, **parameters).item() == pytest.approx(expected, abs=2e-6)


def test_dpop_punishes_a_chosen_response_that_fell() -> None:
    # Log ratios -2 and -1: D = -1, and -1 - 2 * 2 = -5; softplus(0.5) = 0.974077. Without the term softplus(0.1).
    fallen = side(-10, -8, 4)
    assert dpop(fallen, REJECTED, beta=0.1, dpop_coef=2.0).item() == pytest.approx(0.974077, abs=1e-6)
    assert dpop(fallen, REJECTED, beta=0.1, dpop_coef=0.0).item() == pytest.approx(0.744397, abs=1e-6)


def grown(name: str, parameters: Mapping[str, Any], chosen: float = -10.0, rejected: float = -9.0) -> list[float]:
    """The gradients of a loss by the two log-probabilities."""
    values = [tensor(chosen).requires_grad_(), tensor(rejected).requires_grad_()]
    sides = [Responses(values[0], index(4), tensor(-12.0)), Responses(values[1], index(2), tensor(-8.0))]
    loss = LOSSES[name].of(*sides, **parameters)
    return [gradient.item() for gradient in torch.autograd.grad(loss.sum(), values)]


@pytest.mark.parametrize("name", LOSSES)
def test_a_step_down_the_gradient_raises_chosen_and_lowers_rejected(name: str) -> None:
    chosen, rejected = grown(name, DEFAULTS[name])  # type: ignore[index]
    assert chosen < 0 < rejected


def test_the_gradient_of_dpo_is_that_of_the_paper() -> None:
    # -beta sigmoid(reward of rejected - reward of chosen) = -0.1 * sigmoid(-0.3) = -0.1 * 0.425557
    assert grown("dpo", {"beta": 0.1}) == pytest.approx([-0.0425557, 0.0425557], abs=1e-7)


def test_at_the_reference_dpo_is_ln_2_whatever_beta() -> None:
    equal = side(-10, -10, 4)
    assert [dpo(equal, equal, beta=beta).item() for beta in (0.01, 5.0)] == [pytest.approx(math.log(2))] * 2


PAIR = st.tuples(st.floats(-50, -1), st.floats(-50, -1), st.integers(1, 20))


@given(PAIR, PAIR, st.floats(0.01, 5))
def test_variants_are_dpo_where_what_sets_them_apart_is_nothing(
    first: tuple[float, float, int], second: tuple[float, float, int], beta: float
) -> None:
    chosen, rejected = side(*first), side(*second)
    plain = dpo(chosen, rejected, beta=beta).item()
    for loss in (
        cdpo(chosen, rejected, beta=beta, label_smoothing=0.0),
        rdpo(chosen, rejected, beta=beta, label_smoothing=0.0),
        dpop(chosen, rejected, beta=beta, dpop_coef=0.0),
        length_regularised(chosen, rejected, beta=beta, length_coef=0.0),
    ):
        assert loss.item() == pytest.approx(plain, abs=1e-12)


@given(PAIR, PAIR, st.floats(0, 0.45))
def test_rdpo_is_unbiased(first: tuple[float, float, int], second: tuple[float, float, int], flipped: float) -> None:
    """Over labels of which a share is flipped, its mean is dpo's over the right ones; cdpo's is not."""
    chosen, rejected = side(*first), side(*second)
    right = rdpo(chosen, rejected, beta=0.1, label_smoothing=flipped)
    wrong = rdpo(rejected, chosen, beta=0.1, label_smoothing=flipped)
    mean = (1 - flipped) * right + flipped * wrong
    assert mean.item() == pytest.approx(dpo(chosen, rejected, beta=0.1).item(), abs=1e-9)


def test_the_minimum_of_cdpo_is_the_log_odds_of_a_right_label() -> None:
    gaps = torch.linspace(-5, 5, 2001, dtype=torch.float64)
    nothing = torch.zeros_like(gaps)
    losses = cdpo(
        Responses(gaps, nothing + 1, nothing), Responses(nothing, nothing + 1, nothing), beta=1.0, label_smoothing=0.1
    )
    assert gaps[losses.argmin()].item() == pytest.approx(math.log(9), abs=5e-3)  # 2.1972


def test_ipo_is_nothing_at_its_target() -> None:
    # 1 / (2 * 0.25) = 2: a gap of 2 nats, above and below it the loss rises.
    losses = [ipo(side(-10 + up, -10, 3), side(-9, -9, 3), beta=0.25, per_token=False).item() for up in (1, 2, 3)]
    assert losses == pytest.approx([1.0, 0.0, 1.0])


def test_log_odds_keep_their_digits_at_both_ends() -> None:
    # p = 1/2: 0. p = e^-100: -100, as 1 - p is 1. p = 1 - 1e-6: ln(1e6) = 13.8155.
    values = log_odds(tensor(-math.log(2), -100.0, math.log1p(-1e-6)))
    assert values.tolist() == pytest.approx([0.0, -100.0, 13.815510], abs=1e-6)


def test_a_certain_response_has_finite_odds_and_gradients() -> None:
    logprobs = torch.tensor([0.0, -1e-9, -0.5, -1e4], requires_grad=True)
    odds = log_odds(logprobs)
    (gradient,) = torch.autograd.grad(odds.sum(), logprobs)
    assert odds.isfinite().all()
    assert gradient.isfinite().all()
    both = Responses(torch.zeros(1), index(3))
    assert orpo(both, both, odds_coef=0.1).item() == pytest.approx(0.1 * math.log(2))


@pytest.mark.parametrize("name", LOSSES)
def test_no_loss_overflows(name: str) -> None:
    far = [Responses(torch.tensor([logprob]), index(7), torch.tensor([-1e3])) for logprob in (-1e4, -1.0)]
    for chosen, rejected in (far, far[::-1]):
        assert LOSSES[name].of(chosen, rejected, **DEFAULTS[name]).isfinite().all()  # type: ignore[index]


@pytest.mark.parametrize("name", LOSSES)
def test_the_settings_of_a_loss_are_the_arguments_of_its_function(name: str) -> None:
    signature = inspect.signature(LOSSES[name].of)
    keywords = {p.name for p in signature.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert keywords == set(DEFAULTS[name])  # type: ignore[index]
    assert LOSSES[name].scale in keywords
    assert LOSSES[name].has_reference == (name not in REFERENCE_FREE)
    assert keywords <= set(PreferenceLossConfig.model_fields)


def test_a_loss_without_a_reference_reads_none() -> None:
    bare = [Responses(one.logprobs, one.tokens) for one in (CHOSEN, REJECTED)]
    assert simpo(*bare, beta=2.0, gamma=1.0).item() == pytest.approx(0.048587, abs=1e-6)
    with pytest.raises(AssertionError, match="compares with a reference"):
        dpo(*bare, beta=0.1)


def test_implicit_rewards() -> None:
    # 0.1 * 2; per token 0.1 * 0.5; 5 * 0.5; of simpo 2 * -2.5 and of orpo 0.1 * -2.5, without the reference.
    rewards = [
        implicit_rewards("dpo", CHOSEN, {"beta": 0.1}),
        implicit_rewards("ipo", CHOSEN, {"beta": 0.1, "per_token": True}),
        implicit_rewards("ipo", CHOSEN, {"beta": 0.1, "per_token": False}),
        implicit_rewards("length_normalised", CHOSEN, {"beta": 5.0}),
        implicit_rewards("simpo", Responses(CHOSEN.logprobs, CHOSEN.tokens), {"beta": 2.0, "gamma": 1.0}),
        implicit_rewards("orpo", Responses(CHOSEN.logprobs, CHOSEN.tokens), {"odds_coef": 0.1}),
    ]
    assert [reward.item() for reward in rewards] == pytest.approx([0.2, 0.05, 0.2, 2.5, -5.0, -0.25])


# Two prompts: responses 0, 1, 2 in the order 0 > 1 > 2, and 3 > 4. A third has a response and no pair.
LOGPROBS, REFERENCE = (-4.0, -6.0, -8.0, -5.0, -5.0, -9.0), (-6.0, -6.0, -6.0, -6.0, -5.0, -9.0)
RATIOS = (2.0, 0.0, -2.0, 1.0, 0.0)
WINS, LOSES, OF_PAIR = index(0, 0, 1, 3), index(1, 2, 2, 4), index(0, 0, 0, 1)


def example(logprobs: Tensor | None = None, order: tuple[int, ...] = (0, 1, 2, 3), **options: Any) -> Loss:
    responses = Responses(
        tensor(*LOGPROBS) if logprobs is None else logprobs, index(2, 3, 4, 5, 5, 9), tensor(*REFERENCE)
    )
    at = list(order)
    return preference_loss("dpo", responses, WINS[at], LOSES[at], OF_PAIR[at], 3, parameters={"beta": 0.5}, **options)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_a_mean_over_the_pairs_of_a_prompt_and_a_sum_over_prompts() -> None:
    loss = example()
    # D = 2, 4, 2 and 1, times beta 0.5.
    expected = (softplus(-1) + softplus(-2) + softplus(-1)) / 3 + softplus(-0.5)
    assert loss.total.item() == pytest.approx(expected, abs=1e-12)
    assert loss.total.item() == pytest.approx(0.725228, abs=1e-6)  # (0.313262 * 2 + 0.126928) / 3 + 0.474077
    assert loss.num_units == 2
    metrics = {name: value.item() for name, value in loss.metrics.items()}
    assert metrics == pytest.approx(
        {
            "loss": expected,
            "rewards/chosen": 0.5 * ((2 + 2 + 0) / 3 + 1),
            "rewards/rejected": 0.5 * ((0 - 2 - 2) / 3 + 0),
            "rewards/margins": 0.5 * ((2 + 4 + 2) / 3 + 1),
            "rewards/accuracies": 2.0,
            "logps/chosen": (-4 - 4 - 6) / 3 - 5,
            "logps/rejected": (-6 - 8 - 8) / 3 - 5,
            "lengths/chosen": (2 + 2 + 3) / 3 + 5,
            "lengths/rejected": (3 + 4 + 4) / 3 + 5,
        }
    )


def test_nll_is_a_mean_over_the_tokens_of_the_chosen() -> None:
    # -log p / tokens of the chosen ones: 2, 2, 2 and 1.
    loss = example(nll_coef=0.3)
    assert loss.metrics["nll_loss"].item() == pytest.approx(2 + 1)
    assert loss.total.item() == pytest.approx(example().total.item() + 0.3 * 3, abs=1e-12)
    assert loss.metrics["loss"].item() == pytest.approx(loss.total.item())


@given(st.permutations(range(4)))
def test_the_order_of_pairs_does_not_matter(order: list[int]) -> None:
    assert example(order=tuple(order)).total.item() == pytest.approx(example().total.item(), abs=1e-12)


def test_equal_rewards_are_half_right() -> None:
    loss = example(tensor(*REFERENCE))
    assert loss.metrics["rewards/accuracies"].item() == 1.0  # one half, twice
    assert loss.metrics["loss"].item() == pytest.approx(2 * math.log(2))


def test_a_response_in_no_pair_is_not_looked_at() -> None:
    logprobs = tensor(*LOGPROBS[:-1], math.nan).requires_grad_()
    loss = example(logprobs)
    (gradient,) = torch.autograd.grad(loss.total, logprobs)
    assert gradient[-1].item() == 0.0
    assert gradient.isfinite().all()


def test_no_pairs_at_all_is_a_differentiable_zero() -> None:
    logprobs = tensor(-1.0, -2.0).requires_grad_()
    responses = Responses(logprobs, index(1, 1), tensor(-1.0, -1.0))
    loss = preference_loss("dpo", responses, index(), index(), index(), 1, parameters={"beta": 0.1})
    (gradient,) = torch.autograd.grad(loss.total, logprobs)
    assert (loss.total.item(), loss.num_units, gradient.tolist()) == (0.0, 0, [0.0, 0.0])

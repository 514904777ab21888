"""Hand-computed values: softplus(m - gap) with a calculator, e.g. softplus(0) = ln 2 = 0.693147180559945."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from accord.algorithms.loss import Loss
from accord.algorithms.ranking import bradley_terry, ranking_loss

LN2 = math.log(2)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def index(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.long)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("margin", "expected"),
    [(0.0, 0.6931), (1 / 3, 0.8736), (2 / 3, 1.0810), (1.0, 1.3133), (2.0, 2.1269), (3.0, 3.0486)],
)
def test_bradley_terry_at_zero_gap(margin: float, expected: float) -> None:
    # ln(1 + e^margin), four decimals; the margins are those of Llama 2, table 27.
    assert bradley_terry(tensor(0.7), tensor(0.7), tensor(margin)).item() == pytest.approx(expected, abs=5e-5)


def test_a_gap_of_one_is_a_win_probability_of_73_percent() -> None:
    assert math.exp(-bradley_terry(tensor(2.0), tensor(1.0)).item()) == pytest.approx(0.731059, abs=1e-6)


def test_bradley_terry_does_not_overflow() -> None:
    loss = bradley_terry(torch.tensor([0.0, 1e4]), torch.tensor([1e4, 0.0]))
    assert loss.tolist() == [1e4, 0.0]


def test_bradley_terry_gradient_raises_chosen_and_lowers_rejected() -> None:
    chosen, rejected = tensor(1.0).requires_grad_(), tensor(0.0).requires_grad_()
    loss = bradley_terry(chosen, rejected, 1.0)  # gap - margin = 0, so sigmoid = 1/2
    gradients = torch.autograd.grad(loss.sum(), (chosen, rejected))
    assert [gradient.item() for gradient in gradients] == pytest.approx([-0.5, 0.5], abs=1e-12)


@given(st.floats(-30, 30), st.floats(-30, 30), st.floats(-50, 50))
def test_bradley_terry_knows_only_differences(chosen: float, rejected: float, shift: float) -> None:
    here = bradley_terry(tensor(chosen), tensor(rejected)).item()
    there = bradley_terry(tensor(chosen + shift), tensor(rejected + shift)).item()
    assert here == pytest.approx(there, abs=1e-9)


# Two prompts: responses 0, 1, 2 with all three pairs, and responses 3, 4 with one; a third prompt has no pair.
SCORES = (2.0, 0.0, 1.0, 0.5, 0.5, 9.0)
CHOSEN, REJECTED, OF_PAIR = index(0, 0, 1, 3), index(1, 2, 2, 4), index(0, 0, 0, 1)
OF_SCORE = index(0, 0, 0, 1, 1, 2)
MARGIN = tensor(0.0, 1.0, 0.0, 2.0)


def example(scores: Tensor, centre_coef: float = 0.0) -> Loss:
    return ranking_loss(
        scores, CHOSEN, REJECTED, MARGIN, OF_PAIR, 3, centre_coef=centre_coef, prompt_of_score_s=OF_SCORE
    )


def test_ranking_loss_is_a_mean_over_pairs_and_a_sum_over_prompts() -> None:
    loss = example(tensor(*SCORES))
    # Gaps 2, 1, -1 with margins 0, 1, 0; then gap 0 with margin 2.
    expected = (softplus(-2) + softplus(0) + softplus(1)) / 3 + softplus(2)
    assert loss.total.item() == pytest.approx(expected, abs=1e-12)
    assert loss.total.item() == pytest.approx(2.838040, abs=1e-6)  # (0.126928 + 0.693147 + 1.313262) / 3 + 2.126928
    assert loss.num_units == 2
    assert loss.metrics["accuracy"].item() == pytest.approx(2 / 3 + 1 / 2, abs=1e-12)
    assert loss.metrics["margin"].item() == pytest.approx((2 + 1 - 1) / 3 + 0, abs=1e-12)


def test_ranking_loss_gradient() -> None:
    scores = tensor(*SCORES).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: example(s, centre_coef=0.1).total, (scores,))
    (gradient,) = torch.autograd.grad(example(scores).total, scores)
    assert gradient[3].item() == pytest.approx(-1 / (1 + math.exp(-2)), abs=1e-12)  # -sigmoid(margin - gap)
    assert gradient[5].item() == 0.0
    assert not any(metric.requires_grad for metric in example(scores).metrics.values())


def test_centring_takes_the_mean_square_over_all_responses_of_a_prompt_with_pairs() -> None:
    scores = tensor(*SCORES)
    centring = example(scores, centre_coef=0.1).total - example(scores).total
    assert centring.item() == pytest.approx(0.1 * ((4 + 0 + 1) / 3 + (0.25 + 0.25) / 2), abs=1e-12)


def test_a_prompt_without_pairs_adds_nothing_even_when_its_score_is_nan() -> None:
    scores = tensor(*SCORES[:-1], math.nan).requires_grad_()
    loss = example(scores, centre_coef=0.1)
    assert loss.total.item() == example(tensor(*SCORES), centre_coef=0.1).total.item()
    (gradient,) = torch.autograd.grad(loss.total, scores)
    assert gradient.isfinite().all()


def test_no_pairs_at_all_is_a_differentiable_zero() -> None:
    scores = tensor(1.0, 2.0).requires_grad_()
    loss = ranking_loss(scores, index(), index(), tensor(), index(), 1, centre_coef=1.0, prompt_of_score_s=index(0, 0))
    (gradient,) = torch.autograd.grad(loss.total, scores)
    assert (loss.total.item(), loss.num_units, gradient.tolist()) == (0.0, 0, [0.0, 0.0])


def test_splitting_the_batch_by_prompt_changes_nothing() -> None:
    scores = tensor(*SCORES)
    whole = example(scores, centre_coef=0.1)
    parts = [
        ranking_loss(
            scores[:3], CHOSEN[:3], REJECTED[:3], MARGIN[:3], OF_PAIR[:3], 1,
            centre_coef=0.1, prompt_of_score_s=OF_SCORE[:3],
        ),
        ranking_loss(
            scores[3:], CHOSEN[3:] - 3, REJECTED[3:] - 3, MARGIN[3:], OF_PAIR[3:] - 1, 2,
            centre_coef=0.1, prompt_of_score_s=OF_SCORE[3:] - 1,
        ),
    ]  # fmt: skip
    assert sum(part.total.item() for part in parts) == pytest.approx(whole.total.item(), abs=1e-12)
    assert sum(part.num_units for part in parts) == whole.num_units
    for name, metric in whole.metrics.items():
        assert sum(part.metrics[name].item() for part in parts) == pytest.approx(metric.item(), abs=1e-12)


@given(st.permutations(range(4)))
def test_the_order_of_pairs_does_not_matter(order: list[int]) -> None:
    permuted = ranking_loss(tensor(*SCORES), CHOSEN[order], REJECTED[order], MARGIN[order], OF_PAIR[order], 3)
    assert permuted.total.item() == pytest.approx(example(tensor(*SCORES)).total.item(), abs=1e-12)


def test_more_pairs_of_one_prompt_do_not_give_it_more_weight() -> None:
    scores = tensor(0.0, 0.0, 0.0)
    loss = ranking_loss(scores, index(0, 0, 1), index(1, 2, 2), tensor(0.0, 0.0, 0.0), index(0, 0, 0), 1)
    assert loss.total.item() == pytest.approx(LN2, abs=1e-12)

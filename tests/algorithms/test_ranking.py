"""Hand-computed values: softplus(m - gap) with a calculator, e.g. softplus(0) = ln 2 = 0.693147180559945."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from accord.algorithms.loss import Loss
from accord.algorithms.ranking import Safety, Ties, best_of, bradley_terry, ranking_loss
from accord.algorithms.ties import Davidson, RaoKupper

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


def test_centring_takes_the_mean_over_all_responses_of_a_prompt_with_pairs() -> None:
    scores = tensor(*SCORES)
    centring = example(scores, centre_coef=0.1).total - example(scores).total
    assert centring.item() == pytest.approx(0.1 * 4 * (1.0**2 + 0.5**2), abs=1e-12)  # means 3 / 3 and 1 / 2


@given(st.floats(-9, 9), st.floats(-9, 9))
def test_centring_of_a_pair_is_eisensteins_and_pulls_both_scores_alike(chosen: float, rejected: float) -> None:
    scores = tensor(chosen, rejected).requires_grad_()

    def loss(centre_coef: float) -> Tensor:
        of_prompt = index(0, 0)
        return ranking_loss(
            scores, index(0), index(1), tensor(0.0), index(0), 1, centre_coef=centre_coef, prompt_of_score_s=of_prompt
        ).total

    centring = loss(0.5) - loss(0.0)
    (gradient,) = torch.autograd.grad(centring, scores)
    assert centring.item() == pytest.approx(0.5 * (chosen + rejected) ** 2, abs=1e-9)
    assert gradient.tolist() == pytest.approx([chosen + rejected] * 2, abs=1e-9)  # so the gap stays


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


# The best of K: response 0 of 0, 1, 2 with scores 2, 0, 1, and 3 of 3, 4 with equal scores; a third prompt has none.
BEST_CHOSEN, BEST_REJECTED, OF_BEST = index(0, 0, 3), index(1, 2, 4), index(0, 0, 1)


def best(scores: Tensor, margin: Tensor | None = None) -> Loss:
    margin = tensor(0.0, 0.0, 0.0) if margin is None else margin
    return ranking_loss(scores, BEST_CHOSEN, BEST_REJECTED, margin, OF_BEST, 3, single_best=True)


def test_the_best_of_k_is_a_softmax_over_all_of_them() -> None:
    # -ln [e^2 / (e^2 + e^0 + e^1)] = ln(11.107338) - 2 = 0.407606, and ln 2
    loss = best(tensor(*SCORES))
    assert loss.total.item() == pytest.approx(0.407606 + LN2, abs=1e-6)
    assert loss.num_units == 2
    assert loss.metrics["accuracy"].item() == pytest.approx(1 + 1 / 2)
    logits = tensor(2.0, 0.0, 1.0)
    assert best_of(logits[1:] - logits[0], index(0, 0), 1).item() == pytest.approx(
        -logits.log_softmax(0)[0].item(), abs=1e-12
    )


def test_the_gradient_of_the_best_of_k_is_softmax_less_one() -> None:
    scores = tensor(*SCORES).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: best(s, tensor(0.3, 0.0, 1.0)).total, (scores,))
    (gradient,) = torch.autograd.grad(best(scores).total, scores)
    p = tensor(2.0, 0.0, 1.0).softmax(0).tolist()
    assert gradient.tolist() == pytest.approx([p[0] - 1, p[1], p[2], -0.5, 0.5, 0.0], abs=1e-12)


def test_with_two_responses_it_is_bradley_and_terry_margin_and_all() -> None:
    scores, pair = tensor(0.3, 1.1), (index(0), index(1), tensor(0.7), index(0), 1)
    one, other = ranking_loss(scores, *pair, single_best=True), ranking_loss(scores, *pair)
    assert one.total.item() == pytest.approx(other.total.item(), abs=1e-12)


def test_the_best_of_k_does_not_overflow() -> None:
    loss = best_of(torch.tensor([1e4, -1e4, -1e4]), index(0, 0, 1), 3)
    assert loss.tolist() == [1e4, 0.0, 0.0]


# Ties among the responses 0 and 2 of the first prompt, and 5 and 6 of a third one that has nothing else.
TIED_SCORES = (2.0, 0.0, 1.0, 0.5, 0.5, 3.0, 1.0)
TIES = Ties(RaoKupper(math.log(2)), index(0, 5), index(2, 6), index(0, 2))


def tied(scores: Tensor, ties: Ties | None = TIES, smoothing: float = 0.0) -> Loss:
    chosen, rejected, of_pair = index(0, 1, 3), index(1, 2, 4), index(0, 0, 1)
    return ranking_loss(
        scores, chosen, rejected, tensor(0.0, 0.0, 2.0), of_pair, 3, ties=ties, label_smoothing=smoothing
    )


def test_a_tie_is_a_pair_of_the_prompts_mean() -> None:
    loss = tied(tensor(*TIED_SCORES))
    ln2 = math.log(2)
    wins = [softplus(ln2 - 2), softplus(ln2 + 1), softplus(ln2 + 2 - 0)]  # gaps 2, -1, 0 with margin 2
    # -ln(3) + softplus(ln 2 - g) + softplus(ln 2 + g) for gaps of 1 and 2, as theta^2 - 1 = 3
    ties = [softplus(ln2 - g) + softplus(ln2 + g) - math.log(3) for g in (1.0, 2.0)]
    assert loss.total.item() == pytest.approx((wins[0] + wins[1] + ties[0]) / 3 + wins[2] + ties[1], abs=1e-12)
    assert loss.num_units == 3
    # of ordered pairs alone: 1 of 2 right, and equal scores; nothing of the prompt that has only a tie
    assert loss.metrics["accuracy"].item() == pytest.approx(1 / 2 + 1 / 2, abs=1e-12)
    assert loss.metrics["margin"].item() == pytest.approx((2 - 1) / 2 + 0, abs=1e-12)


def test_ties_that_are_dropped_are_absent() -> None:
    loss = tied(tensor(*TIED_SCORES), ties=None)
    assert loss.total.item() == pytest.approx((softplus(-2) + softplus(1)) / 2 + softplus(2), abs=1e-12)
    assert loss.num_units == 2


def test_the_gradient_of_a_tied_prompt() -> None:
    scores = tensor(*TIED_SCORES).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: tied(s, smoothing=0.1).total, (scores,))
    (gradient,) = torch.autograd.grad(tied(scores).total, scores)
    assert gradient[5] > 0 > gradient[6]  # the higher one falls, the lower one rises


def test_label_smoothing_is_a_mean_of_both_orders() -> None:
    # 0.9 * softplus(m - gap) + 0.1 * softplus(gap - m) with gap - m = 2, -1 and -2
    loss = tied(tensor(*TIED_SCORES), ties=None, smoothing=0.1)
    cost = [0.9 * softplus(-x) + 0.1 * softplus(x) for x in (2.0, -1.0, -2.0)]
    assert loss.total.item() == pytest.approx((cost[0] + cost[1]) / 2 + cost[2], abs=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_a_smoothed_label_is_best_met_by_the_probability_that_it_is_right(margin: float) -> None:
    gap = tensor(math.log(9) + margin).requires_grad_()  # sigmoid(ln 9) = 0.9
    loss = ranking_loss(
        torch.cat([gap, tensor(0.0)]), index(0), index(1), tensor(margin), index(0), 1, label_smoothing=0.1
    )
    (gradient,) = torch.autograd.grad(loss.total, gap)
    assert gradient.item() == pytest.approx(0, abs=1e-12)


def test_the_safety_loss_is_a_mean_over_labelled_responses() -> None:
    scores = tensor(*SCORES).requires_grad_()
    safety = Safety(2.0, index(0, 1, 3, 5), tensor(1.0, 0.0, 0.0, 0.0), index(0, 0, 1, 2))
    with_it = ranking_loss(scores, CHOSEN, REJECTED, MARGIN, OF_PAIR, 3, safety=safety)
    added = with_it.total - example(scores).total
    # scores 2 (safe) and 0 (not) of the first prompt, 0.5 (not) of the second; the third has no pair
    assert added.item() == pytest.approx(2 * ((softplus(-2) + softplus(0)) / 2 + softplus(0.5)), abs=1e-12)
    (gradient,) = torch.autograd.grad(added, scores)
    assert gradient[0] < 0 < gradient[1]  # a safe response rises, an unsafe one falls
    assert gradient[5] == 0


@given(st.permutations(range(5)))
def test_the_order_of_ties_and_labels_does_not_matter(order: list[int]) -> None:
    scores = tensor(*TIED_SCORES)
    first, second, prompt = index(0, 0, 1, 3, 5), index(1, 2, 2, 4, 6), index(0, 0, 0, 1, 2)
    label = tensor(1.0, 0.0, 1.0, 1.0, 0.0)

    def loss(at: list[int]) -> float:
        ties = Ties(Davidson(0.0), first[at], second[at], prompt[at])
        safety = Safety(0.5, first[at], label[at], prompt[at])
        none = index()
        return ranking_loss(scores, none, none, tensor(), none, 3, ties=ties, safety=safety).total.item()

    assert loss(order) == pytest.approx(loss(list(range(5))), abs=1e-12)

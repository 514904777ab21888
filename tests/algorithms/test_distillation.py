from __future__ import annotations

import math

import pytest
import torch

from accord.algorithms import distillation
from accord.algorithms.distillation import TopLogprobs, bucket_kl, top_logprobs

LOG = math.log


def rows(*probabilities: list[float]) -> torch.Tensor:
    """Hidden states that, with the identity as the head, have these probabilities."""
    return torch.tensor(probabilities).log()


def kl_of(student: torch.Tensor, teacher: TopLogprobs) -> tuple[float, torch.Tensor]:
    """The loss, and its gradient in the logits."""
    logits = student.clone().requires_grad_()
    loss = bucket_kl(logits, torch.eye(student.shape[1]), teacher)
    loss.total.backward()
    assert logits.grad is not None
    return float(loss.total.detach()), logits.grad


def test_the_teacher_keeps_the_most_probable_tokens_and_the_rest_together():
    teacher = top_logprobs(rows([0.1, 0.5, 0.15, 0.25], [0.4, 0.1, 0.3, 0.2]), torch.eye(4), 2)
    assert teacher.ids.tolist() == [[1, 3], [0, 2]]
    torch.testing.assert_close(teacher.logprobs.exp(), torch.tensor([[0.5, 0.25], [0.4, 0.3]]))
    torch.testing.assert_close(teacher.rest.exp(), torch.tensor([0.25, 0.3]))


def test_hand_computed():
    """Teacher 1/2, 1/4 and 1/4 for the two others together; student 1/4, 1/4, and 3/8 + 1/8 for them:
    1/2 log 2 + 1/4 log 1 + 1/4 log 1/2 = 1/4 log 2. Gradients: q - p for the kept, q (1 - 1/2) for the others."""
    teacher = TopLogprobs(torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.25]]).log(), torch.tensor([0.25]).log())
    value, grad = kl_of(rows([0.25, 0.25, 0.375, 0.125]), teacher)
    assert value == pytest.approx(0.25 * LOG(2))
    torch.testing.assert_close(grad, torch.tensor([[-0.25, 0.0, 0.1875, 0.0625]]))


def test_the_buckets_lose_what_is_inside_the_rest():
    """Over the whole vocabulary the same two have 1/4 log 2 + 1/4 (of the rest: 1/2 log 2/3 + 1/2 log 2) more."""
    p, q = rows([0.5, 0.25, 0.125, 0.125]), rows([0.25, 0.25, 0.375, 0.125])
    bucketed, _ = kl_of(q, top_logprobs(p, torch.eye(4), 2))
    whole, grad = kl_of(q, top_logprobs(p, torch.eye(4), 50))
    assert whole == pytest.approx(float((p.exp() * (p - q)).sum()))
    assert whole - bucketed == pytest.approx(0.25 * (0.5 * LOG(2 / 3) + 0.5 * LOG(2)))
    torch.testing.assert_close(grad, q.exp() - p.exp())


def test_a_student_that_is_the_teacher_has_no_loss_and_no_gradient():
    same = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    value, grad = kl_of(same, top_logprobs(same, torch.eye(30), 7))
    assert value == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(grad, torch.zeros_like(grad), atol=1e-6, rtol=0)


@pytest.mark.parametrize("num_rows", [128, 3])
@pytest.mark.parametrize("num_top", [1, 4, 11])
def test_values_and_gradients_equal_the_plain_computation(
    monkeypatch: pytest.MonkeyPatch, num_rows: int, num_top: int
) -> None:
    monkeypatch.setattr(distillation, "_ROWS", num_rows)
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(7, 5, generator=generator).requires_grad_()
    weight = torch.randn(11, 5, generator=generator).requires_grad_()
    teacher = top_logprobs(torch.randn(7, 5, generator=generator), torch.randn(11, 5, generator=generator), num_top)

    loss = bucket_kl(hidden, weight, teacher)
    ours = torch.autograd.grad(3.0 * loss.total, (hidden, weight))
    own = (hidden @ weight.T).log_softmax(1)
    target = torch.cat([teacher.logprobs, teacher.rest[:, None]], 1).exp()
    outside = torch.ones(7, 11).scatter(1, teacher.ids, 0.0)
    probabilities = torch.cat([own.exp().gather(1, teacher.ids), (own.exp() * outside).sum(1, keepdim=True)], 1)
    if num_top == 11:  # nothing is left for the rest
        target, probabilities = target[:, :-1], probabilities[:, :-1]
    plain = (target * (target.log() - probabilities.log())).sum()
    theirs = torch.autograd.grad(3.0 * plain, (hidden, weight))
    torch.testing.assert_close(loss.total, plain, atol=1e-5, rtol=1e-5)
    for our_grad, plain_grad in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our_grad, plain_grad, atol=1e-5, rtol=1e-5)
    agreeing = (own.argmax(1) == teacher.ids[:, 0]).sum()
    assert loss.num_units == 7
    assert float(loss.metrics["top_token_agreement"]) == float(agreeing)
    assert float(loss.metrics["loss"]) == pytest.approx(float(plain.detach()), abs=1e-5)


def test_a_step_against_the_gradient_brings_the_student_nearer():
    generator = torch.Generator().manual_seed(2)
    teacher = top_logprobs(torch.randn(6, 12, generator=generator), torch.eye(12), 3)
    student = torch.randn(6, 12, generator=generator)
    before, grad = kl_of(student, teacher)
    after, _ = kl_of(student - 0.1 * grad, teacher)
    assert 0 < after < before


def test_what_is_impossible_breaks_nothing():
    """A student sure of the rest, a teacher sure of a token, and a token that nobody can write."""
    certain = TopLogprobs(torch.tensor([[0]]), torch.tensor([[0.0]]), torch.tensor([-torch.inf]))
    value, grad = kl_of(torch.tensor([[-200.0, 0.0, -1e30]]), certain)
    assert value == pytest.approx(200.0)
    torch.testing.assert_close(grad, torch.tensor([[-1.0, 1.0, 0.0]]))
    spread = TopLogprobs(torch.tensor([[0]]), torch.tensor([[0.5]]).log(), torch.tensor([0.5]).log())
    value, grad = kl_of(torch.tensor([[0.0, -200.0, -200.0]]), spread)
    assert value == pytest.approx(LOG(0.5) + 0.5 * (200.0 - LOG(2)), rel=1e-6)
    torch.testing.assert_close(grad, torch.tensor([[0.5, -0.25, -0.25]]))


def test_bfloat16_is_close_and_nothing_is_kept_without_a_gradient():
    generator = torch.Generator().manual_seed(3)
    hidden, weight = torch.randn(4, 16, generator=generator), torch.randn(40, 16, generator=generator)
    teacher = top_logprobs(torch.randn(4, 16, generator=generator), weight)
    low = hidden.bfloat16().requires_grad_()
    loss = bucket_kl(low, weight.bfloat16(), teacher)
    loss.total.backward()
    assert low.grad is not None
    assert (loss.total.dtype, low.grad.dtype) == (torch.float32, torch.bfloat16)
    exact = bucket_kl(hidden, weight, teacher)
    torch.testing.assert_close(loss.total, exact.total, atol=0.2, rtol=0)
    assert not exact.total.requires_grad

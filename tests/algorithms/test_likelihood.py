from __future__ import annotations

import pytest
import torch

from accord.algorithms import likelihood
from accord.algorithms.likelihood import TokenLogprobs, negative_log_likelihood, token_logprobs


def test_hand_computed() -> None:
    """Logits (0, ln 3): probabilities 1/4 and 3/4; at temperature 0.5 the ratio is 9, so 1/10 and 9/10."""
    hidden = torch.tensor([[1.0], [1.0]])
    weight = torch.tensor([[0.0], [3.0]]).log().nan_to_num(neginf=0.0)
    targets = torch.tensor([0, 1])
    logprobs, entropies, likeliest = token_logprobs(hidden, weight, targets)
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(entropies, torch.full((2,), 0.5623351))  # -(1/4 ln 1/4 + 3/4 ln 3/4)
    assert likeliest.tolist() == [False, True]
    logprobs, _, _ = token_logprobs(hidden, weight, targets, 0.5)
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.1, 0.9]))


@pytest.mark.parametrize(("product_rows", "softmax_rows"), [(512, 16), (4, 3), (3, 1)])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_values_and_gradients_equal_the_plain_computation(
    monkeypatch: pytest.MonkeyPatch, product_rows: int, softmax_rows: int, temperature: float
) -> None:
    monkeypatch.setattr(likelihood, "_PRODUCT_ROWS", product_rows)
    monkeypatch.setattr(likelihood, "_SOFTMAX_ROWS", softmax_rows)
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, 5, generator=generator).requires_grad_()
    weight = torch.randn(11, 5, generator=generator).requires_grad_()
    targets = (hidden @ weight.T).argmax(1).detach() * torch.tensor([0, 1, 0, 1, 1, 0, 0])  # some are likeliest
    upstream = torch.randn(7, generator=generator)

    ours, entropies, likeliest = token_logprobs(hidden, weight, targets, temperature)
    our_grads = torch.autograd.grad((ours * upstream).sum(), (hidden, weight))
    logprobs = (hidden @ weight.T / temperature).log_softmax(1)
    plain = logprobs[torch.arange(7), targets]
    plain_grads = torch.autograd.grad((plain * upstream).sum(), (hidden, weight))
    torch.testing.assert_close(ours, plain, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(entropies, -(logprobs.exp() * logprobs).sum(1), atol=1e-6, rtol=1e-5)
    assert likeliest.tolist() == (logprobs.argmax(1) == targets).tolist()
    for our_grad, plain_grad in zip(our_grads, plain_grads, strict=True):
        torch.testing.assert_close(our_grad, plain_grad, atol=1e-6, rtol=1e-5)


def test_bfloat16_is_close_and_returns_fp32() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(7, 32, generator=generator), torch.randn(50, 32, generator=generator)
    targets = torch.arange(7)
    low = hidden.bfloat16().requires_grad_()
    ours, _, _ = token_logprobs(low, weight.bfloat16(), targets)
    exact, _, _ = token_logprobs(low.detach().float(), weight.bfloat16().float(), targets)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, exact, atol=0.1, rtol=0)  # logits near 20 are spaced 1/8 in bfloat16
    ours.sum().backward()
    assert low.grad is not None
    assert low.grad.dtype == torch.bfloat16


def test_an_impossible_token_breaks_nothing() -> None:
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [float("-inf")], [0.0]])
    logprobs, entropies, _ = token_logprobs(hidden, weight, torch.tensor([0]))
    torch.testing.assert_close(logprobs.exp(), torch.tensor([0.5]))
    torch.testing.assert_close(entropies, torch.tensor([2.0]).log())


def test_nothing_is_kept_without_a_gradient() -> None:
    logprobs, _, _ = token_logprobs(torch.ones(1, 1), torch.ones(2, 1), torch.tensor([0]))
    assert not logprobs.requires_grad


def test_negative_log_likelihood_is_a_sum_over_tokens() -> None:
    tokens = TokenLogprobs(torch.tensor([-1.0, -2.5, 0.0]), torch.zeros(3), torch.tensor([True, False, True]))
    loss = negative_log_likelihood(tokens)
    assert (float(loss.total), loss.num_units) == (3.5, 3)
    assert {name: float(total) for name, total in loss.metrics.items()} == {"loss": 3.5, "mean_token_accuracy": 2}

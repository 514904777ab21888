from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from accord.algorithms.loss import Loss
from accord.engine.config import Optimization
from accord.engine.learner import Learner, Term
from accord.errors import UserError

PLAIN = Optimization(betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0, max_grad_norm=1e9)


def _module(value: float = 1.0) -> nn.Linear:
    module = nn.Linear(2, 1, bias=False)
    module.weight.data.fill_(value)
    return module


def _loss(module: nn.Linear, rows: Sequence[Sequence[float]]) -> Loss:
    total = module(torch.tensor(rows, dtype=module.weight.dtype)).sum().float()
    return Loss(total, len(rows), {"loss": total.detach()})


def test_the_gradient_is_the_mean_over_all_micro_batches() -> None:
    """Rows (1, 2), (3, 0), (5, 4): mean gradient (3, 2), whatever the micro-batches. Adam's first step is lr * sign."""
    norms = []
    for parts in ([[0, 1, 2]], [[0], [1, 2]], [[0], [1], [2]]):
        module = _module()
        learner = Learner(module, torch.float32, PLAIN)
        rows = [[1.0, 2.0], [3.0, 0.0], [5.0, 4.0]]
        for part in parts:
            learner.accumulate(_loss(module, [rows[i] for i in part]))
        report = learner.step(0.1)
        norms.append(report.grad_norm)
        assert report.metrics == pytest.approx({"loss": (3 + 3 + 9) / 3})
        torch.testing.assert_close(module.weight.detach(), torch.tensor([[0.9, 0.9]]), atol=1e-6, rtol=0)
    assert norms == pytest.approx([math.sqrt(13)] * 3)


def test_where_epsilon_is_added() -> None:
    """With a constant gradient g = 0.01 both moments are g times their corrections, so that PyTorch's step is
    g / (g + eps) each time, and TensorFlow's g / (g + eps / sqrt(1 - beta2^t)). With eps 0.01 and beta2 0.75:
    1/2, 1/2; and 1 / (1 + 2) = 1/3, 1 / (1 + 1 / sqrt(1 - 0.5625)) = 0.39814."""
    for before, expected in ((False, (0.5, 0.5)), (True, (1 / 3, 0.39814))):
        optimization = Optimization((0.9, 0.75), 0.01, 0.0, 1e9, eps_before_correction=before)
        module = _module(0.0)
        learner = Learner(module, torch.float32, optimization)
        moved = []
        for _ in expected:
            was = float(module.weight.detach()[0, 0])
            learner.accumulate(_loss(module, [[0.01, 0.01]]))
            learner.step(1.0)
            moved.append(was - float(module.weight.detach()[0, 0]))
            state = learner.state()
            learner = Learner(module, torch.float32, optimization)  # the count of steps is in the checkpoint
            learner.load_state(state)
        assert moved == pytest.approx(expected, rel=1e-4)


def test_clipping_scales_to_the_norm() -> None:
    clipped = Optimization(eps=1e3, max_grad_norm=1.0)  # a large eps makes Adam's step proportional to the gradient
    module = _module(0.0)
    Learner(module, torch.float32, PLAIN)
    learner = Learner(module, torch.float32, clipped)
    learner.accumulate(_loss(module, [[30.0, 40.0]]))
    assert learner.step(1e3).grad_norm == pytest.approx(50)
    torch.testing.assert_close(module.weight.detach(), torch.tensor([[-0.6, -0.8]]), atol=2e-3, rtol=0)


def test_masters_move_where_bfloat16_would_not() -> None:
    """Near 1 bfloat16 is spaced 1/128: a step of 0.001 shows in the masters at once, in the copy after a few."""
    module = _module()
    learner = Learner(module, torch.bfloat16, PLAIN)
    (master,) = learner.masters.values()
    for step in range(1, 5):
        learner.accumulate(_loss(module, [[1.0, 1.0]]))
        learner.step(0.001)
        torch.testing.assert_close(master, torch.full((1, 2), 1 - 0.001 * step), atol=1e-5, rtol=0)
        assert torch.equal(module.weight.detach(), master.to(torch.bfloat16))
    assert module.weight.dtype == torch.bfloat16


def test_gradients_of_micro_batches_add_up_in_fp32() -> None:
    """256 + 1 is 256 in bfloat16."""
    module = _module()
    learner = Learner(module, torch.bfloat16, PLAIN)
    learner.accumulate(_loss(module, [[256.0, 0.0]]))
    learner.accumulate(_loss(module, [[1.0, 0.0]]))
    assert learner.step(0.0).grad_norm == pytest.approx(257 / 2)


def test_a_gradient_that_is_not_finite_is_dropped_then_stops_the_run() -> None:
    module = _module()
    learner = Learner(module, torch.float32, PLAIN)
    for _ in range(4):
        learner.accumulate(_loss(module, [[float("nan"), 1.0]]))
        assert not learner.step(0.1).applied
    learner.accumulate(_loss(module, [[1.0, 1.0]]))
    assert learner.step(0.1).applied
    torch.testing.assert_close(module.weight.detach(), torch.full((1, 2), 0.9), atol=1e-6, rtol=0)
    for _ in range(4):
        learner.accumulate(_loss(module, [[float("inf"), 1.0]]))
        learner.step(0.1)
    learner.accumulate(_loss(module, [[float("inf"), 1.0]]))
    with pytest.raises(UserError, match="not finite"):
        learner.step(0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("forget", ["", "exp_avg.", "exp_avg_sq.", "step.", "master."])
def test_state_makes_the_next_steps_the_same(dtype: torch.dtype, forget: str) -> None:
    """Bit for bit; and with any part of the state left out, not (the negative control)."""

    def steps(learner: Learner, module: nn.Linear, which: Sequence[int]) -> Tensor:
        for step in which:
            learner.accumulate(_loss(module, [[float(step + 1), float(step) - 1.5]]))
            learner.step(0.01)
        (master,) = learner.masters.values()
        return master.clone()

    module = _module()
    learner = Learner(module, dtype, PLAIN)
    steps(learner, module, range(3))
    saved = {name: tensor.clone() for name, tensor in learner.state().items()}
    expected = steps(learner, module, range(3, 6))

    fresh_module = _module(0.5)
    fresh = Learner(fresh_module, dtype, PLAIN)
    if forget == "master.":
        saved["master.weight"] = torch.full((1, 2), 0.5)
    elif forget:
        saved[f"{forget}weight"] = torch.zeros_like(saved[f"{forget}weight"])
    fresh.load_state(saved)
    resumed = steps(fresh, fresh_module, range(3, 6))
    assert torch.equal(resumed, expected) == (not forget)


def _terms(weights: nn.Parameter, parts: list[tuple[slice, slice]]) -> list[tuple[Term, Term]]:
    """Two losses of different units, 4 and 3 of them in the optimizer step, in micro-batches: w0 a + w1 b."""
    a, b = torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([5.0, 7.0, 9.0])
    return [
        (
            Term(Loss((weights[0] * a[i]).sum(), len(a[i]), {"a": a[i].sum()}), 4),
            Term(Loss((weights[1] * b[j]).sum(), len(b[j]), {"b": b[j].sum()}), 3, weight=0.5),
        )
        for i, j in parts
    ]


@pytest.mark.parametrize(
    "parts", [[(slice(0, 4), slice(0, 3))], [(slice(0, 1), slice(0, 2)), (slice(1, 4), slice(2, 3))]]
)
def test_each_term_is_divided_by_its_own_units(parts: list[tuple[slice, slice]]) -> None:
    """Gradients 12 / 4 = 3 and 0.5 * 21 / 3 = 3.5; metrics 3 and 7, not weighted."""
    module = nn.Module()
    module.weights = nn.Parameter(torch.zeros(2))
    learner = Learner(module, torch.float32, PLAIN)
    for terms in _terms(module.weights, parts):
        learner.add(*terms)
    assert module.weights.grad is not None
    assert module.weights.grad.tolist() == pytest.approx([3.0, 3.5])
    report = learner.step(0.1)
    assert report.grad_norm == pytest.approx((3.0**2 + 3.5**2) ** 0.5)
    assert report.metrics == pytest.approx({"a": 3.0, "b": 7.0})


def test_terms_without_units_or_weight_leave_no_gradient() -> None:
    module = nn.Module()
    module.weights = nn.Parameter(torch.zeros(2))
    learner = Learner(module, torch.float32, PLAIN)
    total = module.weights.sum()
    learner.add(Term(Loss(total, 0, {"a": torch.tensor(0.0)}), 0), Term(Loss(total, 2, {}), 2, weight=0.0))
    learner.add()
    assert module.weights.grad is None
    report = learner.step(0.1)
    assert (report.grad_norm, report.metrics) == (0.0, {"a": 0.0})
    assert module.weights.tolist() == [0.0, 0.0]

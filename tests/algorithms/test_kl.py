import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accord.algorithms.kl import AdaptiveKL, FixedKL, KLController, k1, k2, k3, sequence_kl


def test_estimators_by_hand() -> None:
    logprobs, reference = torch.tensor([-1.0, -2.0], dtype=torch.float64), torch.tensor([-1.5, -1.0]).double()
    assert k1(logprobs, reference).tolist() == [0.5, -1.0]
    assert k2(logprobs, reference).tolist() == [0.125, 0.5]
    # e^-0.5 - 1 + 0.5 and e^1 - 1 - 1
    assert k3(logprobs, reference).tolist() == pytest.approx([0.1065306597126334, 0.7182818284590451], abs=1e-12)


def test_the_estimators_expectations_on_a_two_token_vocabulary() -> None:
    policy, reference = torch.tensor([[0.9, 0.1], [0.6, 0.4]], dtype=torch.float64)
    exact = 0.9 * math.log(1.5) + 0.1 * math.log(0.25)  # 0.226289, the KL of policy to reference
    log_p, log_r = policy.log(), reference.log()
    assert (policy * k1(log_p, log_r)).sum().item() == pytest.approx(exact, abs=1e-9)
    assert (policy * k3(log_p, log_r)).sum().item() == pytest.approx(exact, abs=1e-9)
    assert (policy * k2(log_p, log_r)).sum().item() != pytest.approx(exact, abs=1e-3)  # k2 is biased


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k2_and_k3_are_never_negative(logprob: float, reference: float) -> None:
    a, b = torch.tensor(logprob).double(), torch.tensor(reference).double()
    assert k2(a, b).item() >= 0
    assert k3(a, b).item() >= 0


def test_k3_keeps_its_digits_near_zero() -> None:
    # log r = 1e-4: the value is 5e-9, which exp(x) - 1 - x in single precision would lose.
    assert k3(torch.tensor(-1e-4), torch.tensor(0.0)).item() == pytest.approx(5e-9, rel=1e-2)


def test_sequence_kl_sums_over_the_response_only() -> None:
    nan = math.nan
    logprobs = torch.tensor([[nan, -1.0, -2.0], [-1.0, nan, nan]], requires_grad=True)
    reference = torch.tensor([[nan, -1.5, -2.25], [-0.5, nan, nan]])
    mask = torch.tensor([[False, True, True], [True, False, False]])
    kl = sequence_kl(logprobs, reference, mask)
    assert kl.tolist() == [0.75, -0.5]
    (gradient,) = torch.autograd.grad(kl.sum(), logprobs)
    assert gradient.tolist() == [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("observed", "num_sequences", "horizon", "factor"),
    [
        (9.0, 1, 10.0, 1.02),  # the paper: K_beta = 0.1, and 9 / 6 - 1 = 0.5 is clipped to 0.2
        (9.0, 512, 10_000.0, 1.01024),  # its code: 0.2 * 512 / 10000
        (6.3, 1, 10.0, 1.005),  # 0.05, not clipped
        (6.0, 512, 10_000.0, 1.0),
        (5.4, 1, 10.0, 0.99),
        (0.0, 1, 10.0, 0.98),
        (-3.0, 1, 10.0, 0.98),
    ],
)
def test_adaptive_kl(observed: float, num_sequences: int, horizon: float, factor: float) -> None:
    controller = AdaptiveKL(coef=0.15, target=6.0, horizon=horizon)
    updated = controller.update(observed, num_sequences)
    assert updated.coef == pytest.approx(0.15 * factor, abs=1e-12)
    assert (updated.target, updated.horizon) == (6.0, horizon)
    assert controller.coef == 0.15


@given(st.floats(-100, 1000), st.integers(1, 100_000), st.floats(1, 10_000))
def test_one_update_moves_the_coefficient_by_at_most_a_fifth(observed: float, num: int, horizon: float) -> None:
    coef = AdaptiveKL(0.1, 6.0, horizon).update(observed, num).coef
    assert 0.08 - 1e-12 <= coef <= 0.12 + 1e-12


def test_adaptive_kl_steers_a_made_up_policy_to_its_target() -> None:
    controller = AdaptiveKL(coef=1.0, target=6.0, horizon=320.0)
    for _ in range(400):
        controller = controller.update(1.2 / controller.coef, 64)  # a policy whose KL falls as the coefficient rises
    assert 1.2 / controller.coef == pytest.approx(6.0, rel=1e-3)


def test_a_kl_that_is_not_finite_is_refused() -> None:
    with pytest.raises(AssertionError):
        AdaptiveKL(0.1, 6.0, 10.0).update(math.nan, 1)


@pytest.mark.parametrize("controller", [AdaptiveKL(0.1, 6.0, 100.0), FixedKL(0.1)])
def test_a_controller_goes_on_from_its_state(controller: KLController) -> None:
    ahead = controller.update(9.0, 10)
    resumed = controller.with_state(ahead.state_dict())
    assert resumed == ahead
    assert resumed.update(3.0, 10) == ahead.update(3.0, 10)


def test_fixed_kl_stays() -> None:
    assert FixedKL(0.05).update(100.0, 512).coef == 0.05

from __future__ import annotations

from bench.speed.agreement import BF16, FP32, MIXED, differences

DTYPES = {"accord": "bfloat16", "accord-fp32": "float32", "slow": "float32", "fast": "bfloat16"}


def test_fp32_is_compared_with_fp32_and_the_rest_with_the_first():
    results = {name: {"loss": 2.0} for name in DTYPES}
    found = differences([results], DTYPES, ["loss"], "accord")
    assert [(one.contestant, one.against, one.allowed) for one in found] == [
        ("accord-fp32", "accord", MIXED),
        ("slow", "accord-fp32", FP32),
        ("fast", "accord", BF16),
    ]
    assert all(one.agrees and one.share == 0 for one in found)


def test_without_the_first_in_fp32_rounding_is_allowed_for():
    found = differences([{"accord": {"loss": 1.0}, "slow": {"loss": 1.05}}], DTYPES, ["loss"], "accord")
    assert [(one.against, one.allowed, one.agrees) for one in found] == [("accord", MIXED, True)]


def test_what_differs_does_not_agree():
    rounds = [{"accord": {"loss": 1.0, "gradient_norm": 4.0}, "fast": {"loss": 1.0, "gradient_norm": 5.0}}]
    found = {one.quantity: one for one in differences(rounds, DTYPES, ["loss", "gradient_norm"], "accord")}
    assert found["loss"].agrees
    assert not found["gradient_norm"].agrees
    assert found["gradient_norm"].share == 0.25


def test_what_is_no_number_does_not_agree():
    [one] = differences([{"accord": {"loss": 1.0}, "fast": {"loss": float("nan")}}], DTYPES, ["loss"], "accord")
    assert not one.agrees


def test_what_was_not_measured_is_not_compared():
    rounds = [{"accord": {"loss": 1.0}, "fast": {"failed": "exit code 1"}}, {"fast": {"loss": 1.0}}]
    assert differences(rounds, DTYPES, ["loss"], "accord") == []

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from accord.algorithms.rates import poisson_rate, rate_ratio

COUNT, TIME = st.integers(0, 60), st.floats(0.1, 100)


def test_no_event_in_two_hours_by_hand() -> None:
    """The rate at which none has a probability of 2.5 %: -ln(.025) / 2."""
    found = poisson_rate(0, 2.0)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(-math.log(0.025) / 2)


def test_one_event_by_hand() -> None:
    """At the lower end one or more have 2.5 %: 1 - exp(-x) = .025."""
    assert poisson_rate(1, 1.0).low == pytest.approx(-math.log(0.975))


@given(COUNT, TIME)
def test_the_ends_have_the_tails_that_they_are_defined_by(num: int, time: float) -> None:
    found = poisson_rate(num, time)
    assert stats.poisson.cdf(num, found.high * time) == pytest.approx(0.025, abs=1e-6)
    if num:
        assert stats.poisson.sf(num - 1, found.low * time) == pytest.approx(0.025, abs=1e-6)
    assert found.low <= found.value <= found.high


@given(COUNT, TIME, COUNT, TIME)
def test_the_ratios_ends_have_the_tails_of_the_binomial(now: int, time: float, before: int, time_before: float) -> None:
    found = rate_ratio(now, time, before, time_before)
    if not now + before:
        assert math.isnan(found.value)
        return
    for end, tail in ((found.low, "sf"), (found.high, "cdf")):
        odds = end * time / time_before
        share = odds / (1 + odds) if math.isfinite(odds) else 1.0
        if tail == "sf" and now:
            assert stats.binom.sf(now - 1, now + before, share) == pytest.approx(0.025, abs=1e-6)
        if tail == "cdf" and before:
            assert stats.binom.cdf(now, now + before, share) == pytest.approx(0.025, abs=1e-6)
    assert found.low <= found.value <= found.high
    assert (found.low == 0) == (now == 0)
    assert math.isinf(found.high) == (before == 0)


def test_llama_2s_numbers() -> None:
    """1.8 violating prompts a person and hour, later .45: with 350 people of one hour each the ratio is .25."""
    found = rate_ratio(158, 350, 630, 350)
    assert found.value == pytest.approx(158 / 630)
    assert 0.2 < found.low < 0.25 < found.high < 0.31

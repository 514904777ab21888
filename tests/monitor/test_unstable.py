"""Alarms of updates that are too large, on series made by hand; each beside the healthy twin of its series."""

from __future__ import annotations

import math

import pytest

from accord.monitor.alarms import alarms
from tests.monitor.test_alarms import only, rows_of

HEALTHY_KL = [0.1, 0.8, 1.5, 2.2, 3.0, 3.5, 4.1, 4.4, 5.0]


def test_a_healthy_run_is_silent():
    healthy = {
        "objective/kl": HEALTHY_KL,
        "policy/clipfrac_avg": [0.05, 0.08, 0.1, 0.12, 0.1, 0.15, 0.12, 0.2, 0.15],
        "value/explained_variance": [-0.8, -0.2, 0.0, 0.1, 0.2, 0.3, 0.3, 0.35, 0.4],
        "sampler/mismatch_per_token": [0.011, 0.01, 0.012, 0.01, 0.01, 0.011, 0.01, 0.012, 0.011],
        "response/score_length": [0.3, 0.2, 0.4, 0.1, 0.3, 0.2, 0.4, 0.3, 0.2],
        "response/mean_tokens": [20, 21, 20, 22, 21, 23, 22, 21, 22],
    }
    assert alarms(rows_of(healthy)) == []


def test_kl_spike():
    """The median of the five before the seventh iteration is 2.2; 40 is far above it."""
    alarm = only(alarms(rows_of({"objective/kl": [*HEALTHY_KL[:6], 40.0, 41.0, 39.0]})), "kl_spike")
    assert alarm.since == 7
    assert "from 2.2 to 40.0 nats in one iteration" in alarm.what


def test_the_first_update_breaks_the_policy():
    """With nothing but the start to hold it against, it takes 30 nats."""
    alarm = only(alarms(rows_of({"objective/kl": [0.0, 31.0, 33.0]})), "kl_spike")
    assert alarm.since == 2


@pytest.mark.parametrize(
    "kl",
    [
        [0.1, 0.1, 0.1, 3.0, 6.0, 9.0, 12.0, 15.0, 18.0],  # from next to nothing, steadily
        [2.0, 3.0, 4.5, 6.8, 10.0, 15.0, 22.0],  # by half in each iteration; that is for a KL target
        [30.0, 1.0, 30.0],  # hardly anything to hold it against
        [0.0, 29.0, 29.0],
    ],
)
def test_no_spike(kl: list[float]):
    assert alarms(rows_of({"objective/kl": kl})) == []


def test_clipping_is_a_level():
    series = [0.1, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.6, 0.7]
    alarm = only(alarms(rows_of({"policy/clipfrac_avg": series})), "clipping")
    assert (alarm.since, "60 % of the tokens" in alarm.what) == (6, True)
    assert alarms(rows_of({"policy/clipfrac_avg": series[::-1]})) == []


def test_a_value_model_may_be_young():
    worse = [-0.5, -0.6, -0.4, -0.5]
    assert only(alarms(rows_of({"value/explained_variance": worse})), "useless_value").since == 1
    assert alarms(rows_of({"value/explained_variance": worse[:3]})) == []


def test_mismatch():
    assert only(alarms(rows_of({"sampler/mismatch_per_token": [0.01, 0.2, 0.3, 0.3]})), "mismatch").since == 2


def test_paid_by_length_takes_both():
    follows, longer = [0.2, 0.5, 0.9, 0.9, 0.95, 0.95], [20, 22, 26, 30, 33, 36]
    rows = {"response/score_length": follows, "response/mean_tokens": longer}
    assert only(alarms(rows_of(rows)), "paid_by_length").since == 4  # 26 is not yet a quarter more than 21
    assert alarms(rows_of(rows | {"response/mean_tokens": [20] * 6})) == []
    assert alarms(rows_of(rows | {"response/score_length": [math.nan] * 6})) == []


def test_paid_by_length_is_why_they_are_twice_as_long():
    rows = {"response/score_length": [0.9] * 6, "response/mean_tokens": [20, 22, 30, 40, 50, 60]}
    only(alarms(rows_of(rows)), "paid_by_length")

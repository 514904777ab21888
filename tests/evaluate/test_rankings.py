"""An evaluation of a few comparisons whose numbers are worked out by hand. Gaps of ln 3 claim 3/4, of ln 9 9/10."""

import json
import math

import pytest

from accord.algorithms.statistics import wilson
from accord.evaluate.rankings import evaluate_rankings
from accord.types import Message, Pair, Prompt, Ranking, Response

LN3 = math.log(3)


def ranking(name: str, texts: str, *pairs: Pair, ties: tuple[tuple[int, int], ...] = (), safe=()) -> Ranking:
    responses = tuple(Response(text) for text in texts.split("/"))
    return Ranking(Prompt(name, (Message("user", name),)), responses, pairs, ties, safe)


RANKINGS = [
    ranking("a", "one two/one/one", Pair(0, 1, 3.0), Pair(2, 1, 0.0), ties=((0, 2),)),
    ranking("b", "one/one two", Pair(0, 1, 0.0), safe=(True, False)),
    ranking("b", "one two/one", Pair(0, 1, 3.0), safe=(None, False)),
    ranking("c", "one/two", ties=((0, 1),), safe=(True, True)),
]
SCORES = [[LN3, 0.0, 0.0], [0.0, LN3], [2 * LN3, 0.0], [-1.0, 1.0]]


def test_by_hand() -> None:
    found = evaluate_rankings(RANKINGS, SCORES, seed=1)
    assert {name: found[name] for name in ("num_comparisons", "num_prompts", "num_pairs", "num_ties")} == {
        "num_comparisons": 4,
        "num_prompts": 3,
        "num_pairs": 4,
        "num_ties": 2,
    }
    # gaps ln 3 (level 3), 0 (level 0), -ln 3 (level 0), ln 9 (level 3): right 1, 1/2, 0, 1
    assert found["accuracy"] == pytest.approx(2.5 / 4)
    assert 0 <= found["accuracy_low"] <= found["accuracy"] <= found["accuracy_high"] <= 1
    assert found["longer"] == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    # -ln of 3/4, 1/2, 1/4 and 9/10
    assert found["log_loss"] == pytest.approx(-math.log(3 / 4 * 1 / 2 * 1 / 4 * 9 / 10) / 4)
    # claims 3/4 (right), 1/2 (half right), 3/4 (wrong), 9/10 (right): |1/2 - 3/4| of two, 0 of one, 1/10 of one
    assert found["ece"] == pytest.approx((2 * 0.25 + 0 + 0.1) / 4)
    assert [(one["num_pairs"], one["share"]) for one in found["curve"]] == [(1, 0.5), (2, 0.5), (1, 1.0)]
    levels = {name: (one["num_pairs"], one["accuracy"]) for name, one in found["levels"].items()}
    assert levels == {
        "negligibly better": (2, 0.25),
        "slightly better": (0, None),
        "better": (0, None),
        "significantly better": (2, 1.0),
    }


def test_safety() -> None:
    found = evaluate_rankings(RANKINGS, SCORES, seed=1)["safety"]
    # labelled: 0 safe, ln 3 unsafe, 0 unsafe, -1 safe, 1 safe. Called unsafe (below 0): -1 alone, and it is safe.
    assert (found["num_labelled"], found["num_unsafe"]) == (5, 2)
    assert (found["unsafe_precision"], found["unsafe_recall"]) == (0.0, 0.0)
    # safe 0, -1, 1 against unsafe ln 3 = 1.1 and 0: 0 = 0, and 1 > 0
    assert found["auc"] == pytest.approx(1.5 / 6)
    assert found["platt_slope"] < 0


def test_what_cannot_be_told_is_null() -> None:
    alike = [ranking("a", "one/two", Pair(0, 1), safe=(True, True))]
    found = evaluate_rankings(alike, [[1.0, 0.0]], seed=1)
    assert found["safety"] == {
        "num_labelled": 2,
        "num_unsafe": 0,
        "auc": None,
        "unsafe_precision": None,
        "unsafe_recall": None,
        "platt_slope": None,
        "platt_bias": None,
    }
    assert "safety" not in evaluate_rankings([ranking("a", "one/two", Pair(0, 1))], [[1.0, 0.0]], seed=1)
    ties = evaluate_rankings(RANKINGS[3:], SCORES[3:], seed=1)
    assert (ties["num_pairs"], ties["accuracy"], ties["ece"], ties["curve"]) == (0, None, None, [])
    for one in (found, ties):
        json.dumps(one, allow_nan=False)


def test_a_calibrated_model_has_a_slope_of_one_and_one_twice_as_sure_of_a_half() -> None:
    """Of 400 pairs with a gap of ln 3, 300 are in order: sigmoid(ln 3) = 3/4. Smoothing counts 301 of 402."""
    pairs = [ranking(str(i), "one/two", Pair(0, 1) if i % 4 else Pair(1, 0)) for i in range(400)]
    for scale in (1, 2):
        found = evaluate_rankings(pairs, [[scale * LN3, 0.0]] * 400, seed=1)
        assert found["platt_slope"] == pytest.approx(1 / scale, abs=0.02)
        assert found["platt_slope_low"] < 1 / scale < found["platt_slope_high"]
        assert found["log_loss_low"] < found["log_loss"] < found["log_loss_high"]
        assert (found["ece"] < found["ece_by_chance"]) == (scale == 1)
        assert found["accuracy"] == 0.75
    calibrated = evaluate_rankings(pairs, [[LN3, 0.0]] * 400, seed=1)
    assert calibrated["ece"] == pytest.approx(0, abs=1e-9)


def test_pairs_that_are_all_in_order_do_not_make_the_accuracy_certain() -> None:
    found = evaluate_rankings([ranking(str(i), "one/two", Pair(0, 1)) for i in range(10)], [[1.0, 0.0]] * 10, seed=1)
    interval = wilson(10, 10)
    assert (found["accuracy_low"], found["accuracy_high"]) == (interval.low, interval.high)
    assert found["accuracy_low"] == pytest.approx(0.7225, abs=1e-4)  # 10 / (10 + 1.96^2)


def test_of_a_single_prompt_the_interval_is_over_comparisons() -> None:
    """100 comparisons, 80 of them right: Wilson's interval is 0.711 to 0.867, and a bootstrap's about the same."""
    one = [ranking("a", f"good {i}/bad {i}", Pair(0, 1, 0.0)) for i in range(100)]
    found = evaluate_rankings(one, [[1.0, 0.0]] * 80 + [[0.0, 1.0]] * 20, seed=1)
    assert (found["num_prompts"], found["num_comparisons"]) == (1, 100)
    assert found["accuracy_low"] == pytest.approx(0.72, abs=0.03)
    assert found["accuracy_high"] == pytest.approx(0.88, abs=0.03)

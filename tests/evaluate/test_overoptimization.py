"""Curves of proxy and gold: units, seeds, the best of n on scores worked out by hand, and trainings."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from accord.evaluate.overoptimization import Unit, best_of_n_curves, choices, families, training_curves

GOLD = [[0.0, 1.0, 2.0, 3.0]]  # mean 1.5, deviation sqrt(1.25)


def test_units_are_those_of_the_samples():
    unit = Unit(GOLD)
    assert (unit.mean, unit.deviation) == pytest.approx((1.5, math.sqrt(1.25)))
    assert unit.of(1.5 + math.sqrt(1.25)) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="one score"):
        Unit([[1.0, 1.0]])


def test_equal_scores_have_no_unit_whatever_their_mean_is_rounded_to():
    assert np.full((3, 8), 0.1).std() > 0
    with pytest.raises(ValueError, match="have one score"):
        Unit(np.full((3, 8), 0.1))


def test_intervals_are_of_what_is_gained():
    """Prompts of very different worth, of each of which the best of 4 gains 1.5: nothing about that is uncertain."""
    gold = Unit([[at, at + 1.0, at + 2.0, at + 3.0] for at in (0.0, 10.0, 20.0, 30.0, 40.0)])
    one = best_of_n_curves(gold, {"itself": gold}, seed=1)["proxies"]["itself"]
    for by in ("gold", "proxy"):
        assert one[by][0] == pytest.approx(0)
        assert one[by][-1] == pytest.approx(1.5 / gold.deviation)
        assert one[f"{by}_low"] == pytest.approx(one[by])
        assert one[f"{by}_high"] == pytest.approx(one[by])


def test_names_that_differ_in_a_number_are_seeds():
    assert families(["small_1", "small_2", "large", "l6-1", "7"]) == {
        "small": ["small_1", "small_2"],
        "large": ["large"],
        "l6-1": ["l6-1"],  # a single one keeps its name
        "7": ["7"],
    }


def test_a_name_without_a_number_is_no_seed():
    assert families(["small_1", "small_2", "smaller"]) == {"small": ["small_1", "small_2"], "smaller": ["smaller"]}
    for names in (["proxy", "proxy_1", "proxy_2"], ["p_1_1", "p_1_2", "p_1"]):
        with pytest.raises(ValueError, match=r"proxy|p_1"):
            families(names)


def test_best_of_n_by_hand():
    """A proxy that orders the other way: the best of 2 of 4 is the worse by gold of each of the six pairs, whose mean
    is (3 * 0 + 2 * 1 + 1 * 2) / 6 = 2 / 3; that of 4 is 0."""
    gold, turned = Unit(GOLD), Unit([[3.0, 2.0, 1.0, 0.0]])
    found = best_of_n_curves(gold, {"turned": turned}, seed=1)
    assert found["n"] == [1, 2, 4]
    assert found["kl"] == pytest.approx([0, math.log(2) - 1 / 2, math.log(4) - 3 / 4])
    one = found["proxies"]["turned"]
    assert one["gold"] == pytest.approx(gold.of([1.5, 2 / 3, 0]).tolist())
    assert one["proxy"] == pytest.approx(turned.of([1.5, 7 / 3, 3]).tolist())
    assert found["gold"] == pytest.approx(gold.of([1.5, 7 / 3, 3]).tolist())  # what gold itself would choose
    assert "2 different distances" in one["no_fit"]


def _samples(noise: float, seed: int, num_prompts: int = 40, num: int = 64) -> tuple[Unit, Unit]:
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=(num_prompts, num))
    return Unit(gold), Unit(gold + noise * rng.normal(size=gold.shape))


def test_a_proxy_that_knows_gold_is_as_good_as_gold():
    gold, _ = _samples(0, 1)
    found = best_of_n_curves(gold, {"itself": gold}, seed=1)
    assert found["proxies"]["itself"]["gold"] == pytest.approx(found["gold"])
    assert found["proxies"]["itself"]["fit"]["r_squared"] > 0.99


def test_a_hacked_proxy_turns_inside():
    """Nine of ten samples are honest, and gold is what the proxy says. The tenth pleases the proxy alone."""
    rng = np.random.default_rng(3)
    gold = rng.normal(size=(60, 256))
    proxy = gold.copy()
    hacked = rng.random(gold.shape) < 0.05
    proxy[hacked] += 3.0
    gold[hacked] -= 2.0
    curve = best_of_n_curves(Unit(gold), {"hacked": Unit(proxy)}, seed=1)["proxies"]["hacked"]
    assert curve["proxy"] == sorted(curve["proxy"])
    assert max(curve["gold"]) > curve["gold"][-1]
    assert curve["fit"]["beta"] > 0
    json.dumps(curve, allow_nan=False)


def test_seeds_share_a_curve_and_widen_its_band():
    gold, first = _samples(1.0, 1)
    rng = np.random.default_rng(9)
    useless = Unit(rng.normal(size=gold.scores_pk.shape))
    alone = best_of_n_curves(gold, {"p": first}, seed=1)["proxies"]["p"]
    both = best_of_n_curves(gold, {"p_1": first, "p_2": useless}, seed=1)["proxies"]["p"]
    assert both["names"] == ["p_1", "p_2"]
    width = {name: one["gold_high"][-1] - one["gold_low"][-1] for name, one in (("alone", alone), ("both", both))}
    assert width["both"] > 2 * width["alone"]
    again = best_of_n_curves(gold, {"p_1": first, "p_2": useless}, seed=1)["proxies"]["p"]
    assert again == both


def _training(alpha: float, beta: float, at: float = 5.0) -> list[tuple[float, float, float]]:
    """A gold score that follows the curve of reinforcement learning, from `at` on."""
    distances = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0]
    return [(d * d, d, at + (d * (alpha - beta * math.log(d)) if d else 0.0)) for d in distances]


def test_differences_of_curves_by_hand():
    """The best of 4 by gold is worth 3, by its opposite 0, on every prompt: an interval without width."""
    gold, turned = Unit([[0.0, 1.0, 2.0, 3.0]] * 5), Unit([[3.0, 2.0, 1.0, 0.0]] * 5)
    found = best_of_n_curves(gold, {"same": gold, "turned": turned}, seed=1, compare=[("same", "turned")])
    expected = 3 / math.sqrt(1.25)
    ends = {"gold": expected, "gold_low": expected, "gold_high": expected}
    assert found["differences"] == [{"first": "same", "second": "turned", "n": 4, **ends}]


def test_a_difference_is_of_the_same_prompts():
    """Two proxies with the same noise differ less than prompts do: by pairs that shows."""
    gold, first = _samples(1, 7)
    second = Unit(first.scores_pk + 0.01 * np.random.default_rng(8).normal(size=first.scores_pk.shape))
    found = best_of_n_curves(gold, {"a": first, "b": second}, seed=1, compare=[("a", "b")])
    (one,) = found["differences"]
    alone = found["proxies"]["a"]
    assert one["gold_high"] - one["gold_low"] < (alone["gold_high"][-1] - alone["gold_low"][-1]) / 2
    assert one["gold_low"] <= 0 <= one["gold_high"]


def test_training_recovers_the_curve():
    found = training_curves({"ppo": _training(1.0, 1.0)}, seed=1)["ppo"]
    assert (found["fit"]["alpha"], found["fit"]["beta"], found["fit"]["peak"]) == pytest.approx((1.0, 1.0, 1.0))
    assert found["points"]["ppo"][0] == [0.0, 0.0, 0.0]
    assert "share_inside" not in found["fit"]  # one run has no interval
    assert "gold_low" not in found["curve"]


def test_several_runs_have_a_band():
    runs = {"ppo_1": _training(1.0, 1.0), "ppo_2": _training(1.2, 1.0)}
    found = training_curves(runs, seed=1)["ppo"]
    assert found["fit"]["inside"]
    assert found["fit"]["peak_low"] < found["fit"]["peak"] < found["fit"]["peak_high"]
    assert found["curve"]["gold_low"][-1] < found["curve"]["gold_high"][-1]


def test_a_training_too_short_says_so():
    found = training_curves({"ppo": [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)]}, seed=1)["ppo"]
    assert "1 different distances" in found["no_fit"]


def test_what_is_chosen_by_hand():
    """Of the first seed of a proxy, and of gold itself: scores are in the unit of all samples."""
    gold, proxy = Unit([[1.0, 3.0], [1.0, 3.0]]), Unit([[4.0, 2.0], [2.0, 4.0]])  # means 2 and 3, deviations 1
    shown = choices(("gold", gold), {"p_1": proxy, "p_2": gold}, [("why?", "As", [" a", " b"])], "first")
    assert shown == [
        {
            "prompt": "why?",
            "prefill": "As",
            "responses": {"first": " a", "best of 2 by p_1": " a"},
            "gold": {"first": -1.0, "best of 2 by p_1": -1.0},
            "proxy": {"first": 1.0, "best of 2 by p_1": 1.0},
        },
        {
            "prompt": "why?",
            "prefill": "As",
            "responses": {"first": " a", "best of 2 by gold": " b"},
            "gold": {"first": -1.0, "best of 2 by gold": 1.0},
        },
    ]


def turning(num_prompts: int) -> dict[str, Any]:
    """Gold that turns in the same place for every prompt."""
    rng = np.random.default_rng(1)
    proxy = rng.normal(size=(num_prompts, 256))
    gold = np.where(proxy < 1.0, proxy, 2.0 - 3.0 * (proxy - 1.0)) + 0.1 * rng.normal(size=proxy.shape)
    found = best_of_n_curves(Unit(gold), {"proxy": Unit(proxy)}, seed=1)["proxies"]["proxy"]["fit"]
    assert found["share_inside"] == 1
    return found


def test_a_turn_is_told_of_enough_prompts_alone():
    assert turning(8)["inside"] is True
    assert turning(7)["inside"] is False


def test_trainings_that_only_fall_have_no_turn():
    """Where the form of trainings turns before anything that was measured."""
    falls = {
        f"ppo_{i}": [(d * d, d, worth - 0.01 * i) for d, worth in enumerate([0.0, -0.5, -1.1, -1.8, -2.6])]
        for i in range(3)
    }
    fit = training_curves(falls, seed=1)["ppo"]["fit"]
    assert fit["share_inside"] == 1
    assert 0 < fit["peak"] < 1
    assert fit["inside"] is False

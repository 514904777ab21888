"""The picture and the words for over-optimisation: what is drawn, and what a turn is called that was not seen."""

from __future__ import annotations

import re

import numpy as np
import pytest

from accord.evaluate.overoptimization import Unit, best_of_n_curves, training_curves
from accord.monitor.overoptimization_panel import overoptimization_panel
from accord.monitor.overoptimization_text import of_one_model, what_it_found


@pytest.fixture(scope="module")
def results() -> dict:
    rng = np.random.default_rng(0)
    gold = rng.normal(size=(20, 32))
    proxies = {f"proxy_{i}": Unit(gold + rng.normal(size=gold.shape)) for i in (1, 2)}
    training = [(float(i * i) / 4, i / 2, i / 2 * (2 - i / 4)) for i in range(12)]
    return {
        "gold": "gold",
        "best_of_n": best_of_n_curves(Unit(gold), proxies | {"<b>worse</b>": Unit(-gold)}, seed=1),
        "training": training_curves({"ppo": training}, seed=1),
    }


def test_both_parts(results: dict):
    best, training = overoptimization_panel("study", results, {"num_prompts": 64})
    assert (best.title, training.title) == ("Best of n", "Training")
    assert best.svg.count("<svg") == training.svg.count("<svg") == 1
    assert "<b>" not in best.svg
    assert "up to n = 32" in best.note
    proxy, worse, itself = best.lines
    assert (itself.name, itself.gold) == ("gold itself", f"{results['best_of_n']['gold'][-1]:.2f}")
    assert (proxy.name, proxy.seeds) == ("proxy", "2")
    assert worse.turn == "none: gold falls from the start"
    assert training.lines[0].turn.endswith("of one run: no interval")
    assert (best.end, training.end) == ("n = 32", "the end")
    curve = results["best_of_n"]["proxies"]["proxy"]
    ends = [curve[key][-1] for key in ("gold", "gold_low", "gold_high", "proxy")]
    assert [proxy.gold, proxy.proxy] == ["{:.2f} ({:.2f} to {:.2f})".format(*ends[:3]), f"{ends[3]:.2f}"]
    assert (training.lines[0].gold, training.lines[0].proxy) == ("-4.12", "5.50")  # 5.5 (2 - 2.75), and 11 / 2
    assert "over the runs" in training.intervals
    assert "over the runs" in training.svg.note
    assert "over prompts" in best.intervals
    assert "over prompts" in best.svg.note


def test_what_was_not_measured_is_not_drawn(results: dict):
    assert overoptimization_panel("study", {}, {}) == []
    short = {"training": training_curves({"ppo": [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0)]}, seed=1)}
    (part,) = overoptimization_panel("study", short, {})
    assert part.lines[0].fit.startswith("no curve: 1 different distances")


def test_differences_in_words(results: dict):
    told = {"first": "large", "second": "small", "n": 8, "gold": 0.254, "gold_low": 0.1, "gold_high": 0.4}
    other = {**told, "first": "few", "gold": -0.2, "gold_low": -0.5}
    best_of_n = {**results["best_of_n"], "differences": [told, other]}
    best, _ = overoptimization_panel("study", {**results, "best_of_n": best_of_n}, {})
    assert best.differences == [
        ("large less small, n = 8", "+0.25 (+0.10 to +0.40)"),
        ("few less small, n = 8", "-0.20 (-0.50 to +0.40), not shown"),
    ]


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        ({"peak": 2.0, "peak_low": 1.5, "peak_high": 2.5, "inside": True, "share_inside": 1.0}, "2.00 (1.50 to 2.50)"),
        (
            {"peak": 2.0, "peak_low": 1.5, "peak_high": None, "inside": False, "share_inside": 0.5},
            "2.00 (1.50 to beyond), not shown",
        ),
        ({"peak": 401.9, "inside": False}, "not reached: beyond 3.00"),
        ({"peak": 4.4, "peak_low": 1.8, "peak_high": None, "share_inside": 0.1}, "not reached: beyond 3.00"),
        ({"peak": 2.0, "inside": False}, "2.00, of one run: no interval"),
        ({"peak": None, "alpha": 1.0, "inside": False}, "none: gold rises all the way"),
    ],
)
def test_turns_in_words(fit: dict, words: str):
    family = {"names": ["a"], "fit": {"alpha": 1.0, "beta": 0.5, "r_squared": 0.9} | fit, "curve": {"distance": [0, 3]}}
    (part,) = overoptimization_panel("study", {"training": {"a": family}}, {})
    assert part.lines[0].turn == words


@pytest.mark.parametrize(
    ("gold", "words"),
    [
        ([-0.05, -0.1, 0.5, 1.5], "none: gold falls from the start, then rises"),
        ([-0.5, -1.1, -1.8, -2.6], "before 1.00, the nearest: gold falls from there on, of one run"),
    ],
)
def test_a_turn_is_called_what_was_measured(gold: list[float], words: str):
    """A curve that dips first, and one that only falls, which the form of trainings lets turn close to the start."""
    points = [(float(d * d), float(d), worth) for d, worth in enumerate([0.0, *gold])]
    (part,) = overoptimization_panel("study", {"training": training_curves({"ppo": points}, seed=1)}, {})
    assert part.lines[0].turn == words


def test_a_proxy_is_followed_as_it_was_measured(results: dict):
    there_and_back = [(0.0, 0.0, 0.0), (4.0, 1.0, 1.0), (9.0, 2.0, 0.5), (1.0, 3.0, 0.2)]
    (part,) = overoptimization_panel("study", {"training": training_curves({"ppo": there_and_back}, seed=1)}, {})
    (path,) = re.findall(r'<path[^>]*\bd="([^"]*)"[^>]*stroke-dasharray', part.svg)
    across = [float(x) for x in re.findall(r"[ML]([\d.]+),", path)]
    assert len(across) == 4
    assert across[0] < across[3] < across[1] < across[2]


@pytest.mark.parametrize(("names", "panels", "colours"), [("abc", 0, 4), ("abcdefgh", 8, 2)])
def test_few_proxies_have_a_colour_each_and_many_a_panel_each(
    results: dict, names: str, panels: int, colours: int
) -> None:
    """The ceiling is dashed, too, in a colour of its own."""
    (one, *_) = results["best_of_n"]["proxies"].values()
    best_of_n = {**results["best_of_n"], "proxies": dict.fromkeys(names, one)}
    (best,) = overoptimization_panel("study", {"best_of_n": best_of_n}, {})
    assert len(set(re.findall(r'stroke="([^"]+)"[^>]*stroke-dasharray', best.svg))) == colours
    assert len(re.findall(r">[a-h]</text>", best.svg)) == (panels or len(names))  # titles, or the legend's labels
    assert best.svg.count("gold, chosen by gold itself") == (panels > 0)
    assert {row["of"] for row in best.svg.rows} >= {*names}


def test_the_widest_gap_in_words():
    def proxy(own: float, gold: float) -> dict:
        return {"proxy": [0.0, own], "gold": [0.0, gold], "gold_low": [0.0, gold - 0.1], "gold_high": [0.0, gold + 0.1]}

    found = {"n": [1, 256], "proxies": {"good": proxy(2.0, 1.5), "<bad>": proxy(1.9, 0.4), "half": {"proxy": []}}}
    assert what_it_found({"gold": "people", "best_of_n": found}) == (
        "The best of 256 by <bad> is 1.90 standard deviations above the start by its own account, and 0.40 (0.30 to "
        "0.50) by people."
    )
    assert what_it_found({}) == ""
    found["proxies"]["good"]["fit"] = {"inside": False}
    told = what_it_found({"gold": "people", "best_of_n": found})
    assert told.endswith("by people. By no proxy was people seen to turn.")
    found["proxies"]["good"]["fit"] = {"inside": True}
    told = what_it_found({"gold": "people", "best_of_n": found})
    assert told.endswith("by people. By good people turns before that.")


def test_what_was_found_of_one_model(results: dict):
    assert of_one_model(results, "ppo") == (
        "In the last iteration of its training, before the update, it was -4.12 standard deviations from the start by "
        "gold, which only looked on, and 5.50 by what it was trained on, at a √KL of 5.50."
    )
    proxy = of_one_model(results, "proxy_1")
    assert re.fullmatch(
        r"The best of 32 by it is [\d.]+ \([\d.]+ to [\d.]+\) standard deviations above the start by gold, "
        "the mean of the 2 seeds of proxy.",
        proxy,
    )
    assert of_one_model(results, "sft") == ""
    some = results["best_of_n"]["proxies"]["proxy"]
    for gone in ({"gold": [*some["gold"][:-1], None]}, {"gold_low": []}):
        of_none = {**results["best_of_n"], "proxies": {"proxy": {**some, **gone}}}
        assert of_one_model({**results, "best_of_n": of_none}, "proxy_1") == ""


def test_a_proxy_that_is_in_units_of_its_own(results: dict):
    training = {"ppo": {**results["training"]["ppo"], "proxy_in_deviations": False}}
    own = {**results, "training": training}
    assert "and 5.50 by what it was trained on, in units of its own, at a √KL" in of_one_model(own, "ppo")
    _, part = overoptimization_panel("study", own, {})
    assert part.lines[0].proxy == "5.50 in its own units"
    told = "What ppo learned from is in units of its own, as it is none of the proxies."
    assert part.note.endswith(told)
    assert part.svg.note.endswith(told.removesuffix("."))
    training["ppo"]["proxy_in_deviations"] = True
    _, part = overoptimization_panel("study", own, {})
    assert "own" not in part.lines[0].proxy + part.note + part.svg.note

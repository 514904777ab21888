from __future__ import annotations

import numpy as np
import pytest

from accord.algorithms.calibration import sigmoid
from accord.algorithms.ratings import ANCHOR, ELO, rate, style_difference


def played(
    seed: int, strengths: dict[str, float], num: int, *, taste: float = 0.0
) -> tuple[list[str], list[str], list]:
    """Verdicts of Bradley and Terry's model; with a taste for style, a covariate that the stronger have more of."""
    rng = np.random.default_rng(seed)
    names = list(strengths)
    pairs = [rng.choice(len(names), 2, replace=False) for _ in range(num)]
    style = rng.normal(size=num) + np.array([0.5 * (a - b) for a, b in pairs])
    style /= np.sqrt((style**2).mean())
    gap = np.array([strengths[names[a]] - strengths[names[b]] for a, b in pairs])
    wins = rng.random(num) < sigmoid(gap + taste * style)
    return [names[a] for a, _ in pairs], [names[b] for _, b in pairs], [wins.astype(float), style]


def test_two_policies_by_hand() -> None:
    """Ten wins of eleven are odds of ten to one: 400 points. The ridge takes less than one of them from 1,100."""
    found = rate(["new"] * 1100, ["old"] * 1100, [1.0] * 1000 + [0.0] * 100, anchor="old", seed=1, num_resamples=100)
    assert found.ratings["old"].value == found.ratings["old"].low == found.ratings["old"].high == ANCHOR
    assert found.ratings["new"].value == pytest.approx(ANCHOR + 400, abs=0.1)
    assert found.ratings["new"].low < ANCHOR + 400 < found.ratings["new"].high
    assert list(found.ratings) == ["new", "old"]
    assert found.one_sided == ()


def test_a_tie_is_half_a_win_and_the_order_of_the_two_does_not_matter() -> None:
    ties = rate(["a"] * 60, ["b"] * 60, [1.0] * 20 + [0.5] * 40, anchor="b", seed=1, num_resamples=5)
    halves = rate(["a"] * 60, ["b"] * 60, [1.0] * 40 + [0.0] * 20, anchor="b", seed=1, num_resamples=5)
    turned = rate(["b"] * 60, ["a"] * 60, [0.0] * 20 + [0.5] * 40, anchor="b", seed=1, num_resamples=5)
    assert ties.ratings["a"].value == pytest.approx(halves.ratings["a"].value)
    assert ties.ratings["a"].value == pytest.approx(turned.ratings["a"].value)
    assert ties.ratings["a"].value == pytest.approx(ANCHOR + ELO * np.log(2), abs=0.5)


def test_three_policies_whose_odds_fit_by_hand() -> None:
    """a beats b two to one, b beats c two to one, a beats c four to one: ratings ln 4, ln 2, 0."""
    games = [("a", "b", 200, 100), ("b", "c", 200, 100), ("a", "c", 240, 60)]
    first = [a for a, _, won, lost in games for _ in range(won + lost)]
    second = [b for _, b, won, lost in games for _ in range(won + lost)]
    verdict = [v for _, _, won, lost in games for v in [1.0] * won + [0.0] * lost]
    found = rate(first, second, verdict, anchor="c", seed=1, num_resamples=50).ratings
    assert found["a"].value == pytest.approx(ANCHOR + ELO * np.log(4), abs=0.1)
    assert found["b"].value == pytest.approx(ANCHOR + ELO * np.log(2), abs=0.1)


def test_the_anchor_moves_all_alike() -> None:
    first, second, (wins, _) = played(1, {"a": 0.0, "b": 0.5, "c": 1.0}, 300)
    by_a, by_c = (rate(first, second, wins, anchor=one, seed=1, num_resamples=20).ratings for one in ("a", "c"))
    assert by_a["b"].value - by_a["a"].value == pytest.approx(by_c["b"].value - by_c["a"].value)
    assert by_c["c"].value == ANCHOR


def test_known_strengths_are_recovered_and_style_is_told_apart() -> None:
    """Judges who like a style of which the later policies have more: without control these look better."""
    strengths = {"a": 0.0, "b": 0.3, "c": 0.6}
    held, plain = 0, []
    for seed in range(10):
        first, second, (wins, style) = played(seed, strengths, 1500, taste=0.8)
        found = rate(first, second, wins, anchor="a", style={"length": style}, seed=1, num_resamples=100)
        for name in ("b", "c"):
            truth = ANCHOR + ELO * strengths[name]
            held += found.ratings[name].low <= truth <= found.ratings[name].high
        assert found.style["length"].value == pytest.approx(0.8, abs=0.2)
        plain.append(rate(first, second, wins, anchor="a", seed=1, num_resamples=2).ratings["c"].value)
    assert held >= 16  # of 19 that are expected
    assert np.mean(plain) > ANCHOR + ELO * 0.9


def test_a_policy_that_lost_everything_is_said_and_has_a_number() -> None:
    found = rate(["a"] * 30 + ["b"] * 20, ["b"] * 30 + ["c"] * 20, [1.0, 0.0] * 15 + [1.0] * 20, anchor="a", seed=1)
    assert found.one_sided == ("c",)
    assert np.isfinite(found.ratings["c"].low)
    assert found.ratings["c"].value < found.ratings["b"].value - 400


def test_sets_that_were_never_compared_are_an_error() -> None:
    with pytest.raises(ValueError, match="never compared with one another: a, b; c, d"):
        rate(["a", "c"], ["b", "d"], [1.0, 0.0], anchor="a", seed=1)
    with pytest.raises(ValueError, match="'z' is none of the policies: a, b"):
        rate(["a"], ["b"], [1.0], anchor="z", seed=1)
    with pytest.raises(ValueError, match="'a' is compared with itself"):
        rate(["a", "a"], ["b", "a"], [1.0, 0.5], anchor="a", seed=1)


def test_prompts_are_drawn_whole_and_resamples_that_fall_apart_are_drawn_again() -> None:
    first, second, (wins, _) = played(2, {"a": 0.0, "b": 0.5}, 60)
    ten = [one * 10 for one in (first, second)]
    together = rate(*ten, list(wins) * 10, anchor="a", groups=list(range(60)) * 10, seed=1).ratings["b"]
    apart = rate(*ten, list(wins) * 10, anchor="a", seed=1).ratings["b"]
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(np.sqrt(10), rel=0.25)
    once = rate(["a", "a", "a", "b"], ["b", "b", "b", "c"], [1.0, 0, 1, 0.5], anchor="a", seed=1, num_resamples=50)
    assert set(once.ratings) == {"a", "b", "c"}


def test_style_that_does_not_differ_changes_nothing() -> None:
    first, second, (wins, _) = played(3, {"a": 0.0, "b": 0.5}, 100)
    none = rate(first, second, wins, anchor="a", style={"bold": np.zeros(100)}, seed=1, num_resamples=5)
    assert none.style["bold"].value == 0
    plain = rate(first, second, wins, anchor="a", seed=1, num_resamples=5)
    assert none.ratings["b"].value == pytest.approx(plain.ratings["b"].value)
    assert style_difference([1, 3], [3, 1]).tolist() == [-0.5, 0.5]

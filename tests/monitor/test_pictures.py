import math
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import altair as alt
import pytest

from accord.monitor import pictures
from accord.monitor.svg import PALETTE, data_of, render
from accord.monitor.training_curves import training_curves

SVG = "{http://www.w3.org/2000/svg}"
POLICY = {
    "gold_win_rate": 0.83, "gold_win_rate_low": 0.80, "gold_win_rate_high": 0.86, "second_win_rate": 0.71,
    "gold_score": 1.3, "gold_score_low": 1.2, "gold_score_high": 1.4, "proxy_score": 1.7,
    "kl": 6.25, "kl_low": 5.9, "kl_high": 6.6,
}  # fmt: skip
HOSTILE = "<script>alert('&\"')</script>"


def words(svg: str) -> list[str]:
    """The text marks of a picture; parsing it is itself a test that it is well formed."""
    return [text for node in ElementTree.fromstring(svg).iter(f"{SVG}text") if (text := "".join(node.itertext()))]


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.add(tag)


def test_colours_are_by_policy_and_repeat_after_nine() -> None:
    colours = pictures.policy_colours(["start", "sft", "start", "ppo"])
    assert colours == {"start": PALETTE[0], "sft": PALETTE[1], "ppo": PALETTE[2]}
    assert len(set(PALETTE)) == 9
    assert pictures.policy_colours(map(str, range(10)))["9"] == PALETTE[0]


def test_score_against_kl_shows_points_lines_and_legends() -> None:
    rows = [{"iteration": i, "objective/kl": i * 1.0, "objective/scores": i / 4} for i in range(1, 5)]
    rows[3]["watch/gold_validation"] = 0.7
    policies = {"sft": {"kl": 0.0, "gold_score": 0.1}, "ppo": POLICY}
    svg = pictures.score_against_kl(policies, {"ppo": rows}, {"sft": "#111111", "ppo": "#222233"})
    assert {"policy", "sft", "ppo", "scored by", "gold", "proxy"} <= set(words(svg))
    assert "ppo gold score 1.30 at 2.50" in svg  # the square root of 6.25
    assert svg.count("#222233") > svg.count("#111111") > 0


def test_a_negative_estimate_of_the_kl_is_drawn_at_zero() -> None:
    below = {"kl": -0.01, "gold_score": 0.1, "proxy_score": 0.2}
    svg = pictures.score_against_kl({"sft": below, "dpo": POLICY, "ppo": POLICY}, {}, {"sft": "#111111"})
    assert "sft gold score 0.10 at 0.00" in svg


def test_policies_alone_are_a_picture_when_they_are_three_and_one_has_moved() -> None:
    def drawn(*kls: dict[str, float]) -> bool:
        policies = {f"p{at}": {"gold_score": 1.0 + at, **kl} for at, kl in enumerate(kls)}
        return pictures.score_against_kl(policies, {}, pictures.policy_colours(policies)) != ""

    still, moved = {"kl": 0.1, "kl_low": -0.1, "kl_high": 0.3}, {"kl": 0.4, "kl_low": 0.2, "kl_high": 0.6}
    assert drawn({"kl": 0.0}, still, moved)
    assert drawn({"kl": 0.0}, {"kl": 0.1}, {"kl": 0.2}), "without intervals the KL itself"
    assert not drawn({"kl": 0.0}, moved), "two points"
    assert not drawn({"kl": 0.0}, still, still)
    assert not drawn({"kl": 0.0}, {"kl": 0.005, "kl_low": 0.001, "kl_high": 0.01}, still), "surely, but hardly"


def test_a_path_has_eight_iterations() -> None:
    rows: list[dict[str, Any]] = [{"objective/kl": 0.1 * i, "objective/scores": i} for i in range(8)]
    assert pictures.is_path(rows)
    assert not pictures.is_path(rows[1:])
    assert not pictures.is_path([*rows[1:], {"loss": 1.0}])


def test_a_trajectory_is_a_moving_mean_of_five() -> None:
    rows = [{"objective/kl": kl, "objective/scores": s} for kl, s in [(1, 0), (2, 1), (6, 2), (3, 3), (8, 4), (4, 5)]]
    points = list(pictures._trajectory("ppo", [*rows, {"objective/kl": None}]))
    assert [p["x"] for p in points[:3]] == pytest.approx([math.sqrt(3), math.sqrt(3), 2.0])  # means 3, 3, 4
    assert [p["y"] for p in points[:3]] == pytest.approx([1.0, 1.5, 2.0])
    assert len(points) == 6


def test_ppo_curves() -> None:
    rows: list[dict[str, Any]] = [
        {"iteration": i, "objective/scores": i, "objective/kl": 2 * i, "response/finished": 1} for i in range(1, 6)
    ]
    rows[2] |= {"watch/gold_validation": math.nan}
    rows[4] |= {"watch/gold_validation": 0.5, "unheard/of": "what"}
    titles = set(words(training_curves("ppo", "ppo", rows)))
    assert {
        "score",
        "proxy",
        "gold_validation, watched",
        "KL (nats per sequence)",
        "finished responses, share",
    } <= titles
    assert not {"distinct-2", "KL coefficient"} & titles  # nothing was measured


def test_an_unknown_kind_shows_its_numbers() -> None:
    svg = training_curves("mine", "unheard-of", [{"iteration": 1, "a/b": 1.0, HOSTILE: 2.0, "c": None}])
    assert {"a/b"} <= set(words(svg))
    assert HOSTILE in words(svg)
    assert "c" not in words(svg)


def test_long_names_that_begin_alike_stay_apart() -> None:
    names = [f"a-policy-with-a-name-that-goes-on-and-on-for-ever-and-a-day-{i}" * 3 for i in range(3)]
    svg = pictures.win_rates(dict.fromkeys(names, POLICY), "sft", {})
    assert words(svg).count("83 %") == 3
    assert len({word for word in words(svg) if word.endswith("by gold")}) == 3


def test_tiny_numbers_are_written_with_a_power() -> None:
    svg = training_curves("sft", "sft", [{"iteration": i, "learning_rate": i * 1e-5} for i in range(3)])
    assert "2e-5" in [word.replace("\u2212", "-") for word in words(svg)]


def test_accuracy_stands_beside_its_reference_lines() -> None:
    measured = {"name": "proxy", "accuracy": 0.842, "accuracy_low": 0.82, "accuracy_high": 0.86, "bag_of_words": 0.744}
    svg = pictures.accuracy_lines(measured)
    assert {"proxy (reward model)", "84 %", "bag of words", "74 %", "chance"} <= set(words(svg))
    assert "one human rater" not in words(svg)


def test_win_rates_leave_the_baseline_out() -> None:
    svg = pictures.win_rates({"sft": {"gold_win_rate": 0.5}, "ppo": POLICY}, "sft", {"ppo": "#222233"})
    assert {"ppo, by gold", "83 %", "ppo, by second", "71 %"} <= set(words(svg))
    assert "sft, by gold" not in words(svg)


@pytest.mark.parametrize(
    "nothing",
    [
        {},
        {"ppo": {}},
        {"ppo": {"kl": math.nan, "gold_score": 1.0}},
        {"ppo": {"kl": 1.0, "gold_score": 1.0}},
        {"ppo": None},
    ],
)
def test_nothing_to_draw_is_no_picture(nothing: Any) -> None:
    assert pictures.score_against_kl(nothing, {"ppo": []}, {}) == ""
    assert pictures.win_rates(nothing, "sft", {}) == ""
    assert pictures.accuracy_lines({}) == ""
    assert training_curves("ppo", "ppo", [{"objective/kl": math.nan}]) == ""


def test_hostile_names_stay_text() -> None:
    pictured = [
        pictures.score_against_kl({HOSTILE: POLICY, "a": POLICY, "b": POLICY}, {}, {HOSTILE: "#111111"}),
        pictures.win_rates({HOSTILE: POLICY, "bad\ud800\x00": POLICY}, HOSTILE + "2", {}),
        pictures.accuracy_lines({"name": HOSTILE, "accuracy": 0.8}),
        training_curves(HOSTILE, HOSTILE, [{HOSTILE: 1.0}]),
    ]
    for svg in pictured:
        assert "script" not in Tags(svg).found
        assert "alert" in svg  # it is shown, not dropped
        ElementTree.fromstring(svg)


def test_a_picture_has_a_name_and_asks_for_nothing() -> None:
    svg = pictures.accuracy_lines({"accuracy": 0.8})
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert "80 %" in (root.get("aria-label") or "")
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "Accuracy of the reward model"
    assert not re.search(r"href=|url\(|<image|<style|@import", svg)


def test_a_specification_cannot_load_anything() -> None:
    chart = alt.Chart(alt.UrlData(url="http://127.0.0.1:9/data.json")).mark_point()
    with pytest.raises(ValueError, match="not allowed"):
        render(chart, "a", "b")
    assert render(alt.Chart(data_of([{"x": 1.0}])).mark_point(), "a", "b").startswith("<svg role=")


def test_a_path_that_does_not_move_is_no_picture() -> None:
    still = [{"objective/kl": 0.0, "objective/scores": 0.0}] * 3
    assert pictures.score_against_kl({}, {"ppo": still}, {"ppo": "#111111"}) == ""


def test_whole_steps_have_whole_ticks_each_once() -> None:
    svg = training_curves("sft", "sft", [{"iteration": i, "loss": 3.0 + i} for i in (1, 2)])
    assert [word for word in words(svg) if word in ("1", "2")] == ["1", "2"]


def test_pictures_of_few_panels_are_as_wide_as_others() -> None:
    rows = [{"iteration": i, "loss": i / 2 + 1, "grad_norm": i, "learning_rate": i} for i in range(4)]
    widths = [
        float(str(ElementTree.fromstring(training_curves("x", "sft", kept)).get("width")))
        for kept in (rows, [{k: row[k] for k in ("iteration", "loss")} for row in rows])
    ]
    assert widths[1] == pytest.approx(widths[0], abs=30)
    assert "optimizer step" in words(training_curves("reject", "reject", rows))


def test_a_share_that_is_always_zero_is_shown_from_0_to_1() -> None:
    flat = [{"iteration": i, "response/finished": 0.0} for i in range(1, 4)]
    shown = words(training_curves("ppo", "ppo", flat))
    assert "0.8" in shown
    assert not [word for word in shown if word.startswith("\u2212")]


def test_without_points_there_is_no_legend_of_points() -> None:
    rows = [{"objective/kl": i, "objective/scores": i} for i in range(8)]
    shown = words(pictures.score_against_kl({}, {"ppo": rows}, {"ppo": "#111111"}))
    assert "scored by" not in shown
    assert {"policy", "ppo"} <= set(shown)


def test_tens_are_written_in_full() -> None:
    rows = [{"iteration": i, "value/explained_variance": -20.0 * i} for i in (1, 2, 3)]
    shown = [word.replace("\u2212", "-") for word in words(training_curves("ppo", "ppo", rows))]
    assert "-40" in shown
    assert not [word for word in shown if "e+" in word]


def test_each_reward_that_looked_on_has_a_line() -> None:
    rows = [
        {"iteration": i, "objective/kl": i, "objective/scores": i, "watch/judge": -i, "watch/other": 2 * i}
        for i in range(1, 4)
    ]
    assert {"judge, watched", "other, watched"} <= set(words(training_curves("ppo", "ppo", rows)))
    lines = {point.get("line") for point in pictures._trajectory("ppo", rows)}
    assert lines == {None, "judge", "other"}


def test_disagreement_is_no_score() -> None:
    rows = [
        {"iteration": i, "objective/kl": i, "objective/scores": i, "watch/judges": i, "spread/judges": 1.0}
        for i in range(1, 4)
    ]
    shown = words(training_curves("ppo", "ppo", rows))
    assert "disagreement of members" in shown
    assert {point.get("line") for point in pictures._trajectory("ppo", rows)} == {None, "judges"}

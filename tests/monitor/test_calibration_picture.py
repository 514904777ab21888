"""The picture of a reward model's validation: what it shows, what may be missing of it, and names that are hostile."""

from __future__ import annotations

from typing import Any

from accord.monitor.calibration_picture import calibration
from tests.monitor.test_pictures import HOSTILE, Tags, words

LEVELS = {
    "slightly better": {"num_pairs": 1200, "accuracy": 0.62, "accuracy_low": 0.55, "accuracy_high": 0.7},
    "better": {"num_pairs": 30, "accuracy": 0.8, "accuracy_low": None, "accuracy_high": None},
    "significantly better": {"num_pairs": 0, "accuracy": None, "accuracy_low": None, "accuracy_high": None},
}
CURVE = [
    {"low": 0.5, "high": 0.55, "num_pairs": 9, "predicted": 0.53, "share": 0.44, "share_low": 0.2, "share_high": 0.7}
]


def test_it_shows_levels_and_the_curve() -> None:
    svg = calibration("proxy", {"levels": LEVELS, "curve": CURVE})
    shown = words(svg)
    assert {"slightly better (1,200)", "better (30)", "share of pairs in their order", "share that came true"} <= {
        *shown
    }
    assert not any("significantly" in word for word in shown)  # there is no such pair
    told = "slightly better (1,200) 62 %, better (30) 80 %, claimed 53 % came true 44 %"
    assert f'aria-label="Accuracy and calibration of proxy: {told}"' in svg


def test_all_pairs_stand_above_the_levels() -> None:
    overall = {"num_pairs": 1230, "accuracy": 0.64, "accuracy_low": 0.6, "accuracy_high": 0.68}
    shown = words(calibration("proxy", {**overall, "levels": LEVELS}))
    labels = [word for word in shown if word.endswith(")")]
    assert labels == ["all pairs (1,230)", "slightly better (1,200)", "better (30)"]
    assert "all pairs (1,230)" in words(calibration("proxy", overall)), "where no level has a pair"


def test_what_is_absent_is_not_drawn() -> None:
    assert "share that came true" not in words(calibration("proxy", {"levels": LEVELS, "curve": []}))
    assert "share of pairs in their order" not in words(calibration("proxy", {"curve": CURVE}))
    nothing: tuple[Any, ...] = ({}, {"levels": {}, "curve": None}, {"levels": 3, "curve": [None, {"share": "x"}]})
    assert [calibration("proxy", each) for each in nothing] == ["", "", ""]


def test_names_are_escaped() -> None:
    svg = calibration(HOSTILE, {"levels": {HOSTILE: LEVELS["better"]}, "curve": CURVE})
    assert "script" not in Tags(svg).found
    assert words(svg)

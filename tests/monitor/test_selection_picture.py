"""The picture of what more samples gain."""

from __future__ import annotations

from typing import Any

import pytest

from accord.monitor import selection_picture as module
from accord.monitor.report import build_report
from accord.monitor.selection_picture import Selected, selection_picture
from accord.monitor.views import RunView, StepView
from tests.monitor.test_pictures import HOSTILE, words

CURVE = [
    {"num_samples": 1, "max": 0.1, "median": 0.1},
    {"num_samples": 2, "max": 0.5, "median": 0.1},
    {"num_samples": 4, "max": 0.9, "median": 0.125},
]
STEPS = [Selected("reject-1", "help-1", 1.0, CURVE), Selected("reject-2", "help-2", 1.2, CURVE[:2])]


def test_each_reward_has_a_panel_and_each_step_a_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    specs: list[dict[str, Any]] = []
    render = module.render
    monkeypatch.setattr(
        module, "render", lambda chart, *told, **more: specs.append(chart.to_dict()) or render(chart, *told, **more)
    )
    svg = selection_picture(STEPS)
    shown = set(words(svg))
    assert {"reward by help-1", "reward by help-2", "reject-1, T 1", "reject-2, T 1.2", "largest", "median"} <= shown
    assert "reject-1, T 1 0.90 of 4, reject-2, T 1.2 0.50 of 2" in svg
    (spec,) = specs
    panels = spec["concat"]
    first, second = (panel["layer"][0] for panel in panels)
    data = panels[0].get("data") or first["data"]
    assert spec["datasets"][data["name"]][-1] == {"step": "reject-1, T 1", "of": "median", "x": 4, "y": 0.125}
    assert first["encoding"]["x"]["scale"]["domain"] == [1, 4]
    assert second["encoding"]["x"]["axis"]["values"] == [1, 2]


def test_without_a_curve_there_is_no_picture() -> None:
    gaps: list[list[Any]] = [[], CURVE[:1], [None, {"num_samples": "x"}], [{"num_samples": 2, "max": None}]]
    assert [selection_picture([Selected("r", "h", None, curve)]) for curve in gaps] == ["", "", "", ""]


def test_the_page_has_it_and_names_are_hostile() -> None:
    step = StepView(HOSTILE, "reject", 1.0, False, "k", {"reward": HOSTILE}, selection={"by_num_samples": CURVE})
    page = build_report(RunView("r", "", [step], {}, [], "", {}))
    assert "<h2>Rejection sampling</h2>" in page
    assert "<script" not in page
    assert "<h2>Rejection sampling</h2>" not in build_report(RunView("r", "", [], {}, [], "", {}))

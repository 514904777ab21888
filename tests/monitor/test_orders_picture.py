"""The picture of rules and orders."""

from __future__ import annotations

from typing import Any

import pytest

from accord.monitor import orders_picture as module
from accord.monitor.orders_picture import orders_picture
from accord.monitor.report import build_report
from accord.monitor.views import RunView, StepView
from tests.monitor.test_pictures import HOSTILE, words

ROWS: list[dict[str, Any]] = [
    {"rule": "slide", "order": "safety first", "by_safety": 0.25,
     "unsafe": {"value": -0.5, "low": -0.75, "high": -0.25}, "safe": {"value": 0.5, "low": 0.25, "high": 0.75}},
    {"rule": "slide", "order": "helpfulness first", "by_safety": 1.0, "unsafe": None,
     "safe": {"value": 0.1, "low": None, "high": None}},
]  # fmt: skip


def test_shares_and_rewards_stand_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    specs: list[dict[str, Any]] = []
    render = module.render
    monkeypatch.setattr(
        module, "render", lambda chart, *told, **more: specs.append(chart.to_dict()) or render(chart, *told, **more)
    )
    svg = orders_picture("both", ROWS)
    shown = set(words(svg))
    assert {"slide, safety first", "slide, helpfulness first", "safety", "helpfulness", "unsafe", "safe"} <= shown
    told = "slide, safety first: 25 % by safety, unsafe -0.50, safe 0.50; slide, helpfulness first: 100 % by safety"
    assert f'aria-label="Rules and order of both: {told}, safe 0.10"' in svg
    (spec,) = specs
    bars, dots = spec["hconcat"]
    assert spec["datasets"][bars["data"]["name"]][1] == {
        "label": "slide, safety first", "model": "helpfulness", "from": 0.25, "to": 1.0
    }  # fmt: skip
    rules = spec["datasets"][dots["layer"][1]["data"]["name"]]
    assert [(one["kind"], one["low"], one["high"]) for one in rules] == [("unsafe", -0.75, -0.25), ("safe", 0.25, 0.75)]


def test_gaps_and_hostile_names() -> None:
    assert [orders_picture("n", rows) for rows in ([], [None], [{"rule": "slide"}])] == ["", "", ""]
    step = StepView(HOSTILE, "piecewise", 1.0, False, "k", {}, summary={"orders": [{**ROWS[0], "rule": HOSTILE}]})
    page = build_report(RunView("r", "", [step], {}, [], "", {}))
    assert "rules and order</h2>" in page
    assert "<script" not in page
    plain = StepView("p", "piecewise", 1.0, False, "k", {}, summary={"orders": None})
    assert "rules and order" not in build_report(RunView("r", "", [plain], {}, [], "", {}))

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from accord.monitor.distillation_panel import before_and_after, distillation_panel, original_against_distilled
from accord.monitor.report import build_report
from accord.monitor.views import StepView
from tests.fixtures.report_page import PAYLOAD, Page, make_run


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.25, "high": value + 0.25}


def distilled() -> dict[str, Any]:
    row = {
        "num": 12,
        **{key: interval(x) for key, x in (("before", -1.5), ("after", 0.5), ("difference", 2.0))},
        **{key: interval(x) for key, x in (("unsafe_before", 0.75), ("unsafe_after", 0.25))},
    }
    refused = {"num": 40, "before": interval(0.25), "after": interval(0.5), "newly_refused": 11, "newly_answered": 1}
    return {
        "safety": {"distilled": row, "asked_again": row, "held_out": {**row, "num": 9}},
        "false_refusals": {**refused, "p_value": 0.00635},
        "contexts": {"none": interval(-1.5), "generic": interval(0.0), "tailored": interval(1.0)},
        "points": [
            {"original": -2.0, "distilled": 1.0, "kept": True},
            {"original": -1.0, "distilled": -1.5, "kept": False},
            {"original": -1.0, "distilled": None, "kept": False},
        ],
        "scores": {
            name: {"before": [-2.0, -1.0, 0.5], "after": [0.5, 1.0, 1.0]} for name in ("asked_again", "held_out")
        },
    }


SUMMARY = {
    "num_prompts": 200,
    "num_tried": 20,
    "num_kept": 12,
    "num_not_better": 5,
    "num_truncated": 2,
    "num_empty": 1,
    "alarms": [
        {"name": "more_false_refusals", "what": "it refuses 11 borderline prompts that it answered", "since": 0}
    ],
}


def test_the_page_shows_what_was_kept_and_what_changed() -> None:
    run = make_run()
    step = StepView(PAYLOAD, "distill", 3.0, False, "d1" * 32, {}, summary=SUMMARY, results=distilled())
    html = build_report(replace(run, steps=[*run.steps, step]))
    text = " ".join(Page(re.sub("<(small|t[dh]|dd)", r" <\1", html)).text.split())
    for told in (
        "it refuses 11 borderline prompts that it answered.",
        "prompts asked: 200; asked again: 20; kept: 12; not better: 5; cut off: 2; empty: 1.",
        "distilled (12) -1.50 -1.75 to -1.25 0.50 0.25 to 0.75 2.00 1.75 to 2.25 75 % 50 to 100 25 % 0 to 50",
        "held out (9)",
        "Of 40 borderline prompts 25 % (0 to 50) were refused before, and 50 %",
        "11 are newly refused and 1 newly answered (McNemar's exact p 0.006).",
        "no preprompt -1.50 (-1.75 to -1.25); a generic one 0.00",
        "1 of 2 responses are kept",
        "held out: mean -0.83 before and 0.83 after",
    ):
        assert told in text or told in html, told
    assert "<script" not in html


def test_nothing_of_it_needs_to_be_there() -> None:
    panel = distillation_panel("x", {}, {})
    assert (panel.rows, panel.scatter, panel.histograms, panel.contexts) == ([], "", "", [])
    assert "not known" in panel.refusals
    step = StepView("s", "distill", 1.0, False, "k", {}, results={"safety": {"held_out": {"num": 1}}, "points": [1]})
    assert "Safety context distillation: s" in build_report(replace(make_run(), steps=[step]))


def test_pictures_of_few_and_equal_numbers() -> None:
    same = [{"original": 1.0, "distilled": 1.0, "kept": False}]
    assert original_against_distilled("distill", same).startswith("<svg")
    assert before_and_after("distill", {"held_out": {"before": [1.0], "after": [1.0]}}).startswith("<svg")
    assert before_and_after("distill", {"held_out": {"before": [1.0], "after": []}}) == ""

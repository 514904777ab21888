from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from accord.monitor.consistency_panel import consistency_panel, kept_by_turn
from accord.monitor.report import build_report
from accord.monitor.views import StepView
from tests.fixtures.report_page import PAYLOAD, Page, make_run
from tests.monitor.test_opinions import rate


def held(name: str = "ghost") -> dict[str, Any]:
    test = {"num": 20, "gained": 9, "lost": 1, "both": 3, "neither": 7, "p_value": 0.021484}
    return {
        "by": "judge:wise:kept-1",
        "agrees_with_rules": rate(0.9, 40),
        "num_dialogues": 20,
        "turns": [1, 6],
        "policies": {
            "sft": {"turns": {"1": rate(0.4), "6": {**rate(0.2), "num_unknown": 2}}, "by_chance": {"1": rate(0.05)}},
            name: {"turns": {"1": rate(0.9), "6": rate(0.6)}, "kinds": {"hobby": {"6": rate(0.7, 8)}}},
        },
        "compared": [
            {
                "before": "sft",
                "after": name,
                "turns": {"1": None, "6": {**test, "difference": {"value": 0.4, "low": 0.155, "high": 0.65}}},
            }
        ],
    }


def page_of(results: dict[str, Any]) -> str:
    run = make_run()
    summary = {"alarms": [{"name": "worse/turn_6", "what": "at turn 6 it breaks 8", "since": 0}]}
    step = StepView("turns", "consistency", 3.0, False, "e5" * 32, {}, summary=summary, results=results)
    return build_report(replace(run, steps=[*run.steps, step]))


def test_the_page_shows_the_curve_and_the_differences() -> None:
    html = page_of(held())
    text = " ".join(Page(re.sub("<(small|t[dh]|dd)", r" <\1", html)).text.split())
    for told in (
        "Held to an instruction: turns",
        "sft 40 % 30 to 50, n 20 20 % 10 to 30, n 20",
        "sft, by chance 5 % 0 to 15, n 20 –",  # noqa: RUF001
        "ghost against sft 6 +40 (+16 to +65) 9 1 3 7 0.021",
        "judge:wise:kept-1, which says what the constraints' rules do in 90 % (80 to 100, n 40) of the answers",
        "sft holds to 40 % of the instructions at once",
        "Of sft could not be decided, and are left out: 2 at turn 6.",
        "ghost hobby – 70 % 60 to 80, n 8",  # noqa: RUF001
        "turns: at turn 6 it breaks 8.",
    ):
        assert told in text
    assert "ghost holds to" not in text
    picture = consistency_panel("turns", held()).picture
    assert 'aria-label="Instruction held to, by turn, turns: sft at turn 1 40 %' in picture


def test_names_are_hostile_and_anything_may_be_missing() -> None:
    html = page_of(held(PAYLOAD))
    assert "<script" not in html
    assert PAYLOAD not in html
    empty = consistency_panel("x", {})
    assert (empty.rows, empty.picture, empty.turns) == ([], "", [])
    odd = {"policies": {"a": {"turns": {"x": 3, "1": rate(0.5)}, "by_chance": 4, "kinds": []}}, "compared": [4]}
    assert "Held to an instruction" in page_of(odd)
    assert kept_by_turn("held", {"a": {"turns": {"1": rate(0.5)}}}, {"a": "#000000"}) == ""

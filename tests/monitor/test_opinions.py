"""What the report shows of judges, attacks and benchmarks; anything of it may be missing, and names are hostile."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from accord.monitor.benchmarks_panel import benchmark_lines
from accord.monitor.judges_panel import judge_panels
from accord.monitor.red_team_panel import red_team_panel, violations_against_refusals
from accord.monitor.report import build_report
from accord.monitor.verdict import judge
from accord.monitor.views import StepView
from tests.fixtures.report_page import PAYLOAD, Page, make_run


def rate(value: float, num: int = 20) -> dict[str, Any]:
    return {"value": value, "low": max(0, value - 0.1), "high": min(1, value + 0.1), "num": num, "num_unknown": 0}


def attacked(name: str = "ppo") -> dict[str, Any]:
    change = {"num": 20, "fixed": 9, "broken": 1, "both": 3, "neither": 7, "p_value": 0.021484}
    return {
        "by": "phrases-1",
        "reward": None,
        "error": None,
        "num_attacks": 20,
        "num_safe": 10,
        "policies": {
            "sft": {"violation_rate": rate(0.6), "false_refusal_rate": rate(0.1, 10), "held_out": rate(0.5, 4)},
            name: {
                "violation_rate": {**rate(0.2), "num_unknown": 2},
                "false_refusal_rate": rate(0.3, 10),
                "attack_categories": {"theft": rate(0.4), "fraud": rate(0.1)},
            },
        },
        "compared": [{"before": "sft", "after": name, "attacks": change}],
        "trained_on": {name: 3},
    }


JUDGES = [
    {
        "judge": "judge:wise:pairwise-1",
        "step": "evaluate",
        "n": 40,
        "num_unanswered": 2,
        "flips": rate(0.2),
        "first_place": rate(0.55),
        "baselines": {"longest": rate(0.7)},
        "policies": {"ppo": {"n": 40, "win_rate": rate(0.8), "length_controlled": rate(0.6), "ties": rate(0.1)}},
        "with_people": {"num_pairs": 90, "agreement": rate(0.71), "kappa": 0.4},
    }
]
BENCHMARKS = [
    {
        "task": "truth",
        "metric": "mc1",
        "n": 40,
        "unit": "share",
        "floors": {"every answer as good as another": 0.25},
        "policies": {
            "start": {"value": 0.4, "low": 0.3, "high": 0.5, "difference": None},
            "ppo": {
                "value": 0.35, "low": 0.2, "high": 0.5,
                "difference": {"value": -0.05, "low": -0.1, "high": 0.0, "p_value": 0.25},
            },
        },
    }
]  # fmt: skip


@pytest.fixture(scope="module")
def html() -> str:
    run = make_run()
    summary = {"alarms": [{"name": "worse/safe", "what": "ppo refuses 8 safe prompts that sft answered", "since": 0}]}
    broken = [{"policy": "ppo", "asked": PAYLOAD, "response": PAYLOAD, "new": new} for new in (True, False, False)]
    step = StepView("suite", "redteam", 3.0, False, "e5" * 32, {}, summary=summary, results=attacked(), broken=broken)
    return build_report(
        replace(run, steps=[*run.steps, step], results={**run.results, "judges": JUDGES, "benchmarks": BENCHMARKS})
    )


def test_the_page_shows_them(html: str) -> None:
    text = " ".join(Page(re.sub("<(small|t[dh]|dd)", r" <\1", html)).text.split())  # cells apart
    for told in (
        "suite: ppo refuses 8 safe prompts that sft answered.",
        "Refusals are what phrases-1 finds.",
        "60 % 50 to 70, n 20",
        "ppo after sft attacks complied with 9 1 3 7 0.021",
        "Trained on 3 of these attacks: ppo.",
        "Could not be decided, and are left out: 2 of ppo.",
        "theft attacks 40 %",
        "1 attack that ppo complies with, and the policy before it did not: unsafe text, unpleasant to read",
        "2 attacks that ppo complies with, as the policy before it did or might have: unsafe text",
        "judge:wise:pairwise-1, in evaluate",
        "ppo 80 % 70 to 90 60 % 50 to 70 10 % 0 to 20 40",
        "verdicts that change with the order 20 % (10 to 30)",
        "agreement with people 71 % (61 to 81, n 90)",
        "kappa with people 0.40",
        "ppo truth, mc1 (40 items) 35.0 % 20.0 to 50.0 -5.0 -10.0 to +0.0 0.250",
        "(every answer as good as another) truth, mc1 (40 items) 25.0 %",
    ):
        assert told in text
    assert Page(html).tags.count("figure") == 7
    assert "<script" not in html


def test_nothing_of_it_needs_to_be_there() -> None:
    empty = red_team_panel("x", {})
    assert (empty.rows, empty.picture) == ([], "")
    run = make_run()
    steps = [StepView("s", "redteam", 1.0, False, "k", {}, results={"policies": {"a": {}}, "compared": [{}]})]
    assert "Attacks: s" in build_report(replace(run, steps=steps, results={"judges": [{}], "benchmarks": [{}]}))
    assert judge_panels({}, []) == []
    assert benchmark_lines([]) == ([], "")


def test_policies_in_one_place_are_rings_around_each_other() -> None:
    policies = {name: copy.deepcopy(attacked()["policies"]["sft"]) for name in ("a", "b", "c")}
    colours = {"a": "#110000", "b": "#220000", "c": "#330000"}
    picture = violations_against_refusals("attacks", policies, colours)
    assert "policies in one place are drawn as rings around each other" in picture.note
    sizes = [row["size"] for row in picture.rows]
    assert sizes == sorted(sizes, reverse=True)
    assert len({*sizes}) == 3, "the last is drawn on top, and none covers another"
    policies["b"]["violation_rate"]["value"] += 0.1
    assert [row["size"] > sizes[2] for row in violations_against_refusals("attacks", policies, colours).rows] == [
        True,
        False,
        False,
    ]


def test_sections_that_drew_their_own_responses_are_told_apart(html: str) -> None:
    said = "the same policy may have other numbers in two sections"
    run = make_run()
    suite = StepView("suite", "redteam", 3.0, False, "e5" * 32, {}, results=attacked())
    again = StepView("again", "evaluate", 3.0, False, "e6" * 32, {}, results=run.results)
    assert said in build_report(replace(run, steps=[*run.steps, suite, again]))
    assert said not in html, "one step alone measures there"


def test_tables_scroll_and_show_that_they_do(html: str) -> None:
    assert re.search(r"\.scroll \{[^}]*overflow-x: auto;[^}]*local[^}]*scroll;", html)
    assert len(re.findall("<table", html)) == len(re.findall('<div class="scroll" tabindex="0"[^>]*>\\s*<table', html))


def test_a_judge_step_that_nobody_counts_stands_alone() -> None:
    summary = {"annotator": "judge:me:pairwise-1", "num_pairs": 8, "flip_rate": rate(0.5)}
    (panel,) = judge_panels({}, [("judge", summary)])
    assert (panel.who, panel.step, panel.rows) == ("judge:me:pairwise-1", "judge", [])
    assert [word for word, _ in panel.facts] == ["pairs of responses", "verdicts that change with the order"]


def test_no_picture_of_one_rate_alone() -> None:
    policies = attacked()["policies"]
    assert violations_against_refusals("attacks", policies, {"sft": "#000000", "ppo": "#111111"}).startswith("<svg")
    for row in policies.values():
        row["false_refusal_rate"] = None
    assert violations_against_refusals("attacks", policies, {}) == ""
    panel = red_team_panel("x", {**attacked(), "policies": policies, "num_safe": 0})
    assert "false refusals" not in panel.headings
    assert any("refuses everything" in note for note in panel.notes)


def test_a_judge_gives_the_verdict_where_no_reward_does_and_else_a_second_opinion() -> None:
    row = {"judge_win_rate": 0.8, "judge_win_rate_low": 0.7, "judge_win_rate_high": 0.9}
    alone = judge({"policies": {"start": {}, "ppo": row}, "baseline": "start", "judges": JUDGES})
    assert "ppo is preferred over start in 80 % of comparisons" in alone.headline
    assert "judged by judge:wise:pairwise-1" in alone.headline
    gold = {"gold_win_rate": 0.75, "gold_win_rate_low": 0.7, "gold_win_rate_high": 0.8}
    both = judge({"policies": {"start": {}, "ppo": row | gold}, "baseline": "start", "by": "gold", "judges": JUDGES})
    assert "75 %" in both.headline
    assert "agrees (80 %)" in both.headline
    assert both.tone == "good"


def test_a_report_shows_attacks_that_got_through(tmp_path: Path) -> None:
    from accord.results import _got_through

    (tmp_path / "answers").mkdir()
    sft, ppo = [False, False, True, None, *[True] * 7], [True, False, True, True, *[True] * 7]
    for name, bad in (("sft", sft), ("ppo", ppo)):
        rows = [
            {"prompt": [{"role": "user", "content": f"Ask {i}."}], "completion": name, "unsafe": True}
            | ({} if one is None else {"bad": one})
            for i, one in enumerate(bad)
        ]
        rows.append(
            {"prompt": [{"role": "user", "content": "Safe."}], "completion": "No.", "unsafe": False, "bad": True}
        )
        (tmp_path / f"answers/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = _got_through(tmp_path, ["sft", "ppo"])
    assert found[0] == {"policy": "ppo", "asked": "Ask 0.", "response": "ppo", "new": True, "num": 1}
    rest = [(one["asked"], one["new"], one["num"]) for one in found[1:]]
    assert rest == [(f"Ask {i}.", False, 9) for i in (2, 3, 4, 5, 6)]
    step = StepView("suite", "redteam", 3.0, False, "e5" * 32, {}, results=attacked(), broken=found)
    text = Page(build_report(replace(make_run(), steps=[step]))).text
    assert "1 attack that ppo complies with, and the policy before it did not: unsafe text" in text
    told = (
        "9 attacks that ppo complies with, as the policy before it did or might have: the first 5 of them, unsafe text"
    )
    assert told in text
    assert [one["asked"] for one in _got_through(tmp_path, ["ppo"])] == [f"Ask {i}." for i in (0, 2, 3, 4, 5)]

"""Evaluations over the rounds: which are one measure, and what is drawn of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from accord.monitor import rounds
from accord.monitor.report import build_report
from accord.monitor.rounds import Evaluated, Maker, axes_of, pictures_of
from accord.monitor.views import RunView, StepView
from tests.monitor.test_pictures import HOSTILE, words

MAKERS = {
    "S": Maker("sft", "sft", None),
    "R1": Maker("reject-1", "reject", 1),
    "R2": Maker("reject-2", "reject", 2),
    "P2": Maker("ppo-2", "ppo", 2),
}
KEYS = {maker.name: key for key, maker in MAKERS.items()}


def evaluation(name: str, rates: Mapping[str, float], number: int | None = None, **more: Any) -> Evaluated:
    """rates: of policies by name, the baseline first; 0.05 to either side is the interval."""
    rows = {
        policy: {"gold_win_rate": rate, "gold_win_rate_low": rate - 0.05, "gold_win_rate_high": rate + 0.05}
        | {"gold_score": 10 * rate, "judge_win_rate": rate / 2}
        for policy, rate in rates.items()
    }
    results = {"policies": rows, "baseline": next(iter(rates)), "by": "gold"} | more.get("results", {})
    return Evaluated(name, "evaluate", results, number, {one: KEYS[one] for one in rates}, more.get("judge", "J"))


HELPFUL = [
    evaluation("helpful-1", {"sft": 0.5, "reject-1": 0.6}, 1),
    evaluation("helpful-2", {"sft": 0.5, "reject-1": 0.9, "reject-2": 0.7, "ppo-2": 0.8}, 2),
]
SAFE = evaluation("safe", {"sft": 0.5, "reject-1": 0.55, "ppo-2": 0.65})


def test_a_step_of_a_block_is_one_measure_over_all_rounds() -> None:
    (axis, other), why = axes_of([*HELPFUL, SAFE])
    assert (axis.name, other.name, why) == ("helpful", "safe", [])
    assert axis.title == "helpful: win rate against sft, by gold"
    assert {key: ends[0] for key, ends in axis.points.items()} == {"S": 0.5, "R1": 0.6, "R2": 0.7, "P2": 0.8}
    assert axis.points["P2"] == pytest.approx((0.8, 0.75, 0.85)), "a policy counts as its first round measured it"


def test_the_measure_is_the_score_where_baselines_differ() -> None:
    moving = [
        evaluation("helpful-1", {"sft": 0.5, "reject-1": 0.6}, 1),
        evaluation("helpful-2", {"reject-1": 0.5, "reject-2": 0.7}, 2),
    ]
    (axis,), _ = axes_of(moving)
    assert axis.title == "helpful: mean score by gold"
    assert axis.points["R2"][0] == 7.0
    assert (axis.percent, axis.neutral) == (False, None)


def test_what_is_no_one_measure_is_told() -> None:
    retrained = [
        evaluation("helpful-1", {"sft": 0.5, "reject-1": 0.6}, 1, judge="J1"),
        evaluation("helpful-2", {"sft": 0.5, "reject-2": 0.7}, 2, judge="J2"),
    ]
    axes, (why,) = axes_of(retrained)
    assert axes == []
    assert why.startswith("helpful is not drawn over the rounds: each of them has another baseline, or another judge.")


def test_language_models_are_a_measure_where_all_rounds_ask_the_same() -> None:
    def asked(number: int, judge: str) -> Evaluated:
        rates = {"sft": 0.5, f"reject-{number}": 0.6}
        return evaluation(f"w-{number}", rates, number, judge="", results={"judges": [{"judge": judge}], "by": None})

    (axis,), _ = axes_of([asked(1, "big"), asked(2, "big")])
    assert axis.title == "w: win rate against sft, by big"
    assert axis.points["R1"][0] == 0.3
    assert axes_of([asked(1, "big"), asked(2, "other")])[0] == []


def attacks(rates: Mapping[str, float]) -> Evaluated:
    rows = {name: {"violation_rate": {"value": r, "low": r - 0.1, "high": r + 0.2}} for name, r in rates.items()}
    return Evaluated("suite", "redteam", {"policies": rows}, None, {one: KEYS[one] for one in rates})


def test_attacks_are_a_measure_of_what_is_withstood() -> None:
    (axis,), _ = axes_of([attacks({"sft": 0.4, "ppo-2": 0.1})])
    assert axis.points["S"] == pytest.approx((0.6, 0.4, 0.7)), "the ends change places"
    (_, other), _ = axes_of([*HELPFUL, attacks({"sft": 0.4, "ppo-2": 0.1})])
    assert other.title == "suite: share of attacks withstood"


def test_two_measures_are_drawn_against_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    specs: list[dict[str, Any]] = []
    render = rounds.render
    monkeypatch.setattr(
        rounds, "render", lambda chart, *told, **more: specs.append(chart.to_dict()) or render(chart, *told, **more)
    )
    axes, _ = axes_of([*HELPFUL, SAFE])
    ((heading, svg),) = pictures_of(axes, MAKERS)
    assert heading == "helpful against safe"
    assert "sft 50 % and 50 %, reject-1 60 % and 55 %, ppo-2 80 % and 65 %" in svg
    assert {"sft", "reject", "ppo", "1", "2", "policy"} <= set(words(svg))
    (spec,) = specs
    (data,) = [rows for rows in spec["datasets"].values() if len(rows) == 3]
    rounded = [{key: round(v, 9) if isinstance(v, float) else v for key, v in one.items()} for one in data]
    assert rounded == [
        {"name": "sft", "of": "sft", "label": "sft", "order": 0,
         "y": 0.5, "y_low": 0.45, "y_high": 0.55, "x": 0.5, "x_low": 0.45, "x_high": 0.55},
        {"name": "reject-1", "of": "reject", "label": "1", "order": 1,
         "y": 0.6, "y_low": 0.55, "y_high": 0.65, "x": 0.55, "x_low": 0.5, "x_high": 0.6},
        {"name": "ppo-2", "of": "ppo", "label": "2", "order": 2,
         "y": 0.8, "y_low": 0.75, "y_high": 0.85, "x": 0.65, "x_low": 0.6, "x_high": 0.7},
    ]  # fmt: skip
    channels = [layer["encoding"] for layer in spec["layer"]]
    for at, (low, high) in (("x", (0.435, 0.743)), ("y", (0.426, 0.874))):
        domains = [one[at]["scale"]["domain"] for one in channels if at in one and "scale" in one[at]]
        assert len(domains) == 6
        assert all(domain == pytest.approx([low, high]) for domain in domains)
        assert all("scale" in one[at] for one in channels if at in one), "a layer without one would bring in 0"


def test_one_measure_is_drawn_over_the_rounds() -> None:
    axes, _ = axes_of(HELPFUL)
    ((heading, svg),) = pictures_of(axes, MAKERS)
    assert heading == "helpful over the rounds"
    assert {"0", "1", "2", "round (0: before the first)"} <= set(words(svg))
    assert pictures_of(axes_of(HELPFUL[:1])[0], MAKERS) == [], "of one round there is no way"
    assert pictures_of(axes_of([SAFE, evaluation("other", {"reject-2": 0.5})])[0], dict(list(MAKERS.items())[:2])) == []


def views(steps: Sequence[Evaluated]) -> list[StepView]:
    made = [StepView(one.name, one.of, 1.0, False, key, {}, round=one.round) for key, one in MAKERS.items()]
    return made + [
        StepView(one.name, one.kind, 1.0, False, f"E{at}", {}, results=one.results, round=one.round,
                 inputs={"policies": one.policies, "by": {"gold": one.judge}})
        for at, one in enumerate(steps)
    ]  # fmt: skip


def test_the_page_has_every_evaluation() -> None:
    last = {**SAFE.results, "num_prompts": 8}
    page = build_report(RunView("r", "", views([*HELPFUL, SAFE]), last, [], "", {}))
    assert "<h3>helpful against safe</h3>" in page
    for said in ("helpful-1, round 1: against sft, by gold", "helpful-2, round 2: against sft, by gold"):
        assert f"<summary>{said}" in page
    assert "<summary>safe" not in page, "it is shown in full"
    assert "<h2>Over the rounds</h2>" in build_report(RunView("r", "", views([SAFE]), last, [], "", {}))
    assert "Over the rounds" not in build_report(
        RunView("r", "", views([evaluation("safe", {"sft": 0.5})]), last, [], "", {})
    )


def test_names_are_hostile() -> None:
    steps = [evaluation("safe", {"sft": 0.5, "ppo-2": 0.6}, results={"by": HOSTILE}), SAFE]
    steps[0] = Evaluated(HOSTILE, "evaluate", steps[0].results, None, steps[0].policies, "J")
    page = build_report(RunView("r", "", views(steps), dict(SAFE.results), [], "", {}))
    assert "<script" not in page
    assert "&lt;script" in page

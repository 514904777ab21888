from __future__ import annotations

import csv
import io
import re
from typing import Any

import pytest

from accord.monitor.comparison import cautions, differences, evaluations, labels_of, studies
from accord.monitor.comparison_page import comparison_page
from accord.monitor.svg import NOTHING, Picture
from accord.monitor.training_curves import curves_of_runs
from accord.monitor.values import ABSENT
from accord.monitor.views import RunView, StepView

HOSTILE = "<script>alert(1)</script>"


def run(name: str, *, rate: float = 0.6, judge: str = "j" * 64, config: dict[str, Any] | None = None) -> RunView:
    policies = {
        "sft": {"gold_win_rate": 0.5, "kl": 0.0},
        "ppo": {"gold_win_rate": rate, "gold_win_rate_low": rate - 0.1, "gold_win_rate_high": rate + 0.1, "kl": 3.0},
    }
    results = {"baseline": "sft", "by": "gold", "num_prompts": 8, "policies": policies, "run": {"seed": 1}}
    inputs = {"by": {"gold": judge}, "prompts": {"mine": "p" * 64}, "baseline": {"sft": "s" * 64}}
    metrics: list[dict[str, float]] = [
        {"iteration": at, "objective/scores": rate * at, "objective/kl": at} for at in range(1, 5)
    ]
    steps = [
        StepView(
            "ppo-1", "ppo", 1.0, False, "a" * 64, {"kl_target": 6, "start": "sft-1", **(config or {})}, metrics, round=1
        ),
        StepView(
            "ppo-2", "ppo", 1.0, False, "b" * 64, {"kl_target": 6, "start": "sft-2", **(config or {})}, metrics, round=2
        ),
        StepView("evaluate", "evaluate", 1.0, False, "e" * 64, {"num_prompts": 8}, results=results, inputs=inputs),
    ]
    return RunView(name, "", steps, results, [], "", {})


def test_only_keys_that_differ_are_listed_and_rounds_fold() -> None:
    runs = [run("a", config={"lora": {"rank": 8}}), run("b", config={"lora": {"rank": 16}, "only": True})]
    assert [(one.key, one.values) for one in differences(runs)] == [
        ("ppo (rounds 1 to 2).lora.rank", ["8", "16"]),
        ("ppo (rounds 1 to 2).only", ["", "true"]),
    ]
    assert differences([run("a"), run("b")]) == []


def test_a_step_that_one_run_alone_has_differs_in_its_kind() -> None:
    other = run("b")
    other.steps.append(StepView("dpo", "dpo", 1.0, False, "d" * 64, {"beta": 0.1}))
    assert [(one.key, one.values) for one in differences([run("a"), other])] == [("dpo", ["", "dpo"])]


def test_evaluations_stand_below_one_another() -> None:
    heads, rows = evaluations([run("a", rate=0.6), run("b", rate=0.7)])
    assert heads == ["win rate, gold", "KL, nats"]
    assert [(label, name, cells[0].text) for label, name, cells in rows] == [
        ("a", "sft", "baseline"),
        ("a", "ppo", "60 %"),
        ("b", "sft", "baseline"),
        ("b", "ppo", "70 %"),
    ]


def test_what_may_not_be_compared_is_said() -> None:
    assert not [line for line in cautions([run("a"), run("b")]) if "another" in line]
    assert any("another judge" in line for line in cautions([run("a"), run("b", judge="k" * 64)]))
    bare = RunView("bare", "", [], {}, [], "", {})
    assert any("Without an evaluation: bare." in line for line in cautions([run("a"), bare]))


def test_runs_that_are_called_alike_are_numbered() -> None:
    assert labels_of([run("a"), run("b"), run("a")]) == ["a (1)", "b", "a (2)"]


def test_the_same_metric_is_one_panel_with_a_line_for_each_run() -> None:
    found = comparison_page([run("a", rate=0.6), run("b", rate=0.7)], "2026").pictures
    assert list(found) == ["win-rates-of-each-run", "ppo-of-each-run"]
    rows = list(csv.DictReader(io.StringIO(found["ppo-of-each-run"].csv)))
    assert {(row["curve"], row["line"]) for row in rows} >= {("score", "a"), ("score", "b")}
    assert "n, rows of metrics: a 4, b 4" in found["ppo-of-each-run"].note


def test_a_run_has_its_colour_where_it_alone_has_a_metric() -> None:
    b = run("b")
    for row in b.steps[1].metrics:
        row["response/distinct_2"] = 0.5
    svg = comparison_page([run("a"), b], "2026").pictures["ppo-of-each-run"]
    alone = re.findall(r'<path [^>]*stroke="(#[0-9a-f]{6})"[^>]*stroke-width="1.8"', svg)
    assert alone.count("#0072b2") == alone.count("#6e6e6e") + 1


def test_the_page_needs_nothing_from_outside_and_shows_text_as_text() -> None:
    html = comparison_page([run(HOSTILE), run("b", config={"a": HOSTILE})], "2026").html
    assert "<script" not in html
    assert "What differs between the recipes" in html
    assert not re.search(r'(?:src|href)="(?!data:text/csv)', html)


def test_studies_of_over_optimisation_stand_side_by_side() -> None:
    """Two seeds of one: of each curve what gold and the proxy have, where a run has it; no evaluation is missed."""

    def study(name: str, gold: float, **more: Any) -> RunView:
        proxy = {"names": ["a"], "gold": [0.0, gold], "gold_low": [0, 0.1], "gold_high": [0, 0.9], "proxy": [0, 2.0]}
        best = {"n": [1, 8], "kl": [0.0, 1.2], "gold": [0.0, 1.5], "proxies": {HOSTILE: proxy, **more}}
        step = StepView(
            "overoptimization",
            "overoptimization",
            1.0,
            False,
            "o" * 64,
            {},
            results={"gold": "gold", "best_of_n": best},
        )
        return RunView(name, "", [step], {}, [], "", {})

    runs = [study("one", 0.5), study("two", 0.7, large={"names": ["b"]}), run("other")]
    rows = {(part, curve): cells for part, curve, cells in studies(runs)}
    own = "(0.10 to 0.90); the proxy of itself 2.00; at n = 8"
    assert rows["Best of n", HOSTILE] == [f"0.50 {own}", f"0.70 {own}", ABSENT]
    assert rows["Best of n", "gold itself"] == ["1.50; at n = 8", "1.50; at n = 8", ABSENT]
    assert not any("Without an evaluation" in line for line in cautions(runs))
    page = comparison_page(runs, "now").html
    assert "by its own account, and 0.70 (0.10 to 0.90) by gold" in page
    assert f"0.50 {own}" in page
    assert HOSTILE not in page


def test_pictures_of_one_kind_of_step_have_the_same_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen and rejected are one panel of a report, and two here; a share goes from 0 to 1."""
    charts: list[dict[str, Any]] = []

    def kept(chart: Any, *args: Any, **options: Any) -> Picture:
        charts.append(chart.to_dict())
        return NOTHING

    monkeypatch.setattr("accord.monitor.training_curves.render", kept)
    steps = {
        name: {
            run: [
                {
                    "iteration": at,
                    "rewards/chosen": scale * at,
                    "rewards/rejected": -at,
                    "rewards/accuracies": 0.5,
                    "eval_rewards/accuracies": 0.6,
                }
                for at in range(1, 1 + num)
            ]
            for run, num in (("a", 4), ("b", 9))
        }
        for name, scale in (("first", 1.0), ("second", 3.0))
    }
    for name, rows in steps.items():
        curves_of_runs(name, "dpo", rows, {"a": "#110000", "b": "#220000"}, list(steps.values()))
    for chart in charts:
        axes = {panel["encoding"]["y"]["title"]: panel["encoding"] for panel in chart["concat"]}
        for title in ("implicit rewards, chosen", "implicit rewards, rejected"):
            assert axes[title]["y"]["scale"]["domain"] == [-9, 27]
        for title in ("accuracy of implicit rewards, training", "accuracy of implicit rewards, held out"):
            assert axes[title]["y"]["scale"]["domain"] == [0, 1]
        assert {tuple(of["x"]["scale"]["domain"]) for of in axes.values()} == {(1, 9)}

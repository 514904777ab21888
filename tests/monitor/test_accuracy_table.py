from __future__ import annotations

from typing import Any

from accord.monitor.accuracy_table import Measure, accuracy_table, doubts
from accord.monitor.report import build_report
from accord.monitor.views import RunView, StepView

HOSTILE = "<b>me</b>"


def part(n: int, accuracy: float | None, **more: Any) -> dict[str, Any]:
    ends = {"low": None, "high": None} if accuracy is None else {"low": accuracy - 0.1, "high": accuracy + 0.1}
    return {"n": n, "accuracy": accuracy, **ends, **more}


def row(accuracy: float, **more: Any) -> dict[str, Any]:
    levels = {
        "negligibly better": part(4, 0.5),
        "slightly better": part(3, 0.6),
        "better": part(2, 0.7),
        "significantly better": part(0, None),
    }
    return part(9, accuracy, levels=levels, **more)


RESULTS: dict[str, Any] = {
    "sets": {
        HOSTILE: {
            "num_ties": 2,
            "num_pairs_unsafe_chosen": 0,
            "num_left_out": 1,
            "floors": {"longest": row(0.55), "shortest": row(0.45)},
            "floor": {"name": "longest", "accuracy": 0.55},
        }
    },
    "rewards": {
        "helpful": {
            HOSTILE: row(
                0.807,
                home=True,
                counted=True,
                seen=None,
                lead={"value": 0.257, "low": 0.1, "high": 0.4},
                safety={
                    "num_labelled": 8,
                    "num_unsafe": 3,
                    "average_precision": {"value": 0.75, "low": 0.5, "high": 1.0},
                    "below": {
                        "0.15": {"precision": {"value": 0.89, "low": 0.8, "high": 0.95}, "recall": None},
                        "0.5": {"precision": None, "recall": {"value": 1.0, "low": 0.7, "high": 1.0}},
                    },
                },
            )
        },
        "other": {HOSTILE: row(0.5, home=False, counted=False, seen="trained on it", lead=None)},
    },
}


def test_models_that_learned_nothing_are_named_first():
    assert doubts([RESULTS]) == []
    none = {"value": 0.0, "low": 0.0, "high": 0.4}
    safety = {"num_labelled": 8, "num_unsafe": 3, "below": {"0.15": {"recall": none}, "0.5": {"recall": none}}}
    bad = {"rewards": {HOSTILE: {"mine": row(0.4, home=True, counted=False, safety=safety)}}}
    first, second = doubts([RESULTS, bad])
    assert first.startswith(f"Not better than the floor on the data that they learned for: {HOSTILE}. ")
    assert second == f"Unsafe responses are not found: {HOSTILE} finds none of 3 below 0.5."
    page = page_of(bad)
    assert "Unsafe responses are not found: &lt;b&gt;me" in page
    assert HOSTILE not in page


def test_the_table_by_hand():
    found = accuracy_table(RESULTS)
    (one,) = found.sets
    assert one.headings == [
        "significantly better (0)",
        "better (2)",
        "slightly better (3)",
        "negligibly better (4)",
        "average (9)",
        "above the floor by",
    ]
    assert [(line.name, line.notes, line.is_floor) for line in one.rows] == [
        ("longest", "the floor", True),
        ("shortest", "", True),
        ("helpful", "at home", False),
        ("other", "not counted: not above the floor at home; trained on it", False),
    ]
    assert one.rows[2].cells == [
        Measure("–"),  # noqa: RUF001
        Measure("70.0", "60.0 to 80.0"),
        Measure("60.0", "50.0 to 70.0"),
        Measure("50.0", "40.0 to 60.0"),
        Measure("80.7", "70.7 to 90.7"),
        Measure("25.7", "10.0 to 40.0"),
    ]
    assert one.left_out == "ties: 2, comparisons that a model cannot read: 1"
    assert found.safety_headings == [
        "unsafe",
        "average precision",
        "precision below 0.15",
        "recall below 0.15",
        "precision below 0.5",
        "recall below 0.5",
    ]
    (line,) = found.safety
    assert line.name == f"helpful on {HOSTILE}"
    assert [cell.text for cell in line.cells] == ["3 of 8", "0.75", "89", "–", "–", "100"]  # noqa: RUF001


def page_of(results: dict[str, Any]) -> str:
    step = StepView(HOSTILE, "accuracy", 1.0, False, "k" * 64, {}, results=results)
    return build_report(RunView("run", "", [step], {}, [], "", {}))


def test_names_are_text_and_not_markup():
    page = page_of(RESULTS)
    assert HOSTILE not in page
    assert "on &lt;b&gt;me&lt;/b&gt;" in page
    assert "80.7<small>70.7 to 90.7</small>" in page
    assert "No accuracy of a reward model" not in page


def test_gaps_are_shown_as_missing():
    for results in ({"sets": {"a": {}}}, {"sets": {"a": {}}, "rewards": {"b": {"a": {"lead": 3}}}}, {"rewards": None}):
        assert "reward models on held-out comparisons" in page_of(results)


def test_earlier_rounds_are_folded() -> None:
    steps = [StepView(f"drift-{n}", "accuracy", 1.0, False, str(n) * 64, {}, results=RESULTS, round=n) for n in (1, 2)]
    page = build_report(RunView("r", "", steps, {}, [], "", {}))
    assert "<summary>drift-1: reward models on held-out comparisons, in an earlier round</summary>" in page
    assert "<h2>drift-2: reward models on held-out comparisons</h2>" in page
    assert page.count("<details") == page.count("</details>")

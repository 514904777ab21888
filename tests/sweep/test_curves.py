"""Numbers over a swept number: which there are, and what their lines hold. Runs are folders that are made up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from accord.monitor.sweep_page import sweep_page
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.sweep.curves import curves
from accord.sweep.grid import PlannedRun, parse_axes
from accord.sweep.measure import Metric, Reading, read
from accord.sweep.runs import Sweep, content, plan_sweep
from accord.sweep.summary import Outcome
from tests.monitor.test_pictures import HOSTILE

HEAD = """
model: smollm2-135m-instruct
data: {mine: builtin:film-reviews}
steps:
  - reward_rule: {name: brief, rule: length, target: 5}
  - reward_rule: {name: varied, rule: distinct}
"""
STUDY = (
    HEAD
    + """
  - sft: {data: mine.sft}
  - evaluate: {name: helpful, policies: [start, sft], by: brief, prompts: mine.test_prompts}
  - evaluate: {name: safe, policies: [start, sft], by: varied, prompts: mine.test_prompts}
"""
)
REJECT = HEAD + "  - reject: {prompts: mine.prompts, reward: brief, num_samples: 4}\n"
ROUNDS = (
    HEAD
    + """
  - repeat:
      rounds: 3
      start: model
      steps:
        - reject: {prompts: mine.prompts, reward: brief, sampler: latest}
        - evaluate: {policies: [model, latest], by: varied, prompts: mine.test_prompts}
"""
)

Write = Callable[[PlannedRun, Path], None]


def sweep_of(text: str, *overrides: str, seeds: str = "3", metric: str | None = None) -> Sweep:
    return plan_sweep(parse_recipe(text, Path("r.yaml")), parse_axes(overrides), STEPS, seeds=seeds, metric=metric)


def found(sweep: Sweep, folder: Path, write: Write, *, but: str = "") -> dict[str, Any]:
    """but: a run that has failed."""
    outcomes = {run.name: Outcome("done", reading=Reading(1.0, "x")) for run in sweep.runs}
    if but:
        outcomes[but] = Outcome("failed", "it did")
    for run in sweep.runs:
        write(run, folder / run.name / "steps")
    return curves(sweep.runs, outcomes, sweep.axes, folder)


def put(path: Path, what: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(what))


def evaluated(run: PlannedRun, steps: Path) -> None:
    """The score is ten times the learning rate, and the seed."""
    score = 10 * float(run.setting["sft.learning_rate"]) + run.seed
    row = {"gold_score": score, "gold_score_low": score - 5, "gold_score_high": score + 5, "gold_score_p5": score - 9}
    for name in ("helpful", "safe"):
        put(steps / name / "results.json", {"baseline": "start", "policies": {"start": {}, "sft": row}})


def test_every_evaluation_has_a_panel_with_bands_over_seeds(tmp_path: Path) -> None:
    sweep = sweep_of(STUDY, "sft.learning_rate=0.1,0.2")
    drawn = found(sweep, tmp_path, evaluated)
    assert (drawn["axis"], drawn["values"]) == ("sft.learning_rate", ["0.1", "0.2"])
    assert [panel["title"] for panel in drawn["panels"]] == ["helpful: score by brief", "safe: score by varied"]
    mean, tail = drawn["panels"][0]["lines"]
    assert (mean["name"], mean["main"], tail["name"], tail["main"]) == ("mean", True, "95 % are above", False)
    first, second = mean["points"]
    assert (first["x"], first["value"], first["num_runs"], first["interval"]) == ("0.1", 3.0, 3, "t")
    assert first["high"] - 3.0 == pytest.approx(4.303 / 3**0.5, abs=1e-3), "Student's t of seeds 1, 2, 3"
    assert second["value"] == 4.0
    assert [point["value"] for point in tail["points"]] == [-6.0, -5.0]


def test_a_run_that_failed_is_left_out_and_one_run_has_its_own_interval(tmp_path: Path) -> None:
    sweep = sweep_of(STUDY, "sft.learning_rate=0.1,0.2", seeds="2")
    drawn = found(sweep, tmp_path, evaluated, but=sweep.runs[0].name)
    first, second = drawn["panels"][0]["lines"][0]["points"]
    assert (first["num_runs"], first["interval"], first["low"], first["high"]) == (1, "prompts", -2.0, 8.0)
    assert (second["num_runs"], second["interval"], second["low"], second["high"]) == (2, "range", 3.0, 4.0)


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (STUDY, ["sft.data=mine.sft,mine.proxy"]),
        (STUDY, ["sft.learning_rate=0.1,0.2", "sft.batch_size=4,8"]),
        (REJECT, ["reject.temperature=0.8,1", "reject.learning_rate=0.1,0.2"]),
    ],
)
def test_what_is_no_number_or_several_is_not_drawn(tmp_path: Path, text: str, overrides: list[str]) -> None:
    sweep = sweep_of(text, *overrides, metric="sft:loss" if text == STUDY else "reject:loss")
    assert found(sweep, tmp_path, lambda run, steps: None) == {}


def selected(run: PlannedRun, steps: Path) -> None:
    """The best of n is n times the temperature, and the seed; of fewer samples it is told wrongly."""
    most, warmth = int(run.setting.get("reject.num_samples", 4)), float(run.setting["reject.temperature"])
    wrong = 100 if most < 4 else 0
    rows = [{"num_samples": n, "max": n * warmth + run.seed + wrong, "median": 0} for n in (1, 2, 4) if n <= most]
    put(steps / "reject" / "selection.json", {"by_num_samples": rows, "best_score": 7.5, "mean_score": 1})


@pytest.mark.parametrize("more", [[], ["reject.num_samples=2,4"]])
def test_the_best_of_n_over_the_temperature(tmp_path: Path, more: list[str]) -> None:
    sweep = sweep_of(REJECT, "reject.temperature=0.5,1.0", *more, metric="reject:best_score")
    drawn = found(sweep, tmp_path, selected)
    (panel,) = drawn["panels"]
    assert (drawn["axis"], panel["title"]) == ("reject.temperature", "reject: reward of the best of N by brief")
    assert [line["name"] for line in panel["lines"]] == ["N = 4", "N = 2", "N = 1"]
    assert [[point["value"] for point in line["points"]] for line in panel["lines"]] == [[4, 6], [3, 4], [2.5, 3]]
    assert {point["num_runs"] for line in panel["lines"] for point in line["points"]} == {3}


def test_what_rejection_sampling_has_found_can_be_compared(tmp_path: Path) -> None:
    sweep = sweep_of(REJECT, "reject.temperature=0.5,1.0", metric="reject:best_score")
    selected(sweep.runs[0], tmp_path / "steps")
    assert read(sweep.metric, tmp_path) == Reading(7.5, "reject")


def test_an_evaluation_can_be_compared_by_its_name(tmp_path: Path) -> None:
    sweep = sweep_of(STUDY, "sft.learning_rate=0.1,0.2", metric="helpful:gold_score")
    evaluated(sweep.runs[0], tmp_path / "steps")
    assert read(sweep.metric, tmp_path) == Reading(2.0, "sft", -3.0, 7.0)
    assert sweep_of(ROUNDS, "reject.num_samples=2,4", metric="evaluate:gold_score").metric == Metric(
        "gold_score", "evaluate-3"
    )


def test_samples_of_earlier_rounds_are_a_setting() -> None:
    """The forgetting of Llama 2's first rounds: this round's responses alone, against those of all rounds before."""
    sweep = sweep_of(ROUNDS, "reject.earlier=[],[reject@earlier]", seeds="1", metric="evaluate:gold_score")
    alone, together = (run.plan for run in sweep.runs)
    for number, names in ((1, []), (2, ["reject-1"]), (3, ["reject-1", "reject-2"])):
        assert list(alone.step(f"reject-{number}").parents["earlier"]) == []
        assert [link.name for link in together.step(f"reject-{number}").parents["earlier"]] == names
    assert alone.step("reject-1").key == together.step("reject-1").key, "the first round is made once"


def test_the_page_has_them(tmp_path: Path) -> None:
    sweep = sweep_of(STUDY, "sft.learning_rate=0.1,0.2")
    drawn = found(sweep, tmp_path, evaluated)
    outcomes = {run.name: Outcome("done", reading=Reading(1.0, "x")) for run in sweep.runs}
    whole = content(sweep, outcomes)
    page = sweep_page({**whole, "curves": drawn})
    assert "<h2>Over sft.learning_rate</h2>" in page
    assert "helpful: score by brief: mean 3.00, 4.00, 95 % are above -6.00, -5.00" in page
    assert "<h2>Over" not in sweep_page({**whole, "curves": {}})
    drawn["panels"][0]["title"] = drawn["panels"][0]["lines"][0]["name"] = drawn["axis"] = HOSTILE
    assert "<script" not in sweep_page({**whole, "curves": drawn})

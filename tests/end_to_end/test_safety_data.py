"""The study of safety data, as a sweep on a tiny model: what its page draws is what its runs have measured."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest

from accord.run import run_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.sweep import runs
from accord.sweep.grid import parse_axes
from accord.sweep.runs import bring_to, plan_sweep, run_sweep
from tests.fixtures.tiny_run import made_up_ratings, tiny_recipe

pytestmark = pytest.mark.long  # the recipe itself is run by test_recipes.py
FRACTIONS = ["0", "1"]


@pytest.fixture(scope="module")
def study(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("study"))
    axes = parse_axes([f"demos.fraction={','.join(FRACTIONS)}"])
    recipe = tiny_recipe("safety-data", tiny_model)
    sweep = plan_sweep(recipe, axes, STEPS, seeds="1", metric="harmlessness:gold_score")
    room = patch.object(runs, "run_recipe", partial(run_recipe, min_free_bytes=0))
    with made_up_ratings(), room:
        return run_sweep(sweep, store, bring_to(store, STEPS, force=True), say=lambda line: None)


def test_one_number_alone_differs_and_is_drawn(study: Path) -> None:
    found = json.loads((study / "sweep.json").read_text())
    assert [run["status"] for run in found["runs"]] == ["done"] * 2
    store = study.parents[1]
    counts = [
        json.loads((store / "runs" / run["run"] / "steps" / "demos" / "summary.json").read_text())["parts"]["train"]
        for run in found["runs"]
    ]
    assert [count["num_records"] for count in counts] == [24, 32]
    assert len(list((store / "artifacts").glob("reward-*"))) == 3, "people, judge and safety, for all runs together"
    curves = found["curves"]
    assert (curves["axis"], curves["values"]) == ("demos.fraction", FRACTIONS)
    titles = [panel["title"] for panel in curves["panels"]]
    assert titles == ["helpfulness: score by judge", "harmlessness: score by safety"]
    mean, *tails = curves["panels"][1]["lines"]
    assert [point["value"] for point in mean["points"]] == [run["value"] for run in found["runs"]]
    assert [point["interval"] for point in mean["points"]] == ["prompts"] * 2
    for lowest, low, middle in zip(*(line["points"] for line in tails), strict=True):
        assert lowest["value"] <= low["value"] <= middle["value"]


def test_the_page_draws_both_and_says_what_it_cost(study: Path) -> None:
    page = (study / "sweep.html").read_text()
    assert "<h2>Over demos.fraction</h2>" in page
    assert "harmlessness: score by safety: mean" in page
    assert "all steps, each once, cost" in page

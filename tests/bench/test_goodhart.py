from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import accord
from accord.evaluate.overoptimization import Unit, best_of_n_curves, training_curves
from accord.plan import make_plan
from accord.recipe import load_recipe
from accord.steps.registry import STEPS
from bench import goodhart


def test_what_a_run_keeps_and_the_table_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    rng = np.random.default_rng(1)
    gold = rng.normal(size=(8, 64))
    proxies = {"small_1": Unit(gold + rng.normal(size=gold.shape)), "large_1": Unit(gold)}
    best = best_of_n_curves(Unit(gold), proxies, seed=1, compare=[("large_1", "small_1")])
    training = training_curves({"loose": [(d * d, d, d * (1 - 0.8 * np.log(d or 1))) for d in range(8)]}, seed=1)
    (tmp_path / "results.json").write_text(json.dumps({"gold": "gold", "best_of_n": best, "training": training}))
    step = SimpleNamespace(folder=tmp_path, seconds=2.04)
    asked = []

    def run_recipe(path: Path, **given: object) -> SimpleNamespace:
        asked.append((path.name, given["overrides"]))
        return SimpleNamespace(step=lambda _: step, steps={"overoptimization": step})

    monkeypatch.setattr(accord, "run_recipe", run_recipe)
    monkeypatch.setattr(goodhart, "RESULTS", tmp_path / "kept")
    goodhart.run(3, tmp_path, 8, 64)
    assert asked == [("goodhart.yaml", {"seed": 3, "many.num_prompts": 8, "many.num_responses": 64})]
    with pytest.raises(SystemExit, match="delete it to measure anew"):
        goodhart.run(3, tmp_path, 8, 64)
    goodhart.run(3, tmp_path, 8, 64, "apart")
    assert asked[1][0] == "goodhart_apart.yaml"
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"8x64-3.json", "apart-8x64-3.json"}
    goodhart.table()
    told = capsys.readouterr().out
    assert "8 prompts, the best of 64, seed 3" in told
    assert "large_1 less small_1: +" in told
    assert "training loose: " in told


def test_what_both_studies_have_is_made_once():
    shipped, apart = (
        {step.name: step.key for step in make_plan(load_recipe(path), STEPS).steps}
        for path in goodhart.STUDIES.values()
    )
    both = shipped.keys() & apart.keys() - {"overoptimization"}
    assert len(both) == 13
    assert {name: shipped[name] for name in both} == {name: apart[name] for name in both}

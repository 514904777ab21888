"""The shipped study of over-optimisation, whole, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from accord.cli import shipped_recipe
from accord.plan import make_plan
from accord.recipe import load_recipe
from accord.steps.registry import STEPS
from tests.fixtures.tiny_run import run_tiny

FAMILIES = ("small", "large", "few", "noisy", "mean", "worst", "uncertainty", "fresh")


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_tiny(tiny_model, tmp_path_factory.mktemp("goodhart"), recipe="goodhart")


def test_the_study_has_what_the_paper_varies():
    """Proxies of different sizes, of less data and of noise, three seeds of each; and gold is among no training."""
    plan = make_plan(load_recipe(shipped_recipe("goodhart")), STEPS)
    steps: dict[str, Any] = {step.name: step.config for step in plan.steps}
    layers = {name: [steps[f"{name}_{seed}"].num_layers for seed in (1, 2, 3)] for name in FAMILIES[:4]}
    assert layers == {"small": [6] * 3, "large": [10] * 3, "few": [6] * 3, "noisy": [6] * 3}
    assert steps["many"].num_responses == 256
    for name in ("loose", "held", "again"):
        assert steps[name].watch == ("gold",)
        assert steps[name].reward != "gold"


def test_curves_of_every_proxy_and_training(run: Path):
    results = json.loads((run / "steps/overoptimization/results.json").read_text(encoding="utf-8"))
    best = results["best_of_n"]
    assert best["n"] == [1, 2, 4, 8, 16]
    assert tuple(best["proxies"]) == FAMILIES
    assert {name: len(best["proxies"][name]["names"]) for name in FAMILIES[:4]} == dict.fromkeys(FAMILIES[:4], 3)
    assert tuple(results["training"]) == ("loose", "held", "again")
    for curve in best["proxies"].values():
        assert curve["gold"][-1] <= best["gold"][-1] + 1e-9, "no proxy is above gold itself"
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "how far the proxies can be trusted" in page


def test_the_noise_is_in_the_labels(run: Path):
    """Of the same comparisons some are the other way round."""
    labels, noisy = (
        [
            [judgement["grades"] for judgement in json.loads(line)["judgements"]]
            for line in (run / f"steps/{name}/train.jsonl").read_text().splitlines()
        ]
        for name in ("labels", "noisy_labels")
    )
    turned = [one != other for one, other in zip(labels, noisy, strict=True)]
    assert 0 < sum(turned) < len(turned)

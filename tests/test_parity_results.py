"""The committed comparison with TRL (parity/, `make parity`) says what the README says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from accord.engine.direct.config import LossName

RESULTS = Path(__file__).parents[1] / "parity" / "results"
MODELS = ("tiny", "smollm2-135m-instruct")
NOT_IN_TRL = {"dpop", "length_regularised"}
OTHERS = {"kto", "reward", "reward, margins", "reward model's folder", "grpo", "rloo"}


def results(model: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{model}.json").read_text())
    return content


@pytest.mark.parametrize("model", MODELS)
def test_every_number_agrees_or_differs_by_design(model: str):
    content = results(model)
    assert content["model"] == model
    assert content["passed"]
    for row in content["rows"]:
        assert row["difference"] <= 1e-4 or row["by_design"], row


@pytest.mark.parametrize("model", MODELS)
def test_what_differs_by_design_does_differ(model: str):
    """A reason that is no longer one is to be struck out."""
    rows = [row for row in results(model)["rows"] if "by_design" in row]
    differing = {row["by_design"] for row in rows if row["difference"] > 1e-4}
    assert differing == {row["by_design"] for row in rows}


@pytest.mark.parametrize("model", MODELS)
def test_every_loss_that_trl_has_is_compared(model: str):
    """By its loss and, where the two are one loss, by its gradient."""
    rows = results(model)["rows"]
    cases = {row["case"].split(",")[0] for row in rows} | {row["case"] for row in rows}
    assert cases >= (set(get_args(LossName)) - NOT_IN_TRL) | OTHERS
    with_gradient = {row["case"].split(",")[0] for row in rows if row["quantity"].startswith("gradient")}
    assert with_gradient >= {
        "dpo",
        "cdpo",
        "rdpo",
        "ipo",
        "length_normalised",
        "simpo",
        "kto",
        "reward",
        "grpo",
        "rloo",
    }


@pytest.mark.parametrize("model", MODELS)
def test_accords_files_train_in_trl(model: str):
    steps = {row["quantity"]: row["trl"] for row in results(model)["rows"] if row["case"].endswith(".jsonl")}
    assert steps == {"steps of DPOTrainer": 1, "steps of RewardTrainer": 1, "steps of KTOTrainer": 1}


def test_the_results_are_of_the_versions_that_are_tested():
    """Those of constraints.txt: a new version there wants a new comparison."""
    root = RESULTS.parents[1]
    pinned = (root / "constraints.txt").read_text().splitlines() + (
        root / "parity" / "requirements.txt"
    ).read_text().splitlines()
    versions = dict(line.split("==") for line in pinned if "==" in line)
    for model in MODELS:
        for name, used in results(model)["versions"].items():
            assert used.split("+")[0] == versions[name], name

"""The examples run in their folders as a reader would run them, on the tiny model and with small numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import accord

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {"max_response_tokens": 6, "batch_size": 8}


def run_example(name: str, model: Path, folder: Path, overrides: dict[str, object]) -> accord.Run:
    shutil.copytree(EXAMPLES / name, folder / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / name)
        return accord.run_recipe("recipe.yaml", store=folder / "store", overrides={"model": model, **overrides})


def test_custom_reward(tiny_model: Path, tmp_path: Path):
    overrides = {f"reject.{key}": value for key, value in SMALL.items()}
    overrides |= {"ppo.num_iterations": 2, "ppo.max_response_tokens": 6, "ppo.num_samples": 2}
    run = run_example("custom_reward", tiny_model, tmp_path, overrides)
    assert list(run.steps) == ["model", "questions", "brevity", "reject", "ppo"]
    assert all(-1 < row["objective/scores"] < 4 for row in run.step("ppo").metrics())
    long, short = "a " * 30 + "b.", "It floats."
    reward = run.reward()
    ((good, bad),) = reward.score(["Why?"], [[short, long]], normalised=False)
    assert good == 1.0
    assert bad == pytest.approx(1.0 - 19 / 12 - (1 - 2 / 31), abs=1e-5)


def test_custom_annotator(tiny_model: Path, tmp_path: Path):
    overrides = {f"reject.{key}": value for key, value in SMALL.items()}
    run = run_example(
        "custom_annotator", tiny_model, tmp_path, overrides | {"sample.max_response_tokens": 6, "taste.tie_below": 0}
    )
    assert run.step("collect").summary()["num_judged"] > 20
    signed = [
        json.loads(line)["judgements"][0]["annotator"]
        for line in (run.step("simulated").folder / "train.jsonl").read_text().splitlines()
    ]
    assert set(signed) == {"simulated:taste:noise=0.1"}
    assert run.policy().folder == run.step("reject").folder / "model"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/recipe.yaml")))
def test_every_example_is_a_plan_and_is_explained(name: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(EXAMPLES / name)
    assert accord.check_recipe("recipe.yaml", overrides={"model": tiny_model})
    assert "accord run recipe.yaml" in Path("README.md").read_text()

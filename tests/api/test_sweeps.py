"""A sweep from Python: the same as the command's, and values as Python has them."""

from __future__ import annotations

from pathlib import Path

import pytest

import accord
from tests.fixtures.made_up_data import made_up

__all__ = ["made_up"]


@pytest.fixture
def recipe(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, made_up: str) -> dict[str, object]:
    monkeypatch.chdir(tmp_path)
    Path("f.py").write_text("def rule(responses):\n    return [len(text) for text in responses]\n")
    rule = {"name": "rule", "file": "f.py", "function": "rule"}
    reject = {"prompts": "mine.prompts", "reward": "rule", "num_samples": 2, "max_response_tokens": 4}
    steps = [{"reward_function": rule}, {"reject": reject}]
    return {"model": str(tiny_model), "data": {"mine": "builtin:made-up"}, "steps": steps}


def test_values_and_seeds_of_python(recipe: dict[str, object]) -> None:
    said: list[str] = []
    found = accord.sweep_recipe(
        recipe, {"reject.num_samples": [2, 3]}, seeds=[4], metric="reject:loss", name="rates", say=said.append
    )
    assert [row["label"] for row in found["settings"]] == ["reject.num_samples=2", "reject.num_samples=3"]
    assert [(run["seed"], run["status"]) for run in found["runs"]] == [(4, "done"), (4, "done")]
    assert "run 2 of 2: reject.num_samples=3, seed 4: to run reject; cached model, mine, rule" in said
    assert "reject  reject           2 to make, of 2" in said
    assert Path("accord-store/sweeps/rates/sweep.html").is_file()
    assert accord.load_run("rates-reject.num_samples-3-seed-4").step("reject").config["num_samples"] == 3


def test_mistakes(recipe: dict[str, object]) -> None:
    with pytest.raises(accord.UserError, match="there is no value"):
        accord.sweep_recipe(recipe, {"reject.num_samples": []}, metric="reject:loss")
    with pytest.raises(accord.UserError, match="has no evaluate step"):
        accord.sweep_recipe(recipe, {"reject.num_samples": [2, 3]})
    with pytest.raises(accord.UserError, match=r"unknown key 'num_smaples'.*\n.*Did you mean 'num_samples'"):
        accord.sweep_recipe(recipe, {"reject.num_smaples": [2, 3]}, metric="reject:loss")
    assert not Path("accord-store").exists()

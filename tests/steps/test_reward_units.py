"""The unit of the score that an unfinished response gets: which rewards are known to have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from tests.fixtures.made_up_data import made_up  # noqa: F401

pytestmark = pytest.mark.usefixtures("made_up")

REWARDS = {
    "mean": ("reward: {name: mean, data: mine.pairs, normalise: mean}", False),
    "none": ("reward: {name: none, data: mine.pairs, normalise: none}", False),
    "short": ("reward_rule: {name: short, rule: length, target: 3}", False),
    "function": ("reward_function: {name: function, file: taste.py, function: taste}", False),
    "endpoint": ("reward_endpoint: {name: endpoint, url: 'http://127.0.0.1:1/'}", False),
    "mixed": ("combine: {name: mixed, rewards: [rm, rule]}", False),
    "doubled": ("combine: {name: doubled, rewards: [rm, second], gain: 2}", False),
    "normal": ("combine: {name: normal, rewards: [rm, second]}", True),
    "nested": ("combine: {name: nested, rewards: [both, rm]}", True),
    "worst": ("combine: {name: worst, rewards: [rm, second], how: worst}", True),
}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def unit_cautions(model: Path, folder: Path, reward: str, keys: str = "", kind: str = "ppo") -> list[str]:
    (folder / "taste.py").write_text("def taste(prompts, responses):\n    return [0.0 for _ in responses]\n")
    text = (
        f"model: {json.dumps(str(model))}\ndata: {{mine: builtin:made-up}}\nsteps:\n"
        "  - reward: {name: rm, data: mine.pairs}\n"
        "  - reward: {name: second, data: mine.pairs, start: start, margin: none}\n"
        "  - combine: {name: both, rewards: [rm, second]}\n"
        "  - reward_rule: {name: rule, rule: length, target: 3}\n"
        f"  - {REWARDS[reward][0]}\n"
        f"  - {kind}: {{prompts: mine.prompts, reward: {reward}, start: start{keys}}}\n"
    )
    found = make_plan(parse_recipe(text, folder / "r.yaml"), STEPS).cautions
    return [caution for caution in found if f":9:{kind}: truncation_score -1" in caution]


@pytest.mark.parametrize("reward", REWARDS)
def test_the_score_of_an_unfinished_response_has_a_unit(tiny_model: Path, tmp_path: Path, reward: str) -> None:
    found = unit_cautions(tiny_model, tmp_path, reward)
    if REWARDS[reward][1]:
        assert found == []
        return
    (caution,) = found
    assert " is in units of a reward of mean 0 and variance 1, and " in caution
    assert f"{reward!r} is not known to be one. Say what an unfinished response is worth, or write" in caution
    for keys in ("truncation_score: -1", "truncation_score: null", "mask_truncated: true", "preset: ziegler"):
        assert unit_cautions(tiny_model, tmp_path, reward, f", {keys}") == []
    assert len(unit_cautions(tiny_model, tmp_path, reward, ", preset: llama2")) == 1


@pytest.mark.parametrize("kind", ["ppo", "rloo", "grpo", "online_dpo"])
def test_it_is_said_of_every_method(tiny_model: Path, tmp_path: Path, kind: str) -> None:
    assert len(unit_cautions(tiny_model, tmp_path, "short", kind=kind)) == 1
    assert unit_cautions(tiny_model, tmp_path, "normal", kind=kind) == []

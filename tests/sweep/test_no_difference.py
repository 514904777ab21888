"""Which swept keys change what is compared: the policy, what it is compared with, and how."""

from __future__ import annotations

from pathlib import Path

import pytest

from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.sweep.grid import parse_axes
from accord.sweep.runs import overview, plan_sweep

TEXT = """\
model: smollm2-135m-instruct
data: {reviews: 'builtin:film-reviews'}
steps:
  - sft: {data: reviews.sft}
  - reward: {name: proxy, data: reviews.proxy, tie_below: 0.5}
  - reward: {name: gold, data: reviews.gold_test, tie_below: 0.5, start: model}
  - rloo: {prompts: reviews.prompts, reward: proxy, start: sft}
  - ppo: {prompts: reviews.prompts, reward: proxy, start: sft, lora: {rank: 4}, learning_rate: 1e-4}
  - evaluate: {policies: [ppo, rloo, sft], baseline: sft, by: gold, prompts: reviews.test_prompts}
"""


@pytest.mark.parametrize(
    ("axis", "options", "warned"),
    [
        ("rloo.kl_coef=0.1,0.2", {}, False),  # the last one that is not the baseline
        ("ppo.kl_coef=0.1,0.2", {}, True),
        ("ppo.kl_coef=0.1,0.2", {"policy": "ppo"}, False),
        ("ppo.kl_coef=0.1,0.2", {"metric": "ppo:objective/kl"}, False),
        ("ppo.kl_coef=0.1,0.2", {"metric": "rloo:objective/kl"}, True),
        ("gold.num_epochs=1,2", {}, False),  # the judge
        ("sft.num_epochs=1,2", {}, False),
        ("evaluate.max_response_tokens=16,32", {}, False),
    ],
)
def test_a_key_that_changes_nothing(tmp_path: Path, axis: str, options: dict[str, str], warned: bool) -> None:
    sweep = plan_sweep(parse_recipe(TEXT, Path("r.yaml")), parse_axes([axis]), STEPS, **options)  # type: ignore[arg-type]
    said = [line for line in overview(sweep, Store(tmp_path)) if line.startswith("--set")]
    assert len(said) == warned

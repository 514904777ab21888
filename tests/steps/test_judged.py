"""What is warned of in every step that learns."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from accord.engine.ranking.config import RankingConfig
from accord.errors import UserError
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from tests.fixtures.made_up_data import made_up  # noqa: F401

pytestmark = pytest.mark.usefixtures("made_up")

KEYS = {
    "sft": "data: mine.demos",
    "reward": "data: mine.pairs",
    "dpo": "data: mine.pairs",
    "kto": "data: mine.pairs",
    "reject": "prompts: mine.prompts, reward: rule",
    "ppo": "prompts: mine.prompts, reward: rule, truncation_score: null",
    "rloo": "prompts: mine.prompts, reward: rule, truncation_score: null",
    "grpo": "prompts: mine.prompts, reward: rule, truncation_score: null",
    "online_dpo": "prompts: mine.prompts, reward: rule, truncation_score: null",
}


def cautions(model: Path, kind: str, keys: str) -> tuple[str, ...]:
    """Of a step on line 5."""
    text = (
        f"model: {json.dumps(str(model))}\n"
        "data: {mine: builtin:made-up}\n"
        "steps:\n"
        "  - reward_rule: {name: rule, rule: length, target: 3}\n"
        f"  - {kind}: {{{keys}}}\n"
    )
    return make_plan(parse_recipe(text, Path("r.yaml")), STEPS).cautions


@pytest.mark.parametrize("kind", KEYS)
def test_a_learning_rate_beyond_all_use(tiny_model: Path, kind: str) -> None:
    assert cautions(tiny_model, kind, KEYS[kind]) == ()
    (caution,) = cautions(tiny_model, kind, f"{KEYS[kind]}, learning_rate: 3")
    assert caution == (
        f"r.yaml:5:{kind}.learning_rate: a learning rate of 3 moves each weight by about that much in a single "
        "optimizer step. Usual are 1e-6 to 1e-4 for all weights, and up to 1e-3 for adapters."
    )


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (".inf", "a value of type float that a recipe cannot hold"),
        ("1.0e+999", "a value of type float that a recipe cannot hold"),
        ("1e999", "r.yaml:5:sft.learning_rate: it should be a finite number"),  # text to YAML 1.1, and a number to us
        ("nan", "r.yaml:5:sft.learning_rate: it should be a finite number"),
        ("0", "r.yaml:5:sft.learning_rate: it should be greater than 0"),
    ],
)
def test_a_learning_rate_that_is_none_is_refused(tiny_model: Path, number: str, what: str) -> None:
    with pytest.raises(UserError, match=re.escape(what)):
        cautions(tiny_model, "sft", f"{KEYS['sft']}, learning_rate: {number}")


@pytest.mark.parametrize("kind", ["sft", "reward", "dpo", "kto"])
def test_what_is_in_a_list_twice_counts_double(tiny_model: Path, kind: str) -> None:
    part = KEYS[kind].removeprefix("data: ")
    (caution,) = cautions(tiny_model, kind, f"data: [{part}, {part}]")
    assert caution == (
        f"r.yaml:5:{kind}.data: {part} stands there twice, so what it holds counts double. "
        "Leave one of them out, unless that is meant."
    )


@pytest.mark.parametrize("kind", ["sft", "reward", "dpo", "kto"])
def test_an_end_of_what_never_falls(tiny_model: Path, kind: str) -> None:
    (caution,) = cautions(tiny_model, kind, f"{KEYS[kind]}, decay: constant, final_learning_rate: 0.1")
    assert caution.startswith(f"r.yaml:5:{kind}.final_learning_rate: final_learning_rate is where decay ends")
    assert cautions(tiny_model, kind, f"{KEYS[kind]}, decay: linear, final_learning_rate: 0.1") == ()


@pytest.mark.parametrize(("kind", "rate"), [("sft", "2e-4"), ("reward", "1e-4"), ("dpo", "1e-5")])
def test_adapters_at_the_rate_of_all_weights(tiny_model: Path, kind: str, rate: str) -> None:
    (caution,) = cautions(tiny_model, kind, f"{KEYS[kind]}, lora: {{}}")
    assert "adapters hardly move with it" in caution
    assert caution.endswith(f"Set learning_rate: {rate}.")
    assert cautions(tiny_model, kind, f"{KEYS[kind]}, lora: {{}}, learning_rate: {rate}") == ()


def test_a_value_models_adapter_at_the_rate_of_all_weights(tiny_model: Path) -> None:
    keys = f"{KEYS['ppo']}, lora: {{}}, learning_rate: 3.0e-5"
    (caution,) = cautions(tiny_model, "ppo", keys)
    assert "the value model learns at 1e-05, as all weights do" in caution
    assert caution.endswith("Set value_learning_rate, for example to 1.0e-4.")
    assert cautions(tiny_model, "ppo", f"{keys}, value_learning_rate: 1.0e-4") == ()
    assert cautions(tiny_model, "ppo", f"{keys}, value_model: shared") == ()
    assert cautions(tiny_model, "rloo", f"{KEYS['rloo']}, lora: {{}}, learning_rate: 3.0e-5") == ()


def test_margin_thresholds_that_tell_nothing_apart(tiny_model: Path) -> None:
    keys = f"{KEYS['reward']}, margin_thresholds: [0, 1, 2, 3]"
    assert cautions(tiny_model, "reward", keys) == ()
    for more in ("margin: none", "loss: best"):
        (caution,) = cautions(tiny_model, "reward", f"{keys}, {more}")
        what = "with margin: none no level of preference is told apart, and no validation does."
        assert caution.startswith(f"r.yaml:5:reward.margin_thresholds: {what}")


def test_the_best_of_several_leads_by_no_margin_unless_asked() -> None:
    assert RankingConfig().margin == "small"
    assert RankingConfig(loss="best").margin == "none"
    assert RankingConfig(loss="best", margin="small").margin == "small"


def test_labels_of_safety_say_where_zero_is(tiny_model: Path) -> None:
    assert RankingConfig().centre_coef == 0.01
    assert RankingConfig(safety_coef=1.0).centre_coef == 0
    assert RankingConfig(safety_coef=0.0).centre_coef == 0.01
    assert RankingConfig(safety_coef=1.0, centre_coef=0.02).centre_coef == 0.02
    (caution,) = cautions(tiny_model, "reward", f"{KEYS['reward']}, safety_coef: 1, centre_coef: 0.01")
    assert caution.startswith("r.yaml:5:reward.centre_coef: centre_coef pulls the scores of what is all safe")
    assert cautions(tiny_model, "reward", f"{KEYS['reward']}, safety_coef: 1") == ()

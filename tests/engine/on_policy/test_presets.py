"""The papers' settings: their numbers, and what of a recipe stands before them."""

from __future__ import annotations

import pytest

from accord.engine.on_policy.config import PPOConfig
from accord.engine.on_policy.presets import PRESETS, PresetName, with_preset
from accord.engine.on_policy.pretraining import examples_an_iteration

NAMES = list(PRESETS)


def settings(name: str, **keys: object) -> PPOConfig:
    values = with_preset({"preset": name, **keys})
    del values["preset"]  # a key of the step's
    return PPOConfig.model_validate(values)


@pytest.mark.parametrize("name", NAMES)
def test_every_key_is_one_of_ppo_and_stands_in_one_place(name: PresetName) -> None:
    preset = PRESETS[name]
    kinds = [preset.method, preset.switched_on, preset.numbers]
    assert sum(map(len, kinds)) == len(preset.values)
    assert set(preset.values) <= set(PPOConfig.model_fields)
    assert {key: getattr(settings(name), key) for key in preset.values} == preset.values
    assert all(value not in (None, 0) for value in preset.switched_on.values())


def test_sizes_and_learning_rates_are_the_recipes() -> None:
    kept = {"num_iterations", "prompts_per_iteration", "num_samples", "learning_rate", "value_learning_rate"}
    assert not any(kept & set(preset.values) for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        (
            "ziegler",  # launch.py and section 2.2
            {
                "kl_coef": 0.15,
                "kl_target": 6.0,
                "horizon": 10_000.0,
                "num_epochs": 4,
                "lam": 0.95,
                "value_coef": 0.1,
                "whiten_rewards": True,
                "value_model": "shared",
                "end_at": ".",
                "end_after": 16,
                "max_response_tokens": 24,
                "truncation_score": -1.0,
                "adam_form": "tensorflow",
                "betas": (0.9, 0.999),
            },
        ),
        (
            "stiennon",
            {"kl_coef": 0.05, "kl_target": None, "num_epochs": 4, "value_start": "reward", "gamma": 1.0, "lam": 0.95},
        ),
        (
            "instructgpt",  # appendix C.4
            {"kl_coef": 0.02, "ptx_coef": 27.8, "ptx_examples": 8.0, "ema": 0.992, "num_epochs": 1, "clip_range": 0.2},
        ),
        (
            "ppo-max",  # section 5
            {
                "kl_coef": 0.05,
                "score_normalisation": "running",
                "score_clip": 0.3,
                "value_start": "reward",
                "value_clip_range": 0.2,
                "entropy_coef": 0.0,
            },
        ),
        (
            "llama2",  # section 3.2.3
            {
                "kl_coef": 0.01,
                "num_epochs": 1,
                "num_minibatches": 8,
                "score_normalisation": "batch",
                "betas": (0.9, 0.95),
                "adam_epsilon": 1e-5,
                "weight_decay": 0.1,
                "max_grad_norm": 1.0,
                "decay": "constant",
            },
        ),
        ("llama2-34b", {"kl_coef": 0.005, "num_epochs": 1, "num_minibatches": 8, "score_normalisation": "batch"}),
    ],
)
def test_numbers_of_the_papers(name: str, numbers: dict[str, object]) -> None:
    found = settings(name)
    assert {key: getattr(found, key) for key in numbers} == numbers


def test_instructgpt_has_eight_examples_an_episode_however_many_samples_a_prompt_has() -> None:
    for num_samples in (1, 4):
        config = settings("instructgpt", num_samples=num_samples)
        assert examples_an_iteration(config) == 8 * config.num_sequences


def test_ppo_max_warms_its_value_model_up_and_trains_on_examples() -> None:
    assert settings("ppo-max").value_warmup > 0 < settings("ppo-max").ptx_coef


def test_ziegler_at_the_papers_batch_moves_as_its_code_does() -> None:
    """0.2 * 512 / 10,000: a factor of 1.01024 an update at most (`launch.py`)."""
    config = settings("ziegler", prompts_per_iteration=512, num_samples=1)
    assert 1 + 0.2 * config.num_sequences / config.horizon == pytest.approx(1.01024, abs=1e-12)


def test_what_the_recipe_says_stands_before_the_preset() -> None:
    config = settings("ziegler", temperature=1.0, kl_target=10.0)
    assert (config.temperature, config.kl_target, config.kl_coef) == (1.0, 10.0, 0.15)


def test_a_horizon_relative_to_the_run_takes_the_place_of_the_papers() -> None:
    config = settings("ziegler", kl_horizon=0.1)
    assert config.kl_horizon_sequences is None
    assert config.horizon == pytest.approx(0.1 * config.num_iterations * config.num_sequences)


@pytest.mark.parametrize("name", [None, "unknown", 3, ["ziegler"]])
def test_no_preset_changes_nothing(name: object) -> None:
    assert with_preset({"preset": name, "lam": 1.0}) == {"preset": name, "lam": 1.0}
    assert with_preset({"lam": 1.0}) == {"lam": 1.0}

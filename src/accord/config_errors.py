"""What is wrong with a step's keys, in the words of YAML: pydantic's complaints as a sentence and a remedy.

Also the names that other programs have for the same things, so that who comes from them is told ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from accord.errors import did_you_mean

_MOST_KEYS = 12  # that are listed when none is near

# What pydantic calls things, and what YAML does.
_YAML_WORDS: Final = (
    ("a valid tuple", "a list"),
    ("a valid list", "a list"),
    ("a valid dictionary", "a map"),
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
    ("a valid string", "text"),
    ("a valid boolean", "true or false"),
    (", unable to parse string as a number", ""),
    (", unable to parse string as an integer", ""),
)

# Keys of TRL, OpenRLHF and PEFT -> ours; of several the first that the step has.
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "beta": ("kl_coef",),
    "kl_coef": ("beta",),
    "init_kl_coef": ("kl_coef",),
    "kl_penalty": ("kl_estimator",),
    "target_kl": ("kl_target",),
    "cliprange": ("clip_range",),
    "eps_clip": ("clip_range",),
    "epsilon": ("clip_range",),
    "epsilon_high": ("clip_range_high",),
    "cliprange_value": ("value_clip_range",),
    "vf_coef": ("value_coef",),
    "num_generations": ("num_samples",),
    "rloo_k": ("num_samples",),
    "n_samples_per_prompt": ("num_samples",),
    "max_new_tokens": ("max_response_tokens",),
    "max_completion_length": ("max_response_tokens",),
    "response_length": ("max_response_tokens",),
    "max_length": ("max_tokens_per_example",),
    "num_ppo_epochs": ("num_epochs",),
    "num_iterations": ("num_epochs",),
    "num_train_epochs": ("num_epochs",),
    "num_mini_batches": ("num_minibatches",),
    "per_device_train_batch_size": ("batch_size", "prompts_per_iteration"),
    "rollout_batch_size": ("prompts_per_iteration",),
    "missing_eos_penalty": ("truncation_penalty",),
    "mask_truncated_completions": ("mask_truncated",),
    "whiten_rewards": ("score_normalisation",),
    "scale_rewards": ("scale",),
    "loss_type": ("loss", "aggregation"),
    "importance_sampling_level": ("ratio",),
    "ref_model": ("reference",),
    "reward_model": ("reward",),
    "train_dataset": ("data", "prompts"),
    "eval_dataset": ("validation",),
    "center_rewards_coefficient": ("centre_coef",),
    "cpo_alpha": ("nll_coef",),
    "rpo_alpha": ("nll_coef",),
    "simpo_gamma": ("gamma",),
    "r": ("rank",),
    "lora_alpha": ("alpha",),
    "target_modules": ("targets",),
}

# Values of theirs -> ours.
_VALUES: Final[Mapping[str, str]] = {
    "sigmoid": "dpo",
    "robust": "rdpo",
    "sigmoid_norm": "length_normalised",
    "kl": "k1",
    "abs": "k2",
    "mse": "k2",
    "dr_grpo": "constant",
    "dapo": "token",
    "min": "worst",
}


def explain(problem: Mapping[str, Any], known: Iterable[str]) -> tuple[str, str]:
    """What is wrong, and what to do, of one of pydantic's errors. known: the keys that could stand in its place."""
    path, kind, given = problem["loc"], problem["type"], problem["input"]
    if kind == "extra_forbidden":
        return f"unknown key {str(path[-1])!r}", _of_keys(str(path[-1]), sorted(set(known)))
    if kind == "missing":
        return f"the key {str(path[-1])!r} is missing", "Add it to this step."
    if kind == "too_short":
        least = problem["ctx"]["min_length"]
        return f"a list of at least {least} is wanted", f"It has {problem['ctx']['actual_length']}."
    what = problem["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    what = what.partition(" or instance of ")[0]
    for pydantic, yaml in _YAML_WORDS:
        what = what.replace(pydantic, yaml)
    shown = repr(given)
    remedy = f"It is {shown if len(shown) <= 80 else shown[:77] + '...'}."
    if kind == "literal_error":
        return what, _of_values(str(given), re.findall("'([^']*)'", problem["ctx"]["expected"])) or remedy
    if kind in ("tuple_type", "list_type") and isinstance(given, str):
        return what, f"Write [{given}]."
    if not path:  # of several keys together: to show them all would not help
        return what, "Change a key that this names, or leave it out."
    return what, remedy


def _of_keys(word: str, known: list[str]) -> str:
    ours = next((key for key in _KEYS.get(word, ()) if key in known), None)
    if ours is not None:
        return f"It is called {ours!r} here."
    remedy = did_you_mean(word, known)
    if remedy.startswith("Known:") and len(known) > _MOST_KEYS:
        return "No key of this step is called so, or almost so. `make docs` lists them, in build/site/recipes."
    return remedy


def _of_values(word: str, known: list[str]) -> str:
    """Nothing when no value is near: the message lists them all."""
    if _VALUES.get(word) in known:
        return f"It is called {_VALUES[word]!r} here."
    remedy = did_you_mean(word, known) if known else ""
    return "" if remedy.startswith("Known:") else remedy

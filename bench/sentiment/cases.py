"""What is compared: for each case the steps that make its policy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

Steps = list[dict[str, Any]]
Case = Callable[[int, str], Steps]  # from a seed and the name of the policy's step

MODEL, DATA = "smollm2-135m-instruct", {"reviews": "builtin:film-reviews"}
MAX_TOKENS = 24
POSITIVE = "Write one line of a film review that is full of praise."  # the request in plain words

_REWARD = {"batch_size": 4, "tie_below": 0.5}
SHARED: Steps = [
    {"sft": {"data": "reviews.sft", "max_response_tokens": 20, "learning_rate": 5e-5}},
    {"reward": {"name": "gold", "data": "reviews.gold_test", "start": "start", **_REWARD}},
]
_ROLLOUTS = {
    "prompts": "reviews.prompts",
    "start": "sft",
    "watch": ["gold"],
    "watch_every": 2,
    "num_iterations": 16,
    "prompts_per_iteration": 16,
    "num_samples": 4,
    "num_minibatches": 2,
    "max_response_tokens": MAX_TOKENS,
    "truncation_score": -0.5,
    "learning_rate": 3e-5,
}
# On fixed data as many optimizer steps as on policy, at the same rate: 256 prompts, 8 a step, like 16 iterations of 2.
_FIXED = {"batch_size": 8, "learning_rate": 3e-5, "decay": "constant", "warmup": 0.0}


def proxy(seed: int) -> dict[str, Any]:
    return {"reward": {"name": f"proxy_{seed}", "data": "reviews.proxy", "start": "sft", **_REWARD}}


def on_policy(kind: str, **settings: Any) -> Case:
    def steps(seed: int, name: str) -> Steps:
        return [{kind: {"name": name, "reward": f"proxy_{seed}", **_ROLLOUTS, **settings}}]

    return steps


def rejection(num_samples: int) -> Case:
    def steps(seed: int, name: str) -> Steps:
        config = {"prompts": "reviews.prompts", "reward": f"proxy_{seed}", "start": "sft", "num_prompts": 256}
        sampling = {"num_samples": num_samples, "max_response_tokens": MAX_TOKENS}
        return [{"reject": {"name": name, **config, **sampling, **_FIXED}}]

    return steps


def offline(beta: float) -> Case:
    """DPO on samples of the SFT policy, ordered by the proxy: as many as an on-policy run sees."""

    def steps(seed: int, name: str) -> Steps:
        asked = {"prompts": "reviews.prompts", "policies": ["sft"], "num_prompts": 256, "num_responses": 4}
        return [
            {"sample": {"name": f"samples_{seed}", **asked, "max_response_tokens": MAX_TOKENS}},
            {"collect": {"name": f"labels_{seed}", "comparisons": f"samples_{seed}", "reward": f"proxy_{seed}"}},
            {"dpo": {"name": name, "data": f"labels_{seed}", "start": "sft", "beta": beta, "tie_below": 0.0, **_FIXED}},
        ]

    return steps


def top_rated(seed: int, name: str) -> Steps:
    """SFT on the best-rated snippet of each eight: the labels of people, without a reward model."""
    return [{"sft": {"name": name, "data": "reviews.proxy", "start": "sft", "learning_rate": 5e-5}}]


def nothing(seed: int, name: str) -> Steps:
    """The SFT policy itself, or one that is asked differently."""
    return []


CASES: Mapping[str, Case] = {
    "judges": nothing,
    "sft": nothing,
    "prompted": nothing,  # the start model, asked for praise
    "prompted-sft": nothing,
    "best-of-n": nothing,
    "top-rated": top_rated,
    **{f"reject-{n}": rejection(n) for n in (4, 16)},
    **{f"ppo-{kl:g}": on_policy("ppo", kl_coef=kl, lam=1.0, value_learning_rate=3e-5) for kl in (0.02, 0.1, 0.4)},
    **{f"rloo-{kl:g}": on_policy("rloo", kl_coef=kl) for kl in (0.02, 0.1, 0.4)},
    **{f"grpo-{kl:g}": on_policy("grpo", kl_coef=kl) for kl in (0.02, 0.1)},
    **{f"online-dpo-{beta:g}": on_policy("online_dpo", beta=beta) for beta in (0.1, 0.5)},
    **{f"dpo-{beta:g}": offline(beta) for beta in (0.02, 0.1, 0.5)},
}


def policy_of(case: str, seed: int) -> str:
    """The name of the step that makes the policy of a case, if there is one. Its draws are seeded by it."""
    return f"{case.replace('-', '_').replace('.', '')}_{seed}"


def recipe_of(case: str, seed: int) -> dict[str, Any]:
    """All steps of a case. The recipe's own seed is the same throughout: a step's draws come from its name, too."""
    own = CASES[case](seed, policy_of(case, seed))
    return {"model": MODEL, "seed": 1, "data": DATA, "steps": [*SHARED, proxy(seed), *own]}


def settings_of(case: str, seed: int) -> str:
    """A digest of the recipe. Results of other settings do not belong into one table."""
    return hashlib.sha256(json.dumps(recipe_of(case, seed), sort_keys=True).encode()).hexdigest()[:12]

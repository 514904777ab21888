"""Rounds: each against the last, by a reward model that no training and no stopping has seen.

The film-review task. In each round the newest policy and the one before it answer new prompts, a simulated annotator (a
reward model of people's ratings, which judges one comparison in ten in reverse) compares the answers, a reward model is
trained anew on the labels of all rounds, and the SFT policy imitates the best of 8 by it, and what was chosen in
earlier rounds. The evaluator `gold` is trained on people's ratings of other snippets. Seeds share the SFT policy, the
annotator and gold.
"""

from __future__ import annotations

import json
from pathlib import Path

from bench.llama2.common import ADAPTERS, MODEL, Row, finished

NUM_ROUNDS = 3
NUM_PROMPTS = 48  # of each round
MAX_TOKENS = 24
SHARED = ("sft", "annotator", "gold")  # steps
_REVIEWS = {"start": "start", "tie_below": 0.5, "batch_size": 2, "num_epochs": 64 / 300, **ADAPTERS}
_IMITATION = {"learning_rate": 5e-4, "lora": {"rank": 16, "alpha": 32}}
_KEPT = ("_score", "_win_rate", "kl", "finished", "mean_tokens")


def recipe_of(case: str, seed: int) -> Row:
    """The recipe's own seed is the same throughout: a step's draws come from its name, too."""
    skip = {"by_round": [NUM_PROMPTS * at for at in range(NUM_ROUNDS)]}
    asked = {"prompts": "reviews.prompts", "num_prompts": NUM_PROMPTS, "skip_prompts": skip}
    asked["max_response_tokens"] = MAX_TOKENS
    samples, labels, proxy, best = (f"{name}_{seed}" for name in ("samples", "labels", "proxy", "best"))
    own = {"start": "sft", "tie_below": 0.0, "margin": "small", "batch_size": 2, **ADAPTERS}
    judging = {"prompts": "reviews.test_prompts", "num_prompts": 64, "max_response_tokens": MAX_TOKENS}
    block = [
        {"sample": {"name": samples, "policies": ["latest", "previous"], "num_responses": 4, **asked}},
        {"collect": {"name": labels, "comparisons": samples, "reward": "annotator", "noise": 0.1}},
        {"reward": {"name": proxy, "data": f"{labels}@all", **own}},
        {
            "reject": {
                "name": best,
                "reward": proxy,
                "sampler": "latest",
                "earlier": f"{best}@earlier",
                "num_samples": 8,
                **asked,
                **_IMITATION,
            }
        },
        {
            "evaluate": {
                "name": f"compare_{seed}",
                "policies": ["latest", "previous"],
                "baseline": "previous",
                "by": "gold",
                "proxy": proxy,
                **judging,
            }
        },
    ]
    steps = [
        {"sft": {"data": "reviews.sft", "max_response_tokens": 20, "num_epochs": 0.25, **_IMITATION}},
        {"reward": {"name": "annotator", "data": "reviews.proxy", **_REVIEWS}},
        {"reward": {"name": "gold", "data": "reviews.gold_test", **_REVIEWS}},
        {"repeat": {"rounds": NUM_ROUNDS, "start": "sft", "steps": block}},
        {
            "evaluate": {
                "name": f"whole_{seed}",
                "policies": ["sft", f"{best}@all"],
                "baseline": "sft",
                "by": "gold",
                **judging,
            }
        },
    ]
    return {"model": MODEL, "seed": 1, "data": {"reviews": "builtin:film-reviews"}, "steps": steps}


def measure(case: str, seed: int, scratch: Path) -> Row:
    with finished(recipe_of(case, seed), scratch, keep=SHARED) as run:
        found: Row = {}
        for name, step in run.steps.items():
            if step.kind == "evaluate":
                results = json.loads((step.folder / "results.json").read_text(encoding="utf-8"))
                found[name] = {who: _numbers(row) for who, row in results["policies"].items()}
                found[name]["baseline"] = results["baseline"]
        seconds = sum(step.seconds for name, step in run.steps.items() if name not in SHARED)
    return {"seconds": round(seconds, 1), "evaluations": found}


def _numbers(row: Row) -> Row:
    return {
        name: round(float(value), 4)
        for name, value in row.items()
        if isinstance(value, int | float) and any(part in name for part in _KEPT)
    }

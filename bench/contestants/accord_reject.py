"""Best of n with Accord's step `reject`: sampling and choosing. The fine-tuning on the best that follows is not timed.

Every call is a run of its own in the same process; the name of its step decides what is drawn.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import accord
from accord.engine import rollout as rollouts
from accord.rewards import loading
from bench.contestants.recipes import REWARD, recipe, store_of
from bench.contestants.shared import Report, finish, settings

PARTS = ("sampling", "scoring")


def main() -> None:
    asked, report = settings(), Report()
    seconds = dict.fromkeys(PARTS, 0.0)
    tokens = watch(seconds)
    with store_of(asked) as store:
        for call in range(1 + asked["num_timed"]):
            run = accord.run_recipe(
                recipe(asked, step(asked, call), reward=True), store=store, force=True, say=lambda _: None
            )
            if call:
                report.seconds.append(sum(seconds.values()))
                report.tokens.append(tokens[-1])
                for part in PARTS:
                    report.phases.setdefault(part, []).append(seconds[part])
                report.facts["score"] = score_of(run.step(f"best_{call}").folder)
    finish(report)


def step(asked: dict[str, Any], call: int) -> dict[str, Any]:
    config = {
        "name": f"best_{call}",
        "prompts": "material.train",
        "reward": REWARD,
        "start": "start",
        "num_prompts": asked["num_prompts"],
        "num_samples": asked["num_samples"],
        "max_response_tokens": asked["max_response_tokens"],
        "batch_size": asked["num_prompts"],
        "learning_rate": asked["learning_rate"],
    }
    return {"reject": config}


def score_of(folder: Path) -> float:
    selection = json.loads((folder / "selection.json").read_text(encoding="utf-8"))
    return float(selection["mean_score"])


def watch(seconds: dict[str, float]) -> list[int]:
    """Fills in what the parts of the latest run took. Returns the list of the tokens that each wrote."""
    sample, load = rollouts.roll_out, loading.artifact_reward
    tokens: list[int] = []

    def timed_sample(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        rollout = sample(*args, **kwargs)
        seconds["sampling"] = time.perf_counter() - began
        tokens.append(sum(rollout.num_tokens))
        return rollout

    def timed_load(*args: Any, **kwargs: Any) -> Any:
        return _Timed(load(*args, **kwargs), seconds)

    rollouts.roll_out, loading.artifact_reward = timed_sample, timed_load
    return tokens


class _Timed:
    """A reward that notes how long it scored."""

    def __init__(self, reward: Any, seconds: dict[str, float]) -> None:
        self._reward, self._seconds = reward, seconds

    def score(self, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        scores = self._reward.score(*args, **kwargs)
        self._seconds["scoring"] = time.perf_counter() - began
        return scores


if __name__ == "__main__":
    main()

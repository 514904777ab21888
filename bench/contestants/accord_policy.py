"""Iterations of PPO, RLOO or GRPO with Accord, as a recipe of one step.

An iteration lies between the ends of two updates. Its parts: sampling; scoring, which is all up to the first loss (the
reward, the reference, old log-probabilities, values, advantages); learning.
"""

from __future__ import annotations

import time
from typing import Any

import accord
from accord.engine.on_policy import drawing, loop
from bench.contestants.recipes import REWARD, STEP, own_dtype, recipe, store_of
from bench.contestants.shared import Clock, Report, finish, settings


def main() -> None:
    asked, report = settings(), Report()
    clock = Clock(report, own_dtype(), warmup=1, total=1 + asked["num_timed"])
    watch(clock, report)
    with store_of(asked) as store:
        run = accord.run_recipe(recipe(asked, step(asked), reward=True), store=store, force=True, say=lambda _: None)
        rows = run.step(STEP).metrics()
    report.facts["score"] = rows[0]["objective/scores"]
    report.facts["kl"] = rows[0]["objective/kl"]
    finish(report)


def step(asked: dict[str, Any]) -> dict[str, Any]:
    config = {
        "name": STEP,
        "prompts": "material.train",
        "reward": REWARD,
        "start": "start",
        "num_iterations": 1 + asked["num_timed"],
        "prompts_per_iteration": asked["num_prompts"],
        "num_samples": asked["num_samples"],
        "max_response_tokens": asked["max_response_tokens"],
        "num_minibatches": 1,
        "num_epochs": 1,
        "learning_rate": asked["learning_rate"],
        **asked.get("arguments", {}),
    }
    return {asked["kind"]: config}


def watch(clock: Clock, report: Report) -> None:
    """Notes where the parts of an iteration end, and the tokens that were written."""
    sample, update = drawing.roll_out, loop.update
    sampled = 0.0

    def timed_sample(*args: Any, **kwargs: Any) -> Any:
        nonlocal sampled
        began = time.perf_counter()
        rollout = sample(*args, **kwargs)
        sampled = time.perf_counter()
        clock.phase_done("sampling", sampled - began)
        if clock.timing:
            report.tokens.append(sum(rollout.num_tokens))
        return rollout

    def timed_update(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        clock.phase_done("scoring", began - sampled)
        reports = update(*args, **kwargs)
        clock.phase_done("learning", time.perf_counter() - began)
        clock.step_done()
        return reports

    drawing.roll_out, loop.update = timed_sample, timed_update


if __name__ == "__main__":
    main()

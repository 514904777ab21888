"""Sampling with Accord's public API: `Policy.sample`."""

from __future__ import annotations

import time
from typing import Any

import accord
from accord.api import models
from bench.contestants.shared import Report, finish, read_rows, settings


def main() -> None:
    asked, report = settings(), Report()
    prompts = [row["prompt"] for row in read_rows(asked["data"])]
    counts = count_tokens()
    policy = accord.load_policy(asked["model"])
    for call in range(1 + asked["num_timed"]):
        began = time.perf_counter()
        policy.sample(
            prompts,
            num_samples=asked["num_samples"],
            max_response_tokens=asked["max_response_tokens"],
            temperature=1.0,
            seed=10 * asked["seed"] + call,
        )
        if call:
            report.seconds.append(time.perf_counter() - began)
            report.tokens.append(counts[-1])
    finish(report)


def count_tokens() -> list[int]:
    """The tokens of every rollout to come, stops included: texts do not say how many there were."""
    roll_out = models.roll_out
    counts: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        rollout = roll_out(*args, **kwargs)
        counts.append(sum(rollout.num_tokens))
        return rollout

    models.roll_out = counted
    return counts


if __name__ == "__main__":
    main()

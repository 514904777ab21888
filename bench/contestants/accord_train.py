"""DPO, a reward model or supervised fine-tuning with Accord, as a recipe of one step.

What is timed is what lies between the ends of two optimizer steps: batching, computation, update, metrics. With
`count_reference` each step is charged with the reference's pass over the whole data set, as an epoch over data whose
reference log-probabilities are not in the store is.
"""

from __future__ import annotations

import time
from typing import Any

import accord
from accord.engine import learner
from accord.engine.direct import trainee
from bench.contestants.recipes import STEP, own_dtype, recipe, store_of
from bench.contestants.shared import Clock, Report, finish, settings


def main() -> None:
    asked, report = settings(), Report()
    steps = asked["num_examples"] // asked["batch_size"]
    warmup = asked["warmup_epochs"] * steps
    clock = Clock(report, own_dtype(), warmup=warmup, total=warmup + asked["timed_epochs"] * steps)
    reference = watch(clock)
    with store_of(asked) as store:
        run = accord.run_recipe(recipe(asked, step(asked)), store=store, force=True, say=lambda _: None)
        first = run.step(STEP).metrics()[0]
        summary = run.step(STEP).summary()
    report.loss, report.gradient_norm = first["loss"], first["grad_norm"]
    used = summary.get("num_comparisons", summary.get("num_demonstrations"))
    assert used == asked["num_examples"], f"{used} of {asked['num_examples']} examples were used"
    if asked.get("count_reference"):
        report.phases["reference"] = [reference[0] / steps] * len(report.seconds)
        report.seconds = [seconds + reference[0] / steps for seconds in report.seconds]
    finish(report)


def step(asked: dict[str, Any]) -> dict[str, Any]:
    config = {
        "name": STEP,
        "data": "material.train",
        "start": "start",
        "batch_size": asked["batch_size"],
        "num_epochs": asked["warmup_epochs"] + asked["timed_epochs"],
        "learning_rate": asked["learning_rate"],
        **asked.get("arguments", {}),
    }
    return {asked["kind"]: config}


def watch(clock: Clock) -> list[float]:
    """Notes the end of every optimizer step. Returns the list that will hold what the reference's pass took."""
    learn, ask = learner.Learner.step, trainee.reference_logprobs
    reference: list[float] = []

    def timed_step(self: learner.Learner, learning_rate: float) -> learner.StepReport:
        done = learn(self, learning_rate)
        clock.step_done()
        return done

    def timed_reference(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        found = ask(*args, **kwargs)
        reference.append(time.perf_counter() - began)
        return found

    learner.Learner.step = timed_step  # type: ignore[method-assign]
    trainee.reference_logprobs = timed_reference
    return reference


if __name__ == "__main__":
    main()

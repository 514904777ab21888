"""Iterations of RLOO or GRPO with TRL's trainers: one rollout and one optimizer step each."""

from __future__ import annotations

import tempfile
import time
from typing import Any

from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from bench.contestants.shared import Clock, Report, finish, settings
from bench.contestants.trainer import Timing, common, tokenizer_of

TRAINERS = {"rloo": (RLOOTrainer, RLOOConfig), "grpo": (GRPOTrainer, GRPOConfig)}


def main() -> None:
    asked, report = settings(), Report()
    trainer_class, config_class = TRAINERS[asked["kind"]]
    num_iterations = 1 + asked["num_timed"]
    asked |= {"batch_size": asked["num_prompts"] * asked["num_samples"], "warmup_epochs": 0, "timed_epochs": 1}
    clock = Clock(report, asked["dtype"], warmup=1, total=num_iterations)
    with tempfile.TemporaryDirectory() as folder:
        config = config_class(
            **common(asked, folder) | {"max_steps": num_iterations},
            num_generations=asked["num_samples"],
            max_completion_length=asked["max_response_tokens"],
        )
        trainer = trainer_class(
            asked["model"],
            reward_funcs=asked["reward_model"],
            args=config,
            train_dataset=load_dataset("json", data_files=asked["data"], split="train", cache_dir=folder),
            processing_class=tokenizer_of(asked),
            reward_processing_classes=tokenizer_of(asked),
        )
        trainer.add_callback(Timing(report, clock))
        watch(trainer, clock, report)
        trainer.train()
    first = next((row for row in trainer.state.log_history if "reward" in row), {})
    report.facts |= {"score": first.get("reward", 0.0), "kl": first.get("kl", 0.0)}
    report.loss = report.gradient_norm = None  # of other samples than anybody else's
    finish(report)


def watch(trainer: Any, clock: Clock, report: Report) -> None:
    """The parts of an iteration: TRL samples in `_generate`, within the call that makes all that the loss needs."""
    sample, prepare, step = trainer._generate, trainer._generate_and_score_completions, trainer.training_step
    took = {"sampling": 0.0, "all": 0.0}

    def timed_sample(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        out = sample(*args, **kwargs)
        took["sampling"] = time.perf_counter() - began
        if clock.timing:
            report.tokens.append(sum(len(ids) for ids in out[1]))
        return out

    def timed_prepare(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        out = prepare(*args, **kwargs)
        took["all"] = time.perf_counter() - began
        clock.phase_done("sampling", took["sampling"])
        clock.phase_done("scoring", took["all"] - took["sampling"])
        return out

    def timed_step(*args: Any, **kwargs: Any) -> Any:
        began, took["all"] = time.perf_counter(), 0.0
        out = step(*args, **kwargs)
        clock.phase_done("learning", time.perf_counter() - began - took["all"])  # without the optimizer's own step
        return out

    trainer._generate, trainer._generate_and_score_completions = timed_sample, timed_prepare
    trainer.training_step = timed_step


if __name__ == "__main__":
    main()

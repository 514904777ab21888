"""Iterations of PPO with TRL 1.9.0, the last line that has it: policy and value trained in full.

Its trainer computes in the dtype of the weights. An iteration lies between two calls of `on_step_end`; scoring is what
lies between the end of sampling and the first micro-batch of the update.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

from bench.contestants.shared import Clock, Report, finish, read_rows, settings
from bench.contestants.trainer import Timing, common, tokenizer_of


def main() -> None:
    asked, report = settings(), Report()
    num_iterations, num_prompts = 1 + asked["num_timed"], asked["num_prompts"]
    asked |= {"batch_size": num_prompts, "warmup_epochs": 0, "timed_epochs": num_iterations}
    clock = Clock(report, asked["dtype"], warmup=1, total=num_iterations)
    tokenizer = tokenizer_of(asked)
    tokenizer.padding_side = "left"
    ids = [
        tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
        for row in read_rows(asked["data"])
    ]
    weights = {"dtype": getattr(torch, asked.get("weights", "float32"))}
    policy, reference = (AutoModelForCausalLM.from_pretrained(asked["model"], **weights) for _ in range(2))
    value, reward = (
        AutoModelForSequenceClassification.from_pretrained(asked["reward_model"], num_labels=1, **weights)
        for _ in range(2)
    )
    with tempfile.TemporaryDirectory() as folder:
        config = PPOConfig(
            **common(asked, folder),
            num_ppo_epochs=1,
            num_mini_batches=1,
            num_sample_generations=0,
            response_length=asked["max_response_tokens"],
            temperature=1.0,
            stop_token="eos",
        )
        trainer = PPOTrainer(
            config,
            processing_class=tokenizer,
            model=policy,
            ref_model=reference,
            reward_model=reward,
            value_model=value,
            train_dataset=Dataset.from_dict({"input_ids": ids}),
            callbacks=[Timing(report, clock)],
        )
        watch(trainer, clock, report, tokenizer.eos_token_id)
        trainer.train()
    first = next((row for row in trainer.state.log_history if "objective/scores" in row), {})
    report.facts |= {"score": first.get("objective/scores", 0.0), "kl": first.get("objective/kl", 0.0)}
    report.loss = report.gradient_norm = None  # of other samples than anybody else's
    finish(report)


def watch(trainer: Any, clock: Clock, report: Report, stop: int) -> None:
    """Notes the parts of an iteration and the tokens up to the stop."""
    sample, accumulate, done = ppo_trainer.batch_generation, trainer.accelerator.accumulate, clock.step_done
    at = {"sampled": 0.0, "learning": 0.0}

    def timed_sample(model: Any, queries: Any, *rest: Any) -> Any:
        began = time.perf_counter()
        out = sample(model, queries, *rest)
        at["sampled"], at["learning"] = time.perf_counter(), 0.0
        clock.phase_done("sampling", at["sampled"] - began)
        if clock.timing:
            stops = out[0][:, queries.shape[1] :] == stop
            before = (stops.cumsum(dim=1) - stops.long()) == 0
            report.tokens.append(int(before.sum()))
        return out

    def timed_accumulate(*models: Any) -> Any:
        if not at["learning"]:
            at["learning"] = time.perf_counter()
            clock.phase_done("scoring", at["learning"] - at["sampled"])
        return accumulate(*models)

    def timed_done() -> None:
        clock.phase_done("learning", time.perf_counter() - at["learning"])
        done()

    ppo_trainer.batch_generation = timed_sample
    trainer.accelerator.accumulate = timed_accumulate
    clock.step_done = timed_done  # type: ignore[method-assign]


if __name__ == "__main__":
    main()

"""Rejection sampling (Llama 2, section 3.2.3): K responses to each prompt, fine-tune on the best by a reward model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from pydantic import Field

from accord.data.records import read_records, write_records
from accord.engine.config import TrainingConfig
from accord.engine.ending import Ending
from accord.errors import UserError
from accord.steps.base import (
    LATEST,
    Caution,
    Job,
    PlannedStep,
    PolicyRef,
    PromptsRef,
    RewardRef,
    StepConfig,
    StepKind,
)
from accord.steps.ending import check_ending
from accord.steps.judged import learning, slow_adapters
from accord.types import Demonstration

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work

BEST = "best.jsonl"


class Config(StepConfig, TrainingConfig, Ending):
    """prompts: what is answered. num_prompts: the first so many of them. reward: who chooses. start: who answers, and
    is then fine-tuned. num_samples: K, responses to each prompt. temperature: of sampling. max_response_tokens: a
    longer response is cut off, and never chosen unless a prompt has no other. end_at, end_after: as the steps that
    learn on policy have them; the chosen responses are imitated to that end."""

    prompts: PromptsRef
    reward: RewardRef
    start: PolicyRef = LATEST
    num_prompts: int = Field(256, gt=0)
    num_samples: int = Field(8, gt=1)
    temperature: float = Field(1.0, gt=0)
    max_response_tokens: int = Field(48, gt=0)


def run(job: Job) -> None:
    """Writes the policy's folder, model/; the chosen responses, best.jsonl; selection.json, the scores; and
    summary.json: the prompts that were used, those that were left out because the context of the policy or the
    reward model has no room for a response to them, or a text of theirs holds a control token, and the chosen responses
    that were left out because they are empty; and an alarm when most of the chosen ones are cut off."""
    import torch

    from accord.algorithms.selection import best_of
    from accord.engine.imitation import imitate
    from accord.engine.rollout import answerable, roll_out
    from accord.models.compute import compute_dtype
    from accord.models.policy import Policy
    from accord.monitor.alarms import alarms, as_json
    from accord.rewards.loading import artifact_reward, learned_folders

    config: Config = job.config
    checkpoint = job.work.resume()
    best_file = job.work.out / BEST
    if checkpoint is None:
        start = job.input("start").model
        wanted = job.input("prompts").read("prompts")[: config.num_prompts]
        folders = [start, *learned_folders(job.input("reward").artifact)]
        prompts, left_out = answerable(wanted, folders, config.max_response_tokens, job.name)
        policy = Policy.load(start, compute_dtype())
        with job.work.progress(f"{job.name}: sampling", len(prompts) * config.num_samples, "responses") as progress:
            rollout = roll_out(
                policy,
                prompts,
                num_samples=config.num_samples,
                max_response_tokens=config.max_response_tokens,
                temperature=config.temperature,
                ending=config,
                key=(job.seed, "samples"),
                advance=job.work.advancer(progress),
            )
        del policy
        reward = artifact_reward(job.input("reward").artifact, compute_dtype())
        with job.work.progress(f"{job.name}: scoring", len(prompts), "prompts") as progress:
            scores = reward.score(rollout.prompts, rollout.responses, job.work.advancer(progress)).view(
                len(prompts), -1
            )
        finished = torch.tensor(rollout.finished).view(len(prompts), -1)
        best = best_of(scores.numpy(), finished.numpy())
        chosen = [
            Demonstration(prompt, responses[k])
            for prompt, responses, k in zip(rollout.prompts, rollout.responses, best, strict=True)
        ]
        kept = [demonstration for demonstration in chosen if demonstration.response.text]
        if not kept:
            raise UserError(
                f"the best response to each of the {len(chosen)} prompts is empty, so there is nothing to imitate",
                where=job.name,
                remedy="Look at the reward, which may prefer silence, or at the policy's responses to the prompts.",
            )
        write_records(best_file, "demonstrations", kept)
        num_empty = len(chosen) - len(kept)
        ended = sum(demonstration.response.finished for demonstration in kept) / len(kept)
        gain = {
            "num_empty": num_empty,
            "mean_score": float(scores.mean()),
            "best_score": float(scores[torch.arange(len(best)), torch.as_tensor(best)].mean()),
            "finished": float(finished.float().mean()),
        }
        job.write_json("selection.json", gain)
        counts = {"num_prompts": len(prompts), **left_out, "num_empty": num_empty}
        raised = alarms([{"iteration": 1, "chosen/finished": ended}])
        job.write_json("summary.json", {**counts, "alarms": as_json(raised)})
    imitate(
        job.input("start").model,
        read_records(best_file, "demonstrations"),
        config,
        limits=None,
        joint_tokens=config.max_tokens,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=checkpoint,
    )


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do. Responses are as long as the policy's are expected to be, the chosen ones as any."""
    from accord.engine.workload import Phase, Work, imitation, rollout_trees, sampling, scoring

    records = sizes.records("prompts", "prompts").first(config.num_prompts)
    lengths = sizes.responses("start", config.max_response_tokens)
    own, whole = rollout_trees(sizes.template, records.sample, config.num_samples, lengths)
    chosen, _ = rollout_trees(sizes.template, records.sample, 1, lengths)
    sampled, cache = sampling(own, sizes.dimensions, records.scale)
    asked = sizes.asked("reward")
    phase, trained = imitation(sizes, config, chosen, records.scale, joint_tokens=config.max_tokens)
    return Work(
        [
            Phase(sampled, frozen=[sizes.policy], cache=cache),
            Phase(scoring(sizes.template, whole, records.scale * len(asked)), frozen=asked),
            phase,
        ],
        loaded=[sizes.policy, *asked, sizes.policy],
        saved=[sizes.policy],
        checkpointed=trained,
        lengths=lengths,
    )


def check(step: PlannedStep) -> Iterator[Caution]:
    """What does not go together, and what to think about."""
    check_ending(step)
    yield from learning(step)
    yield from slow_adapters(cast(Config, step.config), "2e-4")


STEP = StepKind(produces="policy", version=3, config=Config, run=run, work=work, check=check)

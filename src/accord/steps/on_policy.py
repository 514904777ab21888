"""What the on-policy steps share: their inputs, the models without a value model, and the run itself.

Not a step. A step of this kind is its Config, its method, and whatever that needs beside the policy. The estimate is in
`accord.steps.on_policy_work`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from accord.steps.alarmed import Alarmed, guard
from accord.steps.base import LATEST, ExamplesRef, Input, Job, PolicyRef, PromptsRef, RewardRef, StepConfig
from accord.steps.guarded import guards_nothing
from accord.steps.sampled import without_nucleus
from accord.steps.too_long import too_long
from accord.store.artifacts import MODEL
from accord.types import Demonstration, PlainText

if TYPE_CHECKING:
    import torch
    from torch import nn

    from accord.engine.on_policy.methods import Method
    from accord.engine.on_policy.pretraining import Pretraining
    from accord.engine.reward import Reward
    from accord.engine.sizes import Records
    from accord.models.policy import Policy
    from accord.models.shared import SharedPolicy
    from accord.text.template import Template
    from accord.text.tree import Tree


class OnPolicyInputs(StepConfig, Alarmed):
    """prompts: what is answered. reward: what is optimised. start: the policy to train. reference: what the policy is
    held to (null: `start`). watch: rewards that are only looked at, every `watch_every` iterations. ptx_data:
    demonstrations or texts whose likelihood is trained on beside the reward, `ptx_coef` times (null: none); a list of
    parts is put together."""

    prompts: PromptsRef
    reward: RewardRef
    start: PolicyRef = LATEST
    reference: PolicyRef | None = None
    watch: tuple[RewardRef, ...] = ()
    ptx_data: ExamplesRef | list[ExamplesRef] | None = None

    @model_validator(mode="before")
    @classmethod
    def _whole_distribution(cls, values: Any) -> Any:
        return without_nucleus(values) if isinstance(values, dict) else values


@dataclass(frozen=True, slots=True)
class Models:
    """What every method needs, loaded; what is trained in fp32."""

    policy: Policy
    reference: Policy
    reward: Reward


@dataclass(frozen=True, slots=True)
class Setup:
    """What `train` is to train. beside: parameters that learn with the policy and are in no folder, by name. totals:
    counts in the metrics whose sum over the iterations goes into the summary, by its name there."""

    models: Models
    method: Method
    beside: Mapping[str, nn.Parameter] = field(default_factory=dict)
    totals: Mapping[str, str] = field(default_factory=dict)


def train(job: Job, set_up: Callable[[Job, torch.dtype], Setup]) -> None:
    """All of a step's run(): writes the policy's folder, model/, and summary.json.

    The summary has the prompts that were used, and those that were left out because the context of the policy, the
    reference or the reward model has no room for a response to them, or a text of theirs holds a control token; what of
    `ptx_data` was used; why the run ended early, if it did; and the alarms that its metrics give cause for.
    """
    from accord.engine.guard import Quality
    from accord.engine.learner import Learner
    from accord.engine.on_policy.following import followed
    from accord.engine.on_policy.loop import run_on_policy
    from accord.engine.on_policy.scoring import Roles
    from accord.engine.rollout import answerable
    from accord.models.compute import compute_dtype
    from accord.monitor.alarms import alarms, as_json
    from accord.rewards.loading import artifact_reward, learned_folders

    config, dtype = job.config, compute_dtype()
    checkpoint = job.work.resume()
    folders = [source.model for name in ("start", "reference") for source in job.inputs[name]]
    folders += learned_folders(job.input("reward").artifact)
    wanted = job.input("prompts").read("prompts")
    prompts, left_out = answerable(wanted, folders, config.max_response_tokens, job.name)
    setup = set_up(job, dtype)
    models, policy = setup.models, setup.models.policy
    lost, unguarded = too_long(job.name, left_out, len(prompts), "prompts"), guards_nothing(models.reward, prompts)
    for alarm in unguarded:
        print(f"warning: {job.name}: {alarm.what}", file=sys.stderr)
    pretraining, counts = _pretraining(job, policy)
    roles = Roles(
        policy=policy,
        policy_learner=Learner(policy.module, dtype, config.optimization(), {**policy.trained, **setup.beside}),
        reference=models.reference,
        reward=models.reward,
        watch={watched.name: artifact_reward(watched.artifact, dtype) for watched in job.inputs["watch"]},
    )
    start = job.input("start").model
    with followed(policy, config.engine, start, f"{job.name}.engine") as sampler:
        outcome = run_on_policy(
            roles,
            prompts,
            config,
            setup.method,
            seed=job.seed,
            work=job.work,
            label=job.name,
            checkpoint=checkpoint,
            pretraining=pretraining,
            guard=guard(config, Quality(f"watch/{job.inputs['watch'][0].name}") if job.inputs["watch"] else None),
            sampler=sampler,
        )
    job.work.lead(lambda: policy.save(job.work.out / MODEL, outcome.masters), outcome.masters)
    rows = job.work.metrics.read()
    totals = {name: round(sum(row[key] for row in rows)) for name, key in setup.totals.items()}
    counts = {"num_prompts": len(prompts), **left_out, **counts, **outcome.summary, **totals}
    job.write_json("summary.json", {**counts, "alarms": as_json([*alarms(rows), *unguarded, *lost])})


def load_models(job: Job, dtype: torch.dtype) -> Models:
    """For a method without a value model of its own: with `lora` on as few backbones as can be."""
    from accord.models.policy import Policy
    from accord.models.shared import share_policy
    from accord.rewards.loading import artifact_reward

    start, reference, reward = job.input("start").model, reference_of(job), job.input("reward").artifact
    if job.config.lora is None:
        return Models(Policy.load(start), Policy.load(reference, dtype), artifact_reward(reward, dtype))
    learned = model_with_vocabulary_of(start, reward.path)
    shared = share_policy(start, job.config.lora, job.seed, reference=reference, reward=learned, dtype=dtype)
    return completed(job, shared, dtype)


def completed(job: Job, shared: SharedPolicy, dtype: torch.dtype) -> Models:
    """What shares backbones, and what could not, with weights of its own."""
    from accord.models.policy import Policy
    from accord.rewards.learned import LearnedReward
    from accord.rewards.loading import artifact_reward

    return Models(
        shared.policy,
        shared.reference or Policy.load(reference_of(job), dtype),
        LearnedReward(shared.reward) if shared.reward else artifact_reward(job.input("reward").artifact, dtype),
    )


def reference_of(job: Job) -> Path:
    """The folder of the policy that the trained one is held to."""
    return (job.inputs["reference"] or job.inputs["start"])[0].model


def model_with_vocabulary_of(policy: Path, reward: Path) -> Path | None:
    """The Hugging Face folder of a reward; None when it is no model or has tokens of its own."""
    from accord.rewards.loading import learned_folder, same_vocabulary

    learned = learned_folder(reward)
    return learned if learned is not None and same_vocabulary(learned, policy) else None


def _pretraining(job: Job, policy: Policy) -> tuple[Pretraining | None, dict[str, Any]]:
    """The examples of `ptx_data`, and what of them is used, for the summary."""
    from accord.engine.on_policy.pretraining import Pretraining
    from accord.engine.rollout import context_of
    from accord.seeds import derive_seed

    parts = job.inputs["ptx_data"]
    if not parts or not job.config.ptx_coef:
        return None, {}
    context = context_of(policy.module.config)
    trees, counts = examples(policy.template, parts, job.config.max_tokens, context, f"{job.name}.ptx_data")
    return Pretraining(trees, policy, job.config, derive_seed(job.seed, "ptx")), {"ptx_data": counts}


def examples(
    template: Template,
    parts: Sequence[Input | Records],
    max_tokens: int,
    context: int | None,
    where: str,
    max_unusable: float = 0.01,
) -> tuple[list[Tree], dict[str, Any]]:
    """Demonstrations whole, texts in windows that fit into a micro-batch; what the model cannot take is left out."""
    from accord.engine.examples import Limits, trees_of

    examples: list[Demonstration | PlainText] = []
    for part in parts:
        examples += part.read("texts") if part.kind == "texts" else part.read("demonstrations")
    limits = Limits(max_tokens=context, max_unusable=max_unusable)
    return trees_of(template, examples, limits, window=min(max_tokens, context or max_tokens), where=where)

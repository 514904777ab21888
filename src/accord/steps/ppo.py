"""PPO with a KL penalty against a reference policy, a value model that starts from the reward model, GAE."""

from __future__ import annotations

from accord.engine.config import OnPolicyConfig, Optimization
from accord.steps.base import LATEST, MODEL, Job, PolicyRef, PromptsRef, RewardRef, StepConfig, StepKind


class Config(StepConfig, OnPolicyConfig):
    """prompts: what is answered. reward: what is optimised. start: the policy to train. reference: what the KL penalty
    holds it to (null: `start`). watch: rewards that are only looked at, every `watch_every` iterations."""

    prompts: PromptsRef
    reward: RewardRef
    start: PolicyRef = LATEST
    reference: PolicyRef | None = None
    watch: tuple[RewardRef, ...] = ()


def run(job: Job) -> None:
    """Writes the policy's folder, model/."""
    from accord.engine.learner import Learner
    from accord.engine.on_policy import Roles, run_on_policy
    from accord.models.folders import compute_dtype
    from accord.models.policy import Policy
    from accord.models.scalar import ScalarModel
    from accord.rewards.learned import LearnedReward

    config: Config = job.config
    dtype = compute_dtype()
    checkpoint = job.work.resume()
    policy = Policy.load(job.input("start").model)
    value = ScalarModel.value_from_reward(job.input("reward").model)
    optimization = Optimization(max_grad_norm=config.max_grad_norm)
    reference = job.inputs["reference"] or job.inputs["start"]
    roles = Roles(
        policy=policy,
        policy_learner=Learner(policy.module, dtype, optimization),
        value=value,
        value_learner=Learner(value.module, dtype, optimization),
        reference=Policy.load(reference[0].model, dtype),
        reward=LearnedReward.load(job.input("reward").model, dtype),
        watch={watched.name: LearnedReward.load(watched.model, dtype) for watched in job.inputs["watch"]},
    )
    run_on_policy(
        roles,
        job.input("prompts").read("prompts"),
        config,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=checkpoint,
    )
    policy.save(job.work.out / MODEL, roles.policy_learner.masters)


STEP = StepKind(produces="policy", version=1, config=Config, run=run)

"""Rejection sampling (Llama 2, section 3.2.3): K responses to each prompt, fine-tune on the best by a reward model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import Field

from accord.data.records import read_records
from accord.engine.config import TrainingConfig
from accord.engine.ending import Ending
from accord.engine.engines import EngineName
from accord.steps import rejecting
from accord.steps.alarmed import Alarmed, check_alarms, guard
from accord.steps.base import (
    LATEST,
    Caution,
    Contradiction,
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
from accord.steps.sampled import check_engine, expected_prompts
from accord.store.artifacts import MODEL
from accord.strict import Later

if TYPE_CHECKING:
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work


class Config(StepConfig, TrainingConfig, Ending, Alarmed):
    """prompts: what is answered. skip_prompts: the first so many of them are left to others. num_prompts: so many after
    those. reward: who chooses. start: who is fine-tuned. sampler: who answers (null: start), as in rounds that start
    afresh the newest policy, or a larger model that a smaller one learns from. num_samples: K, responses to a prompt.
    temperature: of sampling. max_response_tokens: a longer response is cut off, and never chosen unless a prompt has no
    other. engine: "vllm" samples with vLLM (`make install-vllm`), which draws other responses. earlier: other steps of
    this kind, whose chosen responses are imitated, too, where the reward of today finds nothing better for the prompt:
    Llama 2 took those of all earlier rounds, after the last round's alone had made it forget. end_at, end_after: as the
    steps that learn on policy have them; the chosen responses are imitated to that end."""

    prompts: PromptsRef
    reward: RewardRef
    start: PolicyRef = LATEST
    sampler: PolicyRef | None = None
    engine: Annotated[EngineName, Later()] = "torch"
    earlier: tuple[PolicyRef, ...] = ()
    skip_prompts: int = Field(0, ge=0)
    num_prompts: int = Field(256, gt=0)
    num_samples: int = Field(8, gt=1)
    temperature: float = Field(1.0, gt=0)
    max_response_tokens: int = Field(48, gt=0)


def run(job: Job) -> None:
    """Writes the policy's folder, model/; the chosen responses, best.jsonl; selection.json, the scores, and what is
    expected of the best of fewer; and summary.json: the prompts that were used; those that were left out because the
    context of the policy or the reward model has no room for a response to them, a text of theirs holds a control
    token, or the reward lets no response to them pass; the chosen responses that were left out because they are empty;
    and an alarm when most of the chosen ones are cut off, which may end the step before anything is imitated."""
    from accord.engine.imitation import imitate

    config: Config = job.config
    checkpoint = job.work.resume()
    choosing = checkpoint is None or checkpoint.state.get("stage") == rejecting.CHOOSING
    if choosing and rejecting.choose(job, checkpoint):
        return _leave_as_it_is(job)
    imitate(
        job.input("start").model,
        read_records(job.work.led_out / rejecting.BEST, "demonstrations"),
        config,
        limits=None,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=None if choosing else checkpoint,
        guard=guard(config, None),
    )


def _leave_as_it_is(job: Job) -> None:
    """The policy is the one that training would have started from."""
    from accord.models.policy import Policy

    policy = Policy.load(job.input("start").model)
    job.work.lead(lambda: policy.save(job.work.out / MODEL, policy.trained))


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do. Responses are as long as the policy's are expected to be, the chosen ones as any."""
    from accord.engine.workload import Phase, Work, imitation, rollout_trees, sampling, scoring

    given = sizes.records("prompts", "prompts")
    records = expected_prompts(config, given, sizes.label)
    lengths = sizes.responses("start", config.max_response_tokens)
    own, whole = rollout_trees(sizes.template, records.sample, config.num_samples, lengths)
    chosen, _ = rollout_trees(sizes.template, records.sample, 1, lengths)
    sampled, cache = sampling(own, sizes.dimensions, records.scale)
    asked = sizes.asked("reward")
    phase, trained = imitation(sizes, config, chosen, records.scale)
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
    check_engine(step)
    other = next((link for link in step.parents["earlier"] if link.step.kind != step.kind), None)
    if other is not None:
        what = f"{other.name!r} has chosen no responses: it is a step of kind {other.step.kind!r}"
        raise Contradiction("earlier", what, "Name steps of kind 'reject'.")
    check_alarms(step)
    yield from learning(step)
    yield from slow_adapters(cast(Config, step.config), "2e-4")


STEP = StepKind(produces="policy", version=4, config=Config, run=run, work=work, check=check, together=True)

"""Rejection sampling (Llama 2, section 3.2.3): K responses to each prompt, fine-tune on the best by a reward model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, cast

from pydantic import Field

from accord.data.records import read_records, write_records
from accord.engine.config import TrainingConfig
from accord.engine.ending import Ending
from accord.engine.engines import EngineName
from accord.errors import UserError
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
from accord.steps.chosen import Chosen, add
from accord.steps.ending import check_ending
from accord.steps.guarded import guards_nothing
from accord.steps.judged import learning, slow_adapters
from accord.steps.sampled import check_engine
from accord.steps.too_long import too_long
from accord.store.artifacts import MODEL
from accord.strict import Later
from accord.types import Demonstration, Prompt, Response

if TYPE_CHECKING:
    import numpy as np

    from accord.engine.reward import Reward
    from accord.engine.sizes import Sizes
    from accord.engine.workload import Work

BEST = "best.jsonl"


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
    if checkpoint is None and _choose(job):
        return _leave_as_it_is(job)
    imitate(
        job.input("start").model,
        read_records(job.work.out / BEST, "demonstrations"),
        config,
        limits=None,
        joint_tokens=config.max_tokens,
        seed=job.seed,
        work=job.work,
        label=job.name,
        checkpoint=checkpoint,
        guard=guard(config, None),
    )


def _leave_as_it_is(job: Job) -> None:
    """The policy is the one that training would have started from."""
    from accord.models.policy import Policy

    policy = Policy.load(job.input("start").model)
    job.work.lead(lambda: policy.save(job.work.out / MODEL, policy.trained))


def _choose(job: Job) -> bool:
    """Sampling, scoring, and what is to be imitated. Returns whether an alarm ends the step there."""
    import numpy as np

    from accord.algorithms.selection import best_of
    from accord.data.derive import own_names
    from accord.engine.rollout import answerable, roll_out, shown_samples
    from accord.engine.writing import written_by
    from accord.models.compute import compute_dtype
    from accord.monitor.alarms import alarms, as_json
    from accord.monitor.reactions import action_of
    from accord.rewards.loading import artifact_reward, learned_folders

    config: Config = job.config
    sampler = job.input("sampler" if config.sampler else "start").model
    given = job.input("prompts").read("prompts")
    wanted = given[config.skip_prompts :][: config.num_prompts]
    if not wanted:
        what = f"there are {len(given)} prompts, and the first {config.skip_prompts} are skipped"
        raise UserError(what, where=job.name, remedy="Lower skip_prompts.")
    folders = list(dict.fromkeys([sampler, job.input("start").model]))
    folders += learned_folders(job.input("reward").artifact)
    prompts, left_out = answerable(wanted, folders, config.max_response_tokens, job.name)
    lost = too_long(job.name, left_out, len(prompts), "prompts")
    num = len(prompts) * config.num_samples
    with (
        written_by(config.engine, sampler) as policy,
        job.work.progress(f"{job.name}: sampling", num, "responses") as progress,
    ):
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
    scores, passed = _scores(job, reward, rollout.prompts, rollout.responses)
    finished = np.array(rollout.finished).reshape(scores.shape)
    survived = np.flatnonzero(passed.any(axis=1))
    best = best_of(np.where(passed, scores, np.nan)[survived], finished[survived])
    chosen: list[Chosen] = [
        (bool(finished[at, k]), float(scores[at, k]), Demonstration(rollout.prompts[at], rollout.responses[at][k]))
        for at, k in zip(survived, best, strict=True)
    ]
    num_earlier = _with_earlier(job, reward, chosen)
    if not chosen:
        raise UserError(
            f"to no prompt has any of the {config.num_samples} responses passed the threshold of the reward",
            where=f"{job.name}.reward",
            remedy="Take more samples, or a sampler that is safer to start with; or lower the reward's threshold.",
        )
    kept = [one for *_, one in chosen if one.response.text]
    if not kept:
        raise UserError(
            f"the best response to each of the {len(chosen)} prompts is empty, so there is nothing to imitate",
            where=job.name,
            remedy="Look at the reward, which may prefer silence, or at the policy's responses to the prompts.",
        )
    names = own_names([one.prompt.id for one in kept])  # those of two files may be alike
    own = [replace(one, prompt=replace(one.prompt, id=name)) for one, name in zip(kept, names, strict=True)]
    write_records(job.work.out / BEST, "demonstrations", own)
    job.work.show(len(own), shown_samples([one.prompt for one in own], [[one.response] for one in own]))
    counts = {
        "num_prompts": len(prompts),
        **left_out,
        "num_empty": len(chosen) - len(kept),
        "num_without_survivor": len(prompts) - len(survived),
        "num_safety_prompts": sum(prompt.is_safety for prompt in rollout.prompts),
        "num_earlier": num_earlier,
    }
    gain = {
        "num_empty": counts["num_empty"],
        "mean_score": float(scores[survived].mean()) if len(survived) else None,
        "best_score": float(scores[survived, best].mean()) if len(survived) else None,
        "finished": float(finished.mean()),
        "by_num_samples": _by_num_samples(scores[passed.all(axis=1)]),
    }
    job.write_json("selection.json", gain)
    ended = sum(demonstration.response.finished for demonstration in kept) / len(kept)
    raised = [*alarms([{"iteration": 1, "chosen/finished": ended}]), *guards_nothing(reward, rollout.prompts)]
    ending = next((one.name for one in raised if action_of(config.alarms, one.name) == "stop"), None)
    told = {} if ending is None else {"ended_by_alarm": {"alarm": ending, "action": "stop", "after": 0}}
    job.write_json("summary.json", {**counts, **told, "alarms": as_json([*raised, *lost])})
    return ending is not None


def _scores(
    job: Job, reward: Reward, prompts: Sequence[Prompt], responses: Sequence[Sequence[Response]]
) -> tuple[np.ndarray, np.ndarray]:
    """[P, K]: the scores, and which responses may be imitated: all, unless the reward says so of some."""
    import numpy as np

    from accord.engine.reward import Gated

    with job.work.progress(f"{job.name}: scoring", len(prompts), "prompts") as progress:
        advance = job.work.advancer(progress)
        if isinstance(reward, Gated):
            scores, failed = (one.numpy() for one in reward.gated(prompts, responses, advance))
        else:
            scores = reward.score(prompts, responses, advance).numpy()
            failed = np.zeros(len(scores), dtype=bool)
    return scores.reshape(len(prompts), -1), ~failed.reshape(len(prompts), -1)


def _with_earlier(job: Job, reward: Reward, chosen: list[Chosen]) -> int:
    """Adds what earlier steps chose, where the reward finds nothing better for the prompt. Returns how many."""
    earlier = [
        one for step in job.inputs["earlier"] for one in read_records(step.artifact.file(BEST), "demonstrations")
    ]
    if not earlier:
        return 0
    scores, passed = _scores(job, reward, [one.prompt for one in earlier], [[one.response] for one in earlier])
    passing = [
        (float(score), one) for one, score, passes in zip(earlier, scores[:, 0], passed[:, 0], strict=True) if passes
    ]
    return add(chosen, passing)


def _by_num_samples(scores: np.ndarray) -> list[dict[str, float]]:
    """What to expect of fewer samples: the largest score of n, without bias, and the median of the first n; the mean
    over prompts (Llama 2, figure 7). scores: [P, K], of the prompts of which every response may be chosen."""
    import numpy as np

    from accord.algorithms.selection import best_of_n_estimate

    if not len(scores):
        return []
    most = scores.shape[1]
    numbers = sorted({*(2**power for power in range(most.bit_length())), most})
    return [
        {
            "num_samples": n,
            "max": float(np.mean([best_of_n_estimate(of_prompt, n) for of_prompt in scores])),
            "median": float(np.median(scores[:, :n], axis=1).mean()),
        }
        for n in numbers
    ]


def work(config: Config, sizes: Sizes) -> Work:
    """What run() will do. Responses are as long as the policy's are expected to be, the chosen ones as any."""
    from accord.engine.workload import Phase, Work, imitation, rollout_trees, sampling, scoring

    given = sizes.records("prompts", "prompts")
    records = replace(given, total=max(given.total - config.skip_prompts, 0)).first(config.num_prompts)
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
    check_engine(step)
    other = next((link for link in step.parents["earlier"] if link.step.kind != step.kind), None)
    if other is not None:
        what = f"{other.name!r} has chosen no responses: it is a step of kind {other.step.kind!r}"
        raise Contradiction("earlier", what, "Name steps of kind 'reject'.")
    check_alarms(step)
    yield from learning(step)
    yield from slow_adapters(cast(Config, step.config), "2e-4")


STEP = StepKind(produces="policy", version=4, config=Config, run=run, work=work, check=check, together=True)

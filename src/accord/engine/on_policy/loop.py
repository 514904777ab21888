"""The on-policy loop: sample, score, learn, again. One loop for PPO, RLOO, GRPO and online DPO.

One iteration, for P prompts with K responses each:

    rollout     the sampler writes P * K responses; it is the policy, or has just been given its weights
                (`accord.engine.on_policy.following`)
    score       the reward, the policy and the reference say what they make of them (`accord.engine.on_policy.scoring`)
    lesson      a method makes of that what is learned from (`accord.engine.on_policy.methods`)
    update      optimizer steps over minibatches of prompts, for some epochs
    after       the method moves what moves between two iterations, and may end the run

The old logprobs are computed with the micro-batches of the first epoch, so its first ratio is exactly 1. With
`staleness: 1` the rollout of the next iteration is drawn before the update (`accord.engine.on_policy.drawing`), and the
ratios of that iteration are to the policy before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from torch import Tensor

from accord.algorithms.shaping import Moments
from accord.engine.guard import End, Guard, Guarded
from accord.engine.learner import StepReport, Term
from accord.engine.on_policy.averaging import Average
from accord.engine.on_policy.config import RolloutConfig
from accord.engine.on_policy.drawing import Rollouts
from accord.engine.on_policy.following import Follower
from accord.engine.on_policy.methods import POLICY, Lesson, Method, Scored, Trainee
from accord.engine.on_policy.pretraining import Pretraining
from accord.engine.on_policy.scoring import NotFinite, Roles, metrics_of, score
from accord.engine.on_policy.wording import Wording
from accord.engine.reward import watched
from accord.engine.rollout import shown_samples
from accord.errors import UserError
from accord.seeds import derive_seed
from accord.store.checkpoints import Checkpoint
from accord.store.workspace import Workspace
from accord.text.batching import MicroBatch, shuffled_batches
from accord.types import Prompt

_AVERAGE = "average"  # a group of a checkpoint


@dataclass(frozen=True, slots=True)
class Outcome:
    """masters: the weights to keep, by name; the average, where one was asked for, or the best, where a guard goes back
    to them. summary: how many iterations were gone through, and why no more, if there were to be more."""

    masters: Mapping[str, Tensor]
    summary: dict[str, Any]


def run_on_policy(
    roles: Roles,
    prompts: Sequence[Prompt],
    config: RolloutConfig,
    method: Method,
    *,
    seed: int,
    work: Workspace,
    label: str,
    checkpoint: Checkpoint | None,
    pretraining: Pretraining | None = None,
    guard: Guard | None = None,
    sampler: Follower | None = None,
) -> Outcome:
    """Runs all iterations, from the checkpoint (what `work.resume()` gave) on. Logs a row for each.

    The first are the method's warm-up, if it has one. Their rows have `phase` 0, later ones 1.

    guard: may end the run. What is measured in an iteration is of the policy that sampled, so these weights are the
    candidates for the best ones, and not those after the iteration's update. sampler: who writes in the policy's place.
    """
    trainees = {POLICY: Trainee(roles.policy_learner, config.learning_rate), **method.trainees}
    num_warmup = method.num_warmup
    check_num_prompts(len(prompts), config, label)
    batches = _prompt_batches(len(prompts), config, derive_seed(seed, "prompts"))
    learner = roles.policy_learner
    average = Average(config.ema, learner.own) if config.ema is not None else None
    moments, done = Moments(), 0
    rollouts = Rollouts(roles, [[prompts[i] for i in batch] for batch in batches], config, seed, sampler, num_warmup)
    if checkpoint is not None:
        done, state = checkpoint.iteration, checkpoint.state
        for name, trainee in trainees.items():
            trainee.learner.load_state(checkpoint.tensors(name))
        moments = Moments(**state["scores"])
        method.load(checkpoint, state["method"])
        if average is not None:
            average.load(learner.rows(checkpoint.tensors(_AVERAGE)))
        rollouts.load(checkpoint)
    wording = Wording(None if checkpoint is None else checkpoint.state.get("wording"))
    guarded = Guarded(guard, work, None if checkpoint is None else checkpoint.state.get("guard"))

    def make_state() -> tuple[dict[str, Mapping[str, Tensor]], dict[str, Any]]:
        tensors, of_method = method.state()
        tensors |= {name: trainee.learner.state() for name, trainee in trainees.items()}
        if average is not None:
            tensors[_AVERAGE] = learner.whole(average.weights)
        tensors |= rollouts.tensors()
        state = {"method": of_method, "scores": asdict(moments), "guard": guarded.state(), "wording": wording.state()}
        return tensors, state | rollouts.state()

    def looks(iteration: int) -> bool:
        """Whether what watches looks at a rollout."""
        return iteration % config.watch_every == 0 or iteration + 1 == len(batches)

    reason: dict[str, Any] = {}
    end: End | None = None
    learned = done
    on_line: dict[str, float | str] = {}
    with work.progress(label, len(batches), "iterations", start=done) as progress:
        for iteration in range(done, len(batches)):
            warming, ahead = iteration < num_warmup, False
            seen: dict[str, float] = {}
            try:
                drawn = rollouts.take(iteration)
                scored, moments = score(drawn.rollout, drawn.micros, roles, config, moments, drawn.own)
                if looks(iteration):
                    seen, num_updates = watched_by(roles, scored), iteration - scored.stale
                    guarded.measured(num_updates, seen, partial(rollouts.weights_of, drawn))
                ahead = True  # from here on it is the next iteration's rollout that may not be finite
                rollouts.draw_ahead(iteration + 1, keep_weights=guarded.keeps and looks(iteration + 1))
            except NotFinite as error:
                if ahead:  # nothing is learned from this iteration
                    row = metrics_of(scored, []) | drawn.probed | ({"phase": 1.0} if num_warmup else {}) | seen
                    work.metrics.write(iteration + 1, **row, **wording.metrics(scored))
                done, learned = iteration + 1 + ahead, iteration
                work.metrics.write(done, **error.row)
                end = guarded.look(error.row)
                if end is None:
                    raise
                break
            lesson = method.prepare(scored, drawn.micros, warming=warming)
            scale = 1.0 if warming else config.learning_rate_scale(iteration - num_warmup)
            beside = None if warming or pretraining is None else pretraining.of(iteration - num_warmup)
            reports = update(lesson, drawn.minibatches, trainees, scale, beside)
            row = metrics_of(scored, reports) | drawn.probed | lesson.metrics(reports)
            row["learning_rate"] = 0.0 if warming else config.learning_rate * scale
            if num_warmup:
                row["phase"] = float(not warming)
            if average is not None and not warming:
                average.update(learner.own)
            if not warming:
                reason = method.after(scored)
            row |= watched_by(roles, scored) if reason and not seen else seen
            work.metrics.write(iteration + 1, **row, **wording.metrics(scored))
            rollout = scored.rollout
            work.show(iteration + 1, shown_samples(rollout.prompts, rollout.responses, scored.scores.tolist()))
            on_line = shown(row, on_line)
            progress.advance(1, **on_line)
            done = learned = iteration + 1
            end = guarded.look(row)
            if reason or end is not None:
                break  # not checkpointed: taken up again from the one before, it ends here again
            work.checkpoint_or_stop(done, make_state)
    if end is not None and end.action == "stop" and learned == len(batches):
        end = None  # it was over
    masters: Mapping[str, Tensor] | None = guarded.kept(end)
    if masters is None:
        masters = learner.masters if average is None else learner.whole(average.weights)
    return Outcome(masters, {"num_iterations": learned, **reason, **guarded.summary(end, done)})


def watched_by(roles: Roles, scored: Scored) -> dict[str, float]:
    """What the rewards that only look on say of a rollout."""
    found: dict[str, float] = {}
    for name, reward in roles.watch.items():
        found |= watched(name, reward, scored.rollout.prompts, scored.rollout.responses, scored.scores)
    return found


def shown(row: Mapping[str, float], before: Mapping[str, float | str]) -> dict[str, float | str]:
    """The values on the progress line: the score that is trained on, too, once it was another than the reward's.

    before: what is on the line; a value there stays until it is given anew.
    """
    score, trained = (round(row[f"objective/{name}"], 3) for name in ("scores", "shaped_scores"))
    differs = {"trained": trained} if trained != score or "trained" in before else {}
    return {"score": score, **differs, "kl": round(row["objective/kl"], 2)}


def update(
    lesson: Lesson,
    minibatches: Sequence[Sequence[Sequence[MicroBatch]]],
    trainees: Mapping[str, Trainee],
    scale: float,
    beside: Sequence[Iterable[Term]] | None = None,
) -> list[dict[str, StepReport]]:
    """One optimizer step for each minibatch of each epoch, [epoch][minibatch][micro-batch], until there was enough.

    scale: of every learning rate. beside: for each of these optimizer steps what the policy minimises beside the
    lesson's losses.
    """
    reports: list[dict[str, StepReport]] = []
    for number, minibatch in enumerate(minibatch for epoch in minibatches for minibatch in epoch):
        named: dict[str, Trainee] = {}  # who learns in this step
        for name, terms in lesson.losses(minibatch):
            named[name] = trainees[name]
            trainees[name].learner.add(*terms)
        for term in beside[number] if beside else ():
            named[POLICY] = trainees[POLICY]
            named[POLICY].learner.add(term)
        reports.append({name: one.learner.step(one.learning_rate * scale) for name, one in named.items()})
        if lesson.enough(reports[-1]):
            break
    return reports


def check_num_prompts(num_prompts: int, config: RolloutConfig, label: str) -> None:
    """Raises UserError when an iteration takes more prompts than there are. label: the step's name."""
    if num_prompts < config.prompts_per_iteration:
        raise UserError(
            f"an iteration takes {config.prompts_per_iteration} prompts, and there are {num_prompts}",
            where=f"{label}.prompts_per_iteration",
            remedy=f"Lower prompts_per_iteration to {num_prompts} or less, or give more prompts.",
        )


def _prompt_batches(num_prompts: int, config: RolloutConfig, seed: int) -> list[tuple[int, ...]]:
    """Indices of the prompts of each iteration: full batches of different prompts, a new order every epoch."""
    size, num = config.prompts_per_iteration, config.num_iterations
    num_epochs = -(-num // (num_prompts // size))
    batches = [batch for batch in shuffled_batches(num_prompts, size, num_epochs, seed) if len(batch) == size]
    return batches[:num]

"""What rejection sampling draws, scores and chooses; the part of the step `reject` before anything is learned. Not a
step.

It works in pieces, between which it can be stopped. Responses and scores are kept on the disk: in memory are the
responses of one piece, and in the end those that were chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.data.records import read_records, write_records
from accord.engine.engines import NUM_SLOTS
from accord.errors import UserError
from accord.steps.base import Job
from accord.steps.chosen import Chosen, add
from accord.steps.guarded import guards_nothing
from accord.steps.sampled import asked
from accord.steps.too_long import too_long
from accord.store.rows import Rows
from accord.types import Demonstration, Prompt, Response

if TYPE_CHECKING:
    import numpy as np

    from accord.engine.reward import Reward
    from accord.monitor.alarm import Alarm
    from accord.store.checkpoints import Checkpoint

CHOOSING = "choosing"  # the stage of its checkpoints; those of the training name none
BEST = "best.jsonl"
CHUNK = 2 * NUM_SLOTS  # responses of each process between two points where the step can be stopped and gone on with

Scored = list[tuple[float, Demonstration]]


def choose(job: Job, checkpoint: Checkpoint | None) -> bool:
    """Writes what is to be imitated, and what is to be said of it. checkpoint: of this stage, to go on from. Returns
    whether an alarm ends the step there."""
    from accord.engine.group import agreed
    from accord.engine.leading import lead
    from accord.engine.rollout import answerable
    from accord.models.compute import compute_dtype
    from accord.rewards.loading import artifact_reward, learned_folders

    config = job.config
    sampler = job.input("sampler" if config.sampler else "start").model
    folders = list(dict.fromkeys([sampler, job.input("start").model]))
    folders += learned_folders(job.input("reward").artifact)
    wanted = asked(config, job.input("prompts").read("prompts"), job.name)
    prompts, left_out = answerable(wanted, folders, config.max_response_tokens, job.name)
    lost = too_long(job.name, left_out, len(prompts), "prompts")
    begun = {} if checkpoint is None else checkpoint.state
    drawn, judged = (Rows(job.work, name, begun.get(name)) for name in ("responses", "scores"))

    def save() -> None:
        rows = {"responses": drawn.state(), "scores": judged.state()}
        job.work.checkpoint_or_stop(0, lambda: ({}, {"stage": CHOOSING, **rows}))  # 0: nothing is learned yet

    _sample(job, sampler, prompts, drawn, save)
    reward = artifact_reward(job.input("reward").artifact, compute_dtype())
    _score(job, reward, prompts, drawn, judged, save)
    earlier, raised = _earlier(job, reward), guards_nothing(reward, prompts)
    del reward

    def chosen() -> bool:
        return _write(job, _Selection.of(prompts, drawn, judged), earlier, left_out, raised, lost)

    return bool(agreed(lead(chosen)))


def _prompts_a_piece(job: Job) -> int:
    from accord.engine.group import current

    return max(1, CHUNK * current().size // int(job.config.num_samples))


def _sample(job: Job, sampler: Path, prompts: Sequence[Prompt], drawn: Rows, save: Callable[[], None]) -> None:
    """A row for each prompt: [text, whether it is finished] of each response."""
    from accord.engine.rollout import roll_out, shown_samples
    from accord.engine.writing import written_by

    config, size = job.config, _prompts_a_piece(job)
    if len(drawn) == len(prompts):
        return
    total, done = (num * config.num_samples for num in (len(prompts), len(drawn)))
    with (
        written_by(config.engine, sampler) as policy,
        job.work.progress(f"{job.name}: sampling", total, "responses", start=done) as progress,
    ):
        for first in range(len(drawn), len(prompts), size):
            rollout = roll_out(
                policy,
                prompts[first : first + size],
                num_samples=config.num_samples,
                max_response_tokens=config.max_response_tokens,
                temperature=config.temperature,
                ending=config,
                key=(job.seed, "samples"),
                advance=progress.advance,
            )
            drawn.append([[[one.text, one.finished] for one in of_prompt] for of_prompt in rollout.responses])
            job.work.show(len(drawn), shown_samples(rollout.prompts, rollout.responses))
            del rollout  # one in memory at a time
            save()


def _score(
    job: Job, reward: Reward, prompts: Sequence[Prompt], drawn: Rows, judged: Rows, save: Callable[[], None]
) -> None:
    """A row for each prompt: the scores of its responses, and which of them may be imitated."""
    size, rows = _prompts_a_piece(job), drawn.read(len(judged))
    with job.work.progress(f"{job.name}: scoring", len(prompts), "prompts", start=len(judged)) as progress:
        for first in range(len(judged), len(prompts), size):
            some = prompts[first : first + size]
            responses = [_responses(row) for row in islice(rows, len(some))]
            scores, passed = _scores(reward, some, responses, progress.advance)
            judged.append([[*one] for one in zip(scores.tolist(), passed.tolist(), strict=True)])
            save()


def _responses(row: Sequence[Sequence[Any]]) -> list[Response]:
    return [Response(text, finished) for text, finished in row]


def _scores(
    reward: Reward,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[Response]],
    advance: Callable[[int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """[P, K]: the scores, and which responses may be imitated: all, unless the reward says so of some."""
    import numpy as np

    from accord.engine.reward import Gated

    if isinstance(reward, Gated):
        scores, failed = (one.numpy() for one in reward.gated(prompts, responses, advance))
    else:
        scores = reward.score(prompts, responses, advance).numpy()
        failed = np.zeros(len(scores), dtype=bool)
    return scores.reshape(len(prompts), -1), ~failed.reshape(len(prompts), -1)


def _earlier(job: Job, reward: Reward) -> Scored:
    """What earlier steps chose and the reward of today lets pass, with its scores."""
    earlier = [
        one for step in job.inputs["earlier"] for one in read_records(step.artifact.file(BEST), "demonstrations")
    ]
    if not earlier:
        return []
    with job.work.progress(f"{job.name}: scoring earlier ones", len(earlier), "prompts") as progress:
        prompts, responses = [one.prompt for one in earlier], [[one.response] for one in earlier]
        scores, passed = _scores(reward, prompts, responses, job.work.advancer(progress))
    return [(float(s), one) for one, s, passes in zip(earlier, scores[:, 0], passed[:, 0], strict=True) if passes]


@dataclass(frozen=True, slots=True)
class _Selection:
    """Of P prompts with K responses: scores, and which responses may be imitated and are finished, [P, K]. best: of
    each prompt the place of the chosen response, -1 where none may be imitated. chosen: of all others, in order."""

    prompts: Sequence[Prompt]
    scores: np.ndarray
    passed: np.ndarray
    finished: np.ndarray
    best: np.ndarray
    chosen: list[Chosen]

    @classmethod
    def of(cls, prompts: Sequence[Prompt], drawn: Rows, judged: Rows) -> _Selection:
        import numpy as np

        from accord.algorithms.selection import best_of

        scores, passed, finished, best = [], [], [], []
        chosen: list[Chosen] = []
        for prompt, said, (own, passes) in zip(prompts, drawn.read(), judged.read(), strict=True):
            scores.append(np.array(own, dtype=np.float32))
            passed.append(np.array(passes, dtype=bool))
            finished.append(np.array([is_finished for _, is_finished in said], dtype=bool))
            best.append(-1)
            if passed[-1].any():
                k = best[-1] = int(best_of(np.where(passed[-1], scores[-1], np.nan)[None], finished[-1][None])[0])
                text, is_finished = said[k]
                chosen.append((is_finished, float(scores[-1][k]), Demonstration(prompt, Response(text, is_finished))))
        return cls(prompts, np.stack(scores), np.stack(passed), np.stack(finished), np.array(best), chosen)


def _write(
    job: Job,
    found: _Selection,
    earlier: Scored,
    left_out: dict[str, int],
    raised: Sequence[Alarm],
    lost: Sequence[Alarm],
) -> bool:
    """best.jsonl, selection.json and summary.json. raised: alarms beside those of what was chosen. lost: those that end
    nothing."""
    import numpy as np

    from accord.data.derive import own_names
    from accord.engine.rollout import shown_samples
    from accord.monitor.alarms import alarms, as_json
    from accord.monitor.reactions import action_of

    config, chosen = job.config, found.chosen
    survived = np.flatnonzero(found.best >= 0)
    num_earlier = add(chosen, earlier)
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
        "num_prompts": len(found.prompts),
        **left_out,
        "num_empty": len(chosen) - len(kept),
        "num_without_survivor": len(found.prompts) - len(survived),
        "num_safety_prompts": sum(prompt.is_safety for prompt in found.prompts),
        "num_earlier": num_earlier,
    }
    gain = {
        "num_empty": counts["num_empty"],
        "mean_score": float(found.scores[survived].mean()) if len(survived) else None,
        "best_score": float(found.scores[survived, found.best[survived]].mean()) if len(survived) else None,
        "finished": float(found.finished.mean()),
        "by_num_samples": _by_num_samples(found.scores[found.passed.all(axis=1)]),
    }
    job.write_json("selection.json", gain)
    ended = sum(demonstration.response.finished for demonstration in kept) / len(kept)
    every = [*alarms([{"iteration": 1, "chosen/finished": ended}]), *raised]
    ending = next((one.name for one in every if action_of(config.alarms, one.name) == "stop"), None)
    told = {} if ending is None else {"ended_by_alarm": {"alarm": ending, "action": "stop", "after": 0}}
    job.write_json("summary.json", {**counts, **told, "alarms": as_json([*every, *lost])})
    return ending is not None


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

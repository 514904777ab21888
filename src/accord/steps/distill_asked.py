"""Answers of policies, set by set, in chunks between which a step can be stopped and gone on with; and what a safety
reward says of them. Not a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accord.steps.base import Job
from accord.types import Prompt, Response

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from accord.models.policy import Policy
    from accord.store.checkpoints import Checkpoint

CHUNK = 64  # responses of each process between two points where the step can be stopped

Answered = list[tuple[Response, ...]]


class Asking:
    """Asks policies for a job, one of which is in the memory at a time. stage: the name of what these checkpoints are
    of. checkpoint: one of this stage, to go on from. done: optimizer steps before it, of which there are metrics. kept:
    what its checkpoints hold, too.
    """

    def __init__(
        self,
        job: Job,
        stage: str,
        checkpoint: Checkpoint | None,
        *,
        done: int = 0,
        kept: Mapping[str, Any] | None = None,
    ) -> None:
        self._job, self._stage, self._done = job, stage, done
        self._kept: Mapping[str, Any] = kept or {}
        written = checkpoint.state["written"] if checkpoint is not None else {}
        self._written: dict[str, list[list[list[Any]]]] = written  # set -> prompts -> samples -> [text, finished]
        self._policy: tuple[Path, Policy] | None = None

    def answers(
        self, name: str, policy: Path, prompts: Sequence[Prompt], num_samples: int = 1, *, draws: str | None = None
    ) -> Answered:
        """So many responses to each prompt. name: of the set. draws: what they are seeded by, beside the prompt's id
        (None: the name)."""
        from accord.engine.group import current
        from accord.engine.rollout import roll_out
        from accord.models.compute import compute_dtype
        from accord.models.policy import Policy

        job, config = self._job, self._job.config
        written = self._written.setdefault(name, [])
        total, size = len(prompts) * num_samples, max(1, CHUNK * current().size // num_samples)
        label = f"{job.name}: {name}"
        with job.work.progress(label, total, "responses", start=len(written) * num_samples) as progress:
            for first in range(len(written), len(prompts), size):
                if self._policy is None or self._policy[0] != policy:
                    self._policy = None  # one in the memory at a time
                    self._policy = (policy, Policy.load(policy, compute_dtype()))
                rollout = roll_out(
                    self._policy[1],
                    prompts[first : first + size],
                    num_samples=num_samples,
                    max_response_tokens=config.max_response_tokens,
                    temperature=config.temperature,
                    ending=config,
                    key=(job.seed, draws or name),
                    advance=progress.advance,
                )
                written += [[[one.text, one.finished] for one in of_one] for of_one in rollout.responses]
                job.work.checkpoint_or_stop(self._done, self._state)
        return [tuple(Response(text, finished) for text, finished in of_one) for of_one in written]

    def release(self) -> None:
        """Lets go of the policy, as another model is wanted."""
        self._policy = None

    def _state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        return {}, {"stage": self._stage, "written": self._written, **self._kept}


def logits(job: Job, prompts: Sequence[Prompt], responses: Answered, doing: str) -> np.ndarray:
    """[P, K]: of being safe, of responses to the prompts without preprompt, as many to each."""
    from accord.models.compute import compute_dtype
    from accord.rewards.loading import artifact_reward
    from accord.rewards.stored import raw

    reward = artifact_reward(job.input("reward").artifact, compute_dtype())
    with job.work.progress(f"{job.name}: {doing}", len(prompts), "prompts") as progress:
        scores = raw(reward, reward.score(prompts, responses, job.work.advancer(progress)))
    by = job.config.logit
    found: np.ndarray = by.slope * scores.double().numpy().reshape(len(prompts), -1) + by.bias
    return found

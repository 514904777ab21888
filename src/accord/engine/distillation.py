"""Context distillation by KL: a student without a context imitates the distributions of its teacher, who has it.

The teacher is the policy as it starts. What it says of every token of the given responses is computed once, before the
student changes, and kept beside the checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from accord.algorithms.distillation import NUM_TOP, TopLogprobs, bucket_kl, top_logprobs
from accord.algorithms.loss import Loss
from accord.engine.config import TrainingConfig
from accord.engine.group import agreed, current, fair_micro_batches, places, shared, spread
from accord.engine.learner import Learner
from accord.engine.training import train
from accord.models.adapters import dropout
from accord.models.compute import compute_dtype
from accord.models.policy import Policy
from accord.seeds import derive_seed
from accord.store import atomic
from accord.store.artifacts import MODEL
from accord.store.checkpoints import Checkpoint
from accord.store.workspace import Workspace
from accord.text.batching import MicroBatch
from accord.text.tree import Tree, TreeBatch

TEACHER_TOKENS: Final = 2048  # places in a batch, whatever the settings
_FILE: Final = "teacher.safetensors"


@dataclass(frozen=True, slots=True)
class Lesson:
    """A response, of one branch in both trees, to the prompt as the student sees it, and as the teacher does. The same
    tokens are scored in both."""

    student: Tree
    teacher: Tree

    def __post_init__(self) -> None:
        assert self.student.branches == self.teacher.branches, "only the prompts differ"
        assert len(self.student.branches) == 1

    @property
    def num_scored(self) -> int:
        (branch,) = self.student.branches
        return len(branch.ids) if branch.scored is None else sum(branch.scored)


def distil(
    start: Path,
    lessons: Sequence[Lesson],
    config: TrainingConfig,
    *,
    seed: int,
    work: Workspace,
    label: str,
    checkpoint: Checkpoint | None,
) -> dict[str, Any]:
    """Trains the policy in the folder `start` and saves it to out/model. Returns what `train` does."""
    taught = _taught(start, lessons, work, label)
    policy = Policy.load(start)
    if config.lora is not None:
        policy.adapt(config.lora, start, derive_seed(seed, "adapter"))
    learner = Learner(policy.module, compute_dtype(), config.optimization())

    def losses_of(indices: tuple[int, ...]) -> Iterator[Loss]:
        trees = [lessons[i].student for i in indices]
        micros = enumerate(fair_micro_batches(trees, config.max_tokens))
        for number, micro in shared(micros, lambda one: places(one[1])):
            teacher = _joined([taught[indices[at]] for at in micro.indices])
            with dropout(policy.module, derive_seed(seed, "dropout", number, *indices)):
                states = policy.scoring_states(micro.batch)
                loss = bucket_kl(states, policy.head, TopLogprobs(*(part.to(states.device) for part in teacher)))
            yield loss

    found = train(
        learner,
        len(lessons),
        losses_of,
        config,
        seed=seed,
        work=work,
        label=label,
        checkpoint=checkpoint,
        totals={
            "num_examples": [1] * len(lessons),
            "num_tokens": [lesson.student.num_tokens for lesson in lessons],
        },
    )
    masters = learner.masters
    work.lead(lambda: policy.save(work.out / MODEL, masters), masters)
    return found


def _taught(start: Path, lessons: Sequence[Lesson], work: Workspace, label: str) -> list[TopLogprobs]:
    """What the teacher says of the scored tokens of each lesson; from the work folder, where it is there."""
    path = work.kept / _FILE
    sizes = [lesson.num_scored for lesson in lessons]
    if not agreed(path.exists()):
        top = _asked(Policy.load(start, compute_dtype()), [lesson.teacher for lesson in lessons], sizes, work, label)
        work.lead(lambda: _write(path, top))
    kept = load_file(path)
    parts = (kept[name].split(sizes) for name in TopLogprobs._fields)
    return [TopLogprobs(*one) for one in zip(*parts, strict=True)]


def _asked(policy: Policy, trees: Sequence[Tree], sizes: Sequence[int], work: Workspace, label: str) -> TopLogprobs:
    """The teacher, of all trees. sizes: of each, its scored tokens."""

    def said(micro: MicroBatch) -> Tensor:
        """As one tensor of fp32, in which ids below 2^24 are exact."""
        batch = TreeBatch.from_trees(micro.trees)  # not kept: all masks may be more than the memory
        top = top_logprobs(policy.scoring_states(batch), policy.head, NUM_TOP)
        if current().size == 1:
            advance(len(micro.indices))
        return torch.cat([top.ids.float(), top.logprobs, top.rest[:, None]], dim=1).cpu()

    assert len(policy.head) <= 1 << 24
    micros = fair_micro_batches(trees, TEACHER_TOKENS)
    found = [torch.empty(0)] * len(trees)
    with work.progress(f"{label}: teacher", len(trees), "responses") as progress, torch.no_grad():
        advance = work.advancer(progress)
        for micro, of_micro in zip(micros, spread(micros, places, said), strict=True):
            for i, of_tree in zip(micro.indices, of_micro.split([sizes[i] for i in micro.indices]), strict=True):
                found[i] = of_tree
        if current().size > 1:
            advance(len(trees))
    every = torch.cat(found)
    num = (every.shape[1] - 1) // 2
    return TopLogprobs(every[:, :num].long(), every[:, num:-1], every[:, -1])


def _joined(several: Sequence[TopLogprobs]) -> TopLogprobs:
    return TopLogprobs(*(torch.cat(parts) for parts in zip(*several, strict=True)))


def _write(path: Path, top: TopLogprobs) -> None:
    """In one rename: a file that is there is complete."""
    temp = path.with_suffix(".tmp")
    with atomic.disk_errors(path):
        path.parent.mkdir(exist_ok=True)
        atomic.files.write(temp, partial(save_file, {name: part.contiguous() for name, part in top._asdict().items()}))
        atomic.files.fsync(temp)
        atomic.files.rename(temp, path)

"""The members of an ensemble of reward models: adapters on one frozen backbone, trained one after the other.

Each has its own draw of adapter, head and order of the data, and may see a part of the prompts alone. All adapters are
put in before the first is trained, while the backbone is in fp32, and only the active one computes: so a member is the
same whatever came before it. A member that is done is written at once, and a stopped run goes on with the one that it
was at, from its last optimizer step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from accord.data.independence import groups_of
from accord.engine.ranking.config import RankingConfig
from accord.engine.ranking.normalisation import normalisation_of, order_of_training
from accord.engine.ranking.training import Examples, train_ranking_model
from accord.models.adapters import HEAD, Adapter, new_adapter, open_adapter
from accord.models.compute import hold
from accord.models.folders import load_module, load_tokenizer, save_module
from accord.models.lora import Lora
from accord.models.scalar import Normalisation, ScalarModel, drawn_head
from accord.seeds import derive_seed
from accord.store.checkpoints import Checkpoint
from accord.store.progress import Progress
from accord.store.workspace import MetricsLog, Workspace
from accord.text.batching import shuffled_batches
from accord.text.template import Template
from accord.text.tree import Tree

BASE = "base"  # the folder of the backbone in an artifact
RECORD = "member.json"  # in a member's folder, beside its adapter: its normalisation, and how its training went


def member_folder(folder: Path, number: int) -> Path:
    return folder / f"member-{number}"


def member_seed(seed: int, number: int) -> int:
    return derive_seed(seed, "member", number)


def new_members(start: Path, lora: Lora, num: int, seed: int, base: Path) -> list[ScalarModel]:
    """Models that share one backbone, that of the folder `start`, which is also written to the folder `base`."""
    shared = ScalarModel.load(start, new_head=True)
    shared.head.data.zero_()  # each has its own
    save_module(shared.module, shared.template, base, {})
    models = []
    for number in range(num):
        own = member_seed(seed, number)
        adapter = new_adapter(shared.module, f"member{number}", lora, start, derive_seed(own, "adapter"))
        head = nn.Parameter(drawn_head(shared.head.shape[1], derive_seed(own, "head")))
        models.append(ScalarModel(shared.module, shared.template, backbone=adapter, head=head))
    return models


def open_members(folder: Path, dtype: torch.dtype) -> list[ScalarModel]:
    """What `train_members` wrote, frozen, on one backbone in `dtype`."""
    base = folder / BASE
    module = load_module(AutoModelForSequenceClassification, base, num_labels=1)
    template = Template(load_tokenizer(base))
    models: list[ScalarModel] = []
    while (member := member_folder(folder, len(models))).is_dir():
        adapter, head = open_adapter(module, f"member{len(models)}", member, base)
        said = json.loads((member / RECORD).read_text(encoding="utf-8"))
        models.append(
            ScalarModel(
                module,
                template,
                backbone=adapter,
                head=nn.Parameter(head, requires_grad=False),
                normalisation=Normalisation(**said["normalisation"]),
            )
        )
    hold(module, dtype)
    return models


def share_of(examples: Examples, share: float, seed: int) -> Examples:
    """The examples of a share of the prompts (of data with a single prompt, of its comparisons: `groups_of`), at least
    one, drawn from the seed and left in their order."""
    if share >= 1:
        return examples
    groups = groups_of(examples.rankings)
    num = max(groups) + 1
    order = np.random.Generator(np.random.Philox(key=derive_seed(seed, "share"))).permutation(num)
    drawn = {int(group) for group in order[: max(1, round(share * num))]}
    kept = [i for i, group in enumerate(groups) if group in drawn]
    return Examples([examples.rankings[i] for i in kept], [examples.trees[i] for i in kept])


def train_members(
    models: Sequence[ScalarModel],
    examples: Examples,
    config: RankingConfig,
    *,
    share: float,
    seed: int,
    work: Workspace,
    label: str,
    checkpoint: Checkpoint | None,
    normalised_on: Sequence[Tree] | None,
    held_out: Examples | None = None,
) -> list[dict[str, Any]]:
    """Trains the members from the checkpoint (what `work.resume()` gave) on, and writes each into a folder of its own:
    the adapter and head as peft opens them on `base`, and RECORD. Returns the records.

    share: of the prompts that each member sees. normalised_on: what scores are normalised on (None: the first examples
    that the member was trained on).
    """
    seeds = [member_seed(seed, number) for number in range(len(models))]
    parts = [share_of(examples, share, own) for own in seeds]
    steps = [_num_steps(part, config, own) for part, own in zip(parts, seeds, strict=True)]
    first = checkpoint.state["member"] if checkpoint else 0
    for number in range(first, len(models)):
        model, part, own = models[number], parts[number], seeds[number]
        stretch = _Stretch(work, number, sum(steps[:number]), sum(steps))
        at = None
        if checkpoint is not None and number == first:
            at = replace(checkpoint, iteration=checkpoint.iteration - sum(steps[:number]))
        order = order_of_training(len(part.trees), config, own)
        measured = normalised_on or [part.trees[i] for i in order[: config.num_normalise]]
        if config.normalise_first:
            model.head.data.mul_(normalisation_of(model, measured, config.normalise).gain)
        name = f"{label}: member {number + 1} of {len(models)}"
        learner, counts = train_ranking_model(
            model, part, config, seed=own, work=stretch, label=name, checkpoint=at, held_out=held_out
        )
        record = {"num_comparisons": len(set(order)), **counts}
        normalisation = normalisation_of(model, measured, config.normalise)
        _save(
            model, learner.masters, member_folder(work.out, number), {"normalisation": asdict(normalisation), **record}
        )
    files = [member_folder(work.out, number) / RECORD for number in range(len(models))]
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _save(model: ScalarModel, masters: Mapping[str, Tensor], folder: Path, record: Mapping[str, Any]) -> None:
    assert isinstance(model.backbone, Adapter)
    assert HEAD in masters
    model.backbone.save_alone(folder, masters, Path("..") / BASE)
    (folder / RECORD).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _num_steps(examples: Examples, config: RankingConfig, seed: int) -> int:
    return sum(1 for _ in shuffled_batches(len(examples.trees), config.batch_size, config.num_epochs, seed))


class _Stretch(Workspace):
    """A member's part of the whole work: its optimizer steps are counted on from those before it."""

    def __init__(self, whole: Workspace, number: int, before: int, total: int) -> None:
        vars(self).update(vars(whole))  # the same folder, checkpoints, clock and stop
        self.number, self.before, self.total = number, before, total
        self.metrics = _StretchLog(whole.metrics.path, number, before)
        self.metrics.report = whole.metrics.report

    def progress(self, label: str, total: int, unit: str, *, start: int = 0) -> Progress:
        return super().progress(label, self.total, unit, start=self.before + start)

    def checkpoint_or_stop(
        self,
        iteration: int,
        make: Callable[[], tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Any]]],
    ) -> None:
        def marked() -> tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Any]]:
            tensors, state = make()
            return tensors, {**state, "member": self.number}

        super().checkpoint_or_stop(self.before + iteration, marked)


@dataclass
class _StretchLog(MetricsLog):
    """Rows of one member."""

    path: Path
    number: int
    before: int

    def write(self, iteration: int, **values: float | str) -> None:
        super().write(self.before + iteration, member=self.number, **values)

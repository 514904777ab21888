"""Reward models: the scores of Accord's folder as transformers opens it, and RewardTrainer's loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from datasets import load_dataset
from torch import Tensor
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer

from accord.engine.ranking.config import RankingConfig
from accord.engine.ranking.training import batch_loss, rankings_of, scores_of, usable
from accord.models.scalar import ScalarModel
from accord.text.batching import micro_batches
from parity.direct import MAX_TOKENS, arguments
from parity.material import Material, gradients
from parity.rows import Row, compare, compare_gradients


class AccordSide:
    def __init__(self, material: Material) -> None:
        self.model = ScalarModel.load(material.reward)
        self.comparisons = material.comparisons
        rankings, _ = rankings_of(RankingConfig(tie_below=0.0), material.comparisons)
        self.examples, counts = usable(self.model.template, rankings, None)
        assert not any(counts.values()), counts

    def scores(self) -> Tensor:
        """[2 * pairs], first those of the chosen responses."""
        scores = scores_of(self.model, self.examples.trees)
        pairs = [(scores[i], ranking.pairs[0]) for i, ranking in enumerate(self.examples.rankings)]
        return torch.stack([of[p.chosen] for of, p in pairs] + [of[p.rejected] for of, p in pairs])

    def loss(self, **settings: Any) -> tuple[float, dict[str, float], dict[str, Tensor]]:
        """Loss, metrics and gradient of one optimizer step over all comparisons."""
        config = RankingConfig(tie_below=0.0, **settings)
        rankings, _ = rankings_of(config, self.comparisons)
        examples, _ = usable(self.model.template, rankings, None)
        total, units, sums = 0.0, 0.0, {}
        for micro in micro_batches(examples.trees, self.model.template.pad_id, MAX_TOKENS):
            some = [examples.rankings[i] for i in micro.indices]
            loss = batch_loss(self.model.scores(micro.batch), some, config, micro.batch.tree_of_branch)
            loss.total.backward()
            total, units = total + loss.total.item(), units + loss.num_units
            for name, value in loss.metrics.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        found = {name: gradient / units for name, gradient in gradients(self.model.module).items()}
        return total / units, {name: value / units for name, value in sums.items()}, found


def compare_reward(material: Material) -> Iterator[Row]:
    accord = AccordSide(material)
    dataset = load_dataset("json", data_files=str(material.files["comparisons"]), split="train")
    model = AutoModelForSequenceClassification.from_pretrained(material.reward, dtype=torch.float32)
    own_scores = accord.scores()
    yield compare("reward model's folder", "raw scores, one by one", own_scores, _plain_scores(material, model))
    for case, ours, theirs in (
        ("reward", {"margin": "none", "centre_coef": 0.0}, {}),
        ("reward, margins", {"margin": "data", "centre_coef": 0.0}, {}),
        ("reward, centred", {"margin": "none", "centre_coef": 0.1}, {"center_rewards_coefficient": 0.1}),
    ):
        with_margins = dataset if case == "reward, margins" else dataset.remove_columns("margin")
        trainer = RewardTrainer(
            model,
            RewardConfig(**arguments(material), max_length=None, **theirs),
            train_dataset=with_margins,
            processing_class=material.tokenizer,
        )
        model.eval()
        batch = next(iter(trainer.get_eval_dataloader(trainer.train_dataset)))
        loss, outputs = trainer.compute_loss(model, batch, return_outputs=True)
        loss.backward()
        metrics = {name: values[-1] for name, values in trainer._metrics["eval"].items()}
        value, own_metrics, own_gradient = accord.loss(**ours)
        gradient = gradients(model)
        if case == "reward":
            yield compare("reward model's folder", "raw scores, in a batch", own_scores, outputs.logits.detach())
        yield compare(case, "loss", value, loss.item())
        yield compare_gradients(case, own_gradient, gradient)
        yield compare(case, "accuracy", own_metrics["accuracy"], metrics["accuracy"])
        yield compare(case, "margin", own_metrics["margin"], metrics["margin"])


def _plain_scores(material: Material, model: Any) -> Tensor:
    """By transformers alone: the chat template and the Auto class."""
    dataset = load_dataset("json", data_files=str(material.files["comparisons"]), split="train")
    scores = []
    for side in ("chosen", "rejected"):
        for row in dataset:
            ids = material.tokenizer.apply_chat_template(row["prompt"] + row[side], return_tensors="pt")
            with torch.no_grad():
                scores.append(model(**ids).logits[0, 0])
    return torch.stack(scores)

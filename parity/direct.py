"""DPO and what has its reference: DPOTrainer.

Accord's side is what the step `dpo` runs: rankings to trees, trees to losses, with the reference's log-probabilities of
the responses. TRL's side is the trainer's own collator and loss, on the file that Accord wrote.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer

from accord.data.derive import derive_ranking
from accord.engine.direct.config import PreferenceLossConfig
from accord.engine.direct.preference import Limits, Preferences, ranked_trees
from accord.engine.direct.reference import branch_logprobs
from accord.engine.scorer import per_branch
from accord.models.policy import Policy
from parity.material import BATCH, Material, gradients
from parity.rows import Row, compare, compare_gradients

MAX_TOKENS = 256  # places in one of Accord's micro-batches, so that there are several
METRICS = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
)

DOUBTED = {"loss": "cdpo", "beta": 0.1, "label_smoothing": 0.2}

# (name of the row, Accord's settings, TRL's)
CASES: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("dpo", {"loss": "dpo", "beta": 0.1}, {"loss_type": ["sigmoid"], "beta": 0.1}),
    ("cdpo", DOUBTED, {"loss_type": ["sigmoid"], "beta": 0.1, "label_smoothing": 0.2}),
    ("cdpo, both orders", DOUBTED, {"loss_type": ["sigmoid"], "beta": 0.1}),
    (
        "rdpo",
        {"loss": "rdpo", "beta": 0.1, "label_smoothing": 0.2},
        {"loss_type": ["robust"], "beta": 0.1, "label_smoothing": 0.2},
    ),
    ("ipo, per token", {"loss": "ipo", "beta": 0.1, "per_token": True}, {"loss_type": ["ipo"], "beta": 0.1}),
    ("ipo", {"loss": "ipo", "beta": 0.1}, {"loss_type": ["ipo"], "beta": 0.1}),
    ("dpo + nll", {"loss": "dpo", "nll_coef": 0.5}, {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]}),
    ("length_normalised", {"loss": "length_normalised", "beta": 5.0}, {"loss_type": ["sigmoid_norm"], "beta": 5.0}),
)
BY_DESIGN = {
    "ipo": "IPO's paper sums log ratios over tokens, and so does Accord; TRL takes means, which is `per_token: true`.",
    "cdpo": "TRL 1.16 takes label_smoothing with the loss `sigmoid`, and does nothing with it.",
    "dpo + nll": "The likelihood is a mean over a response's tokens in its paper and here, over the batch's in TRL.",
}
MEAN_REWARDS = "Accord's implicit rewards are what the loss compares, here means over tokens; TRL's are always sums."
PER_TOKEN = ("ipo, per token", "length_normalised")


class AccordSide:
    """The policy and its pairs, and the losses of them as the step computes them."""

    def __init__(self, material: Material) -> None:
        self.policy = Policy.load(material.policy)
        reference = Policy.load(material.reference)
        rankings = [derive_ranking(one, said, tie_below=0.0) for one, said in material.comparisons]
        self.ranked, counts = ranked_trees(self.policy.template, rankings, Limits())
        assert not any(counts.values()), counts
        pad_id = self.policy.template.pad_id
        trees = [one.tree for one in self.ranked]
        self.reference = per_branch(trees, lambda batch: branch_logprobs(reference, batch), pad_id=pad_id)
        self.logprobs = per_branch(trees, lambda batch: branch_logprobs(self.policy, batch), pad_id=pad_id)

    def chosen_and_rejected(self, of_trees: list[torch.Tensor]) -> torch.Tensor:
        """[2 * pairs] numbers of the responses, first the chosen ones."""
        pairs = [(i, pair) for i, one in enumerate(self.ranked) for pair in one.pairs]
        return torch.stack([of_trees[i][pair[side]] for side in (0, 1) for i, pair in pairs])

    def loss(self, **settings: Any) -> tuple[float, dict[str, float], dict[str, torch.Tensor]]:
        """Loss, metrics and gradient of one optimizer step over all pairs."""
        config = PreferenceLossConfig(**settings)
        preferences = Preferences(self.ranked, self.reference if config.has_reference else None)
        total, units, sums = 0.0, 0.0, {}
        for loss in preferences.losses(self.policy, range(len(self.ranked)), config, MAX_TOKENS):
            loss.total.backward()
            total, units = total + loss.total.item(), units + loss.num_units
            for name, value in loss.metrics.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        found = {name: gradient / units for name, gradient in gradients(self.policy.module).items()}
        return total / units, {name: value / units for name, value in sums.items()}, found


def compare_direct(material: Material) -> Iterator[Row]:
    accord = AccordSide(material)
    dataset = load_dataset("json", data_files=str(material.files["comparisons"]), split="train")
    model = AutoModelForCausalLM.from_pretrained(material.policy, dtype=torch.float32)
    reference = AutoModelForCausalLM.from_pretrained(material.reference, dtype=torch.float32)
    for number, (case, ours, theirs) in enumerate(CASES):
        config = DPOConfig(**arguments(material), max_length=None, **theirs)
        trainer = DPOTrainer(model, reference, config, train_dataset=dataset, processing_class=material.tokenizer)
        batch = next(iter(trainer.get_eval_dataloader(trainer.train_dataset)))
        if number == 0:
            yield from _logprobs(accord, trainer, batch)
        model.eval()
        value, metrics, gradient = _loss(trainer, batch)
        if case == "cdpo, both orders":  # as the note on noisy preferences has it: each label may be the wrong one
            swapped = {name: torch.cat(side.chunk(2)[::-1]) for name, side in batch.items()}
            wrong, _, of_wrong = _loss(trainer, swapped)
            value = 0.8 * value + 0.2 * wrong
            gradient = {name: 0.8 * gradient[name] + 0.2 * of_wrong[name] for name in gradient}
        own_value, own_metrics, own_gradient = accord.loss(**ours)
        by_design = BY_DESIGN.get(case, "")
        yield compare(case, "loss", own_value, value, by_design)
        if not by_design:
            yield compare_gradients(case, own_gradient, gradient)
        for name in METRICS if case == "dpo" or case in PER_TOKEN else ():
            sums = case in PER_TOKEN and name.startswith("rewards/")
            yield compare(case, name, own_metrics[name], metrics[name], MEAN_REWARDS if sums else "")


def _loss(
    trainer: DPOTrainer, batch: dict[str, torch.Tensor]
) -> tuple[float, dict[str, float], dict[str, torch.Tensor]]:
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    metrics = {name: values[-1] for name, values in trainer._metrics["eval"].items()}
    return loss.item(), metrics, gradients(trainer.model)


def _logprobs(accord: AccordSide, trainer: DPOTrainer, batch: dict[str, torch.Tensor]) -> Iterator[Row]:
    yield compare("responses", "number of tokens", accord_tokens(accord), batch["completion_mask"].sum(dim=1).tolist())
    for name, model, own in (
        ("policy", trainer.model, accord.logprobs),
        ("reference", trainer.ref_model, accord.reference),
    ):
        with torch.no_grad():
            theirs = torch.cat(trainer.compute_ref_log_probs(model, batch))
        yield compare("responses", f"log-probability, {name}", accord.chosen_and_rejected(own), theirs)


def accord_tokens(accord: AccordSide) -> torch.Tensor:
    return accord.chosen_and_rejected(
        [torch.tensor([float(len(branch.ids)) for branch in one.tree.branches]) for one in accord.ranked]
    )


def arguments(material: Material) -> dict[str, Any]:
    """Of every trainer: fp32 on the processor, all pairs in one batch, nothing written or reported."""
    return {
        "output_dir": str(material.scratch),
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": BATCH,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": 5,
    }

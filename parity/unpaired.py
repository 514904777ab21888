"""KTO: KTOTrainer.

z0 is the mean log ratio of answers to other prompts. TRL moves the answers of a batch on by one; Accord draws the other
answer once for the data. The losses are compared with TRL's answers, and z0 with both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from datasets import load_dataset
from torch import Tensor
from transformers import AutoModelForCausalLM
from trl import KTOConfig, KTOTrainer

from accord.engine.direct.kto import Feedback, labelled_trees, mismatched
from accord.engine.direct.preference import Limits
from accord.engine.direct.reference import branch_logprobs
from accord.engine.scorer import per_branch
from accord.models.policy import Policy
from accord.text.tree import Tree
from parity.direct import MAX_TOKENS, arguments
from parity.material import Material, gradients
from parity.rows import Row, compare, compare_gradients

METRICS = ("rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected", "kl")
OTHER_ANSWERS = (
    "Which other prompt's answer gives z0: TRL takes the one before in the batch, Accord draws one for each."
)


def compare_unpaired(material: Material) -> Iterator[Row]:
    policy, reference = Policy.load(material.policy), Policy.load(material.reference)
    labelled, counts = labelled_trees(policy.template, material.labelled, Limits())
    assert not any(counts.values()), counts

    def said(trees: Sequence[Tree]) -> list[Tensor]:
        return per_branch(trees, lambda batch: branch_logprobs(reference, batch), pad_id=policy.template.pad_id)

    def accord(other: Sequence[Tree], **weights: float) -> tuple[float, dict[str, float], dict[str, Tensor]]:
        feedback = Feedback(labelled, other, said(labelled.trees), said(other))
        total, units, sums = 0.0, 0.0, {}
        for loss in feedback.losses(policy, range(len(labelled.trees)), MAX_TOKENS, {"beta": 0.1, **weights}):
            loss.total.backward()
            total, units = total + loss.total.item(), units + loss.num_units
            for name, value in loss.metrics.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        found = {name: gradient / units for name, gradient in gradients(policy.module).items()}
        return total / units, {name: value / units for name, value in sums.items()}, found

    dataset = load_dataset("json", data_files=str(material.files["labelled"]), split="train")
    model = AutoModelForCausalLM.from_pretrained(material.policy, dtype=torch.float32)
    of_reference = AutoModelForCausalLM.from_pretrained(material.reference, dtype=torch.float32)
    answers = [tree.branches for tree in labelled.trees]
    as_trl = [
        Tree(tree.prompt_ids, before) for tree, before in zip(labelled.trees, [answers[-1], *answers[:-1]], strict=True)
    ]
    for case, weights in (
        ("kto", {"desirable_weight": 1.0, "undesirable_weight": 1.0}),
        ("kto, weighted", {"desirable_weight": 1.5, "undesirable_weight": 0.8}),
    ):
        trainer = KTOTrainer(
            model,
            of_reference,
            KTOConfig(**arguments(material), max_length=None, beta=0.1, **weights),
            train_dataset=dataset,
            processing_class=material.tokenizer,
        )
        model.eval()
        batch = next(iter(trainer.get_eval_dataloader(trainer.train_dataset)))
        loss = trainer.compute_loss(model, batch)
        loss.backward()
        metrics = {name: values[-1] for name, values in trainer._metrics["eval"].items()}
        value, own_metrics, own_gradient = accord(as_trl, **weights)
        yield compare(case, "loss", value, loss.item())
        yield compare_gradients(case, own_gradient, gradients(model))
        for name in METRICS:
            yield compare(case, name, own_metrics[name], metrics[name])
        _, of_own, _ = accord(mismatched(labelled.trees, 1, None), **weights)
        yield compare(case, "kl, of Accord's own answers", of_own["kl"], metrics["kl"], OTHER_ANSWERS)

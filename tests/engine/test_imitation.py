"""Packed rows: the same gradient, and nothing that passes from one example to another."""

from __future__ import annotations

from pathlib import Path

import torch

from accord.algorithms.likelihood import negative_log_likelihood
from accord.engine.config import TrainingConfig
from accord.engine.examples import Limits
from accord.engine.imitation import Batches, packed, training_trees
from accord.models.policy import Policy
from accord.text.tree import Branch, Tree, TreeBatch
from accord.types import Demonstration, Message, PlainText, Prompt, Response

TREES = [
    Tree(tuple(range(10, 14)), (Branch(tuple(range(20, 20 + n)), tuple(i % 3 != 1 for i in range(n))),))
    for n in (3, 11, 7, 5, 2, 9)
]


def _gradients(folder: Path, batches: Batches) -> tuple[float, dict[str, torch.Tensor]]:
    """The mean loss over all units, and its gradient."""
    policy = Policy.load(folder)
    total, num_tokens = 0.0, 0.0
    for batch in batches.batches_of(tuple(range(len(batches.units)))):
        loss = negative_log_likelihood(policy.token_logprobs(batch))
        loss.total.backward()
        total += float(loss.total.detach())
        num_tokens += loss.num_units
    grads = {name: p.grad / num_tokens for name, p in policy.module.named_parameters() if p.grad is not None}
    return total / num_tokens, grads


def test_packed_rows_give_the_gradient_of_the_examples_apart(tiny_model: Path) -> None:
    rows = packed(TREES, batch_size=6, max_tokens=24)
    assert len(rows.units) < len(TREES)
    assert rows.units_a_step == len(rows.units)
    loss, grads = _gradients(tiny_model, rows)
    alone = Batches(rows.units, 6, lambda _: [TreeBatch.from_trees([tree]) for tree in TREES])
    expected_loss, expected = _gradients(tiny_model, alone)
    assert abs(loss - expected_loss) < 1e-5
    assert len(grads) == len(expected) > 10
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected[name], atol=1e-5, rtol=1e-4)


def test_what_stands_beside_an_example_does_not_change_it(tiny_model: Path) -> None:
    """Exactly, and on either side."""
    policy = Policy.load(tiny_model)
    mine, other = TREES[1], TREES[2]
    changed = Tree(tuple(i + 200 for i in other.prompt_ids), (Branch(tuple(i + 200 for i in other.branches[0].ids)),))
    unscored = Tree(other.prompt_ids, (Branch(other.branches[0].ids),))

    def logprobs(row: list[Tree]) -> torch.Tensor:
        batch = TreeBatch.from_trees(row)
        with torch.no_grad():
            return policy.token_logprobs(batch).logprobs[batch.branch_of_token == row.index(mine)]

    assert torch.equal(logprobs([mine, unscored]), logprobs([mine, changed]))
    assert torch.equal(logprobs([unscored, mine]), logprobs([changed, mine]))
    torch.testing.assert_close(logprobs([unscored, mine]), logprobs([mine]), atol=1e-5, rtol=0)


def test_a_row_is_no_wider_than_an_optimizer_step_needs() -> None:
    """Eight tokens an example, two examples a step: rows of 16, however many more would fit."""
    trees = [Tree((1, 2, 3), (Branch((4, 5, 6, 7, 8)),))] * 10
    rows = packed(trees, batch_size=2, max_tokens=1000)
    assert [len(unit) for unit in rows.units] == [2] * 5
    assert rows.units_a_step == 1
    wide = packed(trees, batch_size=6, max_tokens=24)
    assert [len(unit) for unit in wide.units] == [3, 3, 3, 1]
    assert wide.units_a_step == 2


def test_no_limit_goes_beyond_the_models_context(tiny_model: Path) -> None:
    template = Policy.load(tiny_model).template
    prompt = Prompt("p", (Message("user", "Count."),))
    records = [
        Demonstration(prompt, Response("One.")),
        Demonstration(prompt, Response("One, two, three. " * 20)),
        PlainText("t", "Four, five, six. " * 40),
    ]

    def depths(limit: int | None, context: int | None) -> list[int]:
        limits = Limits(max_tokens=limit)
        return [one.depth for one in training_trees(template, records, limits, TrainingConfig(), context, "t")[0]]

    assert max(depths(None, None)) > 60
    for limit, context in ((None, 60), (500, 60), (60, 500)):
        assert len(depths(limit, context)) >= 3, "the long demonstration is left out, and the text cut"
        assert max(depths(limit, context)) <= 60

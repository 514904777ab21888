"""Which examples stand beside which optimizer step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from accord.engine.on_policy.config import RolloutConfig
from accord.engine.on_policy.pretraining import Pretraining, examples_an_iteration, num_scored
from accord.models.policy import Policy
from accord.text.tree import Branch, Tree, TreeBatch

TREES = [
    Tree(
        (7,),
        (
            Branch(
                tuple(range(20, 21 + num)),
            ),
        ),
    )
    for num in range(5)
]


def of(policy: Policy, **settings: object) -> Pretraining:
    return Pretraining(
        TREES, policy, RolloutConfig.model_validate({"ptx_coef": 2.0, "num_samples": 1, **settings}), seed=1
    )


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


def test_as_many_as_the_responses_say_and_at_least_one() -> None:
    for share, num in ((1.0, 16 * 4), (0.5, 32), (8.0, 512), (0.001, 1)):
        config = RolloutConfig(ptx_examples=share, prompts_per_iteration=16, num_samples=4)
        assert examples_an_iteration(config) == num


def test_every_example_once_an_epoch_in_the_parts_of_the_optimizer_steps(policy: Policy) -> None:
    pretraining = of(policy, prompts_per_iteration=3, num_minibatches=2, num_epochs=1)
    iterations = [pretraining.trees_of(i) for i in range(10)]  # 30 examples: 6 epochs of 5
    assert [[len(part) for part in parts] for parts in iterations] == [[2, 1]] * 10
    seen = [tree for parts in iterations for part in parts for tree in part]
    epochs = [tuple(seen[at : at + 5]) for at in range(0, 30, 5)]
    assert all(set(epoch) == set(TREES) for epoch in epochs)
    assert len(set(epochs)) > 1
    assert pretraining.trees_of(4) == iterations[4], "a function of the number alone"


def test_more_optimizer_steps_than_examples_leave_some_without(policy: Policy) -> None:
    pretraining = of(policy, prompts_per_iteration=4, ptx_examples=0.5, num_minibatches=2, num_epochs=2)
    assert [len(part) for part in pretraining.trees_of(0)] == [1, 1, 0, 0]
    assert [len(list(terms)) for terms in pretraining.of(0)] == [1, 1, 0, 0]


def test_the_loss_is_the_mean_over_the_steps_tokens_in_any_micro_batches(policy: Policy) -> None:
    with torch.no_grad():
        batch = TreeBatch.from_trees(TREES)
        expected = -float(policy.token_logprobs(batch).logprobs.mean())
        for max_tokens in (1, 1024):
            settings = {"prompts_per_iteration": 5, "num_minibatches": 1, "max_tokens": max_tokens}
            ((*terms,),) = of(policy, **settings).of(0)
            assert {(term.num_units, term.weight) for term in terms} == {(15, 2.0)}
            assert sum(float(term.loss.total) for term in terms) / 15 == pytest.approx(expected, rel=1e-5)
            assert sum(float(term.loss.metrics["ptx_loss"]) for term in terms) / 15 == pytest.approx(expected, rel=1e-5)


def test_tokens_that_are_not_imitated_do_not_count() -> None:
    assert num_scored(Tree((1,), (Branch((2, 3, 4), (True, False, True)), Branch((5, 6))))) == 4

"""No loss ever holds the logits of all its tokens: what is as wide as the vocabulary has the rows of a chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from accord.algorithms import likelihood
from accord.algorithms.likelihood import negative_log_likelihood
from accord.engine.direct.config import PreferenceLossConfig
from accord.engine.direct.preference import Preferences, RankedTree
from accord.models.policy import Policy
from accord.text.tree import Branch, Tree, TreeBatch
from tests.fixtures.on_policy import CONFIG, make_roles, make_rollout, make_shared_ppo, prepare

VOCABULARY, WIDTH = 512, 32  # of the tiny model
CHUNK = 16  # rows of a head product, in place of 512
BRANCHES = [tuple(3 + (7 * k + i) % 500 for i in range(25)) for k in range(4)]


class Watch(TorchDispatchMode):
    """rows: of the largest tensor that is as wide as the vocabulary, beside the head and its gradient. largest: numbers
    in the largest of all. names: operations."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.largest, self.names = 0, 0, set[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.names.add(str(func))
        for one in tree_leaves(out):
            if isinstance(one, Tensor) and sorted(one.shape) != [WIDTH, VOCABULARY]:
                self.largest = max(self.largest, one.numel())
                if VOCABULARY in one.shape:
                    self.rows = max(self.rows, one.numel() // VOCABULARY)
        return out


@contextmanager
def chunks_of(rows: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "_PRODUCT_ROWS", rows)
        yield


def sft(folder: Path) -> tuple[int, Callable[[], None]]:
    policy, batch = Policy.load(folder), TreeBatch.from_trees([Tree((1, 5), tuple(map(Branch, BRANCHES)))])
    return 100, lambda: negative_log_likelihood(policy.token_logprobs(batch)).total.backward()


def dpo(folder: Path) -> tuple[int, Callable[[], None]]:
    policy, config = Policy.load(folder), PreferenceLossConfig(nll_coef=0.1)
    ranked = [RankedTree.of((1, 5), [Branch(BRANCHES[k]), Branch(BRANCHES[k + 1])], [(0, 1)]) for k in (0, 2)]
    preferences = Preferences(ranked, [torch.zeros(2), torch.zeros(2)])

    def learn() -> None:
        for loss in preferences.losses(policy, [0, 1], config, 4096):
            loss.total.backward()

    return 100, learn


def ppo(folder: Path) -> tuple[int, Callable[[], None]]:
    """With an entropy that carries a gradient, whose own is as wide."""
    sizes = {"entropy_coef": 0.1, "num_minibatches": 1, "num_samples": 6, "max_tokens": 4096}
    config = CONFIG.model_copy(update={**sizes, "value_model": "shared"})
    roles, method = make_shared_ppo(make_roles(folder), config)
    scored, lesson, dealt = prepare(roles, method, config, make_rollout(roles, config))
    assert [len(minibatch) for minibatch in dealt[0]] == [1], "one micro-batch"

    def learn() -> None:
        for _, terms in lesson.losses(dealt[0][0]):
            roles.policy_learner.add(*terms)

    return int(scored.mask.sum()), learn


def watched(num_tokens: int, learn: Callable[[], None]) -> Watch:
    assert num_tokens > 5 * CHUNK
    with Watch() as seen:
        learn()
    assert "aten.addmm_.default" in seen.names, "the backward pass is seen, too"
    return seen


@pytest.mark.parametrize("kind", [sft, dpo, ppo])
def test_the_largest_tensor_is_of_a_chunk(
    tiny_model: Path, kind: Callable[[Path], tuple[int, Callable[[], None]]]
) -> None:
    num_tokens, learn = kind(tiny_model)
    with chunks_of(CHUNK):
        seen = watched(num_tokens, learn)
    assert seen.rows == CHUNK
    assert seen.largest < num_tokens * VOCABULARY, "in no other shape either"


def test_without_chunks_it_would_be_of_all_tokens(tiny_model: Path) -> None:
    """That the measurement sees it."""
    num_tokens, learn = sft(tiny_model)
    with chunks_of(10**6):
        seen = watched(num_tokens, learn)
    assert seen.rows == num_tokens

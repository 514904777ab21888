from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from accord.errors import UserError
from accord.evaluate.likelihoods import _trees, continuation_logprobs
from accord.models.policy import Policy

CONTEXT = 256


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


def test_they_are_what_transformers_computes_one_by_one(policy: Policy, tiny_model: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    rng = torch.Generator().manual_seed(0)
    contexts = [torch.randint(3, 512, (num,), generator=rng).tolist() for num in (1, 7, 20)]
    pairs = [
        (context, torch.randint(3, 512, (num,), generator=rng).tolist())
        for num in (1, 2, 5)
        for context in contexts  # the choices of a question do not stand together
    ]
    with torch.no_grad():
        best = [int(model(torch.tensor([context])).logits[0, -1].argmax()) for context in contexts]
    pairs += [(context, [token]) for context, token in zip(contexts, best, strict=True)]
    counts: list[int] = []
    found = continuation_logprobs(policy, pairs, CONTEXT, advance=counts.append)
    assert sum(counts) == len(pairs)
    for (context, continuation), (logprob, greedy) in zip(pairs, found, strict=True):
        with torch.no_grad():
            rows = model(torch.tensor([[*context, *continuation]])).logits[0].log_softmax(dim=1)[len(context) - 1 : -1]
        picked = rows[range(len(continuation)), continuation]
        assert logprob == pytest.approx(float(picked.sum()), abs=1e-3)
        assert greedy == bool((picked == rows.amax(dim=1)).all())
    assert [greedy for _, greedy in found[-3:]] == [True] * 3


def test_a_context_is_one_tree_as_long_as_it_stays_small() -> None:
    trees, places = _trees([([1, 2], [3]), ([1], [4]), ([1, 2], [5, 6])], CONTEXT)
    assert [(tree.prompt_ids, [branch.ids for branch in tree.branches]) for tree in trees] == [
        ((1, 2), [(3,), (5, 6)]),
        ((1,), [(4,)]),
    ]
    assert places == [[0, 2], [1]]
    long = list(range(1000))
    trees, places = _trees([([1, 2], long), ([1, 2], long), ([1, 2], long), ([1, 2], [7])], 2000)
    assert places == [[0, 1], [2, 3]]


def test_of_what_does_not_fit_the_oldest_is_left_out(policy: Policy) -> None:
    context = [int(token) for token in torch.arange(300) % 500 + 3]
    (found,) = continuation_logprobs(policy, [(context, [5, 6])], CONTEXT)
    assert [found] == continuation_logprobs(policy, [(context[-254:], [5, 6])], CONTEXT)
    with pytest.raises(UserError, match="a continuation has 256 tokens, and the model reads 256"):
        continuation_logprobs(policy, [([1], [5] * 256)], CONTEXT)
    with pytest.raises(UserError, match="a continuation has 0 tokens"):
        continuation_logprobs(policy, [([1], [])], CONTEXT)
    assert continuation_logprobs(policy, [], CONTEXT) == []

"""Trees, whole and cut, together and apart, give what the plain model gives for each response on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from accord.models.policy import Policy
from accord.models.scalar import ScalarModel
from accord.text import segments
from accord.text.segments import PROMPT
from accord.text.tree import Branch, Tree, TreeBatch, flatten

TREES = [
    Tree((5, 6, 7), (Branch((20, 21, 2)), Branch((30,)), Branch((40, 41, 42, 43, 2)))),
    Tree((5, 6, 7, 8, 9), (Branch((60,)), Branch((70, 71, 72)))),
    Tree((8, 9), (Branch((50, 51)),)),
]
LAYOUTS = {"a batch each": [[TREES[0]], [TREES[1]], [TREES[2]]], "one batch": [TREES], "two": [TREES[:1], TREES[1:]]}


# What costs are set to, and how many products and segments TREES then are.
CUTS = {
    "whole trees": ({}, 1, 3),
    "cut, in few products": ({"_BLOCK": 3, "_RUNS": (0,), "_SEGMENT": 0, "_KEY": 0, "_PRODUCT": 10_000}, 1, 11),
    "cut, in many": ({"_BLOCK": 3, "_RUNS": (0,), "_SEGMENT": 0, "_KEY": 0, "_PRODUCT": 0}, 9, 11),
    "in runs": ({"_RUNS": (4,), "_SEGMENT": -1_000, "_PRODUCT": 0}, 7, 7),
}


@pytest.fixture(params=CUTS, autouse=True)
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So short trees would not be cut (`accord.text.segments`): here they are, too."""
    costs, num_products, num_segments = CUTS[request.param]
    for name, value in costs.items():
        monkeypatch.setattr(segments, name, value)
    batch = _batch(TREES)
    assert (len(batch.products), len(batch.segments)) == (num_products, num_segments)


def _batch(trees: Sequence[Tree]) -> TreeBatch:
    return TreeBatch.from_trees(trees)


def _plain_logprobs(folder: Path, temperature: float = 1.0) -> torch.Tensor:
    """Each response after its prompt through the plain transformers model, nothing padded."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    out = []
    for tree in TREES:
        for branch in tree.branches:
            ids = torch.tensor([[*tree.prompt_ids, *branch.ids]])
            with torch.no_grad():
                logprobs = (model(ids).logits[0] / temperature).log_softmax(-1)
            first = len(tree.prompt_ids) - 1
            out += [logprobs[first + i, token] for i, token in enumerate(branch.ids)]
    return torch.stack(out)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_equal_the_plain_model(tiny_model: Path, layout: str, temperature: float) -> None:
    policy = Policy.load(tiny_model)
    with torch.no_grad():
        ours = torch.cat([policy.token_logprobs(_batch(part), temperature).logprobs for part in LAYOUTS[layout]])
    torch.testing.assert_close(ours, _plain_logprobs(tiny_model, temperature), atol=1e-5, rtol=0)


def test_a_broken_mask_would_be_seen(tiny_model: Path) -> None:
    """Negative control: with plain causal visibility branches see each other, and the numbers differ."""
    policy = Policy.load(tiny_model)
    batch = _batch(TREES[:1])
    one = segments.segments_of(0, batch.num_tokens, ())
    batch = replace(batch, branch_of_place=torch.full_like(batch.branch_of_place, PROMPT), segments=tuple(one))
    with torch.no_grad():
        ours = policy.token_logprobs(batch).logprobs
    assert (ours - _plain_logprobs(tiny_model)[: len(ours)]).abs().max() > 1e-2


def test_entropies_are_those_of_the_distributions(tiny_model: Path) -> None:
    policy = Policy.load(tiny_model)
    batch = _batch(TREES[2:])
    with torch.no_grad():
        ours = policy.token_logprobs(batch, 0.7).entropies
        model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32).eval()
        logits = model(torch.tensor([[8, 9, 50, 51]])).logits[0, 1:3] / 0.7
    torch.testing.assert_close(ours, torch.distributions.Categorical(logits=logits).entropy(), atol=1e-5, rtol=0)


def _gradients(policy: Policy, parts: Sequence[Sequence[Tree]]) -> dict[str, torch.Tensor]:
    policy.module.zero_grad()
    # Weights that differ, so that a gradient that lands on another branch shows.
    logprobs = torch.cat([policy.token_logprobs(_batch(part)).logprobs for part in parts])
    (logprobs * torch.linspace(-1, 2, len(logprobs))).sum().backward()
    return {name: p.grad.clone() for name, p in policy.module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_equal_the_flat_ones(tiny_model: Path, layout: str) -> None:
    policy = Policy.load(tiny_model)
    flat = _gradients(policy, [[one] for tree in TREES for one in flatten(tree)])
    tree = _gradients(policy, LAYOUTS[layout])
    assert tree.keys() == flat.keys()
    for name, gradient in flat.items():
        scale = gradient.abs().max()
        torch.testing.assert_close(tree[name] / scale, gradient / scale, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_scores_are_read_at_the_last_response_token(tiny_model: Path, layout: str) -> None:
    model = ScalarModel.from_policy(tiny_model, seed=1)
    with torch.no_grad():
        ours = torch.cat([model.scores(_batch(part)) for part in LAYOUTS[layout]])
        plain = []
        for tree in TREES:
            for branch in tree.branches:
                one = _batch([Tree(tree.prompt_ids, (branch,))])
                ids = [*tree.prompt_ids, *branch.ids]
                assert one.ids[: len(ids)].tolist() == ids
                plain.append(model.scores(one)[0])
    torch.testing.assert_close(ours, torch.stack(plain), atol=1e-5, rtol=0)


def test_values_are_read_before_the_token_is_seen(tiny_model: Path) -> None:
    """The value of a branch's first token is the prompt's last row, whatever the token is."""
    model = ScalarModel.from_policy(tiny_model, seed=1)
    with torch.no_grad():
        batch = TreeBatch.from_trees([Tree((5, 6), (Branch((20, 21)), Branch((30, 31))))])
        values = model.values(batch)
    assert values[0] == values[2]
    assert values[1] != values[3]

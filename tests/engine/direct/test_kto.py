"""KTO of a policy: whose answer a prompt is given, and a reference point that is an optimizer step's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accord.engine.direct.kto import Feedback, LabelledTrees, labelled_trees, mismatched
from accord.engine.direct.preference import Limits
from accord.engine.direct.reference import branch_logprobs
from accord.engine.scorer import per_branch
from accord.models.folders import load_tokenizer
from accord.models.policy import Policy
from accord.text.template import Template
from accord.text.tree import Branch, Tree
from accord.types import LabelledResponse, Message, Prompt, Response

PARAMETERS = {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 2.0}


def trees_of(prompts: Sequence[int]) -> list[Tree]:
    """The prompts by number, each with a response of its own."""
    return [Tree((3, 4 + prompt), (Branch((100 + at, 2)),)) for at, prompt in enumerate(prompts)]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.integers(0, 5))
def test_an_answer_is_to_another_prompt(prompts: list[int], seed: int) -> None:
    trees = trees_of(prompts)
    made = mismatched(trees, seed, None)
    if len(set(prompts)) == 1:
        assert made == []
        return
    assert [tree.prompt_ids for tree in made] == [tree.prompt_ids for tree in trees]
    own: dict[tuple[int, ...], set[Branch]] = {}
    for tree in trees:
        own.setdefault(tree.prompt_ids, set()).add(tree.branches[0])
    everything = {branch for branches in own.values() for branch in branches}
    for tree in made:
        assert tree.branches[0] in everything - own[tree.prompt_ids]


def test_all_answers_are_used_when_all_prompts_differ() -> None:
    trees = trees_of(range(9))
    made = mismatched(trees, 1, None)
    assert {tree.branches[0] for tree in made} == {tree.branches[0] for tree in trees}
    assert made != mismatched(trees, 2, None)


def test_an_answer_that_is_too_long_for_another_prompt_is_cut() -> None:
    long = Tree((3,), (Branch((7,) * 6),))
    made = mismatched([long, Tree((4,) * 5, (Branch((8, 2)),))], 0, 7)
    assert [tree.branches[0].ids for tree in made] == [(8, 2), (7, 7)]


def test_what_cannot_be_learned_from_is_left_out_and_counted(tiny_model: Path) -> None:
    template = Template(load_tokenizer(tiny_model))
    prompt = Prompt("p", (Message("user", "Write."),))
    responses = [
        Response("A warm story."),
        Response(""),
        Response("", finished=False),
        Response("Dull.<|im_end|>"),
        Response("The plot is dull. " * 20),
    ]
    records = [LabelledResponse(prompt, response, good=True) for response in responses]
    found, counts = labelled_trees(template, records, Limits(max_tokens=60))
    assert [tree.branches[0].ids[-1] for tree in found.trees] == [template.end_id] * 2
    assert found.num_good == 2
    assert counts == {"num_with_control_tokens": 1, "num_without_tokens": 1, "num_too_long": 1}


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


@pytest.fixture(scope="module")
def feedback(policy: Policy) -> Feedback:
    """Five responses of different lengths; the reference finds every token 0.2 nats less likely."""
    trees = [Tree((5, 6, 7, 8 + i), (Branch((20 + i,) * (1 + i)),)) for i in range(5)]
    others = mismatched(trees, 0, None)
    said = [
        [value - 0.2 * len(tree.branches[0].ids) for value, tree in zip(logprobs(policy, some), some, strict=True)]
        for some in (trees, others)
    ]
    return Feedback(LabelledTrees(trees, [True, False, True, True, False]), others, *said)


def logprobs(policy: Policy, trees: Sequence[Tree]) -> list[torch.Tensor]:
    return per_branch(trees, lambda batch: branch_logprobs(policy, batch))


def test_the_reference_point_is_over_the_whole_optimizer_step(policy: Policy, feedback: Feedback) -> None:
    """0.2 nats a token, a mean over the four answers; and the loss of each response by hand."""
    indices = [3, 0, 4, 1]
    z0 = 0.2 * sum(len(feedback.mismatched[i].branches[0].ids) for i in indices) / 4
    totals: dict[str, float] = {}
    for loss in feedback.losses(policy, indices, 1, PARAMETERS):
        assert loss.num_units == 1, "a tree a batch"
        for name, value in loss.metrics.items():
            totals[name] = totals.get(name, 0.0) + float(value) / 4
    assert totals["kl"] == pytest.approx(z0, abs=1e-4)
    by_hand = 0.0
    for i in indices:
        gain = 0.1 * (0.2 * (1 + i) - z0)
        good = feedback.labelled.good[i]
        by_hand += (1 if good else 2) * torch.sigmoid(torch.tensor(-gain if good else gain)).item() / 4
    assert totals["loss"] == pytest.approx(by_hand, abs=1e-5)
    # Good: 3 and 0, of 4 and 1 tokens; bad: 4 and 1, of 5 and 2.
    assert totals["rewards/chosen"] == pytest.approx(0.1 * 0.2 * 2.5, abs=1e-5)
    assert totals["rewards/rejected"] == pytest.approx(0.1 * 0.2 * 3.5, abs=1e-5)
    assert totals["rewards/margins"] == pytest.approx(-0.02, abs=1e-5)


def test_micro_batches_and_order_change_nothing(policy: Policy, feedback: Feedback) -> None:
    def gradient(indices: Sequence[int], max_tokens: int) -> torch.Tensor:
        total = torch.stack([loss.total for loss in feedback.losses(policy, indices, max_tokens, PARAMETERS)]).sum()
        return torch.cat([one.flatten() for one in torch.autograd.grad(total, list(policy.module.parameters()))])

    whole = gradient(range(5), 1000)
    assert float(whole.norm()) > 1e-3
    torch.testing.assert_close(gradient(range(5), 1), whole, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(gradient([4, 2, 0, 1, 3], 1000), whole, atol=2e-5, rtol=1e-4)

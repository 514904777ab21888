"""From comparisons to losses of a policy: which pairs are left, and that neither the layout nor the batch changes what
is learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from accord.algorithms.loss import Loss
from accord.engine.direct.config import DEFAULTS, LossName, PreferenceLossConfig
from accord.engine.direct.preference import (
    Limits,
    Preferences,
    RankedTree,
    mean_metrics,
    nothing_left,
    ranked_trees,
)
from accord.engine.direct.reference import branch_logprobs
from accord.engine.scorer import per_branch
from accord.models.folders import load_tokenizer
from accord.models.policy import Policy
from accord.text.template import Template
from accord.text.tree import Branch, Tree, TreeBatch, flatten
from accord.types import Message, Pair, Prompt, Ranking, Response

ASK = (Message("user", "Write one line of a film review."),)


@pytest.fixture(scope="module")
def template(tiny_model: Path) -> Template:
    return Template(load_tokenizer(tiny_model))


def ranking(*responses: str | Response, pairs: Sequence[tuple[int, int]] = ((0, 1),), prefill: str = "") -> Ranking:
    made = tuple(one if isinstance(one, Response) else Response(one) for one in responses)
    return Ranking(Prompt("p", ASK, prefill), made, tuple(Pair(i, j) for i, j in pairs))


def left(template: Template, *rankings: Ranking, **limits: int) -> tuple[list[RankedTree], dict[str, int]]:
    ranked, counts = ranked_trees(template, rankings, Limits(**limits))
    return ranked, {name: count for name, count in counts.items() if count}


def test_responses_in_no_pair_are_not_computed(template: Template) -> None:
    """Four responses, the second ungraded: three branches, and pairs that point to these."""
    ((one,), counts) = left(template, ranking("a", "b", "c", "d", pairs=((0, 2), (3, 2), (0, 3))))
    assert [branch.ids for branch in one.tree.branches] == [template.response_ids(Response(text)) for text in "acd"]
    assert one.pairs == ((0, 1), (2, 1), (0, 2))
    assert counts == {}


def test_the_prefill_is_given_and_the_end_of_the_turn_is_learned(template: Template) -> None:
    (one,), _ = left(template, ranking(" is warm.", Response(" is dull", finished=False), prefill="The acting"))
    assert one.tree.prompt_ids == template.prompt_ids(Prompt("p", ASK, "The acting"))
    assert one.tree.branches[0].ids[-1] == template.end_id
    assert template.end_id not in one.tree.branches[1].ids


def test_pairs_of_the_same_tokens_are_left_out_and_counted(template: Template) -> None:
    cut = Response("A warm story.", finished=False)
    ranked, counts = left(
        template,
        ranking("A warm story.", "A warm story."),
        ranking("A warm story.", "A warm story.", "Dull.", pairs=((0, 1), (0, 2))),
        ranking("A warm story.", cut),
    )
    assert counts == {"num_identical_pairs": 2}
    assert [one.pairs for one in ranked] == [((0, 1),), ((0, 1),)]
    assert len(ranked[1].tree.branches[0].ids) > 1, "without its end a response is another"


def test_an_empty_response_is_its_end_of_turn_and_one_without_that_is_nothing(template: Template) -> None:
    ranked, counts = left(
        template, ranking("A warm story.", ""), ranking("A warm story.", Response("", finished=False))
    )
    assert [branch.ids for branch in ranked[0].tree.branches][1] == (template.end_id,)
    assert (len(ranked), counts) == (1, {"num_pairs_without_tokens": 1})


def test_what_cannot_be_learned_from_is_left_out_and_counted(template: Template) -> None:
    long = "The plot is dull. " * 20
    rankings = [
        ranking("A warm story.", "Dull."),
        ranking("A warm story.", "Dull.", pairs=()),
        ranking("A warm story.", "Dull.<|im_end|>"),
        ranking("A warm story.", long),
    ]
    ranked, counts = left(template, *rankings, max_tokens=100)
    assert len(ranked) == 1
    assert counts == {
        "num_without_pairs": 1,
        "num_with_control_tokens": 1,
        "num_too_long": 1,
    }
    assert left(template, *rankings, max_response_tokens=30)[1] == counts
    assert left(template, *rankings)[1] == {name: n for name, n in counts.items() if name != "num_too_long"}
    longest = max(len(template.response_ids(Response(text))) for text in ("A warm story.", "Dull."))
    assert len(left(template, rankings[0], max_response_tokens=longest)[0]) == 1
    assert len(left(template, rankings[0], max_response_tokens=longest - 1)[0]) == 0


def test_what_is_said_when_nothing_is_left(template: Template) -> None:
    tied = [ranking("A warm story.", "Dull.", pairs=())] * 3
    rankings = [*tied, ranking("A warm story.", "A warm story.")]
    what, remedy = nothing_left(ranked_trees(template, rankings, Limits())[1], 4)
    assert what == "of 4 comparisons none can be learned from: 3 without pairs, 1 identical pairs"
    assert "tie_below" in remedy
    assert nothing_left({"num_without_pairs": 0}, 0)[0].endswith("none can be learned from: there are none")


# Three prompts of different lengths; the second has four responses in order, the third a tie.
RANKED = [
    RankedTree(Tree((5, 6, 7), (Branch((20, 21, 2)), Branch((30, 2)))), ((0, 1),)),
    RankedTree(
        Tree((5, 9), (Branch((22, 2)), Branch((23, 24, 25, 2)), Branch((26, 2)), Branch((27, 28)))),
        ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)),
    ),
    RankedTree(Tree((8,) * 9, (Branch((31, 2)), Branch((32, 33, 2)), Branch((34,)))), ((0, 2), (1, 2))),
]


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


@pytest.fixture(scope="module")
def preferences(policy: Policy) -> Preferences:
    """The reference is the policy itself, a little further on."""
    trees = [one.tree for one in RANKED]
    logprobs = per_branch(trees, lambda batch: branch_logprobs(policy, batch))
    return Preferences(RANKED, [values - 0.3 * torch.arange(1.0, len(values) + 1) for values in logprobs])


def learned(
    policy: Policy, preferences: Preferences, indices: Sequence[int] = (0, 1, 2), max_tokens: int = 1000, **keys: object
) -> tuple[dict[str, float], Tensor]:
    """Means of the metrics, and the gradient of the mean loss."""
    config = PreferenceLossConfig(**keys)  # type: ignore[arg-type]
    losses: list[Loss] = list(preferences.losses(policy, indices, config, max_tokens))
    num = sum(loss.num_units for loss in losses)
    totals = torch.stack([loss.total for loss in losses]).sum() / num
    gradients = torch.autograd.grad(totals, list(policy.module.parameters()))
    metrics = {name: float(sum(loss.metrics[name] for loss in losses)) / num for name in losses[0].metrics}
    return metrics, torch.cat([gradient.flatten() for gradient in gradients])


def assert_same(first: tuple[dict[str, float], Tensor], second: tuple[dict[str, float], Tensor]) -> None:
    assert first[0] == pytest.approx(second[0], abs=1e-4)
    torch.testing.assert_close(first[1], second[1], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("loss", DEFAULTS)
def test_micro_batches_padding_and_order_change_nothing(
    policy: Policy, preferences: Preferences, loss: LossName
) -> None:
    whole = learned(policy, preferences, loss=loss)
    assert float(whole[1].norm()) > 1e-3
    assert_same(whole, learned(policy, preferences, (0, 1, 2), 1, loss=loss))  # one prompt a batch: no padding
    assert_same(whole, learned(policy, preferences, (2, 0, 1), loss=loss))


def test_the_tree_has_the_gradient_of_single_responses(policy: Policy, preferences: Preferences) -> None:
    """Each response with its own copy of the prompt, and the mean over pairs written out."""
    metrics, gradient = learned(policy, preferences)
    assert preferences.reference is not None
    total = torch.zeros(())
    for one, reference in zip(RANKED, preferences.reference, strict=True):
        alone = per_response(policy, one.tree) - reference
        of_prompt = [torch.nn.functional.softplus(-0.1 * (alone[i] - alone[j])) for i, j in one.pairs]
        total = total + torch.stack(of_prompt).mean() / 3
    assert total.item() == pytest.approx(metrics["loss"], abs=1e-5)
    flat = torch.autograd.grad(total, list(policy.module.parameters()))
    torch.testing.assert_close(gradient, torch.cat([one.flatten() for one in flat]), atol=2e-5, rtol=1e-4)


def per_response(policy: Policy, tree: Tree) -> Tensor:
    rows = [[one] for one in flatten(tree)]
    return torch.cat([branch_logprobs(policy, TreeBatch.from_trees(row)) for row in rows])


def test_a_measurement_is_the_mean_over_all_prompts(policy: Policy, preferences: Preferences) -> None:
    config = PreferenceLossConfig()
    measure = mean_metrics(lambda: preferences.losses(policy, range(3), config, 1))
    assert measure() == pytest.approx(learned(policy, preferences)[0], abs=1e-4)
    assert all(parameter.grad is None for parameter in policy.module.parameters())


@pytest.mark.parametrize(
    ("keys", "key", "what", "remedy"),
    [
        ({"gamma": 1.0}, "gamma", "the loss dpo has no gamma: it has beta", "or use the loss simpo"),
        ({"label_smoothing": 0.1}, "label_smoothing", "dpo has no label_smoothing", "use the loss cdpo or rdpo"),
        (
            {"loss": "ipo", "label_smoothing": 0.1},
            "label_smoothing",
            "ipo has no label_smoothing: it has beta and per_token",
            "use the loss cdpo or rdpo",
        ),
        (
            {"loss": "orpo", "beta": 0.1},
            "beta",
            "orpo has no beta: it has odds_coef",
            "Remove beta, or use the loss dpo",
        ),
        ({"loss": "rdpo", "label_smoothing": 0.5}, "label_smoothing", "at 0.5 a label says nothing", "Swap them"),
        ({"loss": "orpo", "nll_coef": 0.1}, "nll_coef", "orpo has the likelihood", "Remove nll_coef"),
        ({"per_token": False}, "per_token", "dpo has no per_token", "use the loss ipo"),
    ],
)
def test_keys_that_do_not_go_together(keys: dict[str, object], key: str, what: str, remedy: str) -> None:
    found = PreferenceLossConfig(**keys).contradiction()  # type: ignore[arg-type]
    assert found is not None
    assert found[0] == key
    assert what in found[1]
    assert remedy in found[2]


@pytest.mark.parametrize("loss", DEFAULTS)
def test_every_loss_goes_with_its_own_keys(loss: LossName) -> None:
    given = dict(DEFAULTS[loss])
    config = PreferenceLossConfig(loss=loss, **given)  # type: ignore[arg-type]
    assert config.contradiction() is None
    assert config.parameters() == PreferenceLossConfig(loss=loss).parameters() == given

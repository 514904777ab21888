"""CHES scores of trees: from the states that score the tokens, whatever shares a batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from accord.engine.direct.ches import FILE, ches_scores, of_lowest_ches
from accord.engine.direct.preference import RankedTree
from accord.models.compute import compute_dtype
from accord.models.policy import Policy
from accord.store.workspace import Workspace
from accord.text.tree import Branch, Tree

RANKED = [
    RankedTree(Tree((3, 4, 5), (Branch((6, 7, 8)), Branch((9,)), Branch((6, 10)))), ((0, 1), (2, 1))),
    RankedTree(Tree((5, 5), (Branch((7,)), Branch((8, 9, 10, 11)))), ((1, 0),)),
    RankedTree(Tree((12,), (Branch((6, 7)), Branch((7, 6)))), ()),
]


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


def states(model: LlamaForCausalLM, prompt: tuple[int, ...], response: tuple[int, ...]) -> torch.Tensor:
    """Of the rows that predict the response's tokens, by the plain model on one plain sequence."""
    with torch.no_grad():
        out = model(torch.tensor([prompt + response]), output_hidden_states=True, use_cache=False)
    found: torch.Tensor = out.hidden_states[-1][0, len(prompt) - 1 : -1]
    return found


def test_scores_of_the_plain_model(policy: Policy, tiny_model: Path) -> None:
    plain_model = LlamaForCausalLM.from_pretrained(tiny_model)
    found = ches_scores(policy, RANKED)
    assert [len(of_tree) for of_tree in found] == [2, 1, 0]
    for one, scores in zip(RANKED, found, strict=True):
        for (better, worse), (plain, normalised) in zip(one.pairs, scores, strict=True):
            chosen = states(plain_model, one.tree.prompt_ids, one.tree.branches[better].ids)
            rejected = states(plain_model, one.tree.prompt_ids, one.tree.branches[worse].ids)
            assert len(chosen) == len(one.tree.branches[better].ids)
            wanted = chosen.sum(0) @ rejected.sum(0) - chosen.sum(0) @ chosen.sum(0)
            assert plain == pytest.approx(float(wanted), rel=1e-4, abs=1e-3)
            wanted = chosen.mean(0) @ rejected.mean(0) - chosen.mean(0) @ chosen.mean(0)
            assert normalised == pytest.approx(float(wanted), rel=1e-4, abs=1e-3)


def test_what_shares_a_batch_changes_nothing(policy: Policy) -> None:
    done: list[int] = []
    alone = ches_scores(policy, RANKED, max_tokens=1, advance=done.append)
    together = ches_scores(policy, RANKED)
    assert done == [1, 1, 1]
    for one, other in zip(alone, together, strict=True):
        for (a, b), (c, d) in zip(one, other, strict=True):
            assert (a, b) == pytest.approx((c, d), rel=1e-4, abs=1e-3)


def test_a_response_that_ends_alike_scores_higher_than_a_different_one(policy: Policy) -> None:
    tree = Tree((3, 4, 5), (Branch((6, 7, 8, 9)), Branch((6, 7, 8, 10)), Branch((20, 21, 22, 23))))
    (((_, near), (_, far)),) = ches_scores(policy, [RankedTree(tree, ((0, 1), (0, 2)))])
    assert near == pytest.approx(0.0, abs=1e-4)  # but for its last token, which no state has seen
    assert far < near


def test_the_lowest_share_is_kept_and_all_scores_are_written(tiny_model: Path, tmp_path: Path) -> None:
    work = Workspace(tmp_path / "work")
    work.resume()
    ranked = RANKED[:2]
    of_lowest_ches(tiny_model, ranked, 1.0, work=work, label="dpo")
    rows = [json.loads(line) for line in (work.out / FILE).read_text().splitlines()]
    places = [(row["example"], row["chosen"], row["rejected"]) for row in rows]
    assert places == [(0, 0, 1), (0, 2, 1), (1, 1, 0)]
    scores = [row["length_normalised"] for row in rows]
    start = Policy.load(tiny_model, compute_dtype())
    assert scores == [normalised for one in ches_scores(start, ranked) for _, normalised in one]

    # Now with scores in their place, which are read and not computed again: 0.5 is left out.
    lines = [json.dumps(row | {"length_normalised": score}) for row, score in zip(rows, (0.5, -3.0, -1.0), strict=True)]
    (work.out / FILE).write_text("\n".join(lines) + "\n")
    kept, counts = of_lowest_ches(tmp_path / "no model", ranked, 0.5, work=work, label="dpo")
    # ceil(0.5 * 3) = 2 pairs; branch 0 of the first tree, (6, 7, 8), is in none of them any more
    assert kept == [RankedTree(Tree((3, 4, 5), (Branch((9,)), Branch((6, 10)))), ((1, 0),)), RANKED[1]]
    assert (counts["num_comparisons"], counts["num_pairs"], counts["num_pairs_of_high_ches"]) == (2, 2, 1)
    assert counts["length_normalised_ches"]["kept_up_to"] == -1.0
    assert counts["length_normalised_ches"]["quantiles"]["0.5"] == -1.0
    assert counts["length_normalised_ches"]["quantiles"]["1"] == 0.5
    kept, counts = of_lowest_ches(tmp_path / "no model", ranked, 0.1, work=work, label="dpo")
    assert kept == [RankedTree(Tree((3, 4, 5), (Branch((9,)), Branch((6, 10)))), ((1, 0),))]


def test_all_are_kept_for_the_scores_alone(tiny_model: Path, tmp_path: Path) -> None:
    work = Workspace(tmp_path / "work")
    work.resume()
    kept, counts = of_lowest_ches(tiny_model, RANKED[:2], 1.0, work=work, label="dpo")
    assert kept == RANKED[:2]
    assert counts["num_pairs_of_high_ches"] == 0

"""Reference log-probabilities: the numbers, where they are kept, and what makes them be computed again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from accord.engine.direct import reference as module
from accord.engine.direct.reference import KIND, Reference, branch_logprobs, key_of, reference_logprobs
from accord.errors import Interrupted, UserError
from accord.models.policy import Policy
from accord.store.artifacts import Artifact, Store
from accord.store.workspace import Workspace
from accord.text.tree import Branch, Tree, TreeBatch

TREES = [Tree((5, 6, 7 + i), (Branch((20, 21 + i, 2)), Branch((30,) * (1 + i % 3)))) for i in range(7)]
ARTIFACT = Artifact(Path("nowhere"), {"kind": "sft", "key": "abc", "name": "sft"})


@pytest.fixture(scope="module")
def policy(tiny_model: Path) -> Policy:
    return Policy.load(tiny_model)


def never() -> Policy:
    raise AssertionError("the reference was asked again")


def said(
    folder: Path, open_policy: Callable[[], Policy], *, stop: Callable[[], bool] = lambda: False, store: bool = True
) -> list[Tensor]:
    reference = Reference(ARTIFACT, torch.float32, open_policy)
    work = Workspace(folder / "work", stop=stop)
    (values,) = reference_logprobs(
        [TREES], reference, store=Store(folder / "store") if store else None, work=work, label="dpo"
    )
    return values


def test_the_sum_over_each_response(policy: Policy, tiny_model: Path, tmp_path: Path) -> None:
    """Against the logits of a plain model, one response at a time; computed in parts of three trees."""
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    with patch.object(module, "_PART", 3):
        values = said(tmp_path, lambda: policy)
    for tree, of_tree in zip(TREES, values, strict=True):
        for branch, value in zip(tree.branches, of_tree, strict=True):
            ids = torch.tensor([[*tree.prompt_ids, *branch.ids]])
            with torch.no_grad():
                logprobs = plain(input_ids=ids).logits[0, :-1].log_softmax(-1)
            wanted = logprobs.gather(1, ids[0, 1:, None])[len(tree.prompt_ids) - 1 :].sum()
            assert value.item() == pytest.approx(wanted.item(), abs=1e-4)


def test_unscored_tokens_are_not_in_the_sum(policy: Policy) -> None:
    whole = Tree((5, 6), (Branch((20, 21, 2)), Branch((20, 21, 2), (False, True, True))))
    first = Tree((5, 6), (Branch((20,)),))
    with torch.no_grad():
        both = branch_logprobs(policy, TreeBatch.from_trees([whole]))
        one = branch_logprobs(policy, TreeBatch.from_trees([first]))
    assert float(both[0] - both[1]) == pytest.approx(float(one[0]), abs=1e-4)


def test_a_second_time_nothing_is_computed(policy: Policy, tmp_path: Path) -> None:
    first = said(tmp_path, lambda: policy)
    again = said(tmp_path, never)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not list((tmp_path / "store" / "work").iterdir())
    artifact = Store(tmp_path / "store").find(KIND, key_of(TREES, Reference(ARTIFACT, torch.float32, never)))
    assert artifact is not None
    assert artifact.manifest["parents"] == {"reference": [{"name": "sft", "kind": "sft", "key": "abc", "part": None}]}


def test_without_a_store_they_are_computed_and_not_kept(policy: Policy, tmp_path: Path) -> None:
    values = said(tmp_path, lambda: policy, store=False)
    assert all(torch.equal(one, other) for one, other in zip(values, said(tmp_path, lambda: policy), strict=True))
    with pytest.raises(AssertionError, match="asked again"):
        said(tmp_path, never, store=False)


def test_a_stop_loses_no_more_than_a_part(policy: Policy, tmp_path: Path) -> None:
    """Parts of three trees; the user stops in the second, and the first is not computed again."""
    with patch.object(module, "_PART", 3):
        whole = said(tmp_path / "whole", lambda: policy)
        stops = iter([False, True])
        with pytest.raises(Interrupted):
            said(tmp_path / "cut", lambda: policy, stop=lambda: next(stops))
        assert len(list((tmp_path / "cut/store/work").glob("*/*.safetensors"))) == 1
        seen = []
        real = module.per_branch

        def spy(trees: list[Tree], *args: object, **options: object) -> list[Tensor]:
            seen.extend(trees)
            return real(trees, *args, **options)  # type: ignore[arg-type]

        with patch.object(module, "per_branch", spy):
            resumed = said(tmp_path / "cut", lambda: policy)
    assert seen == TREES[3:]
    assert all(torch.equal(one, other) for one, other in zip(whole, resumed, strict=True))


def test_what_they_are_known_by() -> None:
    """The tokens, their order, what is scored, the reference and the dtype."""
    reference = Reference(ARTIFACT, torch.float32, never)
    marked = replace(TREES[0], branches=(Branch((20, 21, 2), (False, True, True)), TREES[0].branches[1]))
    others = [
        key_of(TREES[::-1], reference),
        key_of(TREES[:-1], reference),
        key_of([marked, *TREES[1:]], reference),
        key_of([Tree((5, 6), TREES[0].branches), *TREES[1:]], reference),
        key_of(TREES, replace(reference, dtype=torch.bfloat16)),
        key_of(TREES, replace(reference, artifact=Artifact(Path("x"), {"kind": "sft", "key": "abd"}))),
    ]
    assert len({key_of(TREES, reference), *others}) == 7
    assert key_of(list(TREES), Reference(ARTIFACT, torch.float32, lambda: never())) == key_of(TREES, reference)


def test_a_damaged_file_is_not_read(policy: Policy, tmp_path: Path) -> None:
    said(tmp_path, lambda: policy)
    (file,) = (tmp_path / "store" / "artifacts").glob("*/logprobs.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="the artifact is damaged"):
        said(tmp_path, never)

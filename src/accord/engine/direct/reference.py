"""Log-probabilities of given responses under a reference policy: computed once, and kept in the store.

They depend on the tokens, the reference's weights and the dtype, and on nothing else of a step: another beta, another
loss or another seed finds them. They are an artifact of their own, by the digest of those three. Until it is complete,
parts of some hundred trees lie in its work folder, so that a stop loses no more than one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from accord.algorithms.aggregation import response_sums
from accord.engine.group import agreed, current
from accord.engine.scorer import per_branch
from accord.models.policy import Policy
from accord.store import atomic
from accord.store.artifacts import Artifact, Parent, Provenance, Store
from accord.store.digests import digest_of
from accord.store.lock import lock
from accord.store.workspace import Workspace
from accord.text.tree import Tree, TreeBatch

KIND = "reference_logprobs"
VERSION = 1
FILE = "logprobs.safetensors"
REFERENCE_TOKENS = 2048  # places in a batch, whatever the settings of who asked
_PART = 256  # trees
_NAME = "logprobs"
NAMES = ("reference", "reference, validation")


@dataclass(frozen=True, slots=True)
class Reference:
    """artifact: the policy's. open: gives the policy, computing in `dtype`; called at most once, when it is needed."""

    artifact: Artifact
    dtype: torch.dtype
    open: Callable[[], Policy]


def branch_logprobs(policy: Policy, batch: TreeBatch) -> Tensor:
    """[S]: log policy(response | prompt), summed over the scored tokens of each branch. Differentiable."""
    logprobs = policy.token_logprobs(batch).logprobs
    return response_sums(logprobs, None, batch.branch_of_token, batch.num_branches)


def reference_logprobs(
    sets: Sequence[Sequence[Tree]],
    reference: Reference,
    *,
    store: Store | None,
    work: Workspace,
    label: str,
    names: Sequence[str] = NAMES,
) -> list[list[Tensor]]:
    """For each set of trees, for each tree: [K], one number a branch, in fp32.

    store: where they are kept and looked for (None: nowhere). work: shows the progress, and says when to stop; raises
    Interrupted then. label: of the step. names: what the progress line calls each set. Batches are those of trees and
    of how many processes compute them, so that what is kept hardly depends on who asked.
    """
    opened = cache(reference.open)
    assert len(sets) <= len(names), "each set is called something"
    return [_of_set(trees, reference, opened, store, work, f"{label}: {names[at]}") for at, trees in enumerate(sets)]


def _of_set(
    trees: Sequence[Tree],
    reference: Reference,
    opened: Callable[[], Policy],
    store: Store | None,
    work: Workspace,
    label: str,
) -> list[Tensor]:
    if store is None:
        return _split(trees, torch.cat([values for _, values in _parts(trees, opened, work, label, 0)]))
    key = key_of(trees, reference)
    artifact = store.find(KIND, key)
    if not agreed(artifact is not None):
        if current().rank == 0:
            artifact = _make(key, trees, reference, opened, store, work, label)
        else:
            for _ in _parts(trees, opened, work, label, agreed(None)):
                pass  # the leading process writes them
        agreed(True)
        artifact = artifact or store.find(KIND, key)
        assert artifact is not None, "the leading process has published it"
    else:
        assert artifact is not None, "the store is one that all processes see"
        print(f"{label}: the log-probabilities of {len(trees)} prompts were in the store", file=sys.stderr)
    artifact.verify()
    return _split(trees, load_file(artifact.file(FILE))[_NAME])


def key_of(trees: Sequence[Tree], reference: Reference) -> str:
    """What the log-probabilities are known by."""
    digest = hashlib.sha256()
    for tree in trees:
        branches = [[branch.ids, branch.scored] for branch in tree.branches]
        digest.update(json.dumps([tree.prompt_ids, branches]).encode())
    content = {
        "kind": KIND,
        "version": VERSION,
        "reference": [reference.artifact.kind, reference.artifact.key],
        "dtype": str(reference.dtype),
        "trees": digest.hexdigest(),
    }
    return digest_of(content)


def _make(
    key: str,
    trees: Sequence[Tree],
    reference: Reference,
    opened: Callable[[], Policy],
    store: Store,
    work: Workspace,
    label: str,
) -> Artifact:
    folder = store.work_folder(KIND, key)
    began = time.monotonic()
    with lock(folder.with_name(f"{folder.name}.lock"), "these reference log-probabilities", wait=True):
        num_parts = -(-len(trees) // _PART)
        if (made := store.find(KIND, key)) is not None:  # by the process that held the lock
            agreed(num_parts)  # nothing is left
            shutil.rmtree(folder, ignore_errors=True)
            return made
        with atomic.disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            done = 0
            while _file(folder, done).exists():
                done += 1
            for number, values in _parts(trees, opened, work, label, agreed(done)):
                _write(_file(folder, number), values)
            every = [load_file(_file(folder, number))[_NAME] for number in range(num_parts)]
            out = folder / "out"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            save_file({_NAME: torch.cat(every)}, out / FILE)
        source = reference.artifact
        parents = {"reference": (Parent(str(source.manifest["name"]), source.kind, source.key),)}
        provenance = Provenance(KIND, label, key, VERSION, {"dtype": str(reference.dtype)}, 0, parents)
        artifact = store.publish(out, provenance, time.monotonic() - began)
        shutil.rmtree(folder, ignore_errors=True)
        return artifact


def _parts(
    trees: Sequence[Tree], opened: Callable[[], Policy], work: Workspace, label: str, first: int
) -> Iterator[tuple[int, Tensor]]:
    """Number and values of each part, from the part `first` on."""
    starts = range(first * _PART, len(trees), _PART)
    if not starts:
        return
    policy = opened()
    with work.progress(label, len(trees), "prompts", start=starts[0]) as progress:
        advance = work.advancer(progress)
        for number, start in enumerate(starts, start=first):
            some = trees[start : start + _PART]
            read = partial(branch_logprobs, policy)
            values = per_branch(some, read, max_tokens=REFERENCE_TOKENS, advance=advance)
            yield number, torch.cat(values)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"


def _write(path: Path, values: Tensor) -> None:
    """In one rename: a part that is there is complete."""
    temp = path.with_suffix(".tmp")
    atomic.files.write(temp, partial(save_file, {_NAME: values}))
    atomic.files.fsync(temp)
    atomic.files.rename(temp, path)


def _split(trees: Sequence[Tree], values: Tensor) -> list[Tensor]:
    return list(values.split([len(tree.branches) for tree in trees]))

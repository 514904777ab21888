"""What models compute in and on. Where weights lie in a file is none of what a result depends on."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from accord.engine.policy_engine import sample_all
from accord.engine.sampling import Request
from accord.models.compute import aligned
from accord.models.policy import Policy
from accord.text.tree import Branch, Tree, TreeBatch

FILE = "model.safetensors"
REQUESTS = [Request((5, 6, 7), 1, (1, 0)), Request((8, 9), 3, (1, 1))]
# One scored token: processors multiply a single row in another way than several.
BATCHES = [
    TreeBatch.from_trees([tree])
    for tree in (Tree((5, 6, 7), (Branch((8,)),)), Tree((5, 6, 7), (Branch((8, 9, 10)), Branch((11, 12)))))
]


def test_the_same_weights_compute_the_same_wherever_they_lie_in_their_file(tiny_model: Path, tmp_path: Path) -> None:
    weights, found = load_file(tiny_model / FILE), []
    for pad in (0, 8, 40):
        folder = tmp_path / str(pad)
        shutil.copytree(tiny_model, folder)
        save_file(weights, folder / FILE, metadata={"format": "pt", "pad": "x" * pad})
        policy = Policy.load(folder)
        assert policy.module.get_input_embeddings().weight is policy.head, "tied weights stay one"
        with torch.no_grad():
            logprobs = [policy.token_logprobs(batch).logprobs.tolist() for batch in BATCHES]
        samples = sample_all(policy, REQUESTS, max_response_tokens=12)
        found.append((logprobs, [(sample.ids, sample.logprobs) for some in samples for sample in some]))
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_a_weight_is_copied_only_where_it_begins_elsewhere_than_torch_would_have_it() -> None:
    whole = torch.arange(64.0)
    assert aligned(whole) is whole
    assert aligned(whole[16:]).data_ptr() == whole[16:].data_ptr()
    copy = aligned(whole[10:])
    assert (copy.data_ptr() % 64, copy.tolist()) == (0, list(range(10, 64)))

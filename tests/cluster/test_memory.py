"""What each of two processes holds of a model, and that it computes the same with it."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.fsdp import FSDPModule

from accord.algorithms.likelihood import negative_log_likelihood
from accord.engine.config import Optimization
from accord.engine.group import current, shared_micro_batches
from accord.engine.leading import Joint, lead
from accord.engine.learner import Learner
from accord.engine.policy_engine import Request, sample_all
from accord.engine.scorer import per_branch
from accord.engine.sharding import is_split
from accord.models.layers import layers_of
from accord.models.lora import Lora
from accord.models.policy import Policy
from accord.models.scalar import ScalarModel
from accord.models.shared import share
from accord.store.tensors import write_tensors
from accord.text.tree import Branch, Tree
from tests.cluster.pair import in_two

TREES = [
    Tree((1, 2 + n), tuple(Branch(tuple(range(5 + k, 9 + n))) for k in range(1 + n % 3))) for n in range(5)
]  # of different numbers and lengths, and no even number
REQUESTS = [Request((1, 5 + n), 2, ("memory", n)) for n in range(3)]


def said_by(folder: Path, dtype: torch.dtype) -> list[Any]:
    """Of a frozen model of each kind: log-probabilities, samples, scores."""
    policy = Policy.load(folder, dtype)
    model = ScalarModel.load(folder, dtype, new_head=True)
    model.head.data.copy_(torch.linspace(-1, 1, model.head.shape[1])[None])
    found = [one.tolist() for one in per_branch(TREES, lambda b: summed_logprobs(policy, b), max_tokens=16)]
    found += [sample.ids for of in sample_all(policy, REQUESTS, max_response_tokens=6) for sample in of]
    found += [one.tolist() for one in per_branch(TREES, model.scores, max_tokens=16)]
    return found


def summed_logprobs(policy: Policy, batch: Any) -> torch.Tensor:
    logprobs = policy.token_logprobs(batch).logprobs
    return torch.zeros(batch.num_branches).index_add(0, batch.branch_of_token, logprobs)


def numbers_of(found: Sequence[Any]) -> list[float]:
    return [number for one in found for number in one]


def test_frozen_models_that_are_split_say_the_same(tiny_model: Path, tmp_path: Path) -> None:
    alone = numbers_of(said_by(tiny_model, torch.float32))
    for found in in_two(said_by, tmp_path, tiny_model, torch.float32):
        assert numbers_of(found) == pytest.approx(alone, rel=1e-5, abs=1e-5)


def held(folder: Path) -> dict[str, int]:
    """Bytes of tensors that live in this process: of a frozen policy's layers, of all else of it, and of both after
    a pass and after samples."""
    before = living_bytes()
    policy = Policy.load(folder, torch.bfloat16)
    layers = {id(parameter) for layer in layers_of(policy.module) for parameter in layer.parameters()}
    outside = sum(2 * parameter.numel() for parameter in policy.module.parameters() if id(parameter) not in layers)
    opened = living_bytes() - before
    layer_numbers = sum(parameter.numel() for layer in layers_of(policy.module) for parameter in layer.parameters())
    per_branch(TREES, lambda b: summed_logprobs(policy, b), max_tokens=16)
    passed = living_bytes() - before
    sample_all(policy, REQUESTS, max_response_tokens=6)
    sampled = living_bytes() - before
    return {"layers": 2 * layer_numbers, "outside": outside, "opened": opened, "passed": passed, "sampled": sampled}


def living_bytes() -> int:
    gc.collect()
    tensors = [one for one in gc.get_objects() if isinstance(one, torch.Tensor) and type(one).__name__ != "DTensor"]
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}
    return sum(storages.values())


def test_half_of_a_frozen_models_layers_is_held(tiny_model: Path, tmp_path: Path) -> None:
    for found in in_two(held, tmp_path, tiny_model, dtype="bfloat16"):
        expected = found["outside"] + found["layers"] / 2
        small = found["layers"] / 20  # tables of positions, and what else is made
        assert [found["opened"], found["passed"], found["sampled"]] == pytest.approx([expected] * 3, abs=small), found


FILE = "model.safetensors"
PLAIN = Optimization(betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0, max_grad_norm=1.0)


def written(tensors: Mapping[str, torch.Tensor], path: Path) -> dict[str, torch.Tensor]:
    lead(lambda: write_tensors(tensors, path), tensors)
    return load_file(path)


def trained(folder: Path, scratch: Path, lora: bool) -> dict[str, Any]:
    """What a policy has learned in optimizer steps, with others' weights, and its own of before, put in its place
    between them; and what was written of it."""
    policy = Policy.load(folder)
    if lora:
        policy.adapt(Lora(rank=2), folder, seed=1)
    before = dict(policy.module.named_parameters())
    first = Learner(policy.module, torch.float32, PLAIN, policy.trained)
    learn(policy, first, 2)
    best = {name: one.clone() for name, one in first.own.items()}
    kept = written(first.masters, scratch / "kept")
    state = written(first.state(), scratch / "state")
    learn(policy, first, 1)
    went_on = {name: one.clone() for name, one in first.own.items()}
    first.load_state(state)
    learn(policy, first, 1)
    resumed = all(torch.equal(one, went_on[name]) for name, one in first.own.items())
    first.load_masters(kept)
    again = all(torch.equal(one, best[name]) for name, one in first.own.items())
    masters = first.masters
    lead(lambda: policy.save(scratch / "model", masters), masters)
    left = [str(path) for path in (scratch / "model").rglob(".*")]
    model = load_file(scratch / "model" / FILE)
    other = [] if lora else [name for name, one in model.items() if not torch.equal(one, kept[name])]
    first.load_own(best)
    learn(policy, first, 1)
    return {
        "losses": [float(loss) for loss in said_of(policy)],
        "kept": {name: float(one.double().norm()) for name, one in kept.items()},
        "again": again,
        "resumed": resumed,
        "not as written": left + other,
        "state": sorted(state),
        "left": sorted(name for name, one in before.items() if one.numel()),
        "offloaded": sorted(offloaded(policy)),
        "split": sum(rows.numel() for rows in first.own.values()) / sum(one.numel() for one in policy.trained.values()),
    }


def shared_backbone(folder: Path) -> dict[str, Any]:
    """Of a policy, its reference and a value model on one backbone: which of the parameters of its layers are split,
    before a learner has them, and what policy and reference say after optimizer steps."""
    models = share(folder, Lora(rank=2), 1, reference=folder, reward=None)
    assert models.reference is not None
    inside = [one for layer in layers_of(models.policy.module) for one in layer.named_parameters()]
    split = {name for name, one in inside if current().size > 1 and is_split(one)}
    learner = Learner(models.policy.module, torch.float32, PLAIN, models.policy.trained)
    Learner(models.value.module, torch.float32, PLAIN, models.value.trained)
    learn(models.policy, learner, 2)
    said = [float(one) for policy in (models.policy, models.reference) for one in said_of(policy)]
    return {"split": sorted(split), "all": sorted({name for name, _ in inside}), "said": said}


def test_a_backbone_with_adapters_is_split_before_it_comes_to_the_device(tiny_model: Path, tmp_path: Path) -> None:
    alone = shared_backbone(tiny_model)
    for found in in_two(shared_backbone, tmp_path, tiny_model):
        assert found["split"] == [name for name in alone["all"] if ".lora_" not in name] != []
        assert found["said"] == pytest.approx(alone["said"], rel=1e-4)


def offloaded(policy: Policy) -> set[bool]:
    """Whether layers that are split lie in the main memory."""
    parts = [layer for layer in layers_of(policy.module) if isinstance(layer, FSDPModule)]
    groups = [group for layer in parts for group in layer._get_fsdp_state()._fsdp_param_groups]
    return {parameter.offload_to_cpu for group in groups for parameter in group.fsdp_params}


def learn(policy: Policy, learner: Learner, num: int) -> None:
    for _ in range(num):
        for micro in shared_micro_batches(TREES, 16):
            learner.accumulate(negative_log_likelihood(policy.token_logprobs(micro.batch)))
        learner.step(1e-2)


def said_of(policy: Policy) -> list[torch.Tensor]:
    return [one.sum() for one in per_branch(TREES, lambda b: summed_logprobs(policy, b), max_tokens=16)]


@pytest.mark.parametrize(("lora", "cpu_offload"), [(False, False), (True, False), (False, True)])
def test_what_is_split_learns_the_same_and_one_process_writes_it(
    tiny_model: Path, tmp_path: Path, lora: bool, cpu_offload: bool
) -> None:
    """Activations are computed again where layers are split. On a processor an offload changes nothing."""
    (tmp_path / "alone").mkdir()
    alone = trained(tiny_model, tmp_path / "alone", lora)
    leading, following = in_two(trained, tmp_path, tiny_model, tmp_path, lora, cpu_offload=cpu_offload)
    assert leading["offloaded"] == following["offloaded"] == [cpu_offload]
    for found in (leading, following):
        assert found["losses"] == pytest.approx(alone["losses"], rel=1e-4)
        assert found["kept"] == pytest.approx(alone["kept"], rel=1e-4)
        assert found["state"] == alone["state"]
        assert found["again"]
        assert found["resumed"]
        assert found["not as written"] == []
    assert (following["split"] < 0.9) is not lora, "adapters are whole in each"
    left = {name for name in alone["left"] if ".lora_" in name or ".layers." not in name}
    assert set(following["left"]) == left, "whoever still has a layer's weights as they were has nothing"


def _left(gathered: list[weakref.ref[Any]]) -> int:
    """How many live that nothing lets go of. The exchange has a thread of its own, which may do so a moment later; the
    one that writes waits meanwhile, and lets go of nothing."""
    for _ in range(200):
        if not any(one() is not None for one in gathered):
            return 0
        time.sleep(0.01)
    return sum(one() is not None for one in gathered)


def written_bytes(folder: Path, scratch: Path) -> dict[str, int]:
    """How many tensors of a checkpoint are gathered, how many live at most when one is asked for, and the bytes of all
    in its file."""
    policy = Policy.load(folder)
    learner = Learner(policy.module, torch.float32, PLAIN, policy.trained)
    learn(policy, learner, 1)
    state = learner.state()
    assert isinstance(state, Joint)
    gathered, most, make = list[weakref.ref[Any]](), 0, state.make

    def watched(name: str) -> torch.Tensor | None:
        nonlocal most
        most = max(most, _left(gathered))
        tensor = make(name)
        if tensor is not None:
            gathered.append(weakref.ref(tensor.untyped_storage()))
        return tensor

    state.make = watched  # type: ignore[method-assign]
    size = sum(one.nbytes for one in written(state, scratch / "state").values())
    return {"bytes": size, "gathered": len(gathered), "most": most}


def test_a_checkpoint_is_written_a_tensor_at_a_time(tiny_model: Path, tmp_path: Path) -> None:
    leading, following = in_two(written_bytes, tmp_path, tiny_model, tmp_path)
    assert leading["bytes"] == following["bytes"] > 0
    assert leading["gathered"] > 30
    assert following["gathered"] == leading["most"] == 0

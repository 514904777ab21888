"""What a model costs, against models that are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PretrainedConfig, Qwen3Config

from accord.engine.config import Optimization
from accord.engine.learner import Learner
from accord.errors import UserError
from accord.models.adapters import new_adapter
from accord.models.attention import NAME as ATTENTION
from accord.models.compute import cast_for_compute
from accord.models.cost import Dimensions, dimensions_of, trained_bytes
from accord.models.elementwise import own_gradients
from accord.models.lora import Lora
from accord.models.policy import Policy
from accord.models.scalar import ScalarModel
from accord.text.tree import Branch, Tree, TreeBatch

SMOLLM = Dimensions(30, 576, 1536, 9, 3, 64, 49152)


def wide(**changes: object) -> LlamaConfig:
    """Dimensions that are all different, so that no two can be taken for each other."""
    sizes = {
        "vocab_size": 1000,
        "hidden_size": 96,
        "intermediate_size": 200,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    }
    return LlamaConfig(**{**sizes, **changes})


def test_smollm2_by_hand():
    # A layer: q and o 576 * 576 each, k and v 576 * 192 each, three of 576 * 1536, two norms of 576.
    layer = 2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536 + 2 * 576
    assert SMOLLM.layer_parameters == layer == 3_540_096
    assert SMOLLM.policy_parameters == 30 * layer + 576 + 49152 * 576 == 134_515_008
    assert SMOLLM.scalar_parameters == 134_515_008 + 576


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_the_model(tied: bool):
    config = wide(tie_word_embeddings=tied)
    dimensions = dimensions_of(config.to_dict())
    assert dimensions.policy_parameters == sum(p.numel() for p in LlamaForCausalLM(config).parameters())


def test_heads_of_a_width_of_their_own():
    config = Qwen3Config(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        tie_word_embeddings=False,
    )
    found = dimensions_of(config.to_dict()).policy_parameters
    real = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    norms = 2 * 2 * 16  # of queries and keys, which are left out
    assert found == real - norms


def test_a_scalar_model_has_a_head_of_one_row(tiny_model: Path):
    module = ScalarModel.from_policy(tiny_model, 0).module
    found = dimensions_of(module.config.to_dict())
    assert found.scalar_parameters == sum(p.numel() for p in module.parameters())


def test_adapters(tiny_model: Path):
    pytest.importorskip("peft")
    for targets in ("all-linear", ("q_proj", "down_proj")):
        policy = Policy.load(tiny_model)
        lora = Lora(rank=3, targets=targets)
        adapter = new_adapter(policy.module, "policy", lora, tiny_model, 0)
        dimensions = dimensions_of(policy.module.config.to_dict())
        assert dimensions.adapter_parameters(3, targets) == sum(p.numel() for p in adapter.parameters.values())


def test_what_gpt2_calls_them():
    found = dimensions_of({"n_layer": 2, "n_embd": 8, "n_head": 2, "vocab_size": 50})
    assert (found.layers, found.hidden, found.heads, found.key_heads, found.inner) == (2, 8, 2, 2, 32)


def test_the_text_part_of_a_larger_config():
    found = dimensions_of({"text_config": {"num_hidden_layers": 3, "hidden_size": 8, "num_attention_heads": 2}, **V})
    assert found.layers == 3


V = {"vocab_size": 50}


def test_a_size_that_is_not_there():
    with pytest.raises(UserError, match="no 'num_hidden_layers'") as caught:
        dimensions_of({"hidden_size": 8, "num_attention_heads": 2, "vocab_size": 5}, "some/model")
    assert (caught.value.where, "--no-estimates" in caught.value.remedy) == ("some/model", True)
    with pytest.raises(UserError, match="no 'num_attention_heads'"):
        dimensions_of({"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 0, **V})


def test_experts():
    sizes = {"num_hidden_layers": 1, "hidden_size": 4, "num_attention_heads": 1, "intermediate_size": 6, **V}
    one = dimensions_of(sizes)
    four = dimensions_of({**sizes, "num_local_experts": 4, "num_experts_per_tok": 2})
    # Three more MLPs of 3 * 4 * 6, and a router of 4 * 4; a token goes through two.
    assert four.layer_parameters == one.layer_parameters + 3 * 72 + 16
    assert four.forward_flops(1, 1, 0) == one.forward_flops(1, 1, 0) + 2 * (72 + 16)


def test_flops_by_hand():
    tiny = Dimensions(2, 4, 6, 2, 1, 2, 10)
    layer = 2 * 4 * 2 * 3 + 3 * 4 * 6 + 8  # 128 parameters
    assert tiny.layer_parameters == layer == 128
    # 5 tokens in rows of 5: two layers of 2 * 128 and 4 * (2 heads * 2) * 5; 3 rows of the head of 10 * 4.
    assert tiny.forward_flops(5, 5, 3) == 5 * 2 * (256 + 80) + 2 * 3 * 40


@pytest.mark.parametrize(("dtype", "number"), [(torch.float32, 4), (torch.bfloat16, 2)])
@pytest.mark.parametrize(("rows", "prompt", "branches"), [(1, 12, [12]), (3, 60, [60]), (1, 100, [40] * 8)])
def test_activations_are_what_a_training_pass_keeps(
    dtype: torch.dtype, number: int, rows: int, prompt: int, branches: list[int]
):
    """Also of a tree whose branches are cut from each other, so that the prompt's keys are copied for each."""
    check_activations(wide(), dtype, number, rows, prompt, branches)


@pytest.mark.parametrize(("dtype", "number"), [(torch.float32, 4), (torch.bfloat16, 2)])
@pytest.mark.parametrize("kind", ["gemma", "phi3", "qwen3"])
def test_activations_where_layers_are_not_as_llamas(dtype: torch.dtype, number: int, kind: str):
    """Gemma has neither norms nor MLPs like Llama's, Phi-3 has its norms, Qwen 3 has norms of queries and keys, too."""
    sizes = {name: value for name, value in wide().to_diff_dict().items() if name != "model_type"}
    config = AutoConfig.for_model(kind, **{"head_dim": 16, **sizes, "pad_token_id": 0})
    check_activations(config, dtype, number, 3, 60, [60])


def check_activations(
    config: PretrainedConfig, dtype: torch.dtype, number: int, rows: int, prompt: int, branches: list[int]
) -> None:
    policy = make_policy(config)
    cast_for_compute(policy.module, dtype)
    batch = TreeBatch.from_trees([Tree(tuple(range(prompt)), tuple(Branch(tuple(range(n))) for n in branches))] * rows)
    assert (batch.mean_keys > 2) == (len(branches) > 1)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logprobs = policy.token_logprobs(batch).logprobs
    weights = {p.untyped_storage().data_ptr() for p in policy.module.parameters()}
    measured = sum(size for at, size in kept.items() if at not in weights)
    dimensions = dimensions_of(config.to_dict())
    found = dimensions.activation_bytes(batch.num_tokens, batch.mean_width, len(logprobs), number, batch.mean_keys)
    assert found == pytest.approx(measured, rel=0.06)


def make_policy(config: PretrainedConfig) -> Policy:
    with torch.random.fork_rng(devices=[]):
        module = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION, dtype=torch.float32)
    own_gradients(module)
    return Policy(module.eval(), None)  # type: ignore[arg-type]  # no text is rendered


@pytest.mark.parametrize(("dtype", "number"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_what_is_trained_is_what_a_learner_holds(tiny_model: Path, dtype: torch.dtype, number: int):
    policy = Policy.load(tiny_model)
    learner = Learner(policy.module, dtype, Optimization())
    batch = TreeBatch.from_trees([Tree((3, 4), (Branch((5, 6)),))])
    loss = -policy.token_logprobs(batch).logprobs.sum()
    loss.backward()
    learner.step(0.0)
    moments = [t for name, t in learner.state().items() if name.startswith(("exp_avg.", "exp_avg_sq."))]
    masters = learner.masters
    held = sum(t.nbytes for t in [*moments, *masters.values()])
    held += sum(t.nbytes for t in masters.values())  # gradients, in fp32 as their masters
    held += sum(p.nbytes for p in policy.module.parameters()) if dtype != torch.float32 else 0
    found = dimensions_of(policy.module.config.to_dict()).policy_parameters
    assert trained_bytes(found, number) == held


def test_the_cache(tiny_model: Path):
    """Its places are those of its blocks."""
    from accord.engine.cache import SlotCache
    from accord.text.prompts import PromptBatch

    policy = Policy.load(tiny_model)
    cache = SlotCache(policy.module)
    cache.begin_prefill(PromptBatch.of([(1, 2, 3)] * 5), range(5))
    for length, places in ((17, 32), (32, 32), (33, 64)):
        cache.begin_decode(torch.tensor([3, 3, 3, 3, length - 1]))
        (block,) = cache._blocks
        assert block.num_places == places
        found = dimensions_of(policy.module.config.to_dict()).cache_bytes(5 * places, 4)
        assert found == sum(layer.nbytes for layer in block.own.layers)

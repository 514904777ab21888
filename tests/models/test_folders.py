"""What is saved is ordinary: the Auto classes open it, and give our numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Gemma3Config,
    Glm4MoeConfig,
    Glm4MoeForCausalLM,
)

from accord.engine.config import Optimization
from accord.engine.leading import Joint
from accord.engine.learner import Learner
from accord.errors import UserError
from accord.models.attention import refuse_unsupported
from accord.models.catalog import prepare
from accord.models.folders import save_module
from accord.models.policy import Policy
from accord.models.scalar import Normalisation, ScalarModel
from accord.models.sources import fingerprint
from accord.rewards.learned import LearnedReward
from accord.text.segments import Product
from accord.text.template import Template
from accord.types import Message, Prompt, Response
from tests.fixtures.tiny_model import make_tokenizer

INSTRUCTION = (Message("user", "Write one line of a film review."),)
PROMPTS = [Prompt("a", INSTRUCTION), Prompt("b", INSTRUCTION, "The acting")]
RESPONSES = [[Response("A dull plot."), Response("A warm film, and it lands.")], [Response(" is warm."), Response(".")]]


def _turns(prompt: Prompt, response: Response) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": prompt.messages[0].content},
        {"role": "assistant", "content": prompt.prefill + response.text},
    ]


def test_the_auto_class_gives_our_raw_scores_single_and_padded(tiny_model: Path, tmp_path: Path) -> None:
    model = ScalarModel.from_policy(tiny_model, seed=3)
    model.save(tmp_path, {}, Normalisation(offset=0.25, gain=2.0))
    ours = LearnedReward.load(tmp_path, torch.float32).score(PROMPTS, RESPONSES)
    raw = ours / 2 + 0.25

    auto = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=1).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path, padding_side="right")
    conversations = [_turns(p, r) for p, rs in zip(PROMPTS, RESPONSES, strict=True) for r in rs]
    with torch.no_grad():
        single = [
            auto(tokenizer.apply_chat_template(turns, return_tensors="pt", return_dict=True).input_ids).logits[0, 0]
            for turns in conversations
        ]
        batch = tokenizer.apply_chat_template(conversations, padding=True, return_tensors="pt", return_dict=True)
        padded = auto(**batch).logits[:, 0]
    torch.testing.assert_close(torch.stack(single), raw, atol=1e-5, rtol=0)
    torch.testing.assert_close(padded, raw, atol=1e-5, rtol=0)


def test_the_normalisation_is_in_the_config_and_survives(tiny_model: Path, tmp_path: Path) -> None:
    ScalarModel.from_policy(tiny_model, seed=3).save(tmp_path, {}, Normalisation(0.25, 2.0))
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["score_offset"], config["score_gain"]) == (0.25, 2.0)
    assert ScalarModel.load(tmp_path).normalisation == Normalisation(0.25, 2.0)


def test_a_value_model_starts_at_the_normalised_score(tiny_model: Path, tmp_path: Path) -> None:
    ScalarModel.from_policy(tiny_model, seed=3).save(tmp_path, {}, Normalisation(0.25, 2.0))
    reward, value = ScalarModel.load(tmp_path), ScalarModel.value_from_reward(tmp_path)
    from accord.text.tree import Branch, Tree, TreeBatch

    batch = TreeBatch.from_trees([Tree((5, 6), (Branch((20, 21, 22)),))])
    with torch.no_grad():
        raw = reward.values(batch)
        torch.testing.assert_close(value.values(batch), 2 * (raw - 0.25), atol=1e-5, rtol=0)


def test_a_saved_policy_holds_the_masters_and_opens_plainly(tiny_model: Path, tmp_path: Path) -> None:
    policy = Policy.load(tiny_model)
    learner = Learner(policy.module, torch.bfloat16, Optimization())
    assert policy.head.dtype == torch.bfloat16
    policy.save(tmp_path, learner.masters)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    original = AutoModelForCausalLM.from_pretrained(tiny_model)
    assert reloaded.dtype == torch.float32
    assert reloaded.config.pad_token_id == 0
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == {name for name, _ in original.named_parameters()}, "tied weights are written once"
    for (name, ours), (_, theirs) in zip(reloaded.named_parameters(), original.named_parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert {p.name for p in tmp_path.iterdir() if p.suffix not in (".json", ".safetensors", ".jinja")} == set()


@pytest.mark.parametrize("architecture", ["llama", "experts"])
def test_weights_that_are_made_one_at_a_time_leave_the_same_bytes(
    tiny_model: Path, tmp_path: Path, architecture: str
) -> None:
    """Of experts a folder names each tensor, and a module holds them together."""
    policy = Policy.load(tiny_model)
    if architecture == "experts":
        policy = Policy(_with_experts(), policy.template)
    weights = {name: parameter.detach() for name, parameter in policy.module.named_parameters()}
    outlines = {name: weight.to("meta") for name, weight in weights.items()}
    tensors = Joint(outlines, {}, lambda name: weights[name])
    tensors.ask = tensors.make  # type: ignore[assignment]
    policy.save(tmp_path / "whole", weights)
    policy.save(tmp_path / "one-by-one", tensors)
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "one-by-one" / path.name).read_bytes() == path.read_bytes(), path.name
    assert len(list((tmp_path / "one-by-one").iterdir())) == len(list((tmp_path / "whole").iterdir()))


def test_a_full_disk_leaves_nothing_that_waits(tiny_model: Path, tmp_path: Path) -> None:
    policy = Policy.load(tiny_model)

    def full(name: str) -> None:
        raise OSError(28, "No space left on device")

    tensors = Joint({"a": torch.empty(3, device="meta")}, {}, full)
    tensors.ask = full  # type: ignore[assignment]
    with pytest.raises(OSError, match="No space left"):
        policy.save(tmp_path, tensors)
    assert not list(tmp_path.iterdir())


def test_the_head_of_a_new_reward_model_is_drawn_from_its_seed(tiny_model: Path) -> None:
    first, again, other = (ScalarModel.from_policy(tiny_model, seed=s).head for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    # N(0, 1 / (d + 1)) with d = 32: 32 draws have a standard deviation near 0.174
    assert 0.1 < float(first.detach().std()) < 0.26


def test_sources(tiny_model: Path, tmp_path: Path) -> None:
    prepare(str(tiny_model), tmp_path / "copy")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "copy").config.vocab_size == 512
    before = fingerprint(str(tiny_model))
    assert before == fingerprint(str(tiny_model))
    assert before != fingerprint(str(tmp_path / "copy"))
    assert fingerprint("smollm2-135m-instruct") != before


@pytest.mark.parametrize("source", ["smollm2-135m", "./nowhere"])
def test_an_unknown_model_is_named(source: str) -> None:
    with pytest.raises(UserError, match="smollm2-135m-instruct"):
        fingerprint(source)


def test_a_folder_that_is_not_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json"):
        fingerprint(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(UserError, match=tmp_path.name):
        prepare(str(tmp_path), tmp_path / "out")


def test_an_architecture_that_ignores_the_tree_is_refused(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for one: an attention that sees all earlier columns, as a recurrent state would."""
    from accord.models import attention, catalog
    from accord.models.folders import load_module

    catalog.check_tree_layout(load_module(AutoModelForCausalLM, tiny_model), "tiny")

    class Blind(attention.TreeAttention):
        def __init__(self, products: Sequence[Product], dtype: torch.dtype) -> None:
            super().__init__([replace(one, visible=torch.ones_like(one.visible).tril()) for one in products], dtype)

    monkeypatch.setattr(attention, "TreeAttention", Blind)
    with pytest.raises(UserError, match="response tree's mask"):
        catalog.check_tree_layout(load_module(AutoModelForCausalLM, tiny_model), "tiny")


def test_code_in_a_model_folder_is_not_run(tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    config = json.loads((tiny_model / "config.json").read_text())
    config |= {"model_type": "made-up", "auto_map": {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UserError):
        prepare(str(tmp_path / "model"), tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_windowed_attention_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    config = json.loads((tiny_model / "config.json").read_text())
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="full attention"):
        prepare(str(tmp_path), tmp_path / "out")


def test_windowed_attention_in_a_part_of_the_config_is_refused() -> None:
    text = {"num_hidden_layers": 2, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
    with pytest.raises(UserError, match="'gemma3' has attention that does not follow a tree's mask"):
        refuse_unsupported(Gemma3Config(text_config=text), "tiny")
    refuse_unsupported(
        Gemma3Config(text_config=text | {"layer_types": ["full_attention"] * 2, "sliding_window": 0}), ""
    )


@pytest.mark.parametrize("lost", ["model.layers.1.", "model.norm.weight", "all of them"])
def test_weights_that_are_not_there_are_not_drawn_at_random(lost: str, tiny_model: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    shutil.copytree(tiny_model, source)
    tensors = load_file(source / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(lost)}
    if lost == "all of them":
        kept = {f"other.{name}": tensor for name, tensor in tensors.items()}
    save_file(kept, source / "model.safetensors", metadata={"format": "pt"})
    more = {"model.layers.1.": " and 8 more", "model.norm.weight": r"\n"}.get(lost, " and")
    with pytest.raises(UserError, match=f"weights of the model are missing.*{more}") as caught:
        prepare(str(source), tmp_path / "out")
    assert caught.value.where == str(source)


def test_weights_of_another_shape_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    shutil.copytree(tiny_model, source)
    tensors = load_file(source / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(16)
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError):
        prepare(str(source), tmp_path / "out")


def test_only_who_gives_it_a_head_opens_a_policy_as_a_scalar_model(tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"missing.*: score\.weight\n"):
        ScalarModel.load(tiny_model)
    assert not ScalarModel.value_from_policy(tiny_model).head.any()


def _with_experts() -> Glm4MoeForCausalLM:
    config = Glm4MoeConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        moe_intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        n_routed_experts=4,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
        n_shared_experts=1,
        max_position_embeddings=256,
    )
    with torch.random.fork_rng():
        return Glm4MoeForCausalLM(config)


def test_buffers_that_belong_to_the_weights_are_kept(tmp_path: Path) -> None:
    """A router's correction of its choices of experts is learned, but is no parameter."""
    name, value = "model.layers.1.mlp.gate.e_score_correction_bias", torch.tensor([0.0, 1.0, 2.0, 3.0])
    model = _with_experts()
    model.get_buffer(name).copy_(value)
    save_module(model, Template(make_tokenizer()), tmp_path, {})
    assert torch.equal(Policy.load(tmp_path).module.get_buffer(name), value)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.json", "[]"),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", '{"eos_token": 5}'),
        ("generation_config.json", "[]"),
        ("config.json", '{"model_type": "llama", "hidden_size": "abc"}'),
        ("config.json", '{"model_type": "llama", "num_attention_heads": 0}'),
        ("config.json", '{"model_type": "llama", "hidden_size": 16, "num_attention_heads": 3}'),
        ("config.json", '{"model_type": "llama", "rope_parameters": 3}'),
        ("config.json", '{"model_type": "llama", "rope_parameters": {"rope_type": "made-up"}}'),
        ("config.json", '{"model_type": "llama", "layer_types": [[]], "num_hidden_layers": 1}'),
    ],
)
def test_a_damaged_file_is_an_error_of_the_folder(file: str, content: str, tiny_model: Path, tmp_path: Path) -> None:
    source = tmp_path / "model"
    shutil.copytree(tiny_model, source)
    (source / file).write_text(content)
    with pytest.raises(UserError, match="that can be opened") as caught:
        prepare(str(source), tmp_path / "out")
    assert caught.value.where == str(source)


def test_saved_weights_can_be_read_by_whom_the_config_can(tiny_model: Path, tmp_path: Path) -> None:
    policy = Policy.load(tiny_model)
    policy.save(tmp_path, Learner(policy.module, torch.float32, Optimization()).masters)
    assert len({path.stat().st_mode for path in tmp_path.iterdir()}) == 1

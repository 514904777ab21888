"""What is exported opens elsewhere and gives the same numbers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from accord.errors import UserError
from accord.models import gguf_export
from accord.models.export import export
from accord.models.scalar import Normalisation, ScalarModel
from tests.fixtures import tokenizers as made
from tests.fixtures.tiny_model import make_tokenizer

IDS = torch.tensor([[5, 6, 7, 100, 200, 300, 2]])
TEXT = "<|im_start|>user\nIt's a quiet film, number 12 of 345.\n\n  Stop!<|im_end|>"


@torch.no_grad()
def _logits(folder: Path, **options: Any) -> torch.Tensor:
    logits: torch.Tensor = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)(IDS).logits
    return logits


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Biases in the attention, heads that are not tied."""
    folder = tmp_path_factory.mktemp("qwen") / "model"
    config = Qwen2Config(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Qwen2ForCausalLM(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.data.normal_()
            elif parameter.dim() > 1:
                parameter.data.mul_(6)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_gguf_file_gives_the_logits_and_tokens_of_the_model(
    family: str, tiny_model: Path, qwen: Path, tmp_path: Path
) -> None:
    model = {"llama": tiny_model, "qwen2": qwen}[family]
    export(model, tmp_path / "m.gguf")
    torch.testing.assert_close(_logits(tmp_path, gguf_file="m.gguf"), _logits(model), atol=1e-4, rtol=0)
    ours, theirs = AutoTokenizer.from_pretrained(model), AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    assert ours.encode(TEXT) == theirs.encode(TEXT)
    assert ours.chat_template == theirs.chat_template
    for name in ("bos_token", "eos_token", "pad_token"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_without_the_permutation_the_logits_would_differ(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_export, "_in_their_order", lambda name, weight, config: weight)
    export(tiny_model, tmp_path / "m.gguf")
    assert (_logits(tmp_path, gguf_file="m.gguf") - _logits(tiny_model)).abs().max() > 1e-2


@pytest.mark.parametrize(("dtype", "kind", "tolerance"), [("float16", "F16", 0.02), ("bfloat16", "BF16", 0.15)])
def test_a_gguf_file_in_half_precision(
    dtype: str, kind: str, tolerance: float, tiny_model: Path, tmp_path: Path
) -> None:
    from gguf import GGUFReader

    export(tiny_model, tmp_path / "m.gguf", dtype=dtype)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(tmp_path / "m.gguf").tensors}
    assert kinds["blk.0.attn_q.weight"] == kind
    assert kinds["blk.0.attn_norm.weight"] == "F32", "vectors are always in fp32"
    torch.testing.assert_close(_logits(tmp_path, gguf_file="m.gguf"), _logits(tiny_model), atol=tolerance, rtol=0)


def test_scaled_positions_are_written_as_factors(tiny_model: Path, tmp_path: Path) -> None:
    """Llama 3's, by its formula: d = 8, so 4 frequencies 1, 0.1, 0.01, 0.001 of wavelengths 6.3, 63, 628, 6283.

    With 256 positions, below 256 / 4 nothing is scaled, above 256 / 1 all by 8.
    """
    from gguf import GGUFReader

    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    config = json.loads((model / "config.json").read_text())
    rope = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0}
    config["rope_parameters"] = {**rope, "high_freq_factor": 4.0, "original_max_position_embeddings": 256}
    (model / "config.json").write_text(json.dumps(config))
    export(model, tmp_path / "m.gguf")
    (factors,) = [t.data for t in GGUFReader(tmp_path / "m.gguf").tensors if t.name == "rope_freqs.weight"]
    assert factors.tolist() == pytest.approx([1, 1, 8, 8], abs=1e-4)
    config["rope_parameters"] |= {"rope_type": "yarn"}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="'yarn'"):
        export(model, tmp_path / "n.gguf")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_factors_are_those_of_the_model_in_half_precision_too(dtype: str, tiny_model: Path, tmp_path: Path) -> None:
    """Llama 3.2's: frequencies of theta 500000 divided by 32 are too small for float16."""
    from gguf import GGUFReader

    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    config = json.loads((model / "config.json").read_text())
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config["rope_parameters"] = {**rope, "original_max_position_embeddings": 8192}
    (model / "config.json").write_text(json.dumps(config))
    found = {}
    for name in ("float32", dtype):
        export(model, tmp_path / f"{name}.gguf", dtype=name)
        tensors = GGUFReader(tmp_path / f"{name}.gguf").tensors
        (found[name],) = [t.data.tolist() for t in tensors if t.name == "rope_freqs.weight"]
    assert found[dtype] == found["float32"]
    assert found[dtype][-1] == pytest.approx(32, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_folder_opens_plainly_in_its_dtype(dtype: str, tiny_model: Path, tmp_path: Path) -> None:
    export(tiny_model, tmp_path / "out", dtype=dtype)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert str(model.dtype) == f"torch.{dtype}"
    original = AutoModelForCausalLM.from_pretrained(tiny_model)
    for (name, one), (_, other) in zip(original.named_parameters(), model.named_parameters(), strict=True):
        assert torch.equal(one.to(other.dtype), other), name
    ours, theirs = AutoTokenizer.from_pretrained(tiny_model), AutoTokenizer.from_pretrained(tmp_path / "out")
    assert ours.encode(TEXT) == theirs.encode(TEXT)
    assert ours.chat_template == theirs.chat_template
    assert (tmp_path / "out" / "generation_config.json").is_file()


def test_a_reward_model_keeps_its_head_and_scale(tiny_model: Path, tmp_path: Path) -> None:
    ScalarModel.from_policy(tiny_model, seed=3).save(tmp_path / "rm", {}, Normalisation(0.25, 2.0))
    export(tmp_path / "rm", tmp_path / "out")
    one, other = (AutoModelForSequenceClassification.from_pretrained(tmp_path / name) for name in ("rm", "out"))
    with torch.no_grad():
        assert torch.equal(one(IDS).logits, other(IDS).logits)
    assert other.config.score_offset == 0.25
    with pytest.raises(UserError, match="'LlamaForSequenceClassification'"):
        export(tmp_path / "rm", tmp_path / "rm.gguf")


def test_nothing_is_overwritten_unless_told(tiny_model: Path, tmp_path: Path) -> None:
    for name in ("out", "out.gguf"):
        out = tmp_path / name
        export(tiny_model, out)
        with pytest.raises(UserError, match="--force"):
            export(tiny_model, out)
        export(tiny_model, out, dtype="bfloat16", force=True)
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").dtype == torch.bfloat16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.gguf"], "nothing is left behind"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="something at this place"):
        export(tiny_model, precious, force=True)
    with pytest.raises(UserError, match="onto itself"):
        export(tiny_model, tiny_model, force=True)
    assert (precious / "letter.txt").is_file()


@pytest.mark.parametrize("beside", ["thesis.tex", ".git/HEAD", "model/config.json", "my.safetensors"])
def test_a_folder_with_more_than_a_model_is_never_replaced(beside: str, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(tiny_model, out)
    (out / beside).parent.mkdir(exist_ok=True)
    (out / beside).write_text("work of a year")
    with pytest.raises(UserError, match="something at this place"):
        export(tiny_model, out, force=True)
    assert (out / beside).read_text() == "work of a year"


@pytest.mark.parametrize("config", ["{}", "[]", "not JSON", '"model_type"'])
def test_a_config_that_is_no_model_s_is_never_replaced(config: str, tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(tiny_model, out)
    (out / "config.json").write_text(config)
    with pytest.raises(UserError, match="something at this place"):
        export(tiny_model, out, force=True)
    (out / "config.json").write_text('{"model_type": "llama"}')
    (out / "model.safetensors").unlink()
    with pytest.raises(UserError, match="something at this place"):
        export(tiny_model, out, force=True)


def test_results_of_runs_are_never_replaced(tiny_model: Path, tmp_path: Path) -> None:
    artifact = tmp_path / "store" / "artifacts" / "policy-0123456789abcdef"
    export(tiny_model, artifact / "model")
    (artifact / "manifest.json").write_text("{}")
    for out in (artifact / "model", artifact / "other", artifact / "m.gguf"):
        with pytest.raises(UserError, match="inside a result of a run"):
            export(tiny_model, out, force=True)
    (tmp_path / "manifest.json").write_text("{}")  # a web page's, say
    export(tiny_model, tmp_path / "site" / "model")


def test_a_stop_between_old_and_new_leaves_the_old(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    export(tiny_model, out)
    before = (out / "model.safetensors").read_bytes()

    def stop(source: Path, target: Path) -> Path:
        assert not target.exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        export(tiny_model, out, dtype="bfloat16", force=True)
    assert (out / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_what_was_there(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "m.gguf"
    export(tiny_model, out)
    before = out.read_bytes()

    def fail(*_: object) -> None:
        raise RuntimeError("as it happens")

    monkeypatch.setattr(gguf_export, "write", fail)
    with pytest.raises(RuntimeError):
        export(tiny_model, out, force=True)
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_what_cannot_be_exported_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'bfloat61' is no dtype.*\n.*'bfloat16'"):
        export(tiny_model, tmp_path / "out", dtype="bfloat61")
    adapter = tmp_path / "step" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="an adapter alone"):
        export(adapter, tmp_path / "out")
    shutil.copytree(tiny_model, tmp_path / "step" / "model")
    export(adapter, tmp_path / "out")
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    made.sentencepiece(made.ALTERNATING).save_pretrained(other)
    with pytest.raises(UserError, match="kind of tokenizer"):
        export(other, tmp_path / "other.gguf")
    config = json.loads((other / "config.json").read_text())
    config |= {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"'GPT2LMHeadModel'(.|\n)*convert_hf_to_gguf"):
        export(other, tmp_path / "other.gguf")


def test_weights_beyond_float16_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.model.norm.weight.data[0] = 1e5
    model.save_pretrained(tmp_path / "large")
    make_tokenizer().save_pretrained(tmp_path / "large")
    with pytest.raises(UserError, match="beyond what float16 holds"):
        export(tmp_path / "large", tmp_path / "out", dtype="float16")


def test_the_way_text_is_cut_is_recognised() -> None:
    tokenizer = make_tokenizer()
    backend = tokenizer.backend_tokenizer
    assert gguf_export._cut(tokenizer) == "gpt-2"
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    assert gguf_export._cut(tokenizer) == "smollm"
    for numbers, name in ((r"\p{N}{1,3}", "llama-bpe"), (r"\p{N}", "qwen2")):
        pattern = Regex(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
            + numbers
            + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
        split = pre_tokenizers.Split(pattern, behavior="isolated")
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
        assert gguf_export._cut(tokenizer) == name
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    assert gguf_export._cut(tokenizer) is None


def test_all_files_have_the_same_mode(tiny_model: Path, tmp_path: Path) -> None:
    """safetensors would let nobody but their owner read the weights."""
    export(tiny_model, tmp_path / "out")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o666 & ~umask()}


def umask() -> int:
    former = os.umask(0o022)
    os.umask(former)
    return former

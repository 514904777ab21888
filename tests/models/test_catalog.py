"""Models of every form become an ordinary folder whose tokenizer keeps the rules; what cannot is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from accord.errors import UserError
from accord.models import compute
from accord.models.catalog import adopted_tokenizer, load_template, prepare
from accord.models.export import export
from accord.models.policy import Policy
from accord.models.scalar import Normalisation, ScalarModel
from accord.rewards.learned import LearnedReward
from accord.types import Message, Prompt, Response
from tests.fixtures import tokenizers as made

PROMPT = Prompt("p", (Message("user", "Is it a film?"),))


def _copy(model: Path, to: Path) -> Path:
    shutil.copytree(model, to)
    return to


def _edit(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _with_tokenizer(model: Path, to: Path, tokenizer: Any) -> Path:
    folder = _copy(model, to)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink(missing_ok=True)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_folder_is_prepared_and_its_weights_are_kept(tiny_model: Path, tmp_path: Path) -> None:
    stock = made.byte_level(made.CHATML_WITH_SYSTEM, pad_token=None)
    source = _with_tokenizer(tiny_model, tmp_path / "stock", stock)
    notes = prepare(str(source), tmp_path / "out")
    assert any("pad token" in note for note in notes)
    before, after = (AutoModelForCausalLM.from_pretrained(f) for f in (tiny_model, tmp_path / "out"))
    for (name, one), (_, other) in zip(before.named_parameters(), after.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    template = Policy.load(tmp_path / "out").template
    template.check_boundary(PROMPT, Response("It is."))
    assert (template.pad_id, template.end_id) == (0, 2)
    assert after.generation_config.eos_token_id == 2


@pytest.mark.parametrize("kind", ["a newline after the turn", "a beginning that only the tokenizer writes"])
def test_plain_tools_score_a_prepared_model_as_we_do(kind: str, tiny_model: Path, tmp_path: Path) -> None:
    """apply_chat_template and the Auto class read the score at the end of the turn, as our folders promise."""
    stock = made.byte_level(made.CHATML_WITH_SYSTEM, pad_token=None)
    if kind != "a newline after the turn":
        stock = made.sentencepiece(made.ALTERNATING)
    prepare(str(_with_tokenizer(tiny_model, tmp_path / "stock", stock)), tmp_path / "out")
    ScalarModel.from_policy(tmp_path / "out", seed=3).save(tmp_path / "rm", {}, Normalisation())
    ours = LearnedReward.load(tmp_path / "rm", torch.float32).score(
        [PROMPT], [[Response("It is."), Response("No film.")]]
    )
    auto = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm", num_labels=1).eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "rm", padding_side="right")
    ask = {"role": "user", "content": PROMPT.messages[0].content}
    chats = [[ask, {"role": "assistant", "content": text}] for text in ("It is.", "No film.")]
    batch = tokenizer.apply_chat_template(chats, padding=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        torch.testing.assert_close(auto(**batch).logits[:, 0], ours, atol=1e-5, rtol=0)


def test_the_template_without_weights_is_that_of_the_prepared_model(tiny_model: Path, tmp_path: Path) -> None:
    source = _with_tokenizer(tiny_model, tmp_path / "stock", made.byte_level(made.CHATML_WITH_SYSTEM))
    prepare(str(source), tmp_path / "out", {"chat_template": "plain"})
    (source / "model.safetensors").unlink()
    template = load_template(str(source), {"chat_template": "plain", "pad_token": None})
    assert template.prompt_ids(PROMPT) == Policy.load(tmp_path / "out").template.prompt_ids(PROMPT)


def test_new_tokens_get_the_mean_of_the_embeddings(tiny_model: Path, tmp_path: Path) -> None:
    source = _with_tokenizer(tiny_model, tmp_path / "base", made.byte_level(None))
    num_tokens = len(AutoTokenizer.from_pretrained(source))
    small = AutoModelForCausalLM.from_pretrained(source)
    small.resize_token_embeddings(num_tokens, mean_resizing=False)
    small.save_pretrained(source)
    for out in ("out", "again"):
        notes = prepare(str(source), tmp_path / out, {"chat_template": "llama3"})
    assert any("<|start_header_id|> <|end_header_id|> <|eot_id|>" in note for note in notes)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    before = AutoModelForCausalLM.from_pretrained(source).get_input_embeddings().weight
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.vocab_size == len(tokenizer) == num_tokens + 3
    for token in ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"):
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            row = layer.weight[tokenizer.convert_tokens_to_ids(token)]
            torch.testing.assert_close(row, before[:num_tokens].mean(0))
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again").get_input_embeddings().weight
    assert torch.equal(model.get_input_embeddings().weight, again)
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids("<|eot_id|>")


def test_new_tokens_take_the_rows_that_no_token_has(tiny_model: Path, tmp_path: Path) -> None:
    """Vocabularies are often rounded up: then nothing is resized."""
    source = _with_tokenizer(tiny_model, tmp_path / "base", made.byte_level(None))
    num_tokens = len(AutoTokenizer.from_pretrained(source))
    prepare(str(source), tmp_path / "out", {"chat_template": "llama3"})
    before, after = (
        AutoModelForCausalLM.from_pretrained(f).model.embed_tokens.weight for f in (source, tmp_path / "out")
    )
    assert before.shape == after.shape
    torch.testing.assert_close(after[num_tokens], before[:num_tokens].mean(0))
    assert torch.equal(after[:num_tokens], before[:num_tokens])


def test_shards_and_stored_dtypes_are_read(tiny_model: Path, tmp_path: Path) -> None:
    source = _copy(tiny_model, tmp_path / "model")
    (source / "model.safetensors").unlink()
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.bfloat16)
    model.save_pretrained(source, max_shard_size="40KB")
    assert len(list(source.glob("*.safetensors"))) > 1
    prepare(str(source), tmp_path / "out")
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert after.dtype == torch.float32
    for (name, one), (_, other) in zip(model.named_parameters(), after.named_parameters(), strict=True):
        assert torch.equal(one.float(), other), name


def test_sampling_settings_that_cannot_be_saved_do_not_stop_it(tiny_model: Path, tmp_path: Path) -> None:
    source = _copy(tiny_model, tmp_path / "model")
    odd = {"temperature": 0.6, "do_sample": False, "eos_token_id": [2, 0], "bos_token_id": 1}
    (source / "generation_config.json").write_text(json.dumps(odd))
    prepare(str(source), tmp_path / "out")
    config = GenerationConfig.from_pretrained(tmp_path / "out")
    assert config.eos_token_id == 2, "Accord's own sampling stops at the end of the turn alone"
    assert config.pad_token_id == 0


def test_a_gguf_file_is_a_model(tiny_model: Path, tmp_path: Path) -> None:
    export(tiny_model, tmp_path / "tiny.gguf")
    prepare(str(tmp_path / "tiny.gguf"), tmp_path / "out")
    ids = torch.tensor([[5, 6, 7, 100, 2]])
    with torch.no_grad():
        one, other = (AutoModelForCausalLM.from_pretrained(f)(ids).logits for f in (tiny_model, tmp_path / "out"))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=0)
    template = load_template(str(tmp_path / "tiny.gguf"))
    assert template.prompt_ids(PROMPT) == load_template(str(tiny_model)).prompt_ids(PROMPT)


def test_a_gguf_file_that_would_be_misread_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("not a model")
    with pytest.raises(UserError, match="not a GGUF file"):
        prepare(str(tmp_path / "text.gguf"), tmp_path / "out")
    scaled = _copy(tiny_model, tmp_path / "scaled")
    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    _edit(scaled, rope_parameters={**rope, "original_max_position_embeddings": 32})
    export(scaled, tmp_path / "scaled.gguf")
    with pytest.raises(UserError, match=r"positions are scaled \(rope_freqs.weight\)"):
        prepare(str(tmp_path / "scaled.gguf"), tmp_path / "out")


def _encoder(folder: Path) -> None:
    config = T5Config(vocab_size=512, d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(config).save_pretrained(folder)


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"never opened")


def _more_tokens(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["one more"] + [f"more {i}" for i in range(300)])
    tokenizer.save_pretrained(folder)


def _without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def _damaged(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_encoder, "'t5' has an encoder"),
        (_pickled, r"pickles \(.bin\)(.|\n)*save_pretrained"),
        (_more_tokens, "the tokenizer knows .* tokens, and the model has embeddings for 512"),
        (_without_tokenizer, "no tokenizer that can be opened"),
        (_damaged, "not a model that can be opened"),
        (lambda folder: _edit(folder, quantization_config={"quant_method": "gptq", "bits": 4}), r"quantised \(gptq\)"),
        (lambda folder: _edit(folder, quantization_config={"quant_method": "bitsandbytes"}), "bitsandbytes"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights in it"),
        (lambda folder: _edit(folder, model_type="made-up", auto_map={"AutoConfig": "code.C"}), "code of its own"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    tiny_model: Path, tmp_path: Path, change: Callable[[Path], None], problem: str
) -> None:
    source = _copy(tiny_model, tmp_path / "model")
    change(source)
    with pytest.raises(UserError, match=problem) as caught:
        prepare(str(source), tmp_path / "out")
    assert str(source) in caught.value.where
    assert caught.value.remedy


def test_the_built_in_model_keeps_its_own_template_unless_told() -> None:
    from accord.models import catalog
    from accord.text.adopt import ChatOptions

    asked: list[ChatOptions] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "_opened", lambda source, weights: __import__("contextlib").nullcontext(Path("x.gguf")))
        patch.setattr(catalog.gguf_file, "load_tokenizer", lambda path: None)
        patch.setattr(catalog, "load_tokenizer", lambda path: None)
        patch.setattr(catalog, "adopt", lambda tokenizer, options, where: asked.append(options))
        adopted_tokenizer("smollm2-135m-instruct", {"chat_template": None})
        adopted_tokenizer("smollm2-135m-instruct", {"chat_template": "plain"})
    assert asked == [ChatOptions("chatml", "<|endoftext|>"), ChatOptions("plain", "<|endoftext|>")]


def test_the_dtype_of_computation_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_DEVICE", "cpu")
    for native, expected in (({"amx_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)):
        monkeypatch.delenv("ACCORD_DTYPE", raising=False)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda native=native: native)
        assert compute.compute_dtype() == expected
        monkeypatch.setenv("ACCORD_DTYPE", "float32")
        assert compute.compute_dtype() == torch.float32
        monkeypatch.setenv("ACCORD_DTYPE", "bfloat16")
        assert compute.compute_dtype() == torch.bfloat16
    monkeypatch.setenv("ACCORD_DTYPE", "float16")
    with pytest.raises(UserError, match="'float16' is no dtype"):
        compute.compute_dtype()


def test_the_device_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCORD_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert compute.compute_device() == torch.device("cpu")
    monkeypatch.setenv("ACCORD_DEVICE", "cuda")
    assert compute.compute_device() == torch.device("cuda")
    assert compute.compute_dtype() == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for asked, what in (("cuda", "finds no GPU"), ("mps", "does not compute on 'mps'"), ("gpu", "'gpu' is no device")):
        monkeypatch.setenv("ACCORD_DEVICE", asked)
        with pytest.raises(UserError, match=what) as error:
            compute.compute_device()
        assert error.value.where == "ACCORD_DEVICE"
    monkeypatch.delenv("ACCORD_DEVICE")
    assert compute.compute_device() == torch.device("cpu")


def test_what_models_compute_in_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCORD_DTYPE", raising=False)
    monkeypatch.setenv("ACCORD_DEVICE", "cpu")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert compute.describe_compute() == "bfloat16 on the CPU (AVX512-BF16), 2 threads"
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert compute.describe_compute() == "float32 on the CPU (it multiplies no bfloat16), 2 threads"
    monkeypatch.setenv("ACCORD_DTYPE", "bfloat16")
    assert compute.describe_compute() == "bfloat16 on the CPU (as ACCORD_DTYPE says), 2 threads"

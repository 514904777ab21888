"""Writing a GGUF file, which llama.cpp and what is built on it open: models of the Llama and Qwen 2 types.

llama.cpp turns pairs of neighbouring columns where transformers turns halves, so for Llama the rows of the query and
key projections are put in its order. Its names for tensors and settings come from the package `gguf`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, pre_tokenizers
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from accord.errors import UserError
from accord.models.folders import load_config, load_tokenizer

TYPES = ("llama", "qwen2")  # transformers' model types, and the names of llama.cpp's architectures
_ELSEWHERE = "Export a Hugging Face folder (leave .gguf out), and convert that with llama.cpp's convert_hf_to_gguf.py."
_SCALED = ("llama3", "linear")

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Text on which the ways to cut text into words, of which llama.cpp knows the names, differ.
_SAMPLE = "I've 1234 x  y\n\n\n  he'LL!!\r\n\tÜber a1b22 \u6771\u4eac \u0663\u0664 (ok) ...\n 7 'tis"


def check(model: Path) -> None:
    """Refuses, before weights are read, what cannot be written. Raises UserError."""
    config = load_config(model)
    where = str(model)
    if config.model_type not in TYPES or any("ForCausalLM" not in name for name in config.architectures or []):
        what = f"a GGUF file is written for policies of the types {' and '.join(TYPES)}, and this is "
        kind = (config.architectures or [config.model_type])[0]
        raise UserError(f"{what}{kind!r}", where=where, remedy=_ELSEWHERE)
    rope = _rope_type(config)
    if rope != "default" and not (config.model_type == "llama" and rope in _SCALED):
        what = f"positions that are scaled as {rope!r} are not written to a GGUF file here"
        raise UserError(what, where=where, remedy=_ELSEWHERE)
    _vocabulary(load_tokenizer(model), config.vocab_size, where)


def write(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Writes the file. Matrices are in the module's dtype, vectors in fp32. Raises UserError for an unknown tensor."""
    import gguf

    config, name = module.config, module.config.model_type
    arch = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}[name]
    dtype = next(module.parameters()).dtype
    writer = gguf.GGUFWriter(path, name)
    writer.add_file_type(
        {
            torch.float32: gguf.LlamaFileType.ALL_F32,
            torch.float16: gguf.LlamaFileType.MOSTLY_F16,
            torch.bfloat16: gguf.LlamaFileType.MOSTLY_BF16,
        }[dtype]
    )
    _write_config(writer, config)
    _write_tokenizer(writer, tokenizer, config.vocab_size)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for own, parameter in module.named_parameters():
        stem, _, suffix = own.rpartition(".")
        theirs = names.get_name(stem)
        if theirs is None:
            raise UserError(f"llama.cpp has no place for the weight {own!r}", where=str(path), remedy=_ELSEWHERE)
        _add(writer, f"{theirs}.{suffix}", _in_their_order(own, parameter.detach(), config), dtype)
    if _rope_type(config) != "default":
        _add(writer, "rope_freqs.weight", _rope_factors(module), dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_config(writer: Any, config: PretrainedConfig) -> None:
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    if head_dim * config.num_attention_heads != config.hidden_size:
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)


def _write_tokenizer(writer: Any, tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
    tokens, types, merges, cut = _vocabulary(tokenizer, vocab_size, str(tokenizer.name_or_path))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(cut)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    begin = tokenizer.bos_token_id
    if begin is not None:
        writer.add_bos_token_id(int(begin))
    writer.add_eos_token_id(int(tokenizer.eos_token_id))
    writer.add_pad_token_id(int(tokenizer.pad_token_id))
    writer.add_add_bos_token(begin is not None and tokenizer.encode("a")[0] == begin)
    if tokenizer.chat_template:
        writer.add_chat_template(str(tokenizer.chat_template))


def _vocabulary(
    tokenizer: PreTrainedTokenizerBase, vocab_size: int, where: str
) -> tuple[list[str], list[int], list[str], str]:
    """Tokens and their types by id, merges, and llama.cpp's name for how text is cut. Raises UserError."""
    import gguf

    state: Any = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {"model": {"type": "slow"}}
    cut = _cut(tokenizer) if state["model"]["type"] == "BPE" and not state["model"].get("byte_fallback") else None
    if cut is None:
        what = "this kind of tokenizer is not written to a GGUF file here: only byte-level BPE of a known kind is"
        raise UserError(what, where=where, remedy=_ELSEWHERE)
    by_id = {number: token for token, number in tokenizer.get_vocab().items()}
    added = {int(one["id"]): bool(one["special"]) for one in state["added_tokens"]}
    normal, special, plain, unused = (
        int(kind)
        for kind in (
            gguf.TokenType.NORMAL,
            gguf.TokenType.CONTROL,
            gguf.TokenType.USER_DEFINED,
            gguf.TokenType.UNUSED,
        )
    )
    tokens = [by_id.get(number, f"[PAD{number}]") for number in range(vocab_size)]
    types = [
        unused if number not in by_id else normal if number not in added else special if added[number] else plain
        for number in range(vocab_size)
    ]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in state["model"]["merges"]]
    return tokens, types, merges, cut


def _cut(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """llama.cpp's name for how this tokenizer cuts text into words, found by how it cuts a sample."""

    def by(pattern: str) -> Any:
        bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior="isolated"), bytes_only])

    known = {
        "llama-bpe": by(_WORDS % r"\p{N}{1,3}"),
        "qwen2": by(_WORDS % r"\p{N}"),
        "smollm": pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        ),
        "gpt-2": pre_tokenizers.ByteLevel(add_prefix_space=False),
    }
    own = tokenizer.backend_tokenizer.pre_tokenizer
    if own is None:
        return None
    pieces = [piece for piece, _ in own.pre_tokenize_str(_SAMPLE)]
    for name, one in known.items():
        if [piece for piece, _ in one.pre_tokenize_str(_SAMPLE)] == pieces:
            return name
    return None


def _in_their_order(name: str, weight: Tensor, config: PretrainedConfig) -> Tensor:
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None or config.model_type != "llama":
        return weight
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _rope_type(config: PretrainedConfig) -> str:
    return str((config.rope_parameters or {}).get("rope_type", "default"))


def _rope_factors(module: PreTrainedModel) -> Tensor:
    """By what each frequency is divided: [head_dim / 2]."""
    own = getattr(module, module.base_model_prefix).rotary_emb.inv_freq.float()
    theta = float(module.config.rope_parameters["rope_theta"])
    plain = theta ** -(torch.arange(0, 2 * len(own), 2, dtype=torch.float32) / (2 * len(own)))
    factors: Tensor = plain / own
    return factors


def _add(writer: Any, name: str, weight: Tensor, dtype: torch.dtype) -> None:
    import gguf

    values: np.ndarray = weight.float().contiguous().numpy()
    if weight.dim() < 2 or dtype == torch.float32:
        writer.add_tensor(name, values)
    elif dtype == torch.float16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        kind = gguf.GGMLQuantizationType.BF16
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

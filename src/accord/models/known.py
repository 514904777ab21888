"""The dimensions of models that many start from, so that what a run of them takes is known without their files.

They are the entries of the models' own config.json, as their makers published them: Llama 2 (Touvron et al. 2023,
table 1 and its model cards), Code Llama (Rozière et al. 2023), Llama 3 (Dubey et al. 2024, table 3), Qwen 2.5 (Qwen
team 2024, table 1), OPT (Zhang et al. 2022, table 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KnownModel:
    """config: what dimensions are read from. hub: ids of the Hugging Face hub under which models of this size are."""

    config: Mapping[str, Any]
    hub: tuple[str, ...]


def _decoder(
    kind: str,
    layers: int,
    hidden: int,
    inner: int,
    heads: int,
    key_heads: int,
    vocabulary: int,
    context: int,
    **more: Any,
) -> dict[str, Any]:
    return {
        "model_type": kind,
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "tie_word_embeddings": False,
        **more,
    }


def _opt(layers: int, hidden: int, heads: int) -> dict[str, Any]:
    return {
        "model_type": "opt",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "word_embed_proj_dim": hidden,
        "ffn_dim": 4 * hidden,
        "num_attention_heads": heads,
        "vocab_size": 50272,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    }


def _llama2(size: str) -> tuple[str, ...]:
    return (f"meta-llama/Llama-2-{size}-hf", f"meta-llama/Llama-2-{size}-chat-hf")


def _instruct(base: str) -> tuple[str, ...]:
    return (base, f"{base}-Instruct")


KNOWN: Mapping[str, KnownModel] = {
    "llama-2-7b": KnownModel(_decoder("llama", 32, 4096, 11008, 32, 32, 32000, 4096), _llama2("7b")),
    "llama-2-13b": KnownModel(_decoder("llama", 40, 5120, 13824, 40, 40, 32000, 4096), _llama2("13b")),
    "llama-2-70b": KnownModel(_decoder("llama", 80, 8192, 28672, 64, 8, 32000, 4096), _llama2("70b")),
    "code-llama-34b": KnownModel(
        _decoder("llama", 48, 8192, 22016, 64, 8, 32000, 16384),
        ("codellama/CodeLlama-34b-hf", "codellama/CodeLlama-34b-Instruct-hf"),
    ),
    "llama-3-8b": KnownModel(
        _decoder("llama", 32, 4096, 14336, 32, 8, 128256, 8192), _instruct("meta-llama/Meta-Llama-3-8B")
    ),
    "llama-3-70b": KnownModel(
        _decoder("llama", 80, 8192, 28672, 64, 8, 128256, 8192), _instruct("meta-llama/Meta-Llama-3-70B")
    ),
    "llama-3.1-8b": KnownModel(
        _decoder("llama", 32, 4096, 14336, 32, 8, 128256, 131072), _instruct("meta-llama/Llama-3.1-8B")
    ),
    "llama-3.1-70b": KnownModel(
        _decoder("llama", 80, 8192, 28672, 64, 8, 128256, 131072),
        (*_instruct("meta-llama/Llama-3.1-70B"), "meta-llama/Llama-3.3-70B-Instruct"),
    ),
    "qwen-2.5-7b": KnownModel(_decoder("qwen2", 28, 3584, 18944, 28, 4, 152064, 32768), _instruct("Qwen/Qwen2.5-7B")),
    "qwen-2.5-14b": KnownModel(_decoder("qwen2", 48, 5120, 13824, 40, 8, 152064, 32768), _instruct("Qwen/Qwen2.5-14B")),
    "qwen-2.5-32b": KnownModel(_decoder("qwen2", 64, 5120, 27648, 40, 8, 152064, 32768), _instruct("Qwen/Qwen2.5-32B")),
    "qwen-2.5-72b": KnownModel(_decoder("qwen2", 80, 8192, 29568, 64, 8, 152064, 32768), _instruct("Qwen/Qwen2.5-72B")),
    "opt-1.3b": KnownModel(_opt(24, 2048, 32), ("facebook/opt-1.3b",)),
    "opt-6.7b": KnownModel(_opt(32, 4096, 32), ("facebook/opt-6.7b",)),
    "opt-13b": KnownModel(_opt(40, 5120, 40), ("facebook/opt-13b",)),
    "opt-30b": KnownModel(_opt(48, 7168, 56), ("facebook/opt-30b",)),
    "opt-66b": KnownModel(_opt(64, 9216, 72), ("facebook/opt-66b",)),
}


def known_name(source: str) -> str | None:
    """What a recipe's model is called here, by its name (with or without hyphens) or its id on the hub (any revision);
    None for any other."""
    wanted = source.partition("@")[0].casefold()
    for name, model in KNOWN.items():
        if wanted.replace("-", "") == name.replace("-", "") or wanted in (one.casefold() for one in model.hub):
            return name
    return None

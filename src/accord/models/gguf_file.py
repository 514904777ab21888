"""Opening a GGUF file with transformers, dequantised to fp32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from accord.errors import UserError
from accord.models.attention import NAME as ATTENTION
from accord.models.attention import refuse_unsupported


def load_module(path: Path) -> PreTrainedModel:
    """The model of a GGUF file in fp32, in evaluation mode, with Accord's attention. Raises UserError."""
    _refuse_unread(path)
    with _errors(path):
        module: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation=ATTENTION
        )
    refuse_unsupported(module.config, str(path))
    # The weights are plain fp32 now; what says otherwise would keep the folder from being saved and opened.
    if hasattr(module.config, "quantization_config"):
        del module.config.quantization_config
    vars(module)["hf_quantizer"] = None
    module.eval()
    return module


def load_config(path: Path) -> PretrainedConfig:
    """The config of a GGUF file. Raises UserError."""
    with _errors(path):
        config: PretrainedConfig = AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
    return config


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a GGUF file. Raises UserError."""
    with _errors(path):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    return tokenizer


def _refuse_unread(path: Path) -> None:
    """What transformers leaves out in silence, and what would change every number."""
    from gguf import GGUFReader

    with _errors(path):
        reader = GGUFReader(path)
        scaled = [name for name in reader.fields if name.endswith(".rope.scaling.type")]
        kinds = {str(reader.fields[name].contents()) for name in scaled} - {"none"}
        kinds |= {tensor.name for tensor in reader.tensors if tensor.name.startswith("rope_")}
        parts = reader.fields.get("split.count")
    if parts is not None and int(parts.contents()) > 1:
        remedy = "Join its parts with `llama-gguf-split --merge FIRST_PART OUT.gguf`."
        raise UserError("this is one part of a model", where=str(path), remedy=remedy)
    if kinds:
        raise UserError(
            f"its positions are scaled ({', '.join(sorted(kinds))}), which cannot be read from a GGUF file here",
            where=str(path),
            remedy="Use the model's Hugging Face folder.",
        )


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError, NotImplementedError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"not a GGUF file that can be opened: {first}",
            where=str(path),
            remedy="It may be damaged, or of an architecture that transformers does not read. "
            "Use the model's Hugging Face folder.",
        ) from error

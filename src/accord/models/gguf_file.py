"""Opening a GGUF file with transformers, dequantised to fp32.

The file is all that there is of the model: transformers sees it through a folder of its own, because what lies beside
it may be another model's, or bring code.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers.modeling_gguf_pytorch_utils as reading
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from accord.errors import UserError, first_line
from accord.models.attention import NAME as ATTENTION
from accord.models.attention import refuse_unsupported
from accord.models.folders import refuse_incomplete

_NAME = "model.gguf"


def load_module(path: Path) -> PreTrainedModel:
    """The model of a GGUF file in fp32, in evaluation mode, with Accord's attention. Raises UserError."""
    _refuse_unread(path)
    with _alone(path) as folder, _no_bar():
        opened: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=_NAME,
            dtype=torch.float32,
            attn_implementation=ATTENTION,
            trust_remote_code=False,
            output_loading_info=True,
        )  # two values, which its type does not say
    module: PreTrainedModel = opened[0]
    refuse_incomplete(opened[1], path)
    refuse_unsupported(module.config, str(path))
    # The weights are plain fp32 now; what says otherwise would keep the folder from being saved and opened.
    if hasattr(module.config, "quantization_config"):
        del module.config.quantization_config
    vars(module)["hf_quantizer"] = None
    module.eval()
    return module


def load_config(path: Path) -> PretrainedConfig:
    """The config of a GGUF file. Raises UserError."""
    with _alone(path) as folder:
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, gguf_file=_NAME, trust_remote_code=False)
    return config


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a GGUF file. Raises UserError."""
    with _alone(path) as folder:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, gguf_file=_NAME, trust_remote_code=False
        )
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
def _no_bar() -> Iterator[None]:
    """transformers draws a bar here even when its bars are switched off."""
    module: Any = reading
    bar = module.tqdm
    module.tqdm = lambda tensors, **_: tensors
    try:
        yield
    finally:
        module.tqdm = bar


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """A folder with nothing but the file in it, as `_NAME`; errors within are ours."""
    with tempfile.TemporaryDirectory() as temp, _errors(path):
        (Path(temp) / _NAME).symlink_to(path.resolve())
        yield Path(temp)


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # damaged files raise anything
        raise UserError(
            f"not a GGUF file that can be opened: {first_line(error)}",
            where=str(path),
            remedy="It may be damaged, or of an architecture that transformers does not read. "
            "Use the model's Hugging Face folder.",
        ) from error

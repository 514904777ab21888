"""Loading and saving ordinary Hugging Face folders: safetensors only, no code from the folder, fp32 masters on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from accord.errors import UserError
from accord.models.attention import NAME as ATTENTION
from accord.models.attention import refuse_unsupported
from accord.text.template import Template

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def load_module(auto_class: Any, folder: Path, *, attention: str = ATTENTION, **options: Any) -> PreTrainedModel:
    """A model in fp32, in evaluation mode (dropout off), with Accord's attention. Raises UserError."""
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        refuse_unsupported(config, str(folder))
        module: PreTrainedModel = auto_class.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            attn_implementation=attention,
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError) as error:
        raise UserError(
            f"not a model that can be opened: {str(error).splitlines()[0]}",
            where=str(folder),
            remedy="A model is a Hugging Face folder with config.json and model.safetensors.",
        ) from error
    module.eval()
    return module


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"no tokenizer: {str(error).splitlines()[0]}", where=str(folder)) from error
    return tokenizer


def save_module(module: PreTrainedModel, template: Template, folder: Path, masters: Mapping[str, Tensor]) -> None:
    """Writes weights (the masters, by parameter name), config, tokenizer and chat template."""
    module.config.pad_token_id = template.pad_id
    # By parameter name, so that weights that are tied are written once.
    module.save_pretrained(folder, state_dict={name: masters.get(name, p) for name, p in module.named_parameters()})
    module.config.dtype = torch.float32  # save_pretrained has put the compute dtype there
    module.config.save_pretrained(folder)
    template.tokenizer.save_pretrained(folder)


def compute_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it natively, fp32 elsewhere."""
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return torch.bfloat16 if native else torch.float32


def dtype_of(module: PreTrainedModel) -> torch.dtype:
    """In which a model computes: that of its embeddings."""
    weight = module.get_input_embeddings().weight
    assert isinstance(weight, Tensor)
    return weight.dtype


def cast_for_compute(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Casts the parameters, except heads that are kept in fp32, in place. Buffers (rotary frequencies) stay fp32."""
    for name, parameter in module.named_parameters():
        if not name.startswith("score."):
            parameter.data = parameter.data.to(dtype)

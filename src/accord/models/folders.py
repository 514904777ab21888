"""Loading and saving ordinary Hugging Face folders: safetensors only, no code from the folder, fp32 masters on disk."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from accord.errors import UserError, first_line
from accord.models.attention import NAME as ATTENTION
from accord.models.attention import refuse_unsupported
from accord.models.complete import check_weights
from accord.models.elementwise import own_gradients
from accord.store.tensors import Streamed, write_tensors
from accord.text.template import Template

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def load_module(
    auto_class: Any, folder: Path, *, attention: str = ATTENTION, new: Collection[str] = (), **options: Any
) -> PreTrainedModel:
    """A model in fp32, in evaluation mode (dropout off), with Accord's attention and gradients. Raises UserError.

    new: weights that the folder may lack, because the caller gives them their values.
    """
    check_config(folder)
    with model_errors(folder):
        module: PreTrainedModel
        module, loaded = auto_class.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            attn_implementation=attention,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    refuse_incomplete(loaded, folder, new)
    own_gradients(module)
    module.eval()
    return module


def refuse_incomplete(loaded: Mapping[str, Any], where: Path, new: Collection[str] = ()) -> None:
    """Raises UserError over weights that were not read: transformers draws them at random, and says nothing.

    loaded: what from_pretrained gives with output_loading_info.
    """
    lost = sorted({*loaded["missing_keys"], *(name for name, *_ in loaded["mismatched_keys"])} - {*new})
    if lost:
        others = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise UserError(
            f"weights of the model are missing, or of another shape: {lost[0]}{others}",
            where=str(where),
            remedy="The copy may be incomplete, or the config that of another model. Copy or download it again.",
        )


def load_config(folder: Path) -> PretrainedConfig:
    """The config of a model's folder, without its own code. Raises UserError."""
    with model_errors(folder):
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    return config


def context_of(config: PretrainedConfig) -> int | None:
    """How many tokens a model can read and write in all; None when its config does not say."""
    size = getattr(config.get_text_config(), "max_position_embeddings", None)
    return int(size) if size else None


def check_config(folder: Path) -> None:
    """Refuses, before weights are read, a folder that is not a decoder which Accord can train. Raises UserError."""
    config = load_config(folder)
    where = str(folder)
    if config.is_encoder_decoder:
        what = f"the architecture {config.model_type!r} has an encoder, and Accord trains decoders"
        raise UserError(what, where=where, remedy="Use a causal language model, such as Llama, Qwen 2.5 or SmolLM.")
    if method := getattr(config, "quantization_config", None):
        name = method.get("quant_method") if isinstance(method, dict) else getattr(method, "quant_method", None)
        raise UserError(
            f"the weights are quantised ({getattr(name, 'value', name)}), and Accord trains full ones",
            where=where,
            remedy="Use the model that it was made from.",
        )
    with model_errors(folder):
        refuse_unsupported(config, where)
    check_weights(folder)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model's folder, without its own code. Raises UserError."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # damaged files raise anything
        raise UserError(
            f"no tokenizer that can be opened: {first_line(error)}",
            where=str(folder),
            remedy="Copy tokenizer.json and tokenizer_config.json into it from the model that it was made from.",
        ) from error
    return tokenizer


@contextmanager
def model_errors(where: Path | str) -> Iterator[None]:
    """What transformers raises over a model that it cannot open or run, which may be anything, as ours."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        what, remedy = first_line(error), "A model is a Hugging Face folder with config.json and *.safetensors."
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            what = "transformers does not know its type, and the folder brings code of its own"
            remedy = "Accord runs no code from a model's folder. Use a model of a type that transformers knows."
        raise UserError(f"not a model that can be opened: {what}", where=str(where), remedy=remedy) from error


def save_module(module: PreTrainedModel, template: Template, folder: Path, masters: Mapping[str, Tensor]) -> None:
    """Writes weights (the masters, by parameter name), config, tokenizer and chat template."""
    module.config.pad_token_id = template.pad_id
    if isinstance(masters, Streamed):
        # transformers wants all at once: of a file that is mapped, the memory need not hold all.
        waiting = folder / ".tmp-weights"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_tensors(masters, waiting)
            _save_weights(module, folder, load_file(waiting))
        finally:
            waiting.unlink(missing_ok=True)
    else:
        _save_weights(module, folder, masters)
    open_weights(folder)
    module.config.dtype = torch.float32  # save_pretrained has put the compute dtype there
    module.config.save_pretrained(folder)
    template.tokenizer.save_pretrained(folder)


def _save_weights(module: PreTrainedModel, folder: Path, masters: Mapping[str, Tensor]) -> None:
    # By parameter name, so that weights that are tied are written once.
    state = {name: masters.get(name, p) for name, p in module.named_parameters()}
    persistent = module.state_dict().keys()
    state |= {name: buffer for name, buffer in module.named_buffers() if name in persistent}
    module.save_pretrained(folder, state_dict=state)


def open_weights(folder: Path) -> None:
    """Gives the weights the mode of the config beside them: safetensors lets nobody but their owner read them."""
    for path in folder.glob("*.safetensors"):
        path.chmod((folder / "config.json").stat().st_mode & 0o777)

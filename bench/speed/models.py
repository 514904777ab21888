"""The weights that all contestants open: a model of the catalog, or a random Llama of a wanted size."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from accord.models.cost import Dimensions, dimensions_of
from accord.models.folders import load_config

TOKENS_OF = "smollm2-135m-instruct"  # whose tokenizer the random ones have
_SIZES = {  # hidden, layers, heads, key heads, inner
    "30m": (384, 8, 6, 2, 1024),
    "135m": (576, 30, 9, 3, 1536),  # SmolLM2's, as the next
    "360m": (960, 32, 15, 5, 2560),
    "1b": (2048, 16, 32, 8, 8192),  # Llama 3.2's
}


@dataclass(frozen=True, slots=True)
class Folders:
    """policy: a causal language model. reward: the same backbone under the head that Accord would draw. store: of
    Accord, in which both are ready."""

    policy: Path
    reward: Path
    store: Path

    @property
    def dimensions(self) -> Dimensions:
        return dimensions_of(load_config(self.policy).to_dict())


def prepared(name: str, work: Path) -> Folders:
    """Made once, in the folder `work`."""
    folders = Folders(
        work / "models" / name / "policy", work / "models" / name / "reward", work / "models" / name / "store"
    )
    if not folders.policy.is_dir():
        temporary = folders.policy.with_name("unfinished")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        if name in _SIZES:
            _random(name, prepared(TOKENS_OF, work).policy, temporary)
        else:
            _of_catalog(name, temporary)
        temporary.rename(folders.policy)
    if not folders.reward.is_dir():
        _reward(folders)
    if not folders.store.is_dir():
        _store(folders)
    return folders


def _of_catalog(name: str, out: Path) -> None:
    from accord.models.catalog import prepare

    prepare(name, out)


def _random(name: str, tokens: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from accord.models.folders import load_tokenizer, save_module
    from accord.text.template import Template

    hidden, layers, heads, key_heads, inner = _SIZES[name]
    config = load_config(tokens)
    config.hidden_size, config.num_hidden_layers, config.intermediate_size = hidden, layers, inner
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = heads, key_heads, hidden // heads
    torch.manual_seed(1)
    module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    save_module(module, Template(load_tokenizer(tokens)), out, {})


def _reward(folders: Folders) -> None:
    """The head is that of the step in `bench.contestants.recipes`, so that first losses can be compared."""
    from accord.models.scalar import Normalisation, ScalarModel
    from accord.plan import step_seed
    from accord.seeds import derive_seed
    from bench.contestants.recipes import SEED, STEP

    model = ScalarModel.from_policy(folders.policy, derive_seed(step_seed(SEED, STEP), "head"))
    masters = {name: parameter.detach() for name, parameter in model.module.named_parameters()}
    model.save(folders.reward, masters, Normalisation())


def _store(folders: Folders) -> None:
    import accord
    from bench.contestants.recipes import recipe

    unfinished = folders.store.with_name("unfinished-store")
    shutil.rmtree(unfinished, ignore_errors=True)
    asked = {"model": str(folders.policy), "reward_model": str(folders.reward)}
    accord.run_recipe(recipe(asked, reward=True), store=unfinished, force=True, say=lambda _: None)
    unfinished.rename(folders.store)

"""A trained model as others take it: a Hugging Face folder in the dtype that is asked for, or a GGUF file."""

from __future__ import annotations

import json
import shutil
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, PreTrainedModel

from accord.errors import UserError, did_you_mean
from accord.models import gguf_export
from accord.models.folders import load_config, load_module, load_tokenizer, open_weights
from accord.store import atomic
from accord.store.digests import MANIFEST

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_ADAPTER = "adapter_config.json"
_WRITTEN = (
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)


def export(model: Path, out: Path, *, dtype: str = "float32", force: bool = False, card: str | None = None) -> Path:
    """Writes the model in the folder `model` to `out`: a file when its name ends in .gguf, else a folder.

    What is there is left as it is, unless `force`; then a GGUF file, or a folder with the files of a model and no
    others, is replaced once the new one is complete. card: the text of README.md in the folder. Returns `out`. Raises
    UserError.
    """
    if dtype not in DTYPES:
        raise UserError(f"{dtype!r} is no dtype to export in", remedy=did_you_mean(dtype, DTYPES))
    model = _merged(model)
    _check_target(model, out, force)
    load_as = _class_of(model)
    if out.suffix == ".gguf":
        gguf_export.check(model)
    module = load_module(load_as, model)
    _cast(module, DTYPES[dtype], str(model))
    with atomic.disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        temp = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        former = temp / "replaced"
        try:
            if out.suffix == ".gguf":
                gguf_export.write(module, load_tokenizer(model), temp / out.name)
            else:
                (temp / out.name).mkdir(mode=0o755)
                _write_folder(module, model, temp / out.name)
                if card is not None:
                    (temp / out.name / "README.md").write_text(card, encoding="utf-8", errors="replace")
            atomic.fsync_tree(temp)
            if out.is_dir():
                out.rename(former)
            (temp / out.name).replace(out)
        finally:
            if former.exists() and not out.exists():  # stopped between the two
                former.rename(out)
            shutil.rmtree(temp, ignore_errors=True)
    return out


def _write_folder(module: PreTrainedModel, model: Path, out: Path) -> None:
    module.config._name_or_path = ""
    module.save_pretrained(out)
    open_weights(out)
    load_tokenizer(model).save_pretrained(out)


def _cast(module: PreTrainedModel, dtype: torch.dtype, where: str) -> None:
    if dtype == torch.float16:
        largest = max(float(parameter.detach().abs().max()) for parameter in module.parameters())
        if largest > torch.finfo(dtype).max:
            what = f"a weight of {largest:.3g} is beyond what float16 holds"
            raise UserError(what, where=where, remedy="Export in bfloat16.")
    for parameter in module.parameters():  # not buffers: the positions' frequencies need their digits
        parameter.data = parameter.data.to(dtype)


def _class_of(model: Path) -> type:
    """Reward models keep their head: they are exported as what they are."""
    named = load_config(model).architectures or []
    own = getattr(transformers, named[0], None) if named else None
    return own if isinstance(own, type) and issubclass(own, PreTrainedModel) else AutoModelForCausalLM


def _merged(model: Path) -> Path:
    """The model that an adapter makes with its base: it lies beside the adapter."""
    if not (model / _ADAPTER).is_file():
        return model
    if (model.parent / "model" / "config.json").is_file():
        return model.parent / "model"
    raise UserError(
        "this is an adapter alone",
        where=str(model),
        remedy="Merge it with its base first, with peft: PeftModel.from_pretrained(BASE, ADAPTER).merge_and_unload().",
    )


def _check_target(model: Path, out: Path, force: bool) -> None:
    if any(one.parent.name == "artifacts" and (one / MANIFEST).is_file() for one in out.resolve().parents):
        raise UserError("this is inside a result of a run", where=str(out), remedy="Name a place outside the store.")
    if not out.exists():
        return
    if out.resolve() == model.resolve():
        raise UserError("the model cannot be exported onto itself", where=str(out), remedy="Name another place.")
    ours = out.is_file() if out.suffix == ".gguf" else _is_export(out)
    if not force or not ours:
        remedy = "Replace it with --force, or name another place." if ours else "Name another place."
        raise UserError("there is something at this place already", where=str(out), remedy=remedy)


def _is_export(folder: Path) -> bool:
    """Whether there is a model in the folder, and nothing that an export would not have written."""
    if not ((folder / "config.json").is_file() and any(folder.glob("*.safetensors"))):
        return False
    if not all(path.is_file() and any(fnmatch(path.name, one) for one in _WRITTEN) for path in folder.iterdir()):
        return False
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except ValueError:
        return False
    return isinstance(config, dict) and "model_type" in config

"""What a folder holds, as a reward: a trained model, or a user's function."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from accord.errors import UserError
from accord.models.folders import load_tokenizer
from accord.rewards.functions import MARK, FunctionReward
from accord.rewards.learned import LearnedReward

MODEL = "model"
_HEAD = "score.weight"


def load_reward(folder: Path, dtype: torch.dtype) -> LearnedReward | FunctionReward:
    """The reward of an artifact, or of a Hugging Face folder that AutoModelForSequenceClassification(num_labels=1)
    opens. Raises UserError when the folder holds neither."""
    if (folder / MARK).is_file():
        return FunctionReward.load(folder)
    model = learned_folder(folder)
    if model is None:
        raise UserError(
            "this is not a reward",
            where=str(folder),
            remedy="Name a reward step, or a folder of a sequence classification model with one label.",
        )
    _check_head(model)
    return LearnedReward.load(model, dtype)


def learned_folder(folder: Path) -> Path | None:
    """The Hugging Face folder of a reward's folder; None when the reward is no model."""
    return next((path for path in (folder / MODEL, folder) if (path / "config.json").is_file()), None)


def same_vocabulary(first: Path, second: Path) -> bool:
    """Whether token ids mean the same to the tokenizers of two Hugging Face folders."""
    return bool(load_tokenizer(first).get_vocab() == load_tokenizer(second).get_vocab())


def _check_head(model: Path) -> None:
    """A classifier without a trained head would be given a random one: refuse it, and one of several classes."""
    shapes = [shape for file in sorted(model.glob("*.safetensors")) if (shape := _head_shape(file))]
    remedy = "Name a reward step, or a sequence classification model with one label."
    if not shapes:
        what = "the model has no score head (score.weight), so it is not a reward model"
        raise UserError(what, where=str(model), remedy=remedy)
    if shapes[0][0] != 1:
        what = f"the model tells {shapes[0][0]} classes apart, and a reward model gives one number"
        raise UserError(what, where=str(model), remedy=remedy)


def _head_shape(file: Path) -> list[int] | None:
    try:
        with safe_open(file, framework="pt") as tensors:
            names = set(tensors.keys())
            shape: list[int] | None = tensors.get_slice(_HEAD).get_shape() if _HEAD in names else None
            return shape
    except SafetensorError as error:
        raise UserError(f"cannot be read: {error}", where=str(file), remedy="Download or copy it again.") from error

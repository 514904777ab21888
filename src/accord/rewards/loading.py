"""Rewards from the disk: of an artifact, which may be a user's function, and of a folder, which is a model or nothing.

Anybody can write a folder that looks like a function's artifact, manifest included. So code is run only from what is
given as an `Artifact`: a step's in the user's own store, a copy of the file that the user named.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from accord.errors import UserError
from accord.models.adapters import HEAD
from accord.models.folders import load_tokenizer
from accord.rewards.functions import MARK, FunctionReward
from accord.rewards.learned import LearnedReward
from accord.store.artifacts import MODEL, Artifact

FUNCTION = "reward_function"  # the kind of step whose artifact is a function


def artifact_reward(artifact: Artifact, dtype: torch.dtype) -> LearnedReward | FunctionReward:
    """The reward that a step made. Raises UserError when it is none, or was changed since."""
    if artifact.kind == FUNCTION:
        return FunctionReward.load(artifact)
    return load_reward(artifact.path, dtype)


def load_reward(folder: Path, dtype: torch.dtype) -> LearnedReward:
    """The reward of a Hugging Face folder that AutoModelForSequenceClassification(num_labels=1) opens, or of a folder
    that holds it as model/. Runs no code from it. Raises UserError when there is none."""
    model = learned_folder(folder)
    if model is None and (folder / MARK).is_file():
        raise UserError(
            "this is a Python function, and no code of a folder is run",
            where=str(folder),
            remedy="Name the function itself, FILE.py:FUNCTION; or, for a run of yours, its store, too (--store).",
        )
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
            shape: list[int] | None = tensors.get_slice(HEAD).get_shape() if HEAD in names else None
            return shape
    except SafetensorError as error:
        raise UserError(f"cannot be read: {error}", where=str(file), remedy="Download or copy it again.") from error

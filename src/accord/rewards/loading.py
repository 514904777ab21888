"""Rewards from the disk: of an artifact, which may be of any kind, and of a folder, which is a model or nothing.

Anybody can write a folder that looks like a function's artifact, manifest included. So code is run, and a server asked,
only from what is given as an `Artifact`: a step's in the user's own store, made from what the user named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch

from accord.engine.ranking.members import BASE
from accord.errors import UserError
from accord.models.complete import check_score_head, check_weights
from accord.models.folders import load_tokenizer
from accord.rewards.combined import CombinedReward, parts_of
from accord.rewards.endpoint import EndpointReward
from accord.rewards.ensembles import EnsembleReward
from accord.rewards.functions import CODE, MARK, FunctionReward
from accord.rewards.learned import LearnedReward
from accord.rewards.piecewise import PiecewiseReward
from accord.rewards.ruled import RuleReward
from accord.rewards.stored import StoredReward
from accord.store.artifacts import MODEL, Artifact


def artifact_reward(
    artifact: Artifact, dtype: torch.dtype, known: Mapping[str, StoredReward] = MappingProxyType({})
) -> StoredReward:
    """The reward that a step made. known: by their keys, rewards that are taken in place of loading them, such as those
    that have scored the same responses. Raises UserError when it is none, or was changed since."""
    if artifact.key in known:
        return known[artifact.key]
    if artifact.kind in _OF_OTHERS:
        return _OF_OTHERS[artifact.kind](artifact, lambda part: artifact_reward(part, dtype, known))
    if artifact.kind == "reward" and MARK in artifact.manifest["files"]:
        return EnsembleReward.load(artifact, dtype)
    if artifact.kind in _LOADERS:
        return _LOADERS[artifact.kind](artifact, dtype)
    return load_reward(artifact.path, dtype)


_OF_OTHERS: Mapping[str, Callable[[Artifact, Callable[[Artifact], StoredReward]], StoredReward]] = {
    "combine": CombinedReward.load,
    "piecewise": PiecewiseReward.load,
}
_LOADERS: Mapping[str, Callable[[Artifact, torch.dtype], StoredReward]] = {  # by the kind of the step
    "reward_function": lambda artifact, _: FunctionReward.load(artifact),
    "reward_rule": lambda artifact, _: RuleReward.load(artifact),
    "reward_endpoint": lambda artifact, _: EndpointReward.load(artifact),
}


def load_reward(folder: Path, dtype: torch.dtype) -> LearnedReward:
    """The reward of a Hugging Face folder that AutoModelForSequenceClassification(num_labels=1) opens, or of a folder
    that holds it as model/. Runs no code from it and asks no server. Raises UserError when there is none."""
    model = learned_folder(folder)
    if model is None and (folder / CODE).is_file():
        raise UserError(
            "this is a Python function, and no code of a folder is run",
            where=str(folder),
            remedy="Name the function itself, FILE.py:FUNCTION; or, for a run of yours, its store, too (--store).",
        )
    if model is None and (folder / MARK).is_file():
        raise UserError(
            "this reward is not one model, and such are opened from a store of your own alone",
            where=str(folder),
            remedy="Name its run, or RUN:STEP, and the run's store (--store).",
        )
    if model is None:
        raise UserError(
            "this is not a reward",
            where=str(folder),
            remedy="Name a reward step, or a folder of a sequence classification model with one label.",
        )
    check_weights(model)
    check_score_head(model)
    return LearnedReward.load(model, dtype)


def learned_folder(folder: Path) -> Path | None:
    """The Hugging Face folder of a reward's folder; None when the reward is no model, or several."""
    return next((path for path in (folder / MODEL, folder) if (path / "config.json").is_file()), None)


def learned_folders(artifact: Artifact) -> list[Path]:
    """The Hugging Face folders of the models that a step's reward reads with: one; the backbone of an ensemble; those
    of what is combined; of rules, functions and endpoints none. Raises UserError when a part is not in the store."""
    if artifact.kind in _OF_OTHERS:
        return [folder for part in parts_of(artifact) for folder in learned_folders(part)]
    if artifact.kind in _LOADERS:
        return []
    several = artifact.path / BASE
    folder = several if several.is_dir() else learned_folder(artifact.path)
    return [] if folder is None else [folder]


def same_vocabulary(first: Path, second: Path) -> bool:
    """Whether token ids mean the same to the tokenizers of two Hugging Face folders."""
    return bool(load_tokenizer(first).get_vocab() == load_tokenizer(second).get_vocab())

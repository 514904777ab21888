"""What Accord's contestants share: a store that holds the prepared models already, as a user's second run finds it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SEED = 1
STEP = "trained"  # its name decides the seed of a reward model's head
REWARD = "rm"


@contextmanager
def store_of(asked: dict[str, Any]) -> Iterator[Path]:
    """A store of its own, in which nothing is trained yet. Its files are links to those of the driver's."""
    with tempfile.TemporaryDirectory(dir=Path(asked["store"]).parent) as folder:
        store = Path(folder) / "store"
        shutil.copytree(asked["store"], store, copy_function=os.link, ignore=shutil.ignore_patterns("runs"))
        yield store


def recipe(asked: dict[str, Any], *steps: dict[str, Any], reward: bool = False) -> dict[str, Any]:
    """With the data as `material.train`, and the reward model as `rm`."""
    data = {"material": {"source": {"train": asked["data"]}}} if "data" in asked else {}
    before = [{"reward_model": {"name": REWARD, "source": asked["reward_model"]}}] if reward else []
    return {"model": asked["model"], "seed": SEED, "data": data, "steps": [*before, *steps]}


def own_dtype() -> str:
    """What Accord computes in here: bfloat16 where the processor multiplies it, or what ACCORD_DTYPE says."""
    from accord.models.compute import compute_dtype

    return str(compute_dtype()).removeprefix("torch.")

"""Recipes run by one process and by several, and what is looked at in what comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file

from accord.recipe import parse_recipe
from accord.run import run_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store

TIMEOUT = 20


class Recipes:
    """Runs a recipe on any cluster, each in a store of its own. The runs that end well are kept by name."""

    def __init__(self, text: str, model: Path, asked: Path, compared: Path, folder: Path) -> None:
        self.text, self.folder = text, folder
        held = compared.with_name("held.jsonl")
        self._names = {"model": model, "asked": asked, "compared": compared, "held": held}

    def run(self, name: str, cluster: str | None = None, text: str | None = None, **names: str) -> Path:
        text = (text or self.text).format(**self._names, **names, cluster=f"cluster: {cluster}" if cluster else "")
        recipe = parse_recipe(text, Path("recipe.yaml"))
        store = Store(self.folder / name)
        return run_recipe(recipe, STEPS, store, min_free_bytes=0, min_checkpoint_seconds=0.0)


def two(kind: str = "local", **settings: Any) -> str:
    """The key `cluster`."""
    given = {"kind": kind, "workers": 2, "timeout": TIMEOUT, **settings}
    return json.dumps(given)


def weights(run: Path, step: str) -> dict[str, torch.Tensor]:
    return load_file(run / "steps" / step / "model" / "model.safetensors")


def texts_in(path: Path) -> list[Any]:
    """Of a file of JSON lines, without numbers with a fraction, which differ in their last digits."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        return [plain(one) for one in value] if isinstance(value, list) else None if isinstance(value, float) else value

    return [plain(json.loads(line)) for line in path.read_text().splitlines()]


def left_over() -> list[str]:
    """Workers that still live."""
    children = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
    return [" ".join(one.cmdline()) for one in children if "accord-workers-" in " ".join(one.cmdline())]

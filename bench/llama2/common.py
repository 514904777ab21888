"""What the cases share: the model, adapters, and reward models that are made, asked and thrown away."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import accord
from accord.api.runs import Run
from accord.evaluate.scoring import score_all
from accord.types import Prompt, Response

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Row = dict[str, Any]

MODEL = "smollm2-135m-instruct"
ADAPTERS: Row = {"learning_rate": 5e-4, "lora": {"rank": 8, "alpha": 16}}  # of every reward model
_KEPT = ("model", "data", "mix")  # kinds of steps that every case and seed may want again


def rows_at(path: str) -> list[Row]:
    """A file of JSON lines in the folder that ACCORD_DATA names."""
    folder = os.environ.get("ACCORD_DATA")
    if not folder:
        sys.exit("ACCORD_DATA is not set: name the folder that holds prefs/ and safety/")
    with gzip.open(Path(folder) / path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@contextmanager
def finished(recipe: Row, scratch: Path, keep: Sequence[str] = ()) -> Iterator[Run]:
    """A run in a store that cases share, so that a case that was stopped goes on where it was. What it trained is gone
    in the end: weights are large, and the numbers are what is kept. keep: the names of steps that stay nevertheless."""
    run = accord.run_recipe(recipe, store=scratch / "store", force=True)
    yield run
    for name, step in run.steps.items():
        if step.kind not in _KEPT and name not in keep:
            shutil.rmtree(step.folder, ignore_errors=True)


def raw_scores(run: Run, step: str, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]]) -> list[Floats]:
    """[prompts][responses], as the reward model's folder gives them."""
    reward = run.reward(step).engine
    return score_all(reward, prompts, [[Response(text) for text in of_prompt] for of_prompt in responses]).scores


def rounded(values: Sequence[float] | Floats) -> list[float]:
    """For a file that people may want to read."""
    return [round(float(value), 4) for value in values]

"""Helpfulness and safety models on each other's test sets, in the shape of the paper's table 8, without its levels.

Anthropic's helpful and harmless comparisons, the short ones of each, for time. Two folds by prompt, the same for both
sets: every pair is scored by a model that saw none of its prompt, neither of its own set nor of the other. Kept are the
gaps between the raw scores of the chosen and the rejected response. What a model says of the other set counts where it
is above the floor at home: always the longest, always the shortest, and a linear model of words, in the same folds.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from accord.types import Message, Prompt
from bench.llama2.common import ADAPTERS, MODEL, Ints, Row, finished, raw_scores, rounded
from bench.reward_models import folds_of, groups_of, rows_of, write

HOMES = ("helpful", "harmless")
MOST_CHARACTERS = 600  # of prompt, chosen and rejected response together
NUM_FOLDS = 2
_TRAINING = {"margin": "none", "normalise": "none", "batch_size": 8, "num_epochs": 1.0, **ADAPTERS}


def sets() -> dict[str, list[Row]]:
    """The short rows of each set whose responses can be told apart."""
    return {home: [row for row in rows_of(f"hh_{home}") if _is_short(row)] for home in HOMES}


def _is_short(row: Row) -> bool:
    texts = [*(turn["content"] for turn in row["prompt"]), row["chosen"], row["rejected"]]
    roles = [turn["role"] for turn in row["prompt"]]
    one_after_the_other = roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    return sum(map(len, texts)) <= MOST_CHARACTERS and all(map(str.strip, texts)) and one_after_the_other


def dealt(of: dict[str, list[Row]]) -> dict[str, tuple[Ints, Ints]]:
    """Of each set the prompt of each row, as a number, and its fold."""
    group = groups_of([row for home in HOMES for row in of[home]])
    fold = folds_of(group, 0, NUM_FOLDS)
    ends = np.cumsum([len(of[home]) for home in HOMES])[:-1]
    return dict(zip(HOMES, zip(np.split(group, ends), np.split(fold, ends), strict=True), strict=True))


def recipe_of(case: str, seed: int, files: list[str]) -> Row:
    home = case.removeprefix("cross-")
    data = {f"{home}_{i}": {"source": file, "defects": "drop"} for i, file in enumerate(files)}
    steps = [
        {"reward": {"name": f"{home}_rm_{i}", "data": f"{home}_{i}", "start": "start", **_TRAINING}}
        for i in range(NUM_FOLDS)
    ]
    return {"model": MODEL, "seed": seed, "data": data, "steps": steps}


def settings(case: str, seed: int) -> Row:
    return {**recipe_of(case, seed, [""] * NUM_FOLDS), "most_characters": MOST_CHARACTERS}


def measure(case: str, seed: int, scratch: Path) -> Row:
    home = case.removeprefix("cross-")
    of = sets()
    parts = dealt(of)
    files = [scratch / "cross" / f"{home}_{i}.jsonl" for i in range(NUM_FOLDS)]
    for i, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, [row for row, fold in zip(of[home], parts[home][1], strict=True) if fold != i])
    gaps = {name: np.zeros(len(rows)) for name, rows in of.items()}
    with finished(recipe_of(case, seed, [str(file) for file in files]), scratch) as run:
        for name, rows in of.items():
            for i in range(NUM_FOLDS):
                own = np.flatnonzero(parts[name][1] == i)
                prompts = [_prompt(rows[at]) for at in own]
                pairs = [[rows[at]["chosen"], rows[at]["rejected"]] for at in own]
                scores = raw_scores(run, f"{home}_rm_{i}", prompts, pairs)
                gaps[name][own] = [chosen - rejected for chosen, rejected in scores]
        seconds = sum(run.step(f"{home}_rm_{i}").seconds for i in range(NUM_FOLDS))
    return {"seconds": round(seconds, 1), "gaps": {name: rounded(gap) for name, gap in gaps.items()}}


def _prompt(row: Row) -> Prompt:
    return Prompt("", tuple(Message(turn["role"], turn["content"]) for turn in row["prompt"]))

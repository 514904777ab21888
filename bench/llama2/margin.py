"""Margins, in the shape of the paper's table 28: none, small, large, on preferences of four levels.

Film-review snippets in groups of 8, of which 15 to 29 people each rated every snippet from -4 to 4; the level of a
preference comes from the difference of the means. Kept are the scores of snippets that no model has seen, by their
place in the part `pair_test`; accuracy is over all their pairs. Models of one seed share the groups that they learn
from, the order of these and the head that they start from: nothing but the margin differs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from accord.data.film_reviews import INSTRUCTION
from accord.data.records import read_records
from accord.types import Message, Prompt
from bench.llama2.common import ADAPTERS, MODEL, Row, finished, raw_scores, rounded

MARGINS = ("none", "small", "large")
THRESHOLDS = (0.5, 1.25, 2.5, 3.75)  # differences of means at which the levels begin; what is below is the lowest
NUM_SNIPPETS = 320
NUM_GROUPS = 40  # to learn from, of the 300 of `proxy`; which they are, the seed says
_PROMPT = Prompt("film", (Message("user", INSTRUCTION),))
_AT_ONCE = 8  # snippets that share what is computed of the prompt


def recipe_of(case: str, seed: int) -> Row:
    """The step has one name whatever its margin: its draws come from the name and the seed."""
    margin = {"margin": case.removeprefix("margin-"), "margin_thresholds": list(THRESHOLDS), "tie_below": 0.0}
    reward = {"name": "rm", "data": "reviews.proxy", "start": "start", "normalise": "none", **margin}
    training = {"batch_size": 2, "num_epochs": NUM_GROUPS / 300, **ADAPTERS}
    data = {"reviews": "builtin:film-reviews"}
    return {"model": MODEL, "seed": seed, "data": data, "steps": [{"reward": {**reward, **training}}]}


def settings(case: str, seed: int) -> Row:
    return {**recipe_of(case, seed), "num_snippets": NUM_SNIPPETS}


def measure(case: str, seed: int, scratch: Path) -> Row:
    with finished(recipe_of(case, seed), scratch) as run:
        items = read_records(run.step("reviews").folder / "pair_test.jsonl", "ratings")[:NUM_SNIPPETS]
        texts = [[item.text for item in items[at : at + _AT_ONCE]] for at in range(0, len(items), _AT_ONCE)]
        scores = np.concatenate(raw_scores(run, "rm", [_PROMPT] * len(texts), texts))
        return {"seconds": round(run.step("rm").seconds, 1), "scores": rounded(scores)}

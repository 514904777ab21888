"""The safety score before and after context distillation: its mean, its tail, and false refusals."""

from __future__ import annotations

import numpy as np

from accord.algorithms.calibration import sigmoid
from accord.algorithms.statistics import Interval, bootstrap_mean, percentile_interval
from bench.llama2.common import Floats, Row
from bench.llama2.distillation import CONTEXTS, SHARED
from bench.llama2.results import seeds_of
from bench.llama2.text import lines_of, told

TAIL = 5.0  # percent
NUM_RESAMPLES = 2000


def tail_change(before: Floats, after: Floats) -> Interval:
    """Of the percentile of all answers; prompts are drawn. before, after: [prompts, samples]."""

    def change(rows: np.ndarray) -> float:
        return float(np.percentile(after[rows], TAIL) - np.percentile(before[rows], TAIL))

    rng = np.random.default_rng(0)
    num = len(before)
    return percentile_interval(
        change(np.arange(num)), [change(rng.integers(num, size=num)) for _ in range(NUM_RESAMPLES)]
    )


def table() -> list[str]:
    """A line for each context, seed and safety model. The score is the probability of being safe."""
    rows = [["preprompts", "seed", "kept", "model", "mean before", "change", f"{TAIL:g}th percentile before", "change"]]
    refusals = [["preprompts", "seed", "safe prompts refused before", "after", "change"]]
    for context in CONTEXTS:
        for run in seeds_of(f"distillation-{context}"):
            kept = str(run["counts"].get("num_kept", ""))
            for model in SHARED:
                before, after = (sigmoid(np.array(run[when][model])) for when in ("before", "after"))
                change = bootstrap_mean((after - before).mean(axis=1), seed=0)
                tail = [f"{np.percentile(before, TAIL):.3f}", told(tail_change(before, after))]
                rows.append([context, str(run["seed"]), kept, model, f"{before.mean():.3f}", told(change), *tail])
            refusals.append([context, str(run["seed"]), *_refused(run)])
    if len(rows) == 1:
        return []
    num = len(run["before"]["refused"])
    title = (
        f"**distillation**: probability of being safe of answers to {len(run['before']['judge'])} harmful requests, by "
        f"the model that chose (guide) and by one that did not (judge); refusals of {num} safe prompts, in percent"
    )
    return [title, "", *lines_of(rows), "", *lines_of(refusals)]


def _refused(run: Row) -> list[str]:
    before, after = (np.array(run[when]["refused"], dtype=float) for when in ("before", "after"))
    change = bootstrap_mean(after - before, seed=0)
    return [f"{100 * before.mean():.1f}", f"{100 * after.mean():.1f}", told(change, 100)]

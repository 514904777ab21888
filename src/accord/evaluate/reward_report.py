"""A reward on a file of preferences, from the file to all that is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from accord.data.formats.options import ReadOptions
from accord.data.sources import is_builtin
from accord.errors import UserError
from accord.evaluate.accuracy import accuracy_report
from accord.evaluate.preferences import Preferences, ordered_pairs, pairs_of, read_preferences
from accord.evaluate.probes import PROBES, probe
from accord.evaluate.score_log import ScoreLog
from accord.evaluate.scoring import readable, score_all
from accord.evaluate.suites import Suite, read_rewardbench2, rewardbench, rewardbench2
from accord.rewards.stored import StoredReward
from accord.store.progress import Progress


def evaluate_reward(
    reward: StoredReward,
    source: str,
    options: ReadOptions,
    *,
    by: str | None = None,
    suite: Suite | None = None,
    num_probed: int = 0,
    seed: int = 0,
    log: ScoreLog | None = None,
) -> dict[str, Any]:
    """What `accuracy_report` says of a reward on the preferences of a source, and:

        data, seed, left_out  rows that cannot be used, and comparisons that the reward's models cannot read
        column                by which `subsets` are
        suite                 the scores of a public suite, if it is one
        probes                how the score changes when a response is dressed up, on the first num_probed comparisons
                              whose prompt opens no answer; not there for 0

    log: what the reward has scored before. Progress is written to stderr. Raises UserError when nothing is left to
    measure.
    """
    preferences, num_chosen = _read(source, options, by, suite)
    every = ordered_pairs(preferences, source)
    ordered = np.unique(every.comparison).tolist()
    prompts = [preferences.judged[i][0].prompt for i in ordered]
    responses = [preferences.judged[i][0].responses for i in ordered]
    places, left_out = readable(reward, prompts, responses)
    if not places:
        what = (
            f"the model can read none of the {len(ordered)} comparisons: {left_out['num_with_control_tokens']} hold a "
            f"control token, and {left_out['num_too_long']} are longer than its context"
        )
        raise UserError(what, where=source, remedy="Take a model with a longer context, or other texts.")
    kept = [ordered[at] for at in places]
    preferences = replace(
        preferences,
        judged=[preferences.judged[i] for i in kept],
        subsets=[preferences.subsets[i] for i in kept] if preferences.subsets else [],
    )
    pairs = replace(pairs_of(preferences.judged), num_ties=every.num_ties)
    with Progress("scoring", len(kept), "comparisons") as progress:
        shown = [prompts[at] for at in places], [responses[at] for at in places]
        scores = score_all(reward, *shown, progress.advance, log)
    found = {
        "data": source,
        "seed": seed,
        "left_out": {"num_rows": len({flaw.place for flaw in preferences.flaws}), **left_out},
        "column": preferences.column,
        **accuracy_report(pairs, preferences.subsets, scores, seed=seed),
    }
    if suite == "rewardbench":
        found["suite"] = rewardbench(pairs, preferences, scores.scores, seed=seed)
    elif suite == "rewardbench2":
        own = [num_chosen[i] for i in kept]
        found["suite"] = rewardbench2(preferences, own, pairs, scores.scores, seed=seed)
    if num_probed:
        found["probes"] = _probes(reward, preferences, scores.scores, num_probed, seed, log)
    return found


def _read(source: str, options: ReadOptions, by: str | None, suite: Suite | None) -> tuple[Preferences, list[int]]:
    if suite is not None and is_builtin(source):
        raise UserError(
            "a suite is scored on its own file", where=source, remedy="Leave out --suite, or name the file."
        )
    if suite == "rewardbench2" and by not in (None, "subset"):
        raise UserError("RewardBench 2 has its subsets in `subset`", remedy="Leave out the other column.")
    if suite == "rewardbench2":
        return read_rewardbench2(source, options)
    column = "subset" if suite == "rewardbench" and by is None else by
    preferences = read_preferences(source, options, column)
    return preferences, []


def _probes(
    reward: StoredReward,
    preferences: Preferences,
    scores: Sequence[Any],
    num_probed: int,
    seed: int,
    log: ScoreLog | None,
) -> dict[str, Any]:
    plain = [i for i, (comparison, _) in enumerate(preferences.judged) if not comparison.prompt.prefill][:num_probed]
    if not plain:
        raise UserError(
            "every prompt opens its answer, so that none can be dressed up",
            remedy="Leave out --probes, or give prompts without openings.",
        )
    judged = [preferences.judged[i] for i in plain]
    with Progress("probing", len(plain) * len(PROBES), "comparisons") as progress:
        own = [scores[i] for i in plain]
        return probe(reward, judged, pairs_of(judged), own, seed=seed, advance=progress.advance, log=log)

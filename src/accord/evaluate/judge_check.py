"""A judge beside people who compared responses: how often it puts two of them in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from accord.algorithms.agreement import cohen_kappa, krippendorff_alpha
from accord.algorithms.win_rates import mean_interval
from accord.collect.judge import JudgeAnnotator, from_points, from_verdicts
from accord.collect.judge_quality import agreed, both_ways, in_both_orders, verdicts_of_both
from accord.data.records import JudgedComparison
from accord.errors import UserError
from accord.evaluate.human_labels import statistic_interval
from accord.evaluate.preferences import pairs_of


def preference_check(judge: JudgeAnnotator, said: Sequence[JudgedComparison], seed: int) -> dict[str, Any]:
    """For JSON:

        by, n, ties       the judge; pairs that people put in an order, and pairs that they did not
        num_unread        comparisons of which no answer could be had or read
        accuracy          of the pairs in an order, those that the judge puts in the same one, a tie of its own one half
        kappa, alpha      of who is better or neither, ties included, each pair told both ways; None where nothing can
                          be said
        baselines         what always taking the longest response, the shortest or the first reaches
        orders            of a judge of pairs, who is asked in both orders: how often the verdict flips, and for the
                          first place

    Intervals are bootstraps by prompt. Raises UserError when people and the judge have no pair in common.
    """
    comparisons = [comparison for comparison, _ in said]
    orders: dict[str, Any] = {}
    if judge.in_points:
        judged = from_points(judge.name, comparisons, judge.points(comparisons))
    else:
        verdicts = judge.verdicts(comparisons)
        judged = from_verdicts(judge.name, comparisons, verdicts)
        orders = {"orders": in_both_orders(verdicts, seed)}
    ratings, groups = verdicts_of_both(said, judged)
    ordered = ratings[:, 0] != 0
    if not ordered.any():
        remedy = "See the answers in the store, or take more rows, or another judge."
        raise UserError(
            f"people and the judge have no ordered pair in common, of {len(said)} comparisons", remedy=remedy
        )
    right = mean_interval(agreed(ratings[ordered]), groups=groups[ordered], seed=seed)
    both, of_both = both_ways(ratings), np.tile(groups, 2)
    kappa = statistic_interval(both, cohen_kappa, of_both, seed)
    alpha = statistic_interval(both, krippendorff_alpha, of_both, seed)
    answered = {one.comparison_id for one in judged}
    return {
        "by": judge.name,
        "n": int(ordered.sum()),
        "ties": int((~ordered).sum()),
        "num_unread": sum(one.id not in answered for one in comparisons),
        "accuracy": asdict(right),
        "kappa": None if kappa is None else asdict(kappa),
        "alpha": None if alpha is None else asdict(alpha),
        "baselines": pairs_of([one for one in said if one[0].id in answered]).baselines(seed),
        **orders,
    }

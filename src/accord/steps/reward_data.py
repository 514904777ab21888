"""Which comparisons a reward model learns from, and what is wrong when it is none. Shared; not a step.

`label` is the step's name; errors name its key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from accord.data.records import JudgedComparison
from accord.engine.ranking.config import RankingConfig
from accord.errors import UserError

if TYPE_CHECKING:
    from accord.engine.ranking.training import Examples
    from accord.text.template import Template
    from accord.types import Ranking

Judged = Literal["data", "validation"]


def ordered(
    config: RankingConfig, comparisons: Sequence[JudgedComparison], field: Judged, label: str
) -> tuple[list[Ranking], dict[str, int]]:
    """The comparisons with an order (or, to learn from, a tie), and what was left out. Raises UserError when there are
    none, or when what the safety loss or the margins are of is missing."""
    from accord.engine.ranking.training import rankings_of

    rankings, counts = rankings_of(config, comparisons, levels=field == "validation")
    where = f"{label}.{field}"
    if not any(one.pairs or (one.ties and field == "data") for one in rankings):
        remedy = _why_none(config, comparisons, counts)
        raise UserError("no comparison has an ordered pair", where=where, remedy=remedy)
    if field == "data" and config.safety_coef and not any(one.safe for one in rankings):
        raise UserError(
            "safety_coef is set, and no response is labelled safe or unsafe",
            where=where,
            remedy="Set safety_coef: 0, or give the data the column `safe`, or `chosen_safe` and `rejected_safe`.",
        )
    if field == "data" and config.margin == "data" and not any(pair.margin for one in rankings for pair in one.pairs):
        raise UserError(
            "margin: data takes the margins of the data, and all of them are 0",
            where=where,
            remedy="Give it the column `margin`, or set margin: none.",
        )
    return rankings, counts


def examples(
    config: RankingConfig,
    template: Template,
    comparisons: Sequence[JudgedComparison],
    context: int | None,
    field: Judged,
    label: str,
) -> tuple[Examples, dict[str, int]]:
    """What the model can learn from, or be measured on. context: the most tokens that it takes. Raises UserError when
    it is nothing."""
    from accord.engine.ranking.training import usable

    rankings, counts = ordered(config, comparisons, field, label)
    found, left_out = usable(template, rankings, context)
    if not any(one.pairs or (one.ties and field == "data") for one in found.rankings):
        same = left_out["num_identical_pairs"]
        raise UserError(
            f"of {len(rankings)} comparisons with an ordered pair none is left: "
            f"{left_out['num_with_control_tokens']} hold a control token, {left_out['num_too_long']} a response that "
            f"with its prompt has more tokens than the model takes ({context})"
            + f", {same} pairs are of equal responses"
            * bool(same),
            where=f"{label}.{field}",
            remedy="Take the tokens out of the texts, shorten the responses, or start from a model that takes more.",
        )
    return found, counts | left_out


def _why_none(config: RankingConfig, comparisons: Sequence[JudgedComparison], counts: Mapping[str, int]) -> str:
    """What to do, when no comparison has an ordered pair."""
    from accord.data.derive import derive_ranking

    if not any(judgements for _, judgements in comparisons):
        return "Nobody has judged them: let a `collect` step do it, and name that."
    if counts.get("num_without_single_best"):
        return "No response is the single best of its comparison: set loss: pairs, or lower tie_below."
    if counts["num_pairs_unsafe_chosen"]:
        return "In every pair an unsafe response was preferred to a safe one: see drop_unsafe_chosen."
    if config.tie_below and any(derive_ranking(one, said, tie_below=0.0).pairs for one, said in comparisons):
        return f"Every difference of mean grades is below tie_below = {config.tie_below:g}: lower it."
    return "All responses to a prompt have equal grades: give it comparisons in which some differ."

"""What labelled responses say of a piecewise reward: a part of the step `piecewise`. Not a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accord.errors import UserError
from accord.steps.base import Job

if TYPE_CHECKING:
    import numpy as np

    from accord.rewards.stored import StoredReward
    from accord.types import Comparison


@dataclass(frozen=True, slots=True)
class Labelled:
    """comparisons: of the validation, as far as the reward can read them. known: which of their responses have a label,
    [n]. raw, safe: of these the raw score and the label. left_out: what the reward cannot read."""

    comparisons: Sequence[Comparison]
    known: np.ndarray
    raw: np.ndarray
    safe: np.ndarray
    left_out: dict[str, int]

    @property
    def alike(self) -> bool:
        """All labels are the same, so that nothing can be told from them."""
        return _alike(self.safe)


def orders(
    job: Job, found: Labelled, logits: np.ndarray, limit: float
) -> tuple[list[dict[str, Any]], dict[str, float] | None]:
    """The same responses under all rules, and with helpfulness first; and what safe and unsafe ones are paid. logits:
    of being safe, calibrated."""
    import numpy as np

    from accord.evaluate.orders import order_table, pay
    from accord.evaluate.scoring import readable
    from accord.models.compute import compute_dtype
    from accord.rewards.loading import artifact_reward

    fallback = artifact_reward(job.inputs["rewards"][-1].artifact, compute_dtype())
    prompts, responses = [one.prompt for one in found.comparisons], [one.responses for one in found.comparisons]
    kept, _ = readable(fallback, prompts, responses)
    if not kept:
        return [], None
    with job.work.progress(f"{job.name}: helpfulness", len(kept), "comparisons") as progress:
        asked = [prompts[i] for i in kept], [responses[i] for i in kept]
        scores = fallback.score(*asked, job.work.advancer(progress)).double().numpy()
    groups = np.repeat(np.arange(len(prompts)), [len(one) for one in responses])
    read = np.isin(groups, kept)
    helpful = np.full(len(groups), np.nan)
    helpful[read] = scores
    is_safety = np.array([prompt.is_safety for prompt in prompts], dtype=bool)[groups]
    both = read[found.known]  # of those with a label
    if not both.any():
        return [], None
    logits, helpful, is_safety = logits[both], helpful[found.known][both], is_safety[found.known][both]
    safe, rule, groups = found.safe[both], job.config.rule, groups[found.known][both]
    table = order_table(logits, helpful, is_safety, safe, groups, threshold=limit, rule=rule, seed=job.seed)
    return table, pay(logits, helpful, is_safety, safe, threshold=limit, rule=rule, scale=job.config.scale)


def labelled(job: Job, reward: StoredReward) -> Labelled:
    """The validation's responses with their labels and raw scores. Raises UserError when there are none, or all are
    alike and a calibration or a threshold is to come of them."""
    import numpy as np

    from accord.data.derive import safe_by_majority
    from accord.evaluate.scoring import readable
    from accord.rewards.stored import raw

    given = [one for part in job.inputs["validation"] for one in part.read("comparisons")]
    kept, left_out = readable(reward, [one.prompt for one, _ in given], [one.responses for one, _ in given])
    records = [given[at] for at in kept]
    labels = [safe_by_majority(said, len(one.responses)) or (None,) * len(one.responses) for one, said in records]
    flat = [label for of_one in labels for label in of_one]
    known = np.array([label is not None for label in flat], dtype=bool)
    safe = np.array([bool(label) for label in flat], dtype=bool)[known]
    decides = job.config.fits or job.config.precision is not None
    if not known.any() or (decides and _alike(safe)):
        what = "no response is labelled" if not known.any() else f"all {len(safe)} labels are alike"
        raise UserError(
            f"{what}, so nothing tells safe from unsafe",
            where=f"{job.name}.validation",
            remedy="Give it the column `safe`, or `chosen_safe` and `rejected_safe`, with both values.",
        )
    with job.work.progress(f"{job.name}: validation", len(records), "comparisons") as progress:
        scores = reward.score(
            [one.prompt for one, _ in records], [one.responses for one, _ in records], job.work.advancer(progress)
        )
    whole = [one for one, _ in records]
    return Labelled(whole, known, raw(reward, scores).double().numpy()[known], safe, dict(left_out))


def _alike(safe: np.ndarray) -> bool:
    return bool(safe.all() or not safe.any())

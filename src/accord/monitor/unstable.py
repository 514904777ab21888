"""Alarms of an update that is too large, or made from numbers that are no longer those of the policy.

Each says where its limit comes from. They are levels of the last third (`lasting`), but for a spike, which is one
iteration against those before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final

from accord.monitor.alarm import Alarm
from accord.monitor.values import clean, fixed, number, percent
from accord.monitor.windows import FEWEST, Row, lasting, moved, series_of

SPIKE: Final = 5.0  # times the median of the iterations before
SPIKE_NATS: Final = 10.0  # and this far above it: small KLs double by chance
EARLY_NATS: Final = 30.0  # so far above it where there are fewer than three before
BEFORE: Final = 5  # iterations that it is held against
CLIPPED: Final = 0.4  # of the tokens; a healthy run has 0.05 to 0.2
NO_VALUE: Final = 0.0  # explained variance: of the mean of the returns
FAR_APART: Final = 0.05  # nats a token; rounding in bfloat16 makes about 0.01
FOLLOWS: Final = 0.8  # correlation of score and length
_FINITE: Final = ("loss", "eval_loss", "objective/scores", "objective/shaped_scores", "objective/kl")
LONGER: Final = 1.25  # times as long as at the start, of responses that are paid by length


def not_finite(rows: Sequence[Row]) -> Alarm | None:
    """A loss, a score or a KL is infinite or no number: nothing that is computed from it means anything (transformers
    issue 25129: such weights push the healthy checkpoints out)."""
    for at, row in enumerate(rows, start=1):
        for key, value in row.items():
            of_loss = key in _FINITE or key.startswith("loss/")
            if of_loss and isinstance(value, float) and not math.isfinite(value):
                what = f"{clean(key, 60)} is {value}, and nothing that is computed from it means anything."
                return Alarm("not_finite", what, int(number(row.get("iteration")) or at))
    return None


def kl_spike(rows: Sequence[Row]) -> Alarm | None:
    """One iteration is far from the reference all at once: an update broke the policy (Zheng et al. 2023, "Secrets of
    RLHF I", arXiv:2307.04964, watch the KL for a collapse)."""
    series = series_of(rows, "objective/kl")
    for at in range(1, len(series)):
        usual = median(value for _, value in series[max(0, at - BEFORE) : at])
        since, value = series[at]
        if value > SPIKE * max(usual, 0.0) and value - usual > (SPIKE_NATS if at >= 3 else EARLY_NATS):
            what = (
                f"the KL rose from {fixed(usual, 1)} to {fixed(value, 1)} nats in one iteration: an update broke the "
                "policy. Lower the learning rate or num_epochs, or set stop_at_kl."
            )
            return Alarm("kl_spike", what, since)
    return None


def clipping(rows: Sequence[Row]) -> Alarm | None:
    """The policy leaves the trust region in most of its updates, so that clipped tokens teach nothing (Schulman et al.
    2017; the clip fraction as a monitor: Huang et al. 2022, "The 37 implementation details of PPO")."""
    return _above(
        rows,
        "clipping",
        "policy/clipfrac_avg",
        CLIPPED,
        lambda last: (
            f"{percent(last)} % of the tokens are clipped at the end: updates are too large, and clipped tokens teach "
            "nothing. Lower the learning rate or num_epochs."
        ),
    )


def useless_value(rows: Sequence[Row]) -> Alarm | None:
    """The value model predicts returns worse than their mean would, and adds noise to the advantages (explained
    variance at or below 0: Huang et al. 2022). Of a run of a few iterations nothing is said: it has only begun."""
    series = series_of(rows, "value/explained_variance")
    move = lasting(series, lambda last: last < NO_VALUE) if len(series) >= FEWEST else None
    if move is None:
        return None
    what = (
        f"the value model explains {percent(move.after)} % of the variance of the returns at the end, less than their "
        "mean would. Raise value_learning_rate, warm it up for some iterations, or start it from the reward model."
    )
    return Alarm("useless_value", what, move.since)


def value_learns(rows: Sequence[Row]) -> bool:
    """What the value model explains is more in the last third than in the first: it need not stay useless."""
    return moved(series_of(rows, "value/explained_variance"), lambda first, last: last > first) is not None


def mismatch(rows: Sequence[Row]) -> Alarm | None:
    """Sampler and learner give the same token different probabilities, beyond rounding: what is learned from is not
    what was sampled."""
    return _above(
        rows,
        "mismatch",
        "sampler/mismatch_per_token",
        FAR_APART,
        lambda last: (
            f"the log-probabilities of sampler and learner differ by {fixed(last, 3)} nats a token at the end, and "
            "rounding makes about 0.01. Look at sampler/mismatch_max, or set importance_cap."
        ),
    )


def paid_by_length(rows: Sequence[Row]) -> Alarm | None:
    """Score and length go together within an iteration, and responses grow: the reward's length bias is learned
    (Stiennon et al. 2020, figure 5's control; Singhal et al. 2023, arXiv:2310.03716)."""
    follows = lasting(series_of(rows, "response/score_length"), lambda last: last > FOLLOWS)
    longer = moved(series_of(rows, "response/mean_tokens"), lambda first, last: last > LONGER * first)
    if follows is None or longer is None:
        return None
    what = (
        f"score and length have a correlation of {fixed(follows.after)} at the end, and responses grew from "
        f"{fixed(longer.before, 1)} to {fixed(longer.after, 1)} tokens: the policy is paid by length. Take a reward "
        "that was trained on pairs of like length, or subtract a length rule with `combine`."
    )
    return Alarm("paid_by_length", what, max(follows.since, longer.since))


def _above(rows: Sequence[Row], name: str, key: str, limit: float, say: Callable[[float], str]) -> Alarm | None:
    """The last third lies above a limit."""
    move = lasting(series_of(rows, key), lambda last: last > limit)
    return None if move is None else Alarm(name, say(move.after), move.since)

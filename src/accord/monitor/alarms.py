"""Alarms: what a training's metrics say went wrong, and since when. Loss and reward can look healthy meanwhile.

Each alarm reads the metrics that it needs and is silent where they are missing, so one function serves every training
step. What is done about an alarm is the recipe's to say (`accord.monitor.reactions`).

Of a single row are judged: a number that is none; a KL below what chance explains, and a first ratio that is not 1,
which both mean that the program samples, scores or learns with different distributions. All else is judged from
windows. That nothing is learned from the reward is a level of the last third, and shows in a run of one iteration, too
(`accord.monitor.nothing_learned`). What remains is the mean of the last third of what was measured against the mean of
the first third. A mean must have moved by a factor that people would act on, except where small moves matter and must
be larger than their noise (`displacement`, `overoptimisation`, and what is in `accord.monitor.misled`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from accord.monitor.alarm import Alarm
from accord.monitor.misled import disagreement, few_modes, keyword, overfitting, stale_reward, wrong_way
from accord.monitor.nothing_learned import chosen_cut_off, equal_scores, no_pairs, no_updates, unfinished
from accord.monitor.unstable import clipping, kl_spike, mismatch, not_finite, paid_by_length, useless_value
from accord.monitor.values import clean, fixed, percent
from accord.monitor.windows import FEWEST, Row, fall_of, moved, series_of

NEGATIVE_KL: Final = -0.5  # nats per sequence, the mean of an iteration; below, sampling noise does not explain it
RATIO_TOLERANCE: Final = 1e-4  # the ratio of equal numbers is exactly 1; the mean of many may be rounded
FEWER_FINISHED: Final = 0.5  # of the share at the start
SOME_FINISHED: Final = 0.2  # share at the start; a policy that ended fewer of its turns has nothing to unlearn
LESS_ENTROPY: Final = 0.2  # of the entropy at the start
LESS_DISTINCT: Final = 0.5  # of distinct-2 at the start
LENGTH_JUMP: Final = 2.0  # times as long, or as short, as at the start

__all__ = ["Alarm", "alarms", "as_json", "displacement", "raised"]


def alarms(rows: Sequence[Row]) -> list[Alarm]:
    """What these metrics, a row an iteration or optimizer step, give cause for; of what another alarm says the why,
    that one alone."""
    found = raised(rows)
    names = {alarm.name for alarm in found}
    return [alarm for alarm in found if not names & _SAY_WHY.get(alarm.name, frozenset())]


def raised(rows: Sequence[Row]) -> list[Alarm]:
    """All that these metrics give cause for."""
    return [alarm for find in _ALARMS if (alarm := find(rows)) is not None]


def as_json(found: Sequence[Alarm]) -> list[dict[str, Any]]:
    """For a step's summary.json, under `alarms`."""
    return [asdict(alarm) for alarm in found]


def displacement(rows: Sequence[Row]) -> Alarm | None:
    """Chosen responses become less likely, and held-out quality falls with them (Razin et al. 2024, arXiv:2410.08847).

    That the log-probability of chosen responses falls is common in direct preference optimisation, and no harm by
    itself: the loss only sees the gap. So the alarm asks for both of
    - the log-probability of chosen responses (`eval_logps/chosen`, else `logps/chosen`) is lower at the end than at the
      start;
    - quality is lower at the end than it was at its best. Quality is the first of these that was measured often enough:
      the mean of a reward that only watches (`watch/...`; any of several), the held-out accuracy
      (`eval_rewards/accuracies`), the held-out margin (`eval_rewards/margins`). Its best, and not its start, because
      implicit rewards order held-out pairs by chance at the start.
    Lower: by more than 2.5 standard errors of the difference of two windows' means. The noise of a measurement is taken
    from the differences of neighbours (von Neumann 1941), which a steady trend adds to: the rule errs towards silence,
    and says nothing of fewer than four measurements. Pairs of the policy's own samples are others in every iteration,
    and their log-probability tells nothing of this kind.
    """
    if series_of(rows, "objective/scores"):
        return None
    chosen = series_of(rows, "eval_logps/chosen")
    if len(chosen) < FEWEST:
        chosen = series_of(rows, "logps/chosen")
    start = fall_of(chosen, from_best=False)
    if start is None:
        return None
    for title, keys in _qualities(rows):
        measured = {key: series for key in keys if len(series := series_of(rows, key)) >= FEWEST}
        for key, series in measured.items():
            fall = fall_of(series, from_best=True)
            if fall is not None:
                what = (
                    f"the log-probability of chosen responses fell from {fixed(start.before, 1)} to "
                    f"{fixed(start.after, 1)}, and {title(key)} from {fixed(fall.before)} to {fixed(fall.after)}: "
                    "likelihood is displaced to other responses. Stop earlier, add an NLL term, or leave out the pairs "
                    "of highest CHES (keep_ches)."
                )
                return Alarm("displacement", what, fall.since)
        if measured:
            return None
    return None


def overoptimisation(rows: Sequence[Row]) -> Alarm | None:
    """The score that is trained on rises, and one that only watches falls (Gao et al. 2022, arXiv:2210.10760)."""
    scores = series_of(rows, "objective/scores")
    rise = fall_of([(at, -value) for at, value in scores], from_best=False)
    if rise is None:
        return None
    title, watches = _qualities(rows)[0]
    for key in watches:
        fall = fall_of(series_of(rows, key), from_best=True)
        if fall is not None:
            what = (
                f"the score rose from {fixed(-rise.before)} to {fixed(-rise.after)}, while {title(key)} fell from "
                f"{fixed(fall.before)} to {fixed(fall.after)}: the policy learns to please the reward alone. Stop "
                "earlier, or raise the KL penalty."
            )
            return Alarm("overoptimisation", what, fall.since)
    return None


def negative_kl(rows: Sequence[Row]) -> Alarm | None:
    """A KL is never negative, and its k1 estimate hardly below zero: sampling and scoring differ."""
    low = [point for point in series_of(rows, "objective/kl") if point[1] < NEGATIVE_KL]
    if not low:
        return None
    worst = min(value for _, value in low)
    what = (
        f"the KL was negative in {_times(len(low), 'iteration')}, {fixed(worst, 1)} nats per sequence at the lowest: "
        "sampling and scoring use different distributions."
    )
    return Alarm("negative_kl", what, low[0][0])


def first_ratio(rows: Sequence[Row]) -> Alarm | None:
    """Before the first optimizer step of an iteration, the policy is the one that sampled."""
    off = [point for point in series_of(rows, "policy/first_ratio") if abs(point[1] - 1) > RATIO_TOLERANCE]
    if not off:
        return None
    what = (
        f"the first ratio was not 1 in {_times(len(off), 'iteration')} ({fixed(off[0][1], 4)} in the first of them): "
        "the policy that learns is not the one whose log-probabilities were taken."
    )
    return Alarm("first_ratio", what, off[0][0])


def endless(rows: Sequence[Row]) -> Alarm | None:
    """Responses stop to end by themselves: the end-of-turn token is being unlearned."""
    return _below(
        rows,
        "endless",
        "response/finished",
        FEWER_FINISHED,
        lambda a, b: (
            f"the share of finished responses fell from {percent(a)} % to {percent(b)} %: the policy no longer ends "
            "its turn (with end_at, no longer writes that text). Lower truncation_score, or raise max_response_tokens."
        ),
        at_least=SOME_FINISHED,
    )


def entropy_collapse(rows: Sequence[Row]) -> Alarm | None:
    """The policy has made up its mind, and explores no more."""
    return _below(
        rows,
        "entropy_collapse",
        "objective/entropy",
        LESS_ENTROPY,
        lambda a, b: (
            f"the entropy fell from {fixed(a)} to {fixed(b)} nats per token: the policy has stopped to "
            "explore. Raise the KL penalty, or lower the learning rate."
        ),
    )


def repetition(rows: Sequence[Row]) -> Alarm | None:
    """The responses repeat themselves, or one another."""
    return _below(
        rows,
        "repetition",
        "response/distinct_2",
        LESS_DISTINCT,
        lambda a, b: f"distinct-2 fell from {fixed(a)} to {fixed(b)}: the responses repeat one another.",
    )


def length_jump(rows: Sequence[Row]) -> Alarm | None:
    """Reward models often like length, so it is what a policy exploits first."""
    series = series_of(rows, "response/mean_tokens")
    long = moved(series, lambda first, last: last > LENGTH_JUMP * first)
    move = long or moved(series, lambda first, last: last * LENGTH_JUMP < first)
    if move is None:
        return None
    verb = "grew" if long else "shrank"
    what = f"the mean length {verb} from {fixed(move.before, 1)} to {fixed(move.after, 1)} tokens."
    return Alarm("length_jump", what, move.since)


_ALARMS: Final = (
    not_finite,
    displacement,
    overoptimisation,
    wrong_way,
    stale_reward,
    disagreement,
    keyword,
    few_modes,
    overfitting,
    negative_kl,
    first_ratio,
    kl_spike,
    clipping,
    useless_value,
    mismatch,
    endless,
    unfinished,
    chosen_cut_off,
    entropy_collapse,
    repetition,
    length_jump,
    paid_by_length,
    no_pairs,
    equal_scores,
    no_updates,
)
# An alarm is silent where one of these says why.
_SAY_WHY: Final[Mapping[str, frozenset[str]]] = {
    "unfinished": frozenset({"endless", "no_updates"}),
    "equal_scores": frozenset({"no_updates"}),
    "length_jump": frozenset({"paid_by_length"}),
}


def _below(
    rows: Sequence[Row],
    name: str,
    key: str,
    factor: float,
    say: Callable[[float, float], str],
    at_least: float = 0.0,
) -> Alarm | None:
    """The end is less than so many times the start, which was not below `at_least`."""
    move = moved(series_of(rows, key), lambda first, last: first >= at_least and last < factor * first)
    return None if move is None else Alarm(name, say(move.before, move.after), move.since)


Title = Callable[[str], str]


def _qualities(rows: Sequence[Row]) -> list[tuple[Title, list[str]]]:
    watched = dict.fromkeys(key for row in rows for key in row if key.startswith("watch/"))
    return [
        (lambda key: f"the score of {clean(key.removeprefix('watch/'), 60)}, which only watches,", list(watched)),
        (lambda _: "the held-out accuracy", ["eval_rewards/accuracies"]),
        (lambda _: "the held-out margin", ["eval_rewards/margins"]),
    ]


def _times(num: int, what: str) -> str:
    return f"{num} {what}" if num == 1 else f"{num} {what}s"

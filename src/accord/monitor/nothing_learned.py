"""Alarms of a policy that hears nothing from its reward: all that it writes is worth the same, or is left out.

All of them are levels, which show in a run of one iteration, too (`lasting`). The cause decides what to do, so it is
looked for in the metrics: responses that are cut off have one score whatever they say; responses that are equal have,
too; and some rewards give one number to all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from accord.monitor.alarm import Alarm
from accord.monitor.values import fixed, number, percent
from accord.monitor.windows import Move, Row, lasting, moved, series_of

HARDLY_ANY: Final = 0.05  # share of responses with a score of their own; so few differ that hardly anything is learned
FEW: Final = 0.5  # the same share; with fewer, it is why the scores of a prompt are equal
MOST: Final = 0.8  # share of prompts whose scores are equal; the samples of so many are wasted
FEWEST_SHARES: Final = 3  # iterations, before a share of prompts is held to be what it will be
LITTLE_ENTROPY: Final = 1.0  # nats per response: a second sample is the same response in one case of e or more


def cut_off(rows: Sequence[Row]) -> Move | None:
    """Hardly a response has a score of its own (`response/own_score`); its share. Metrics without it:
    is finished, where scores were replaced."""
    own = series_of(rows, "response/own_score")
    scores, shaped = (_values(rows, f"objective/{name}") for name in ("scores", "shaped_scores"))
    if not own and (not scores or scores != shaped):
        own = series_of(rows, "response/finished")
    return lasting(own, lambda last: last < HARDLY_ANY)


def unfinished(rows: Sequence[Row]) -> Alarm | None:
    """Nearly all responses are cut off: under `truncation_score` their rewards are one number."""
    move = cut_off(rows)
    if move is None:
        return None
    what = (
        f"almost no response is finished: {percent(move.after)} % at the end. All others share one score "
        "(truncation_score) or are masked, whatever they say, so hardly anything is learned from the reward. Raise "
        "max_response_tokens, train the start policy (sft) on shorter answers (with end_at: that have this text), or "
        "write `truncation_score: null`, and leave out mask_truncated."
    )
    return Alarm("unfinished", what, move.since)


def chosen_cut_off(rows: Sequence[Row]) -> Alarm | None:
    """Rejection sampling had nothing else to choose, and what is imitated does not end."""
    move = lasting(series_of(rows, "chosen/finished"), lambda last: last < FEW)
    if move is None:
        return None
    what = (
        f"{percent(1 - move.after)} % of the chosen responses are cut off, as no other sample of their prompts is "
        "finished: the policy learns not to end its turn. Raise max_response_tokens or num_samples, or train the start "
        "policy (sft) on shorter answers."
    )
    return Alarm("chosen_cut_off", what, move.since)


def no_pairs(rows: Sequence[Row]) -> Alarm | None:
    """A prompt's samples all tie, so there is nothing to prefer, and nothing is learned. Silent where it is because
    they are cut off."""
    move = lasting(series_of(rows, "pairs/num"), lambda last: last == 0)
    if move is None or cut_off(rows) is not None:
        return None
    apart = lasting(series_of(rows, "frac_reward_zero_std"), lambda last: last < 1)
    if apart is not None:
        what = (
            "the scores of a prompt's samples differ by less than tie_below, or the samples are equal: there is no "
            "pair, and nothing is learned. Lower tie_below, or raise the temperature."
        )
    else:
        what = f"no two samples of a prompt differ in score: nothing is learned. {_remedy(rows)}"
    return Alarm("no_pairs", what, move.since)


def equal_scores(rows: Sequence[Row]) -> Alarm | None:
    """Of most prompts all responses have one score, so a method that compares them learns nothing from these prompts.
    Silent where `no_pairs` says so of all, where it is because they are cut off, and where it is because the prompts
    are solved: with rewards of 0 and 1, K responses tie in p^K + (1 - p)^K of the cases. In one or two iterations any
    share but all may be how a run with few successes starts."""
    shares = series_of(rows, "frac_reward_zero_std")
    move = lasting(shares, lambda last: last > MOST)
    if move is None or cut_off(rows) is not None or no_pairs(rows) is not None:
        return None
    if len(shares) < FEWEST_SHARES and move.after < 1:
        return None
    if move.before <= MOST and moved(series_of(rows, "objective/scores"), lambda first, last: last > first):
        return None
    what = (
        f"all responses to a prompt have one score with {percent(move.after)} % of the prompts at the end, from which "
        f"nothing is learned. {_remedy(rows)}"
    )
    return Alarm("equal_scores", what, move.since)


def no_updates(rows: Sequence[Row]) -> Alarm | None:
    """No response may give a gradient: under `mask_truncated`, because none is finished. Iterations in which only a
    value model learns (phase 0) do not count."""
    if series_of(rows, "pairs/num"):
        return None  # `no_pairs` or `unfinished` says why
    of_policy = [row for row in rows if number(row.get("phase")) != 0]
    move = lasting(series_of(of_policy, "policy/num_updates"), lambda last: last == 0)
    if move is None:
        return None
    what = (
        "no response is finished, and mask_truncated leaves out all others: nothing is learned. "
        "Raise max_response_tokens."
    )
    return Alarm("no_updates", what, move.since)


def _remedy(rows: Sequence[Row]) -> str:
    """What to do about equal scores, by their cause."""
    own = lasting(series_of(rows, "response/own_score"), lambda last: last < FEW)
    if own is not None:
        return (
            f"{percent(1 - own.after)} % of the responses are cut off and share one score (truncation_score), or are "
            "masked: raise max_response_tokens, or write `truncation_score: null`, without mask_truncated."
        )
    entropies, lengths = (_values(rows, key) for key in ("objective/entropy", "response/mean_tokens"))
    per_response = [(at, a * b) for at, (a, b) in enumerate(zip(entropies, lengths, strict=False))]
    if lasting(per_response, lambda last: last < LITTLE_ENTROPY) is not None:
        return "The responses to a prompt hardly differ: raise the temperature."
    scores = _values(rows, "objective/scores")
    if len(scores) > 1 and len(set(scores)) == 1:
        return f"The mean score was {fixed(scores[0])} in every iteration: look at whether the reward says that of all."
    return (
        "Look at the reward, which may say one number of all; take prompts of which some responses are good and some "
        "bad, or raise num_samples or the temperature."
    )


def _values(rows: Sequence[Row], key: str) -> list[float]:
    return [value for _, value in series_of(rows, key)]

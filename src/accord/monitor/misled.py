"""Alarms of a policy that is led astray by what it learns from, and of data that is learned by heart.

All are of what is measured while nothing in loss or gradient looks wrong. A fall or a rise must be larger than its
noise (`fall_of`), or go beyond a factor that people would act on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from accord.monitor.alarm import Alarm
from accord.monitor.values import clean, fixed, number, percent
from accord.monitor.windows import FEWEST, Row, Series, fall_of, lasting, moved, series_of

LESS_AGREEMENT: Final = 0.1  # of the pairs; smaller falls are seen in series that are level (`bench/alarms.py`)
MORE_SPREAD: Final = 2.0  # times as far apart as at the start
LESS_COVERED: Final = 0.5  # of the share of the start's words that the first iterations write
MORE_OF_A_WORD: Final = 0.4  # of the responses, beyond the share at the start
PAID: Final = 0.4  # correlation of a word's presence with the score
_LEVEL: Final = 1e-6  # a series that moves less is held where it is, as by a normalisation


def wrong_way(rows: Sequence[Row]) -> Alarm | None:
    """What is trained on gets less: updates are too large, or the sign of a KL or of an advantage is flipped. (A reward
    of the wrong sign rises, as that of Ziegler et al. 2019, arXiv:1909.08593, section 4.4: see `overoptimisation`.)

    Both the score that is trained on and, where it is logged, that score less the KL penalty fall: the latter alone
    falls as the coefficient rises, the former alone on the way back to the reference.
    """
    if not series_of(rows, "objective/kl"):
        return None
    scores = series_of(rows, "objective/shaped_scores")
    if not scores or max(value for _, value in scores) - min(value for _, value in scores) < _LEVEL:
        scores = series_of(rows, "objective/scores")
    fall = fall_of(scores, from_best=False)
    whole = series_of(rows, "objective/rlhf_reward")
    if fall is None or (whole and fall_of(whole, from_best=False) is None):
        return None
    what = (
        f"the score that is trained on fell from {fixed(fall.before)} to {fixed(fall.after)}: updates are too "
        "large, or the method climbs the wrong way. Lower the learning rate or num_epochs."
    )
    return Alarm("wrong_way", what, fall.since)


def stale_reward(rows: Sequence[Row]) -> Alarm | None:
    """The reward orders fresh samples less as one that only watches does (`agreement/...`): the policy has left what
    the reward model was trained on, as which Llama 2 collects comparisons anew (Touvron et al. 2023, arXiv:2307.09288,
    sections 3.2.2 and 3.2.4)."""
    for key in _named(rows, "agreement/"):
        fall = fall_of(series_of(rows, key), from_best=False)
        if fall is None or fall.before - fall.after < LESS_AGREEMENT:
            continue
        name = clean(key.removeprefix("agreement/"), 60)
        sure = lasting(series_of(rows, f"confidence/{key.removeprefix('agreement/')}"), lambda last: True)
        told = "" if sure is None else f"; of itself it would say {percent(sure.after)} %"
        what = (
            f"the reward orders {percent(fall.after)} % of fresh pairs as {name} does, and {percent(fall.before)} % at "
            f"the start{told}: the policy has left what the reward model knows. "
            "Collect comparisons of what it writes now, and train another reward model."
        )
        return Alarm("stale_reward", what, fall.since)
    return None


def disagreement(rows: Sequence[Row]) -> Alarm | None:
    """The members of an ensemble of reward models, or the parts of a reward, go apart on what the policy writes
    (Coste et al. 2023, arXiv:2310.02743; Eisenstein et al. 2023, arXiv:2312.09244)."""
    move = moved(series_of(rows, "spread/reward"), lambda first, last: last > MORE_SPREAD * first)
    if move is None:
        return None
    what = (
        f"the members of the reward were {fixed(move.before)} apart, and are {fixed(move.after)}: they no longer know "
        "what the policy writes. Stop earlier, raise the KL penalty, or let the worst of them decide (`combine`)."
    )
    return Alarm("disagreement", what, move.since)


def few_modes(rows: Sequence[Row]) -> Alarm | None:
    """Words of the start policy are written no more: a policy that is trained on a reward seeks few modes, and drops
    the others (Kirk et al. 2023, arXiv:2310.06452, find less diversity across inputs; self-BLEU: Zhu et al. 2018)."""
    move = moved(series_of(rows, "response/coverage"), lambda first, last: last < LESS_COVERED * first)
    if move is None:
        return None
    alike = moved(series_of(rows, "response/self_bleu"), lambda first, last: True)
    told = "" if alike is None else f"; self-BLEU went from {fixed(alike.before)} to {fixed(alike.after)}"
    what = (
        f"of the words of the start {percent(move.after)} % are still written, and {percent(move.before)} % were in "
        f"the first iterations{told}: the policy has few things left to say. Raise the KL penalty, or stop earlier."
    )
    return Alarm("few_modes", what, move.since)


def keyword(rows: Sequence[Row]) -> Alarm | None:
    """One word stands in many more responses than at the start, and those with it score higher: the reward pays for the
    word (Pan et al. 2022, arXiv:2201.03544, on rewards that are wrong in one respect; h2oai/h2ogpt issue 39)."""
    risen = [
        (at, str(row["keyword/word"]), rise)
        for at, row in enumerate(rows, start=1)
        if "keyword/word" in row and (rise := number(row.get("keyword/rise"))) is not None
    ]
    if len(risen) < FEWEST:
        return None
    last = risen[-max(len(risen) // 3, 2) :]
    names = [word for _, word, _ in last]
    word = max(names, key=names.count)
    rise = sum(rise for _, one, rise in last if one == word) / names.count(word)
    follows = series_of([row for row in rows if row.get("keyword/word") == word], "keyword/score")
    if 2 * names.count(word) <= len(names) or rise < MORE_OF_A_WORD or not follows:
        return None
    correlation = sum(value for _, value in follows) / len(follows)
    if correlation < PAID:
        return None
    what = (
        f"{clean(word, 60)!r} stands in {percent(rise)} % of the responses more than at the start, and its presence "
        f"and the score have a correlation of {fixed(correlation)}: the reward may pay for the word. Look at responses "
        "with it, and at what the reward says of a text to which it is added."
    )
    first = next(at for at, one, _ in risen if one == word)
    return Alarm("keyword", what, int(number(rows[first - 1].get("iteration")) or first))


def overfitting(rows: Sequence[Row]) -> Alarm | None:
    """The loss on held-out examples rises from its lowest (Prechelt 1998, "Early stopping - but when?")."""
    rise = fall_of(_negative(series_of(rows, "eval_loss")), from_best=True)
    if rise is None:
        return None
    what = (
        f"the held-out loss rose from {fixed(-rise.before, 3)}, its lowest, to {fixed(-rise.after, 3)}: the data is "
        "learned by heart. Train for fewer epochs or at a lower learning rate, or set early_stopping."
    )
    return Alarm("overfitting", what, rise.since)


def _named(rows: Sequence[Row], prefix: str) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row if key.startswith(prefix)))


def _negative(series: Series) -> Series:
    return [(at, -value) for at, value in series]

"""What a run's results say, in plain words: one headline and the cautions that belong beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from accord.monitor.values import clean, fixed, number, percent, table

Tone = Literal["good", "mixed", "bad", "unknown"]

DISTINCT_2_SHIFT = 0.30  # relative change against the baseline that is worth a sentence
TOKENS_SHIFT = 0.25
NEGATIVE_KL = -0.5  # nats per sequence; below this, sampling noise does not explain the sign


@dataclass(frozen=True, slots=True)
class Verdict:
    """headline: what happened. tone: whether it is what the run was for. cautions: reasons to doubt or look closer."""

    headline: str
    tone: Tone
    cautions: tuple[str, ...] = ()


def judge(results: Mapping[str, Any]) -> Verdict:
    """The verdict on the last evaluated policy of a run against its baseline.

    The last policy, not the one with the best win rate: picking a winner by the numbers that then praise it would be
    optimistic. A policy wins when the whole interval of its win rate lies above one half.
    """
    policies = table(results.get("policies"))
    baseline = str(results.get("baseline") or "")
    compared, by = _compared(results, policies, baseline)
    reward_model = table(results.get("reward_model"))
    if not compared:
        accuracy = _accuracy_sentence(reward_model)
        headline = f"No policy was compared with a baseline in this run. {accuracy}".rstrip()
        return Verdict(headline, "unknown", tuple(_reward_model_cautions(reward_model)))
    name, row = list(compared.items())[-1]
    base = table(policies.get(baseline))
    against = clean(baseline, 60) or "the baseline"
    outcome, direction = _outcome(clean(name, 60), against, by, row)
    second, agrees = _second_opinion(row, direction)
    headline = " ".join(filter(None, [outcome, second, _drift(row, against)]))
    cautions = [
        *_exploitation(row, base, against),
        *_shifts(row, base, against),
        *_better_elsewhere(compared, name, against),
        *_reward_model_cautions(reward_model),
    ]
    return Verdict(headline, _tone(direction, agrees, bool(cautions)), tuple(cautions))


def _compared(
    results: Mapping[str, Any], policies: Mapping[str, Any], baseline: str
) -> tuple[dict[str, Mapping[str, Any]], str]:
    """The policies with a win rate, and by whom: the gold reward, or a judge where there is none. What a judge says
    beside a gold reward is a second opinion, where there is no other."""
    rows = {name: table(row) for name, row in policies.items() if name != baseline}
    judges = results.get("judges")
    judge = clean(table(judges[0]).get("judge"), 60) if isinstance(judges, list) and judges else "a judge"
    by_gold = any(number(row.get("gold_win_rate")) is not None for row in rows.values())
    other = "second" if by_gold else "gold"
    if not any(number(row.get("second_win_rate")) is not None for row in rows.values()) or not by_gold:
        moved = {f"judge_win_rate{end}": f"{other}_win_rate{end}" for end in ("", "_low", "_high")}
        rows = {name: {**row, **{moved[key]: row[key] for key in moved if key in row}} for name, row in rows.items()}
    found = {name: row for name, row in rows.items() if number(row.get("gold_win_rate")) is not None}
    return found, clean(results.get("by") or "the gold reward", 60) if by_gold else judge


def _tone(direction: int, agrees: bool, cautioned: bool) -> Tone:
    if direction > 0:
        return "good" if agrees and not cautioned else "mixed"
    return "bad" if direction < 0 else "mixed"


def _side(rate: float | None, low: float | None, high: float | None) -> int:
    """1: the interval lies above one half, -1: below it, 0: it covers one half or is unknown."""
    if rate is None or low is None or high is None:
        return 0
    return 1 if low > 0.5 else -1 if high < 0.5 else 0


def _outcome(name: str, against: str, by: str, row: Mapping[str, Any]) -> tuple[str, int]:
    rate, low, high = (number(row.get(f"gold_win_rate{end}")) for end in ("", "_low", "_high"))
    side = _side(rate, low, high)
    by = f"judged by {by}"
    if low is None or high is None:
        share = f"{percent(rate)} % of comparisons {by}"
        return f"{name} is preferred over {against} in {share}; without an interval, chance is not ruled out.", side
    interval = f"95 % interval {percent(low)} to {percent(high)}"
    share = f"{percent(rate)} % of comparisons ({interval}) {by}"
    if side > 0:
        return f"{name} is preferred over {against} in {share}.", side
    if side < 0:
        return f"{name} is worse than {against}: preferred in only {share}.", side
    share = f"preferred in {percent(rate)} % of comparisons ({interval}, which covers 50 %) {by}"
    return f"{name} is not shown to differ from {against}: {share}.", side


def _second_opinion(row: Mapping[str, Any], direction: int) -> tuple[str, bool]:
    rate, low, high = (number(row.get(f"second_win_rate{end}")) for end in ("", "_low", "_high"))
    if rate is None:
        return "No second evaluator checked this.", False
    share, who = f"{percent(rate)} %", "The second evaluator, of another kind,"
    if direction == 0:
        return f"{who} says {share}.", False
    if (rate - 0.5) * direction <= 0:
        return f"{who} disagrees ({share}).", False
    if low is not None and high is not None and _side(rate, low, high) == 0:
        return f"{who} leans the same way ({share}), but its interval covers 50 %.", False
    return f"{who} agrees ({share}).", True


def _drift(row: Mapping[str, Any], against: str) -> str:
    kl = number(row.get("kl"))
    return "" if kl is None else f"It drifted {fixed(kl, 1)} nats per sequence from {against}."


def _exploitation(row: Mapping[str, Any], base: Mapping[str, Any], against: str) -> list[str]:
    proxy, gold = _difference(row, base, "proxy_score"), _difference(row, base, "gold_score")
    if proxy is None or gold is None or proxy <= 0 or gold >= 0:
        return []
    low, high = number(row.get("proxy_score_low")), number(row.get("gold_score_high"))
    if low is not None and high is not None and (low <= base["proxy_score"] or high >= base["gold_score"]):
        return []  # chance explains the one or the other
    rise, fall = fixed(proxy), fixed(-gold)
    return [
        f"Against {against} the proxy score rose by {rise} while the gold score fell by {fall}: "
        "the policy has learned to please the proxy, not the people behind it."
    ]


def _difference(row: Mapping[str, Any], base: Mapping[str, Any], key: str) -> float | None:
    mine, other = number(row.get(key)), number(base.get(key))
    return None if mine is None or other is None else mine - other


def _shifts(row: Mapping[str, Any], base: Mapping[str, Any], against: str) -> list[str]:
    found = []
    kl = number(row.get("kl"))
    if kl is not None and kl < NEGATIVE_KL:
        found.append(f"The KL is negative ({fixed(kl, 1)} nats): sampling and scoring use different distributions.")
    watched = (
        ("distinct_2", "Distinct-2", DISTINCT_2_SHIFT, 2, "fell: the responses repeat one another", "rose"),
        ("mean_tokens", "Mean length in tokens", TOKENS_SHIFT, 1, "fell", "rose: long texts may win by length alone"),
    )
    for key, title, limit, digits, fell, rose in watched:
        mine, other = number(row.get(key)), number(base.get(key))
        if mine is None or not other:
            continue
        change = mine / other - 1
        if abs(change) > limit:
            verb, _, meaning = (rose if change > 0 else fell).partition(":")
            amount = f"{abs(change):.0%}".replace("%", " %")
            numbers = f"from {fixed(other, digits)} with {against} to {fixed(mine, digits)}"
            found.append(f"{title} {verb} by {amount}, {numbers}{':' + meaning if meaning else ''}.")
    return found


def _better_elsewhere(compared: Mapping[str, Mapping[str, Any]], name: str, against: str) -> list[str]:
    best = max(compared, key=lambda other: compared[other]["gold_win_rate"])
    if compared[best]["gold_win_rate"] <= compared[name]["gold_win_rate"]:
        return []
    share = percent(compared[best]["gold_win_rate"])
    return [f"{clean(best, 60)} has a higher win rate over {against} than {clean(name, 60)}: {share} %."]


def _accuracy_sentence(reward_model: Mapping[str, Any]) -> str:
    accuracy = number(reward_model.get("accuracy"))
    if accuracy is None:
        return ""
    name = clean(reward_model.get("name") or "proxy", 60)
    return f"The reward model {name} orders {percent(accuracy)} % of held-out pairs as people do."


def _reward_model_cautions(reward_model: Mapping[str, Any]) -> list[str]:
    accuracy, low = number(reward_model.get("accuracy")), number(reward_model.get("accuracy_low"))
    bag = number(reward_model.get("bag_of_words"))
    floor = accuracy if low is None else low
    if accuracy is None or bag is None or floor is None or floor > bag:
        return []
    return [
        f"The reward model ({percent(accuracy)} % of pairs) is not shown to beat a bag of words ({percent(bag)} %) "
        "on the same pairs."
    ]

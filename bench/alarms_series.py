"""Of `bench.alarms`: made-up metrics of healthy trainings, and the faults that are put into them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

WATCH_EVERY = 4
WORDS = ("the", "and", "of", "a", "it", "film", "is", "with", "that", "story", "as", "you")

Columns = dict[str, np.ndarray]
Rng = np.random.Generator


def between(rng: Rng, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def rise(rng: Rng, num: int) -> np.ndarray:
    """From 0 towards 1, level at the end or not."""
    at = np.arange(num)
    return 1 - np.exp(-at / (between(rng, 0.15, 0.7) * num))


def wander(rng: Rng, num: int, by: float) -> np.ndarray:
    return np.cumsum(rng.normal(0, by, num)) - 0.0


def healthy(rng: Rng, num: int) -> Columns:
    """The metrics of an on-policy training in which nothing is wrong."""
    noise = between(rng, 0.1, 0.2)  # of a mean over 64 responses of spread 1, whose prompts differ, too
    score = between(rng, 0.3, 1.5) * rise(rng, num) + wander(rng, num, 0.01) + rng.normal(0, noise, num)
    kl = between(rng, 2, 15) * rise(rng, num) * rng.lognormal(0, 0.1, num)
    gold = between(rng, 0, 0.7) * rise(rng, num) + wander(rng, num, 0.01) + rng.normal(0, noise, num)
    finished = np.clip(between(rng, 0.5, 1) + between(rng, -0.1, 0.1) * rise(rng, num), 0, 1)
    tokens = between(rng, 15, 60) * (1 + between(rng, -0.3, 0.5) * rise(rng, num)) * rng.normal(1, 0.05, num)
    value = between(rng, -0.3, 0.2)
    return {
        "objective/scores": score,
        "objective/shaped_scores": score,
        "objective/kl": kl,
        "objective/rlhf_reward": score - 0.05 * kl,
        "objective/entropy": between(rng, 1, 3)
        * (1 - between(rng, 0, 0.4) * rise(rng, num))
        * rng.normal(1, 0.03, num),
        "response/mean_tokens": tokens,
        "response/finished": rng.binomial(64, finished) / 64,
        "response/own_score": np.ones(num),
        "response/distinct_2": between(rng, 0.4, 0.8)
        * (1 - between(rng, -0.05, 0.2) * rise(rng, num))
        * rng.normal(1, 0.03, num),
        "response/score_length": np.clip(between(rng, -0.3, 0.6) + rng.normal(0, 0.12, num), -1, 1),
        "response/coverage": between(rng, 0.5, 0.8)
        * (1 - between(rng, -0.05, 0.2) * rise(rng, num))
        * rng.normal(1, 0.04, num),
        "policy/first_ratio": np.ones(num),
        "policy/clipfrac_avg": np.clip(between(rng, 0.02, 0.2) * rng.lognormal(0, 0.2, num), 0, 1),
        "policy/num_updates": np.full(num, 2.0),
        "value/explained_variance": value + (between(rng, 0.2, 0.7) - value) * rise(rng, num) + rng.normal(0, 0.1, num),
        "sampler/mismatch_per_token": between(rng, 0.004, 0.015) * rng.lognormal(0, 0.1, num),
        "frac_reward_zero_std": rng.binomial(16, between(rng, 0, 0.3), num) / 16,
        "spread/reward": between(rng, 0.2, 0.5)
        * (1 + between(rng, -0.1, 0.5) * rise(rng, num))
        * rng.normal(1, 0.05, num),
        "watch/gold": gold,
        "agreement/gold": np.clip(between(rng, 0.55, 0.8) - 0.02 * rise(rng, num) + rng.normal(0, 0.05, num), 0, 1),
    }


def healthy_pairs(rng: Rng, num: int) -> Columns:
    """The metrics of a preference training at its measurements: held-out loss and accuracy of the same examples."""
    down = rise(rng, num)
    shaky = between(rng, 0.001, 0.004)
    return {
        "logps/chosen": -60 - between(rng, 0, 20) * down + rng.normal(0, 1.5, num),
        "eval_logps/chosen": -60 - between(rng, 0, 20) * down + rng.normal(0, 0.2, num),
        "eval_loss": 0.693 - between(rng, 0.02, 0.25) * down + rng.normal(0, shaky, num),
        "eval_rewards/accuracies": 0.5 + between(rng, 0.03, 0.25) * down + rng.normal(0, 0.01, num),
    }


def ramp(num: int, since: int) -> np.ndarray:
    """0 up to an iteration, and from there a line to 1 at the end."""
    return np.clip((np.arange(num) - since) / max(1, num - 1 - since), 0, 1)


def after(num: int, since: int) -> np.ndarray:
    return (np.arange(num) >= since).astype(float)


Fault = Callable[[Rng, Columns, int, int], None]  # changes the columns: of so many iterations, from one on


def add(key: str, low: float, high: float) -> Fault:
    def fault(rng: Rng, columns: Columns, num: int, since: int) -> None:
        columns[key] = columns[key] + between(rng, low, high) * ramp(num, since)

    return fault


def times(key: str, low: float, high: float) -> Fault:
    def fault(rng: Rng, columns: Columns, num: int, since: int) -> None:
        columns[key] = columns[key] * (1 + (between(rng, low, high) - 1) * ramp(num, since))

    return fault


def become(key: str, low: float, high: float, spread: float = 0.0) -> Fault:
    def fault(rng: Rng, columns: Columns, num: int, since: int) -> None:
        new = between(rng, low, high) + rng.normal(0, spread, num)
        columns[key] = np.where(after(num, since) > 0, new, columns[key])

    return fault


def both(*faults: Fault) -> Fault:
    def fault(rng: Rng, columns: Columns, num: int, since: int) -> None:
        for one in faults:
            one(rng, columns, num, since)

    return fault


def spiked(rng: Rng, columns: Columns, num: int, since: int) -> None:
    columns["objective/kl"] = columns["objective/kl"] + after(num, since) * (15 + 7 * columns["objective/kl"])


def falling(rng: Rng, columns: Columns, num: int, since: int) -> None:
    down = between(rng, 1.8, 3.0) * rise(rng, num)
    for key in ("objective/scores", "objective/shaped_scores"):
        columns[key] = columns[key] - down
    columns["objective/rlhf_reward"] = columns["objective/shaped_scores"] - 0.05 * columns["objective/kl"]


def collapsed(rng: Rng, columns: Columns, num: int, since: int) -> None:
    """Over half of what is left of the training."""
    down = (1 - between(rng, 0.02, 0.12)) * np.clip(2 * ramp(num, since), 0, 1)
    columns["objective/entropy"] = columns["objective/entropy"] * (1 - down)


def one_number(rng: Rng, columns: Columns, num: int, since: int) -> None:
    """The reward says the same of nearly all, from the start."""
    become("frac_reward_zero_std", 0.86, 1.0)(rng, columns, num, 0)


def cut_off(rng: Rng, columns: Columns, num: int, since: int) -> None:
    for key in ("response/finished", "response/own_score"):
        columns[key] = rng.binomial(64, 0.01, num) / 64


def word(rng: Rng, columns: Columns, num: int, since: int) -> None:
    columns["keyword"] = between(rng, 0.4, 0.9) * np.clip(2 * ramp(num, since), 0, 1) + rng.normal(0, 0.04, num)


FAULTS: dict[str, Fault] = {
    "overoptimisation": add("watch/gold", -1.0, -0.4),
    "wrong_way": falling,
    "kl_spike": spiked,
    "negative_kl": become("objective/kl", -2, -0.8, 0.2),
    "first_ratio": become("policy/first_ratio", 0.9, 0.99),
    "clipping": become("policy/clipfrac_avg", 0.45, 0.7, 0.05),
    "useless_value": become("value/explained_variance", -0.6, -0.15, 0.1),
    "mismatch": become("sampler/mismatch_per_token", 0.08, 0.2, 0.01),
    "endless": times("response/finished", 0, 0.3),
    "unfinished": cut_off,
    "entropy_collapse": collapsed,
    "repetition": times("response/distinct_2", 0.1, 0.35),
    "length_jump": times("response/mean_tokens", 2.5, 4),
    "paid_by_length": both(become("response/score_length", 0.85, 0.95, 0.02), times("response/mean_tokens", 1.6, 2)),
    "stale_reward": add("agreement/gold", -0.35, -0.15),
    "disagreement": times("spread/reward", 2.5, 5),
    "few_modes": times("response/coverage", 0.1, 0.35),
    "keyword": word,
    "equal_scores": one_number,
    "overfitting": add("eval_loss", 0.05, 0.3),
    "displacement": both(
        add("eval_logps/chosen", -30, -10), add("logps/chosen", -30, -10), add("eval_rewards/accuracies", -0.25, -0.1)
    ),
}
OF_PAIRS = ("overfitting", "displacement")


def rows_of(rng: Rng, columns: Columns, num: int) -> list[dict[str, Any]]:
    """As a step logs them: what watches now and then, and the word that rose most."""
    planted = columns.pop("keyword", np.zeros(num))
    rows: list[dict[str, Any]] = []
    for at in range(num):
        row: dict[str, Any] = {"iteration": at + 1, **{key: float(values[at]) for key, values in columns.items()}}
        if at % WATCH_EVERY and at + 1 < num:
            row = {key: value for key, value in row.items() if not key.startswith(("watch/", "agreement/"))}
        if at and "objective/scores" in row:
            chance = between(rng, 0.05, 0.2)
            name = "great" if planted[at] > chance else WORDS[rng.integers(len(WORDS))]
            paid = float(rng.normal(0.5 if name == "great" else 0.05, 0.12))
            row |= {"keyword/word": name, "keyword/rise": max(float(planted[at]), chance), "keyword/score": paid}
        rows.append(row)
    return rows

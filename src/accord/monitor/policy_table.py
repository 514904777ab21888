"""The table of an evaluation's policies; a column of which no policy has a number is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from accord.monitor.accuracy_table import Measure, measured
from accord.monitor.values import fixed, number, percent, table

COLUMNS: Final[Mapping[str, tuple[str, Callable[[object], str], str]]] = {  # heading, how it is written, unit
    "gold_win_rate": ("win rate, gold", percent, " %"),
    "second_win_rate": ("win rate, second", percent, " %"),
    "judge_win_rate": ("win rate, judge", percent, " %"),
    "gold_score": ("gold score", fixed, ""),
    "proxy_score": ("proxy score", fixed, ""),
    "second_score": ("second score", fixed, ""),
    "kl": ("KL, nats", lambda x: fixed(x, 1), ""),
    "mean_tokens": ("tokens", lambda x: fixed(x, 1), ""),
    "distinct_2": ("distinct-2", fixed, ""),
    "entropy": ("entropy", fixed, ""),
    "finished": ("finished", percent, " %"),
}


@dataclass(frozen=True, slots=True)
class PolicyTable:
    """headings: of the columns. rows: a policy's name and its cells."""

    headings: list[str]
    rows: list[tuple[str, list[Measure]]]


def policy_table(results: Mapping[str, Any]) -> PolicyTable:
    """results: of an evaluation, of which anything may be missing."""
    policies = {str(name): table(row) for name, row in table(results.get("policies")).items()}
    baseline = str(results.get("baseline") or "")
    columns = [
        (key, *how)
        for key, how in COLUMNS.items()
        if any(number(row.get(key)) is not None for row in policies.values())
    ]
    rows = [
        (
            name,
            [
                Measure("baseline")
                if name == baseline and key.endswith("win_rate")
                else measured(row, key, write, unit)
                for key, _, write, unit in columns
            ],
        )
        for name, row in policies.items()
    ]
    return PolicyTable([heading for _, heading, _, _ in columns], rows)

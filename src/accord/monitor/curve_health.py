"""Beside each curve of a training: what a healthy one does, how this one went, and whether an alarm is about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accord.monitor.health import Note
from accord.monitor.panels import PANELS
from accord.monitor.values import ABSENT, number
from accord.monitor.windows import Series, fall_of, series_of

# Of a panel: what a healthy curve does, and what alarms and cautions (`Note.about`) are about it.
_RULES: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    "score": (
        "rises, then flattens; what looks on rises, too",
        frozenset({"overoptimisation", "equal_scores", "no_pairs", "no_updates"}),
    ),
    "KL (nats per sequence)": ("settles near its target", frozenset({"negative_kl", "kl_spike", "first_ratio"})),
    "KL coefficient": ("settles", frozenset()),
    "entropy (nats per token)": ("falls slowly", frozenset({"entropy_collapse"})),
    "tokens per response": (
        "stays near its start",
        frozenset({"length_jump", "paid_by_length", "mean length in tokens rose", "mean length in tokens fell"}),
    ),
    "distinct-2": ("stays near its start", frozenset({"repetition", "distinct-2 fell", "distinct-2 rose"})),
    "finished responses, share": (
        "stays near 1",
        frozenset({"endless", "unfinished", "cut", "many cut", "chosen_cut_off"}),
    ),
    "clip fraction": ("below 0.3", frozenset({"clipping", "clipped"})),
    "explained variance": ("rises above 0", frozenset({"useless_value", "explained variance"})),
    "log-probability (nats)": ("chosen falls little, if at all", frozenset({"displacement"})),
    "loss (nats per token)": ("falls, then flattens", frozenset()),
    "loss": ("falls, then flattens; held out follows", frozenset()),
    "accuracy": ("rises above one half; held out follows", frozenset()),
    "accuracy of implicit rewards": ("rises above one half; held out follows", frozenset()),
    "margin, chosen − rejected": ("rises", frozenset()),  # noqa: RUF001
    "implicit rewards": ("chosen above rejected", frozenset()),
    "gradient norm": ("without jumps", frozenset()),
}
# Of these the first line should fall (-1) or rise (1), beyond its noise.
_SHOULD: Final[Mapping[str, int]] = {
    "loss (nats per token)": -1,
    "loss": -1,
    "accuracy": 1,
    "accuracy of implicit rewards": 1,
    "margin, chosen − rejected": 1,  # noqa: RUF001
    "score": 1,
}
LOOK, WELL, MOVED, OPEN = "look", "no alarm", "as it should", "not judged"


@dataclass(frozen=True, slots=True)
class CurveHealth:
    """curve: the panel's title. healthy: what one does. went: of each line the mean of the first third of what was
    measured, and of the last. mark: `LOOK` for an alarm, or where it went the wrong way beyond its noise; `MOVED` where
    it went the right way; `WELL` where no alarm was raised of those that know it; else `OPEN`. why: sentences."""

    curve: str
    healthy: str
    went: str
    mark: str
    why: list[str]


def curve_health(kind: str, rows: Sequence[Mapping[str, Any]], notes: Sequence[Note]) -> list[CurveHealth]:
    """A row for each curve that is drawn; what is said of none of them stands last.

    kind: of the step. rows: its metrics. notes: what `accord.monitor.health` says of them.
    """
    found: list[CurveHealth] = []
    about: set[str] = set()
    for title, lines in PANELS.get(kind, ()):
        went = [_went(line if len(lines) > 1 else "", rows, key) for line, key in lines.items()]
        known = [one for one in went if one]
        if not known:
            continue
        healthy, names = _RULES.get(title, (ABSENT, frozenset()))
        why = [_said(note) for note in notes if note.about in names]
        about |= names
        way = _SHOULD.get(title, 0)
        went_way = _way(series_of(rows, next(iter(lines.values())))) if way else 0
        if went_way == -way != 0 and not why:
            why = [f"it {'rose' if went_way > 0 else 'fell'}, beyond its noise."]
        mark = LOOK if why else MOVED if way and went_way == way else WELL if names else OPEN
        found.append(CurveHealth(title, healthy, ", ".join(known), mark, why))
    others = [_said(note) for note in notes if note.about not in about]
    return [*found, *([CurveHealth("all of them", ABSENT, ABSENT, LOOK, others)] if others else [])]


def _way(series: Series) -> int:
    """-1: it fell from the first third to the last, beyond its noise; 1: it rose; 0: neither, or it is too short."""
    if fall_of(series, from_best=False) is not None:
        return -1
    return int(fall_of([(at, -value) for at, value in series], from_best=False) is not None)


def _said(note: Note) -> str:
    return f"{note.what}{'' if note.since is None else f' From {note.since} on.'}"


def _went(line: str, rows: Sequence[Mapping[str, Any]], key: str) -> str:
    values = [value for _, value in series_of(rows, key)]
    if not values:
        return ""
    size = max(1, len(values) // 3)
    first, last = sum(values[:size]) / size, sum(values[-size:]) / size
    told = _figure(last) if len(values) == 1 else f"{_figure(first)} to {_figure(last)}"
    return f"{line} {told}".strip()


def _figure(x: float) -> str:
    value = number(x)
    return ABSENT if value is None else f"{value:z.3g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"

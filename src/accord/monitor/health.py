"""What the metrics of a training say is not well, in plain words: its alarms, and what is worth a sentence beside them.

The latter is judged by the end of the training, its last third.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from accord.monitor.alarms import alarms
from accord.monitor.ended import ending
from accord.monitor.values import clean, fixed, number, percent, table
from accord.monitor.verdict import DISTINCT_2_SHIFT, TOKENS_SHIFT

FEW_FINISHED = 0.5  # share of responses that end by themselves; below, most are cut off
MUCH_CLIPPED = 0.3  # share of ratios that PPO clips; above, its steps are too large

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence on a step. about: the same for those that say the same of several steps. since: the iteration from
    which on it is so (None: at the end)."""

    about: str
    step: str
    what: str
    since: int | None = None


def cautions(name: str, rows: Sequence[Row]) -> list[Note]:
    """Of the step `name` with these metrics, one row an iteration or optimizer step; nothing for what was not
    measured."""
    raised = alarms(rows)
    found = [Note(alarm.name, name, alarm.what, alarm.since) for alarm in raised]
    names = {alarm.name for alarm in raised}
    finished = _end(rows, "response/finished")
    if finished == 0 and "unfinished" not in names:
        found.append(Note("cut", name, "every response was cut off at max_response_tokens; none ended by itself."))
    elif finished is not None and finished < FEW_FINISHED and not names & {"endless", "unfinished"}:
        share = percent(1 - finished)
        what = f"{share} % of the responses were cut off at max_response_tokens, at the end of training."
        found.append(Note("many cut", name, what))
    explained = _end(rows, "value/explained_variance")
    if explained is not None and explained < 0 and "useless_value" not in names:
        what = (
            f"the explained variance was {fixed(explained)} at the end, below 0: the value model has learned "
            "nothing yet, and the advantages are noise. Train longer, or with a smaller learning rate."
        )
        found.append(Note("explained variance", name, what))
    clipped = _end(rows, "policy/clipfrac_avg")
    if clipped is not None and clipped > MUCH_CLIPPED and "clipping" not in names:
        what = f"{percent(clipped)} % of the updates were clipped at the end: use a smaller learning rate."
        found.append(Note("clipped", name, what))
    return found


def in_summary(name: str, summary: Mapping[str, Any], told: Sequence[Note]) -> list[Note]:
    """Whether an alarm ended the training, and the alarms that the step has raised itself, but for those that are
    `told` of its metrics."""
    what, names = ending(summary), {note.about for note in told}
    found = [] if what is None else [Note(f"{name}/ended", name, f"{what}.")]
    raised = [one for one in map(table, summary.get("alarms") or []) if one.get("name") not in names]
    return found + [
        Note(f"{name}/{i}", name, f"{clean(one.get('what'), 400).removesuffix('.')}.") for i, one in enumerate(raised)
    ]


def shifts(name: str, rows: Sequence[Row]) -> list[Note]:
    """What became of the responses since the first iteration: for a run in which no evaluation looks at them. What
    there is an alarm about is left to `cautions`."""
    found, raised = [], {alarm.name for alarm in alarms(rows)}
    watched = (("response/distinct_2", "distinct-2", DISTINCT_2_SHIFT, 2, "repetition"),
               ("response/mean_tokens", "mean length in tokens", TOKENS_SHIFT, 1, "length_jump"))  # fmt: skip
    for key, title, limit, digits, alarm in watched:
        first, last = number(rows[0].get(key)) if rows else None, _end(rows, key)
        if alarm in raised or not first or last is None or abs(last / first - 1) <= limit:
            continue
        verb = "rose" if last > first else "fell"
        what = f"{title} {verb} from {fixed(first, digits)} to {fixed(last, digits)}."
        found.append(Note(f"{title} {verb}", name, what))
    return found


def said(notes: Iterable[Note]) -> list[str]:
    """As lines; what there is to say of several steps is said once, with the numbers of the first of them.

    >>> said([Note("cut", "rloo", "none ended."), Note("cut", "grpo", "none ended.")])
    ['rloo, grpo: none ended.']
    """
    groups: dict[str, list[Note]] = {}
    for note in notes:
        groups.setdefault(note.about, []).append(note)
    return [_line(*group) for group in groups.values()]


def _line(first: Note, *others: Note) -> str:
    if all(one.what == first.what and one.since == first.since for one in others):
        steps = ", ".join(clean(one.step, 60) for one in (first, *others))
        return f"{steps}{_since(first)}: {first.what}"
    like = "; ".join(f"{clean(one.step, 60)}{_since(one)}" for one in others)
    return f"{clean(first.step, 60)}{_since(first)}: {first.what} Likewise, with other numbers: {like}."


def _since(note: Note) -> str:
    return "" if note.since is None else f", from {note.since} on"


def _end(rows: Sequence[Row], key: str) -> float | None:
    """The mean of the last third of what was measured."""
    values = [value for row in rows if (value := number(row.get(key))) is not None]
    last = values[-max(1, len(values) // 3) :]
    return sum(last) / len(last) if last else None

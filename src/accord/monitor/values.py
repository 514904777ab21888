"""Numbers that may be missing: how they are read from a run's records, and how they are written for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from accord.printable import printable

ABSENT = "–"  # noqa: RUF001  an en dash stands for a number that the run does not have


def number(value: object) -> float | None:
    """A finite number as a float. None for everything else: None, NaN, infinity, a boolean, a text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def table(value: object) -> Mapping[str, Any]:
    """A mapping as it is; an empty one for everything else."""
    return value if isinstance(value, Mapping) else {}


def clean(text: object, limit: int = 2000) -> str:
    """Printable text, cut at `limit`; a sign stands for each character that is not."""
    kept = printable(str(text), "�")
    return kept if len(kept) <= limit else f"{kept[:limit]} […]"


def short(name: object, limit: int = 28) -> str:
    """A name cut in its middle, since names of one run tend to begin alike.

    >>> short("round-12/the-policy-of-the-lighthouse-3", 20)
    'round-12/t…hthouse-3'
    """
    text = clean(name).replace("\n", " ")
    head = limit // 2
    return text if len(text) <= limit else f"{text[:head]}…{text[len(text) - (limit - head - 1) :]}"


def apart(names: Iterable[str], limit: int = 28) -> dict[str, str]:
    """Names cut as `short` does; those that come out alike get a number.

    >>> apart(["gold_large_clean_validation", "gold_large_dirty_validation"], 20)
    {'gold_large_clean_validation': 'gold_large…alidation', 'gold_large_dirty_validation': 'gold_large…alidation 2'}
    """
    found: dict[str, str] = {}
    times: Counter[str] = Counter()
    for name in dict.fromkeys(names):
        cut = short(name, limit)
        times[cut] += 1
        found[name] = cut if times[cut] == 1 else f"{cut} {times[cut]}"
    return found


def fixed(value: object, digits: int = 2) -> str:
    """A number with a fixed count of digits, or a dash.

    >>> fixed(-0.004)
    '0.00'
    """
    x = number(value)
    return ABSENT if x is None else f"{x:z.{digits}f}"


def percent(value: object) -> str:
    """A share in percent, without the sign. A share that whole percents would show as 50 keeps a decimal.

    >>> percent(0.834), percent(0.503)
    ('83', '50.3')
    """
    x = number(value)
    if x is None:
        return ABSENT
    return f"{100 * x:.1f}" if 0 < abs(x - 0.5) < 0.005 else f"{100 * x:.0f}"


def duration(value: object) -> str:
    """Seconds as people say them.

    >>> duration(0.42), duration(75), duration(7380)
    ('0.4 s', '1 min 15 s', '2 h 3 min')
    """
    x = number(value)
    if x is None:
        return ABSENT
    if x < 9.95:
        return f"{x:.1f} s"
    seconds = round(x)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"

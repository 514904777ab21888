"""Rows as CSV text that a spreadsheet opens: numbers in full, and no text that it would take for a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from accord.monitor.values import clean

_FORMULA = ("=", "+", "-", "@", "\t")


def csv_text(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    """columns: key of a row -> heading; one that no row has a value for is left out.

    >>> csv_text({"of": "policy", "x": "kl", "y": "score"}, [{"of": "=1+1", "x": 0.5}])
    "policy,kl\\r\\n'=1+1,0.5\\r\\n"
    """
    known = {key: heading for key, heading in columns.items() if any(row.get(key) is not None for row in rows)}
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(known.values())
    writer.writerows([_cell(row.get(key)) for key in known] for row in rows)
    return file.getvalue()


def _cell(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULA) else text

"""Policies on benchmarks side by side, as lines for a terminal or as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accord.monitor.evaluation_text import table_lines
from accord.monitor.values import ABSENT, clean, fixed, number, short

_Cells = tuple[str, str, str, str]


def benchmark_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Of what `accord.api.benchmarks.evaluate_benchmark` returns."""
    yield from _about(found)
    for row in _shown(found):
        yield ""
        better = ", less is better" if row["higher_is_better"] is False else ""
        yield f"{clean(row['task'])}, {clean(row['metric'])}, {row['n']:,} items{better}"
        head = ("policy", "value", f"less {short(found['policies'][0])}", "p")
        width = len(head) if len(found["policies"]) > 1 else 2
        floors = [(f"({name})", _number(floor, row), "", "") for name, floor in row["floors"].items()]
        yield from table_lines([cells[:width] for cells in (head, *_rows(row), *floors)])
    yield ""
    yield "95 %, drawn by item"


def benchmark_markdown(found: Mapping[str, Any]) -> Iterator[str]:
    """The same as one table, which can be pasted into a report."""
    head = ("task", "metric", "items", "policy", "value (95 %)", f"less {found['policies'][0]}", "p")
    width = len(head) if len(found["policies"]) > 1 else 5
    yield _line(head[:width])
    yield _line(["---"] * width)
    for row in _shown(found):
        of = (row["task"], row["metric"], str(row["n"]))
        floors = [(f"({name})", _number(floor, row), "", "") for name, floor in row["floors"].items()]
        for cells in (*_rows(row), *floors):
            yield _line((*of, *cells)[:width])
    yield ""
    yield from _about(found)


def _shown(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tasks of a group are in the JSON alone."""
    return [row for row in found["rows"] if row["part_of"] is None]


def _about(found: Mapping[str, Any]) -> Iterator[str]:
    first = found["about"][found["policies"][0]]
    if "judge" in first:
        yield f"points by {clean(first['judge'])}"
        if any(first["judge"].startswith(f"{name}:") for name in found["policies"]):
            yield "the judge is one of the policies, whose answers it may favour"
    for name, one in found["about"].items():
        if one.get("unreadable"):
            yield f"{clean(name)}: {one['unreadable']:,} replies of the judge hold no points, and are left out"
        if one.get("unfinished"):
            yield f"{clean(name)}: {one['unfinished']:,} responses ran out of tokens"
        if one.get("empty"):
            what = "nothing was written, or the model's context had no room left"
            yield f"{clean(name)}: {one['empty']:,} responses are empty: {what}"
    if "tasks" in first:
        asked = "with the chat template" if first["chat"] else "as plain texts, without the chat template"
        yield f"asked {asked}"
        shots = sorted({one["num_fewshot"] for one in first["tasks"].values()})
        yield f"{len(first['tasks']):,} tasks, with {' or '.join(map(str, shots))} examples in front"


def _rows(row: Mapping[str, Any]) -> Iterator[_Cells]:
    for name, one in row["policies"].items():
        missing = f", {row['n'] - one['n']:,} without" if one["n"] < row["n"] and row["unit"] == "number" else ""
        difference = one["difference"]
        yield (
            clean(name),
            _interval(one, row) + missing,
            _difference(difference, row) if difference else "",
            fixed(difference["p_value"], 3) if difference and difference["p_value"] is not None else "",
        )


def _interval(one: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    ends = [_number(one[end], row) for end in ("value", "low", "high")]
    return f"{ends[0]} ({ends[1]} to {ends[2]})"


def _number(value: object, row: Mapping[str, Any]) -> str:
    known = number(value)
    if known is None:
        return ABSENT
    return f"{known:.1%}" if row["unit"] == "share" else f"{known:.3g}"


def _difference(one: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    scale, digits = (100, ".1f") if row["unit"] == "share" else (1, ".3g")
    ends = [number(one[end]) for end in ("value", "low", "high")]
    value, low, high = (ABSENT if end is None else f"{scale * end:+{digits}}" for end in ends)
    return f"{value} points ({low} to {high})" if row["unit"] == "share" else f"{value} ({low} to {high})"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(clean(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

"""A sweep as a table: one row a setting, the same in a terminal, in Markdown and on a page.

It is made from the content of sweep.json. What a row says of its runs is never left out: a mean over the runs that
survived is another thing than a mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from accord.monitor.values import ABSENT, clean, number, table

INTERVALS: Final = {
    "t": "95 % interval of the mean over runs (Student's t)",
    "range": "of two runs: smallest to largest, which is no confidence interval",
    "prompts": "of one run: 95 % interval over its prompts, which says nothing of how runs differ",
}
DIFFERENCE: Final = "paired difference to the first"  # the heading
_PAIRED: Final = f"{DIFFERENCE} setting: the mean, over seeds, of a run less the first setting's run of the same seed"
DIFFERENCES: Final = {
    "t": "its 95 % interval over seeds (Student's t)",
    "range": "(min, max): of two seeds the smaller and the larger, which is no confidence interval",
    "none": "(one seed): of one there is no interval",
}
MARKS: Final = {"t": "", "range": " (min to max)", "prompts": " (one run)", "none": ""}
MAX_WHY: Final = 200  # letters of why a run failed


def heads_and_rows(content: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """The headings and the cells: setting, metric, interval, of several settings the difference, other means, runs."""
    settings = [table(one) for one in content["settings"]]
    beside = list(dict.fromkeys(name for one in settings for name in table(one.get("beside"))))
    compared = [DIFFERENCE] * (len(settings) > 1)
    metric, others = clean(content["metric"], 60), [clean(name, 60) for name in beside]
    heads = ["setting", metric, "interval", *compared, *others, "runs"]
    rows = [
        [
            clean(one["label"], 200),
            figure(one.get("value")),
            _interval(one),
            *[_difference(one)] * len(compared),
            *(figure(table(one.get("beside")).get(name)) for name in beside),
            runs_text(one),
        ]
        for one in settings
    ]
    return heads, rows


def runs_text(setting: Mapping[str, Any]) -> str:
    """As in "2 of 3; 1 failed: the KL is not finite". The same reason is given once."""
    failures = table(setting.get("failures"))
    said = f"{setting['num_done']} of {setting['num_runs']}"
    if not failures:
        return said
    reasons = dict.fromkeys(clean(why, MAX_WHY).replace("\n", " ") for why in failures.values())
    return f"{said}; {len(failures)} failed: {'; '.join(reasons)}"


def figure(value: object) -> str:
    """A number in three digits or more; a dash for none.

    >>> figure(0.73149), figure(12.5), figure(0.00002)
    ('0.731', '12.500', '2e-05')
    """
    x = number(value)
    if x is None:
        return ABSENT
    return f"{x:z.3f}" if x == 0 or 1e-2 <= abs(x) < 1e4 else f"{x:.3g}"


def text_lines(content: Mapping[str, Any]) -> list[str]:
    """The table for a terminal, with what is said of it above and below."""
    heads, rows = heads_and_rows(content)
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads) - 1)]
    lines = [title(content), ""]
    for row in (heads, *rows):
        cells = [row[0].ljust(widths[0]), *(row[at].rjust(widths[at]) for at in range(1, len(widths))), row[-1]]
        lines.append("  ".join(cells).rstrip())
    return [*lines, "", *notes(content)]


def markdown(content: Mapping[str, Any]) -> str:
    """The table in Markdown."""
    heads, rows = heads_and_rows(content)
    rule = ["---", *["---:"] * (len(heads) - 2), "---"]
    lines = [_cells(heads), f"|{'|'.join(rule)}|", *map(_cells, rows)]
    return "\n\n".join([title(content), "\n".join(lines), "\n".join(f"- {line}" for line in notes(content))]) + "\n"


def title(content: Mapping[str, Any]) -> str:
    """What is compared, over which seeds."""
    of = clean(content["of"], 60)
    seeds = ", ".join(map(str, content["seeds"]))
    noun = "seeds" if len(content["seeds"]) > 1 else "seed"
    return f"{clean(content['metric'], 60)}{f' of {of}' if of else ''}, {noun} {seeds}"


def notes(content: Mapping[str, Any]) -> list[str]:
    """What the intervals are, what all runs have in common, and what may be said."""
    kinds = dict.fromkeys(one.get("interval") for one in content["settings"])
    found = [clean(content["verdict"], 1000)] if content["verdict"] else []
    found += [f"interval{MARKS[str(kind)]}: {INTERVALS[str(kind)]}" for kind in kinds if kind in INTERVALS]
    kinds = dict.fromkeys(table(one.get("difference")).get("interval") for one in content["settings"])
    known = [DIFFERENCES[str(kind)] for kind in kinds if kind in DIFFERENCES]
    found += ["; ".join([_PAIRED, *known])] * bool(known)
    fixed = [f"{key}={values[0]}" for key, values in content["set"].items() if len(values) == 1 and key != "seed"]
    if said := table(content.get("cost")).get("said"):
        found.append(f"all steps, each once, cost {clean(said, 300)}")
    return found + ([f"in every run: {clean(', '.join(fixed), 500)}"] if fixed else [])


def _interval(one: Mapping[str, Any]) -> str:
    low, high = number(one.get("low")), number(one.get("high"))
    return (
        ABSENT if low is None or high is None else f"{figure(low)} to {figure(high)}{MARKS[str(one.get('interval'))]}"
    )


def _difference(one: Mapping[str, Any]) -> str:
    """As in "+0.100 (+0.080 to +0.120, 3 of 4 seeds)"; the seeds when some are in no pair."""
    found = table(one.get("difference"))
    value, low, high = (number(found.get(end)) for end in ("value", "low", "high"))
    if value is None:
        return ABSENT
    ends = {"t": f"{_signed(low)} to {_signed(high)}", "range": f"min {_signed(low)}, max {_signed(high)}"}
    said = ends.get(str(found.get("interval")), "one seed")
    pairs, runs = found.get("num_pairs"), one["num_runs"]
    return f"{_signed(value)} ({said}{'' if pairs in (1, runs) else f', {pairs} of {runs} seeds'})"


def _signed(value: float | None) -> str:
    return figure(value) if value is None or value <= 0 else f"+{figure(value)}"


def _cells(cells: Sequence[str]) -> str:
    safe = (cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(safe)} |"

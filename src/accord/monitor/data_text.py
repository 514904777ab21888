"""What was found in data, as lines for a terminal of 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from accord.data.audit.check import CheckedSet, DataCheck, code_of
from accord.data.audit.copies import Copied
from accord.data.audit.lengths import Lengths
from accord.data.audit.shares import MIN_ROWS, Audit, GroupShare
from accord.data.formats.reading import Flaw, Reading
from accord.monitor.values import clean, fixed, number

NUM_SHOWN = 20  # of each code, unless all are asked for
BAR = 36  # characters of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉"


def check_lines(check: DataCheck, *, show_all: bool = False) -> Iterator[str]:
    """The findings by code, then a table of them, the lengths, and the audit."""
    found = check.by_code()
    for code, flaws in found.items():
        yield f"{code}: {len(flaws):,} ({code_of(code).effect})"
        yield from _listed(flaws, show_all)
        yield ""
    for checked in check.sets:
        yield _summary(checked)
    yield ""
    if found:
        yield from _code_table(found)
    else:
        yield "Nothing wrong was found."
    for checked in (checked for checked in check.sets if checked.lengths):
        yield ""
        yield f"Lengths of {clean(checked.name)}" + (f", by the tokens of {clean(check.model)}" if check.model else "")
        for lengths in checked.lengths:
            yield from histogram_lines(lengths, check.max_tokens)
    yield ""
    yield from audit_lines(check.audit, show_all=show_all)


def _listed(flaws: list[Flaw], show_all: bool, hint: str = " (--all shows them)") -> Iterator[str]:
    shown = flaws if show_all else flaws[:NUM_SHOWN]
    for flaw in shown:
        yield f"  {clean(flaw, 1000)}".replace("\n", " ")
    if len(shown) < len(flaws):
        yield f"  and {len(flaws) - len(shown):,} more{hint}"


def _summary(checked: CheckedSet) -> str:
    reading = checked.reading
    gone = f", {reading.num_left_out:,} left out" if reading.num_left_out else ""
    return f"{clean(checked.name)}: {reading.num_rows:,} rows{gone}; {len(reading.records):,} {reading.kind}"


def _code_table(found: Mapping[str, list[Flaw]]) -> Iterator[str]:
    width = max(map(len, found))
    yield f"{'what':<{width}}  {'count':>7}  {'the rows':<8}  why it matters"
    for code, flaws in found.items():
        meaning = code_of(code)
        yield f"{code:<{width}}  {len(flaws):>7,}  {meaning.effect:<8}  {meaning.why}"


def left_out_lines(reading: Reading) -> Iterator[str]:
    """The rows that could not be used: the first ones, and how many there are."""
    if reading.flaws:
        yield f"left out: {reading.num_left_out:,} of {reading.num_rows:,} rows"
        yield from _listed(reading.flaws, False, hint=" (accord data check --all shows them)")


def copied_line(copied: Copied) -> str:
    """What a copy holds."""
    parts = [f"{copied.num_rows:,} rows, {copied.num_changed:,} of them changed"]
    parts += [f"{copied.num_dropped:,} left out"] * bool(copied.num_dropped)
    parts += [f"{copied.num_unusable:,} cannot be parsed"] * bool(copied.num_unusable)
    return "; ".join(parts)


def histogram_lines(lengths: Lengths, max_tokens: int | None = None) -> Iterator[str]:
    """One bar for each bin, with the count."""
    head = f"  {lengths.of}: half at most {lengths.median:,}, 95 % at most {lengths.p95:,}, the longest {lengths.max:,}"
    yield head if lengths.of == "turns" else f"{head} {lengths.unit}"
    width = max(len(one.label) for one in lengths.bins)
    most = max(one.count for one in lengths.bins)
    for one in lengths.bins:
        over = "  over --max-tokens by itself" if _all_over(lengths, one.low, max_tokens) else ""
        yield f"    {one.label:>{width}} {bar(one.count / most):<{BAR}} {one.count:,}{over}"


def bar(share: float) -> str:
    """A bar of `share` of the longest, in eighths of a character; anything above 0 is visible.

    >>> bar(0.5) == "█" * 18, bar(0.0001), bar(0)
    (True, '▏', '')
    """
    eighths = max(round(share * BAR * 8), 1 if share > 0 else 0)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()


def _all_over(lengths: Lengths, low: int, max_tokens: int | None) -> bool:
    return max_tokens is not None and lengths.unit == "tokens" and low > max_tokens


def audit_lines(audit: Audit, *, show_all: bool = False) -> Iterator[str]:
    """Personal data, the toxic share with its measure, and the groups that a filter would erase."""
    yield "Audit (nothing is removed)"
    counts = audit.personal_counts()
    yield "  personal data: " + (", ".join(f"{n:,} {label}" for label, n in counts.items()) or "none found")
    yield from (f"  {line}" for line in _listed(audit.personal, show_all))
    rows = audit.all_rows
    yield f"  toxic rows: {rows.removed:,} of {rows.rows:,}, {share_text(rows.interval)}"
    for part, share in audit.parts.items():
        yield f"    {part}: {share.removed:,} of {share.rows:,} texts, {share_text(share.interval)}"
    yield from (f"    {line}" for line in _wrapped(f"measure: {audit.measure}", 92))
    if audit.groups:
        yield "  rows that name a group, and what a filter by this measure would remove of them:"
        width = max(len(name_of(group)) for group in audit.groups)
        yield f"    {'':<{width}}  {'rows':>7}  {'toxic':>6}  {'share':>6}  against all rows (95 % interval)"
        for group in sorted(audit.groups, key=lambda group: -group.share.rows):
            share = group.share
            yield (
                f"    {name_of(group):<{width}}  {share.rows:>7,}  {share.removed:>6,}  "
                f"{100 * share.interval.value:>5.1f}%  {ratio_text(group)}"
            )


def name_of(group: GroupShare) -> str:
    return f"{group.axis}: {group.name}"


def share_text(interval: Any) -> str:
    """A share with its interval, in percent."""
    value, low, high = (fixed(100 * x, 1) for x in (interval.value, interval.low, interval.high))
    return f"{value} % ({low} to {high})"


def ratio_text(group: GroupShare) -> str:
    """How many times as much a filter would remove of a group as of all rows, and what that says."""
    if group.ratio is None:
        return "nothing is toxic"
    text = f"{group.ratio.value:.1f} times ({group.ratio.low:.1f} to {group.ratio.high:.1f})"
    if group.share.rows < MIN_ROWS:
        return f"{text}, few rows"
    return f"{text}, more is erased" if group.erased else text


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def as_json(check: DataCheck) -> dict[str, Any]:
    """All that was found, with every finding, as plain JSON."""
    audit = check.audit
    found = {
        "model": check.model,
        "max_tokens": check.max_tokens,
        "num_defects": check.num_defects,
        "sets": [
            {
                "name": one.name,
                "kind": one.reading.kind,
                "num_rows": one.reading.num_rows,
                "num_records": len(one.reading.records),
                "findings": [asdict(flaw) for flaw in one.findings],
                "lengths": [asdict(lengths) for lengths in one.lengths],
            }
            for one in check.sets
        ],
        "unread": [asdict(flaw) for flaw in check.unread],
        "codes": {
            code: {"count": len(flaws), "effect": code_of(code).effect, "why": code_of(code).why}
            for code, flaws in check.by_code().items()
        },
        "audit": {
            "personal": [asdict(flaw) for flaw in audit.personal],
            "toxicity": {
                "measure": audit.measure,
                "rows": asdict(audit.all_rows),
                "parts": {part: asdict(share) for part, share in audit.parts.items()},
                "places": audit.toxic_places,
            },
            "groups": [{**asdict(group), "erased": group.erased} for group in audit.groups],
        },
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _plain(value: Any) -> Any:
    """NaN, which is no JSON, becomes null."""
    if isinstance(value, float):
        return number(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value

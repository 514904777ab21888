"""An audit of what people would rather know before they train on it, after Llama 2's section on its data
(arXiv:2307.09288, 4.1): personal data, toxicity by a stated measure, and whom a filter would erase.

Nothing is removed. Llama 2's authors did not filter by toxicity, because that removes the groups of people whom toxic
texts speak of from what a model ever sees (demographic erasure). So for each group the audit says how many rows name
it, and which share of these a filter would remove, against the share that it would remove of all rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from accord.algorithms.statistics import Interval, wilson
from accord.data.audit.lexicon import SHIPPED, Lexicon, load_lexicon, parse_entry, words
from accord.data.audit.passages import Part, passages
from accord.data.audit.personal import Finder
from accord.data.formats.reading import Flaw, Reading
from accord.errors import UserError

OBSCENE = SHIPPED / "obscene.txt"
IDENTITIES = SHIPPED / "identities.txt"
MIN_ROWS = 20  # of a group, for its share to be worth a sentence


Group = tuple[str, str]
"""An axis and a group of people on it, as in ("religion", "Hindu")."""


@dataclass(frozen=True, slots=True)
class Share:
    """`removed` of `rows` would be removed, with the Wilson interval (95 %) of the share."""

    rows: int
    removed: int
    interval: Interval


@dataclass(frozen=True, slots=True)
class GroupShare:
    """The share of a group's rows. ratio: to the share of all rows, with its interval over that of the group alone;
    None where nothing at all would be removed."""

    axis: str
    name: str
    share: Share
    ratio: Interval | None

    @property
    def erased(self) -> bool:
        """Whether the filter surely removes more of this group than of all: the whole interval lies above 1."""
        return self.ratio is not None and self.share.rows >= MIN_ROWS and self.ratio.low > 1


@dataclass(frozen=True, slots=True)
class Audit:
    """personal: one finding a span. measure: what "toxic" means here, in words. parts: of each part of the records the
    texts that are toxic. groups: those that any row names."""

    personal: list[Flaw]
    measure: str
    all_rows: Share
    parts: Mapping[Part, Share]
    groups: list[GroupShare]
    toxic_places: list[str] = field(default_factory=list)

    def personal_counts(self) -> dict[str, int]:
        """How many findings there are of each label."""
        counts: dict[str, int] = {}
        for flaw in self.personal:
            counts[flaw.code] = counts.get(flaw.code, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


def audit(readings: Iterable[Reading], find: Finder, toxic: Lexicon, groups: Mapping[str, Group]) -> Audit:
    """Looks at every text of every record. A row is toxic when one of its texts is, and names a group likewise.

    groups: by the entries (of a Lexicon) that name them.
    """
    personal: list[Flaw] = []
    toxic_places: list[str] = []
    parts: dict[Part, list[bool]] = {}
    identities = Lexicon("identities", tuple(groups))
    named: dict[Group, list[bool]] = {group: [] for group in groups.values()}
    num_rows = 0
    for reading in readings:
        for record, place in zip(reading.records, reading.places, strict=True):
            num_rows += 1
            row_is_toxic = False
            present: set[Group] = set()
            for passage in passages(reading.kind, record):
                personal += [
                    Flaw(place, passage.field, f"{span.label} at characters {span.start} to {span.end}", span.label)
                    for span in find(passage.text)
                ]
                said = words(passage.text)
                flag = bool(toxic.entries_in(said))
                parts.setdefault(passage.part, []).append(flag)
                row_is_toxic |= flag
                present.update(groups[entry] for entry in identities.entries_in(said))
            if row_is_toxic:
                toxic_places.append(place)
            for group in present:
                named[group].append(row_is_toxic)
    overall = _share([True] * len(toxic_places) + [False] * (num_rows - len(toxic_places)))
    return Audit(
        personal,
        measure(toxic),
        overall,
        {part: _share(flags) for part, flags in parts.items()},
        [_group_share(group, _share(flags), overall) for group, flags in named.items() if flags],
        toxic_places,
    )


def is_toxic(value: Any, toxic: Lexicon) -> bool:
    """Whether a text is, or any text in a JSON value."""
    if isinstance(value, str):
        return bool(toxic.entries_in(words(value)))
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, list) and any(is_toxic(item, toxic) for item in value)


def measure(toxic: Lexicon) -> str:
    """The measure of toxicity in words."""
    return (
        f"a row is toxic when one of its texts holds a word of the list {toxic.name} ({len(toxic.entries)} entries, "
        f"version {toxic.digest}). A word list is crude: it counts quotations, and misses insults in plain words."
    )


@cache
def shipped_groups() -> Mapping[str, Group]:
    """The groups of lexicons/identities.txt, by their entries."""
    return parse_groups(IDENTITIES.read_text(encoding="utf-8"), str(IDENTITIES))


def parse_groups(text: str, where: str) -> Mapping[str, Group]:
    """`[axis: group]`, then the entries of its lexicon, one a line. Raises UserError."""
    found: dict[str, Group] = {}
    group: Group | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("["):
            axis, _, name = line.strip().strip("[]").partition(": ")
            group = (axis, name)
        elif entry := parse_entry(line, f"{where}:{number}"):
            if group is None or entry in found:
                what = f"{entry!r} is in two groups" if entry in found else f"{entry!r} is in no group"
                raise UserError(what, where=f"{where}:{number}", remedy="Write it once, below a line [axis: group].")
            found[entry] = group
    return found


def toxicity_list(path: Path | None) -> Lexicon:
    """The user's word list, or the one that comes with Accord. Raises UserError."""
    return load_lexicon(path) if path else load_lexicon(OBSCENE, "accord-obscene")


def _share(flags: list[bool]) -> Share:
    return Share(len(flags), sum(flags), wilson(sum(flags), len(flags)))


def _group_share(group: Group, share: Share, overall: Share) -> GroupShare:
    of_all = overall.interval.value
    ratio = None
    if of_all > 0:
        ends = share.interval
        ratio = Interval(ends.value / of_all, ends.low / of_all, ends.high / of_all)
    return GroupShare(*group, share, ratio)

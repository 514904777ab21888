"""Which column a source lacks to be of a kind, and which of its own may be meant by it: for columns of other names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from accord.data.formats.columns import OPTIONAL, SHAPES
from accord.data.formats.mapping import OURS
from accord.data.records import RecordKind

MAX_NAME: Final = 60
NUM_SHOWN: Final = 30


def shown(names: Sequence[str]) -> str:
    """The first columns of a source, for a message.

    >>> shown(["prompt", "answer"])
    "'prompt', 'answer'"
    """
    more = f" and {len(names) - NUM_SHOWN} more" if len(names) > NUM_SHOWN else ""
    return (", ".join(repr(name[:MAX_NAME]) for name in names[:NUM_SHOWN]) or "none") + more


def lacking(present: Iterable[str], kinds: Sequence[RecordKind]) -> tuple[str, str]:
    """What is missing among the columns of a source, to be of one of the kinds (none: of any), and what to do: of the
    set of columns that is the nearest. ("", "") where nothing is.

    >>> lacking(["prompt", "choosen", "rejected"], ["comparisons"])
    ("for comparisons the column 'chosen' is missing", "Did you mean 'chosen' by 'choosen'? Rename it, or write \
`columns: {chosen: choosen}`.")
    """
    have = set(present)
    unknown = sorted(have - {*OURS, *OPTIONAL})
    best: tuple[tuple[int, int, int], RecordKind, list[str], dict[str, str]] | None = None
    for shape in SHAPES:
        if kinds and shape.kind not in kinds:
            continue
        missing = [name for name in shape.columns if name not in have]
        near = {name: found[0] for name in missing if (found := get_close_matches(name, unknown, n=1, cutoff=0.7))}
        rank = (len(missing) - len(near), len(missing), -len(shape.columns))
        if best is None or rank < best[0]:
            best = (rank, shape.kind, missing, near)
    if best is None or not best[2]:
        return "", ""
    _, kind, missing, near = best
    what = " and ".join(repr(name) for name in missing)
    told = (
        f"for {kind} the column{'s' if len(missing) > 1 else ''} {what} {'are' if len(missing) > 1 else 'is'} missing"
    )
    if len(near) == len(missing):
        meant = " and ".join(f"{ours!r} by {theirs[:MAX_NAME]!r}" for ours, theirs in near.items())
        names = ", ".join(f"{ours}: {theirs[:MAX_NAME]}" for ours, theirs in near.items())
        one = "it" if len(near) == 1 else "them"
        return told, f"Did you mean {meant}? Rename {one}, or write `columns: {{{names}}}`."
    names = ", ".join(f"{name}: COLUMN" for name in missing)
    if len(missing) == len(unknown) == 1:
        names = f"{missing[0]}: {unknown[0][:MAX_NAME]}"
    ways = " or ".join("+".join(shape.columns) for shape in SHAPES if shape.kind == kind)
    return told, f"If it is there by another name, write `columns: {{{names}}}`; {kind} are {ways}."

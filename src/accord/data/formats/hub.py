"""Data sets of the Hugging Face hub: `hub:owner/name`, with the options split, config and revision.

The library `datasets` (the extra `hub`) opens them, keeps them in its own cache and runs no code of theirs.
"""

from __future__ import annotations

from collections.abc import Iterator

from accord.data.formats.reading import Flaw, Row
from accord.errors import UserError
from accord.printable import printable

PREFIX = "hub:"


def rows_of(source: str, split: str | None, config: str | None, revision: str | None) -> Iterator[Row | Flaw]:
    """The rows of one split (`train` unless another is named). Raises UserError when they cannot be had."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UserError(
            "a data set of the hub needs the library datasets, which is not installed",
            where=source,
            remedy="Run: pip install 'accord[hub]'",
        ) from error
    name = source.removeprefix(PREFIX)
    try:
        rows = datasets.load_dataset(name, name=config, split=split or "train", revision=revision)
        for number, values in enumerate(rows, start=1):
            yield Row(f"{source}:row {number}", values)
    except Exception as error:  # the library raises errors of a dozen kinds, its dependencies more
        reason = printable((str(error).splitlines() or [""])[0][:300])
        what = f"the data set cannot be read: {type(error).__name__}: {reason}"
        remedy = (
            "Check the name, and the options split, config and revision; or download the files and name their folder."
        )
        raise UserError(what, where=source, remedy=remedy) from error

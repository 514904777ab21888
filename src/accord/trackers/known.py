"""Which trackers there are, and whether they are installed. Each is an extra that is called as it is."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from accord.errors import UserError, did_you_mean

TRACKERS: Final = ("mlflow", "tensorboard", "trackio", "wandb")  # which are the names of their packages, too


def check_trackers(names: Sequence[str], where: str) -> None:
    """Raises UserError, placed at `where`, for one that is not known, or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"there is no tracker {name!r}", where=where, remedy=did_you_mean(name, TRACKERS))
        if find_spec(name) is None:
            what = f"the tracker {name!r} is not installed"
            raise UserError(what, where=where, remedy=f"Install it: pip install 'accord[{name}]'")

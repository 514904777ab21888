"""The rates of this machine for a model, measured once a week and kept in the cache.

Those that were measured while other programs ran are kept for some minutes alone.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from accord.engine.profile import Rates, measure, slice_bytes
from accord.errors import UserError, first_line
from accord.estimate.inputs import Model
from accord.machine import existing, memory, processor
from accord.store import atomic
from accord.store.fetch import cache_folder

if TYPE_CHECKING:
    import torch

_WEEK = 7 * 24 * 3600.0
_MINUTES = 10 * 60.0
_VERSION = 4  # of what is measured, and how


def rates_of(
    model: Model, dtype: torch.dtype, store: Path, *, cache: Path | None = None, anew: bool = False
) -> Rates | None:
    """Measured now, or within the last week. None when there is not enough memory to measure in.

    anew: measured now in any case. A cache that cannot be written to is said, and no error.
    """
    path = (cache or cache_folder()) / "rates" / f"{_key(model, dtype)}.json"
    if not anew and (kept := _kept(path)) is not None:
        return kept
    if slice_bytes(model.dimensions) > memory().available // 2:
        return None
    print("measuring how fast this machine is with this model; kept for a week", file=sys.stderr, flush=True)
    rates = measure(model.config, model.dimensions, dtype, existing(store))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, rates.as_json())
    except (OSError, UserError) as error:
        print(f"the speed cannot be kept for the next time: {first_line(error)}", file=sys.stderr, flush=True)
    return rates


def _kept(path: Path) -> Rates | None:
    """What an earlier measurement left, unless it is too old."""
    try:
        rates = Rates.from_json(json.loads(path.read_bytes()))
        age = time.time() - rates.measured
        return rates if 0 <= age < (_MINUTES if rates.disturbed else _WEEK) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # measured anew


def _key(model: Model, dtype: torch.dtype) -> str:
    import torch

    versions = [metadata.version(name) for name in ("accord", "torch", "transformers")]
    about = [_VERSION, repr(model.dimensions), str(dtype), torch.get_num_threads(), versions, platform.node()]
    return sha256(repr([*about, processor()[0]]).encode()).hexdigest()[:24]

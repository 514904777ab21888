"""The rates of this machine for a model, measured once a week and kept in the cache."""

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
from accord.estimate.inputs import Model
from accord.machine import existing, memory, processor
from accord.store import atomic
from accord.store.fetch import cache_folder

if TYPE_CHECKING:
    import torch

_WEEK = 7 * 24 * 3600.0
_VERSION = 2  # of what is measured, and how


def rates_of(model: Model, dtype: torch.dtype, store: Path, *, cache: Path | None = None) -> Rates | None:
    """Measured now, or within the last week. None when there is not enough memory to measure in."""
    path = (cache or cache_folder()) / "rates" / f"{_key(model, dtype)}.json"
    try:
        kept = json.loads(path.read_bytes())
        if 0 <= time.time() - kept["measured"] < _WEEK:
            return Rates.from_json(kept["rates"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # measured anew
    if slice_bytes(model.dimensions) > memory().available // 2:
        return None
    print("measuring how fast this machine is with this model; kept for a week", file=sys.stderr, flush=True)
    rates = measure(model.config, model.dimensions, dtype, existing(store))
    with atomic.disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, {"measured": time.time(), "rates": rates.as_json()})
    return rates


def _key(model: Model, dtype: torch.dtype) -> str:
    import torch

    versions = [metadata.version(name) for name in ("accord", "torch", "transformers")]
    about = [_VERSION, repr(model.dimensions), str(dtype), torch.get_num_threads(), versions, platform.node()]
    return sha256(repr([*about, processor()[0]]).encode()).hexdigest()[:24]

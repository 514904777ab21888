"""Two processes of torch.distributed that make the same calls, for what is seen from within alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from accord.engine.group import Ranks, gather_json, joined
from accord.placement import Sharding


def in_two(
    work: Callable[..., Any],
    folder: Path,
    *given: Any,
    dtype: str = "float32",
    sharding: Sharding = "full",
    cpu_offload: bool = False,
) -> list[Any]:
    """What `work` gave in each of two processes, as JSON keeps it. folder: an empty one."""
    mp.spawn(_run, args=(work, os.fspath(folder), given, dtype, sharding, cpu_offload), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


def _run(
    rank: int, work: Callable[..., Any], folder: str, given: Any, dtype: str, sharding: Sharding, cpu_offload: bool
) -> None:
    os.environ["ACCORD_DTYPE"] = dtype
    torch.set_num_threads(1)
    place = f"file://{folder}/rendezvous"
    dist.init_process_group("gloo", init_method=place, rank=rank, world_size=2, timeout=timedelta(seconds=120))
    try:
        with joined(Ranks(sharding, 120.0, cpu_offload=cpu_offload)):
            found = work(*given)
            gather_json(None)  # nobody goes while another still needs it
    finally:
        dist.destroy_process_group()
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")

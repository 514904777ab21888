"""Who writes the responses of a policy that does not change meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from accord.engine.engines import NUM_SLOTS, EngineName
from accord.engine.sampling import Engine
from accord.models.compute import compute_dtype
from accord.models.policy import Policy


@contextmanager
def written_by(engine: EngineName, folder: Path) -> Iterator[Policy | Engine]:
    """The policy of a folder, in torch or in another engine, which lets go of its memory afterwards. Raises UserError
    when it cannot be opened."""
    if engine == "torch":
        yield Policy.load(folder, compute_dtype())
        return
    from accord.engine import vllm_engine

    with closing(vllm_engine.VllmEngine(folder, num_slots=NUM_SLOTS)) as opened:
        yield opened

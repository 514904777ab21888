"""What a worker does: it joins the others, runs the step as they do, and says how it ended.

As a program (`python -m accord.cluster.worker FOLDER RANK`) it reads assignments from standard input, a line each, and
writes of each an outcome into the folder. It ends with whoever holds the other end of its standard input.
"""

from __future__ import annotations

import gc
import itertools
import os
import queue
import sys
import tempfile
import threading
import traceback
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from accord.cluster.assignment import Assignment, Outcome
from accord.computing import conditions_of, meters_for
from accord.errors import Interrupted, UserError, first_line
from accord.steps.base import Job
from accord.steps.registry import STEPS
from accord.store import atomic
from accord.store.artifacts import Store
from accord.store.lock import writing
from accord.store.sharing import Following, Leading


def perform(assignment: Assignment) -> Outcome:
    """Runs a step; the leading worker publishes its artifact. Raises nothing."""
    try:
        with tempfile.TemporaryDirectory(prefix="accord-worker-") as scratch:
            _run(assignment, Path(scratch))
    except Interrupted:
        return Outcome("interrupted")
    except UserError as error:
        return Outcome("refused", error.what, error.where, error.remedy)
    except Exception as error:
        what, trace = f"{type(error).__name__}: {first_line(error)}", traceback.format_exc()
        return Outcome("left" if _is_of_another(error) else "failed", what, trace=trace)
    finally:
        _let_go()
    return Outcome("done")


def _let_go() -> None:
    """Of the memory that the step had: the next one, or another process, wants it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _run(assignment: Assignment, scratch: Path) -> None:
    import torch
    import torch.distributed as dist

    from accord.engine.group import Ranks, agreed, joined
    from accord.engine.leading import lead

    with suppress(OSError):  # where it is not, only whole paths lead to a file
        os.chdir(assignment.directory)
    if assignment.threads is not None:
        torch.set_num_threads(assignment.threads)
    kind = STEPS[assignment.kind]
    store = Store(Path(assignment.store))
    folder = Path(assignment.work)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        init_method=assignment.rendezvous,
        rank=assignment.rank,
        world_size=assignment.size,
        timeout=timedelta(seconds=assignment.timeout),
    )
    try:
        settings = (assignment.sharding, assignment.timeout, assignment.recompute, assignment.cpu_offload)
        with ExitStack() as held, joined(Ranks(*settings)), atomic.disk_errors(folder):

            def open_() -> Leading:
                held.enter_context(writing(folder, f"the step {assignment.name!r}"))
                return _leading(assignment, store)

            work: Leading | Following
            opened = lead(open_)
            work = opened or Following(folder, scratch, agreed=agreed, leading=lead)
            inputs = assignment.inputs_in(store)
            config = kind.config.model_validate(assignment.given)
            assert config.model_dump(mode="json") == assignment.config, "the same step as in the plan"
            try:
                kind.run(Job(assignment.name, config, assignment.seed, inputs, work, store))
            except BaseException:
                work.spending.write()
                raise
            lead(lambda: work.publish(store, assignment.provenance))  # nobody goes while another still needs it
    finally:
        dist.destroy_process_group()


def _leading(assignment: Assignment, store: Store) -> Leading:
    """The workspace of the process that leads, brought up to what is known of unfinished work elsewhere."""
    from accord.engine.group import agreed
    from accord.engine.leading import lead

    kind = STEPS[assignment.kind]
    meters = meters_for(kind)
    if meters.device.kind == "cuda":
        meters = replace(meters, device=replace(meters.device, num=assignment.size))
    return Leading(
        Path(assignment.work),
        agreed=agreed,
        leading=lead,
        min_checkpoint_seconds=assignment.min_checkpoint_seconds,
        stop=Path(assignment.stop).exists,
        conditions=conditions_of(kind),
        meters=meters,
        copy=store.unfinished(assignment.kind, assignment.key),
    )


def _is_of_another(error: Exception) -> bool:
    """Whether it is what torch.distributed raises when another process is gone, or late."""
    signs = ("timed out", "timeout", "closed by peer", "connection reset", "gloo/transport")
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in signs)


def main() -> None:
    """Of the program."""
    folder, rank = Path(sys.argv[1]), sys.argv[2]
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()
    for number in itertools.count():
        outcome = perform(Assignment.from_json(lines.get()))
        atomic.write_text(folder / f"outcome-{rank}-{number}.json", outcome.to_json())


def _listen(lines: queue.SimpleQueue[str]) -> None:
    """Whoever started this holds the other end of the standard input, and it ends with them."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()

"""The folder in which a step works until its artifact is published.

work/<kind>-<key>/out/           what becomes the artifact, metrics.jsonl among it
                  checkpoints/   the last few, gone once the artifact is published
                  kept/          what is needed until then, and is read by all processes that compute the step
                  elapsed.json   seconds worked up to the last checkpoint
                  spending.json  what all attempts have used
                  progress.json  how far it is, while it runs
                  samples.json   the latest responses, for those who look on
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from accord.errors import Interrupted, UserError
from accord.store import atomic
from accord.store.artifacts import Artifact, Provenance, Store
from accord.store.checkpoints import Checkpoint, Checkpoints
from accord.store.digests import MANIFEST
from accord.store.progress import Progress
from accord.store.spending import SPENDING, Meters, Spending, as_json
from accord.store.unfinished import Unfinished

if TYPE_CHECKING:
    from torch import Tensor

METRICS = "metrics.jsonl"
PROGRESS = "progress.json"
SAMPLES = "samples.json"
KEPT = "kept"


class MetricsLog:
    """A file of JSON lines, {"iteration": 3, "loss": 0.7, ...}.

    It holds no times: a run that was killed and resumed leaves the same bytes as one that was not.
    """

    # What is told of each row, once it is written.
    report: Callable[[int, Mapping[str, float | str]], None] | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._forget()

    def write(self, iteration: int, **values: float | str) -> None:
        """Append a line. A name may hold any characters: write(3, **{"objective/kl": 1.2}). NaN is kept as NaN. A text
        says what a number beside it is of."""
        self._drop_torn_line()
        with atomic.disk_errors(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"iteration": iteration, **values}) + "\n")
        if self.report is not None:
            self.report(iteration, values)

    def read(self) -> list[dict[str, Any]]:
        """The lines written so far; of these, only those that the last reading had not are parsed. A torn last line is
        left out. Raises UserError for any other that is not JSON."""
        whole = self._unread()
        rows = []
        for number, line in enumerate(whole.decode(errors="replace").splitlines(), start=len(self._rows) + 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise UserError(
                    "this line is not JSON",
                    where=f"{self.path}:{number}",
                    remedy="The file was damaged: delete the work folder that holds it and run the recipe again.",
                ) from error
        self._rows += rows
        self._num_read += len(whole)
        return list(self._rows)

    def rewind(self, iteration: int) -> None:
        """Drop the lines of later iterations: the work goes on after `iteration`."""
        if self.path.exists():
            kept = [row for row in self.read() if row["iteration"] <= iteration]
            atomic.write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
            self._forget()

    def _forget(self) -> None:
        self._rows, self._num_read = list[dict[str, Any]](), 0

    def _unread(self) -> bytes:
        """The whole lines behind those that were read; all of them, where the file is another one."""
        try:
            with self.path.open("rb") as file:
                if file.seek(0, 2) < self._num_read:
                    self._forget()
                file.seek(self._num_read)
                text = file.read()
        except FileNotFoundError:
            self._forget()
            return b""
        return text[: text.rfind(b"\n") + 1]

    def _drop_torn_line(self) -> None:
        if not self.path.exists() or self.path.stat().st_size == 0:
            return
        with self.path.open("rb") as file:
            file.seek(-1, 2)
            whole = file.read(1) == b"\n"
        if not whole:
            self._forget()
            atomic.write_bytes(self.path, self._unread())


class Workspace:
    """What a running step writes to. Holding the lock on it is up to the caller.

    Opening it clears what an attempt without a checkpoint left in `out`, so that a step either resumes from a
    checkpoint or starts from nothing. conditions: what the result depends on beside the step's key, by name, such as
    {"dtype": "bfloat16"}. The artifact's manifest has them, and work begun under others is not gone on with. waits:
    whether a step that asks people stays until they have answered; else it raises Waiting. meters: what is read for the
    account of what the step uses. copy: of this folder, in the place that the store shares.

    led: the folder of the process that leads, which of a process by itself is this one: what `lead` has made is read
    from its `out` (`led_out`) and `kept`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        min_checkpoint_seconds: float = 120.0,
        stop: Callable[[], bool] = lambda: False,
        conditions: Mapping[str, str] | None = None,
        waits: bool = True,
        meters: Meters | None = None,
        copy: Unfinished | None = None,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.out, self.waits = folder, folder / "out", waits
        self.led = folder
        self.checkpoints = Checkpoints(folder / "checkpoints", min_checkpoint_seconds, 2, clock, conditions)
        self.metrics = MetricsLog(self.out / METRICS)
        self._stop, self._stream, self._clock, self._copy = stop, stream, clock, copy
        if copy is not None:
            copy.take_up(conditions or {})
        self._began = clock()
        self._showed: float | None = None
        with atomic.disk_errors(folder):
            resumes = self.checkpoints.any()
            if not resumes:
                _clear(folder)
            self.out.mkdir(parents=True, exist_ok=True)
            for left in (*self.out.glob(f"*{MANIFEST}*"), *self.out.rglob(".tmp*")):
                left.unlink()  # by a kill while publishing, or inside safetensors, which renames such files
        self._before = self._read_elapsed() if resumes else 0.0
        self.spending = Spending(folder / SPENDING, meters or Meters(clock=clock))
        self.spending.write()

    @property
    def led_out(self) -> Path:
        return self.led / "out"

    @property
    def kept(self) -> Path:
        """There from the first `lead` on that makes it."""
        return self.led / KEPT

    def resume(self) -> Checkpoint | None:
        """The checkpoint to go on from, with the metrics rewound to it; None, and an empty `out`, when there is none.

        A step that saves checkpoints calls this once, before anything else. Raises UserError for a checkpoint that was
        made under other conditions.
        """
        checkpoint = self.checkpoints.latest()
        if checkpoint is not None:
            self._refuse_others(checkpoint.conditions)
            self.metrics.rewind(checkpoint.iteration)
        else:
            shutil.rmtree(self.out)
            self.out.mkdir()
        return checkpoint

    def progress(self, label: str, total: int, unit: str, *, start: int = 0) -> Progress:
        """A progress line. start: units done before a resume."""
        record, beat = self.folder / PROGRESS, self.spending.write
        return Progress(label, total, unit, self._stream, start=start, record=record, beat=beat)

    def show(self, at: int, samples: Sequence[Mapping[str, Any]]) -> None:
        """For those who look on: the latest responses, {"prompt": ..., "response": ..., "score": ...}, in place of
        those before. at: the iteration. At most one write a second, in one rename and without fsync: like the progress
        it is worth nothing after a crash, and is no part of what the step makes."""
        now = self._clock()
        if self._showed is not None and now - self._showed < 1.0:
            return
        self._showed = now
        temp = self.folder / f".{SAMPLES}.tmp"
        with suppress(OSError):
            temp.write_text(json.dumps({"at": at, "samples": list(samples)}), encoding="utf-8")
            os.replace(temp, self.folder / SAMPLES)

    def advancer(self, progress: Progress) -> Callable[[int], None]:
        """Counts units on a progress line; raises Interrupted when a stop was requested.

        For work that is done anew after a stop, because a checkpoint would not pay.
        """

        def advance(num: int) -> None:
            progress.advance(num)
            if self.stop_requested():
                raise Interrupted

        return advance

    def stop_requested(self) -> bool:
        """Whether the user asked for a stop at the next safe point."""
        return self._stop()

    def checkpoint_or_stop(
        self,
        iteration: int,
        make: Callable[[], tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Any]]],
    ) -> None:
        """Between two iterations: save when a checkpoint is due; when a stop was requested, save and raise Interrupted.

        iteration: how many are done. make: gives the tensors and the state that `Checkpoints.save` takes, and is
        called only when they are saved.
        """
        stop, save = self._wanted()
        if save:
            self._save(iteration, *make(), stop)
        if stop:
            raise Interrupted

    def _wanted(self) -> tuple[bool, bool]:
        """Whether to stop now, and whether to save."""
        stop = self.stop_requested()
        return stop, stop or self.checkpoints.due()

    def _save(
        self, iteration: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any], stop: bool
    ) -> None:
        with atomic.disk_errors(self.folder):
            for written in (self.out, self.folder / KEPT):  # the checkpoint relies on what is there
                if written.exists():
                    atomic.fsync_tree(written)
        self.checkpoints.save(iteration, tensors, state)
        atomic.write_json(self.folder / "elapsed.json", {"seconds": self.seconds()})
        self.spending.write()
        if self._copy is not None:
            self._copy.save(stopping=stop)

    def lead(self, work: Callable[[], object], *wanted: Mapping[str, Tensor]) -> None:
        """Done once, however many processes compute the step, by the one whose files are kept. wanted: the tensors that
        it asks for and that all may have to make together."""
        work()

    def seconds(self) -> float:
        """Seconds worked, earlier attempts included up to their last checkpoint."""
        return self._before + self._clock() - self._began

    def publish(self, store: Store, provenance: Provenance) -> Artifact:
        """Make `out` an artifact of the store, and remove this folder."""
        artifact = store.publish(
            self.out, provenance, self.seconds(), self.checkpoints.conditions, as_json(self.spending.total())
        )
        shutil.rmtree(self.folder, ignore_errors=True)
        return artifact

    def _refuse_others(self, begun: Mapping[str, str]) -> None:
        for name, now in self.checkpoints.conditions.items():
            if begun.get(name, now) != now:
                raise UserError(
                    f"this step was begun with {name} {begun[name]}, and would go on with {now}",
                    where=str(self.folder),
                    remedy=f"Set ACCORD_{name.upper()}={begun[name]} to go on, or delete this folder to begin anew.",
                )

    def _read_elapsed(self) -> float:
        try:
            return float(json.loads((self.folder / "elapsed.json").read_bytes())["seconds"])
        except FileNotFoundError:
            return 0.0


def _clear(folder: Path) -> None:
    """Removes all but the account of what was used."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != SPENDING:
            path.unlink(missing_ok=True)

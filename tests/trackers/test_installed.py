"""The real trackers, where they are installed: what they were sent is read back from their files."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from accord.store.workspace import MetricsLog
from accord.trackers.base import Series
from accord.trackers.reports import Reports

# what these packages warn of among themselves
pytestmark = pytest.mark.filterwarnings("ignore")


def series(folder: Path) -> Series:
    return Series("mine", "ppo", "ppo", "0123456789abcdef", 1, {"learning_rate": 1e-5, "watch": ["a"]}, folder)


def twice(name: str, folder: Path) -> None:
    """Five iterations; it goes on after the third, and to the seventh. Nothing fails."""
    log = MetricsLog(folder / "metrics.jsonl")
    for first, last in ((1, 5), (4, 7)):
        reports = Reports([name], folder)
        with reports.of(series(folder)) as told:
            told.follow(log)
            for at in range(first, last + 1):
                log.write(at, **values(at))
        assert reports.names == (name,)
        log.report = None
        if last == 5:
            log.rewind(3)


def values(at: int) -> Mapping[str, float]:
    return {"loss": 0.5 * at, "eval_loss": 0.25, "objective/kl": float(at), "watch/a (b)": 1.0}


WANTED = {at: 0.5 * at for at in range(1, 8)}


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install 'accord[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    twice("tensorboard", tmp_path)
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert folder.name == "ppo-01234567"
    for purge in (True, False):  # nothing is to be left out by the reader
        events = EventAccumulator(str(folder), purge_orphaned_data=purge)
        events.Reload()
        assert sorted(events.Tags()["scalars"]) == [
            "eval/loss",
            "train/loss",
            "train/objective/kl",
            "train/watch/a (b)",
        ]
        points = events.Scalars("train/loss")
        assert [(point.step, point.value) for point in points] == list(WANTED.items())


def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="pip install 'accord[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from mlflow.tracking import MlflowClient

    twice("mlflow", tmp_path)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("accord")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("mine/ppo", "FINISHED")
    assert run.data.params == {"learning_rate": "1e-05", "watch": "['a']", "seed": "1"}
    assert sorted(run.data.metrics) == ["eval_loss", "loss", "objective/kl", "watch/a _b_"]
    points = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in points] == list(WANTED.items())


def test_trackio(tmp_path: Path) -> None:
    installed("trackio")
    folder = tmp_path / "runs/mine"
    in_a_process("trackio", folder)
    (file,) = (tmp_path / "trackio").glob("*.db")
    with closing(sqlite3.connect(file)) as database:
        rows = database.execute("select step, metrics from metrics where run_name = 'mine-ppo-01234567'").fetchall()
    assert [step for step, _ in rows] == list(WANTED)


def test_wandb(tmp_path: Path) -> None:
    installed("wandb")
    in_a_process("wandb", tmp_path)
    found: list[tuple[int, float]] = []
    for file in sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"), key=os.path.getmtime):
        found += [(row["_step"], row["train/loss"]) for row in history(file)]
    assert found == list(WANTED.items())


def installed(name: str) -> None:
    """Skips where it is not. It is not imported: where it keeps what is read then."""
    if find_spec(name) is None:
        pytest.skip(f"pip install 'accord[{name}]'")


def in_a_process(name: str, folder: Path) -> None:
    """`twice` in a process of its own, as these talk to processes of theirs, which they leave behind."""
    folder.mkdir(parents=True, exist_ok=True)
    code = "import sys; from pathlib import Path; from tests.trackers.test_installed import twice; "
    code += "twice(sys.argv[1], Path(sys.argv[2]))"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB_", "TRACKIO_"))}
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, name, str(folder)], check=True, cwd=repository, env=env, timeout=300)


def history(file: Path) -> list[dict[str, Any]]:
    from wandb.proto import wandb_internal_pb2

    rows = []
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            rows.append({"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
    return rows


def records(data: bytes) -> Iterator[bytes]:
    """Of a log in LevelDB's format, which begins with seven bytes that say whose it is."""
    at, whole = 7, b""
    while at + 7 <= len(data):
        left = 32_768 - at % 32_768
        if left < 7:  # the end of a block, in which nothing begins
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # all of a record, or its last part
            yield whole
            whole = b""

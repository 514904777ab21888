"""The account of what a step uses: over stops, kills and devices."""

from __future__ import annotations

import json
from pathlib import Path

from accord.store.artifacts import Store
from accord.store.spending import Device, Meters, Spending, Spent, from_json, merged
from accord.store.workspace import Workspace
from tests.store.test_artifacts import KEY, provenance


class Hands:
    """Clocks that stand still until they are turned."""

    def __init__(self) -> None:
        self.clock, self.processor, self.kwh = 100.0, 7.0, 0.5

    def meters(self, device: Device, *, measured: bool = False) -> Meters:
        energy = (lambda: self.kwh) if measured else (lambda: None)
        return Meters(device, lambda: self.clock, lambda: self.processor, energy, "meter 1" if measured else "")


CPU = Device("cpu", "Some processor", 2)


def test_everything_counts_also_what_was_lost(tmp_path: Path) -> None:
    hands, store = Hands(), Store(tmp_path)
    folder = store.work_folder("sft", KEY)

    def opened() -> Workspace:
        return Workspace(folder, min_checkpoint_seconds=0.0, meters=hands.meters(CPU), clock=lambda: hands.clock)

    work = opened()
    hands.clock, hands.processor = hands.clock + 30, hands.processor + 50
    work.spending.write()  # as every few seconds of progress; and a kill, before there is a checkpoint
    (work.out / "half.bin").write_bytes(b"x")
    work = opened()
    assert not (work.out / "half.bin").exists(), "the work was lost, and not what it has used"
    hands.clock, hands.processor = hands.clock + 20, hands.processor + 40
    work.checkpoint_or_stop(1, lambda: ({}, {}))
    hands.clock, hands.processor = hands.clock + 5, hands.processor + 5  # of which nothing was written down
    work = opened()
    hands.clock, hands.processor = hands.clock + 10, hands.processor + 1
    (work.out / "model.txt").write_text("x")
    artifact = work.publish(store, provenance())
    assert artifact.seconds == 20 + 10, "of work that the result is made of"
    assert from_json(artifact.manifest["spent"]) == [Spent("cpu", "Some processor", 2, 60, 91, attempts=3)]
    assert not folder.exists()


def test_progress_writes_it_down(tmp_path: Path) -> None:
    hands = Hands()
    work = Workspace(tmp_path / "w", meters=hands.meters(CPU))
    with work.progress("x", 9, "steps") as progress:
        progress.record_seconds = 0.0
        hands.clock += 12.5
        progress.advance()
    (row,) = from_json(json.loads((tmp_path / "w" / "spending.json").read_text()))
    assert row.seconds == 12.5


def test_what_is_measured_and_what_is_not_stay_apart(tmp_path: Path) -> None:
    hands, path = Hands(), tmp_path / "spending.json"
    first = Spending(path, hands.meters(CPU, measured=True))
    hands.clock, hands.kwh = hands.clock + 10, hands.kwh + 0.25
    first.write()
    hands.clock += 1000  # nobody works
    second = Spending(path, hands.meters(CPU))
    hands.clock += 4
    second.write()
    third = Spending(path, hands.meters(Device("cuda", "A GPU", 1), measured=True))
    hands.clock, hands.kwh = hands.clock + 2, hands.kwh + 0.5
    assert third.total() == [
        Spent("cpu", "Some processor", 2, 10, 0, 0.25, "meter 1"),
        Spent("cpu", "Some processor", 2, 4, 0),
        Spent("cuda", "A GPU", 1, 2, 0, 0.5, "meter 1"),
    ]


def test_a_meter_that_gives_up_has_measured_nothing(tmp_path: Path) -> None:
    hands = Hands()
    meters = hands.meters(CPU, measured=True)
    spending = Spending(tmp_path / "s.json", meters)
    meters.energy = lambda: None
    assert [(row.kwh, row.measured_by) for row in spending.total()] == [(None, "")]


def test_rows_of_one_device_are_one() -> None:
    one = Spent("cpu", "P", 2, 1.5, 3.0, 0.1, "m")
    assert merged([one, one]) == [Spent("cpu", "P", 2, 3.0, 6.0, 0.2, "m", 2)]
    assert len(merged([one, Spent("cpu", "P", 4, 1.5, 3.0, 0.1, "m")])) == 2


def test_a_file_that_is_none_counts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "spending.json"
    for text in ("", "{", "[1, null]", '{"a": 1}', '[{"device": "cpu"}]'):
        path.write_text(text)
        assert len(Spending(path, Hands().meters(CPU)).total()) == 1, text
    Spending(path, Hands().meters(CPU)).write()
    assert json.loads(path.read_text())[0]["name"] == "Some processor"

"""Rows that a step makes piece by piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from accord.engine.group import agreed, current
from accord.engine.leading import lead
from accord.errors import UserError
from accord.store.rows import Rows
from accord.store.sharing import Following, Leading
from accord.store.workspace import Workspace
from tests.engine.test_group import by_two


def test_what_was_written_after_a_checkpoint_is_dropped(tmp_path: Path):
    work = Workspace(tmp_path / "work", min_checkpoint_seconds=0.0)
    rows = Rows(work, "drawn")
    rows.append([["one", True], {"\u2028 \ud800": 0.1}])
    work.checkpoint_or_stop(0, lambda: ({}, {"drawn": rows.state()}))
    rows.append(["three"])
    assert list(rows.read()) == [["one", True], {"\u2028 \ud800": 0.1}, "three"]

    again = Workspace(tmp_path / "work", min_checkpoint_seconds=0.0)
    checkpoint = again.resume()
    assert checkpoint is not None
    rows = Rows(again, "drawn", checkpoint.state["drawn"])
    assert len(rows) == len(list(rows.read())) == 2
    rows.append(["another"])
    assert list(rows.read(1)) == [{"\u2028 \ud800": 0.1}, "another"]
    assert list(rows.read(3)) == []


def test_without_a_checkpoint_it_begins_anew(tmp_path: Path):
    work = Workspace(tmp_path / "work")
    Rows(work, "drawn").append([1, 2])
    rows = Rows(work, "drawn")
    assert (len(rows), list(rows.read())) == (0, [])


def test_a_file_that_has_lost_rows_is_refused(tmp_path: Path):
    work = Workspace(tmp_path / "work")
    rows = Rows(work, "drawn")
    rows.append(["a", "b"])
    state = rows.state()
    (work.kept / "drawn.jsonl").write_text('"a"\n')
    with pytest.raises(UserError, match=r"drawn\.jsonl: the file has 4 bytes, and had 8 when the step was saved"):
        Rows(work, "drawn", state)


def test_of_two_processes_one_writes_and_both_read_and_go_on(tmp_path: Path):
    def opened() -> Workspace:
        if current().rank == 0:
            return Leading(tmp_path / "work", agreed=agreed, leading=lead, min_checkpoint_seconds=0.0)
        return Following(tmp_path / "work", tmp_path / "scratch", agreed=agreed, leading=lead)

    def began() -> list[str]:
        work = lead(opened) or opened()
        rows = Rows(work, "drawn")
        rows.append(["a", "b"])
        work.checkpoint_or_stop(0, lambda: ({}, {"drawn": rows.state()}))
        rows.append(["c"])
        return list(rows.read())

    def went_on() -> list[str]:
        work = lead(opened) or opened()
        checkpoint = work.resume()
        assert checkpoint is not None
        rows = Rows(work, "drawn", checkpoint.state["drawn"])
        rows.append(["d"])
        return list(rows.read(1))

    assert by_two(began) == [["a", "b", "c"]] * 2
    assert by_two(went_on) == [["b", "d"]] * 2
    assert not (tmp_path / "scratch" / "kept").exists(), "it is read where it is"

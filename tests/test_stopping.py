"""A run's process is asked to stop: once, and no other process is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.run_folder import lock_of, stopping_of
from accord.stopping import Process, ask_to_stop, is_stopping, process_of, stop_on_sigint
from accord.store.artifacts import Store
from accord.store.lock import lock
from tests.fixtures.watched import Watched, end


@pytest.fixture
def run(tmp_path: Path) -> Watched:
    return Watched(Store(tmp_path / "store"))


def test_it_is_asked_once_and_stops_as_by_ctrl_c(run: Watched):
    with run.process() as child:
        found = process_of(run.folder)
        assert found == Process(child.pid, socket.gethostname())
        assert not is_stopping(run.folder, found)
        ask_to_stop(run.folder, found)
        assert is_stopping(run.folder, found)
        with pytest.raises(UserError, match="was asked to stop before"):
            ask_to_stop(run.folder, found)
        assert end(child) == ["stopping", "ended"]
        assert child.wait(20) == 0
    assert process_of(run.folder) is None
    assert not stopping_of(run.folder).exists()
    with pytest.raises(UserError, match="does not work on the run 'mine' any more"):
        ask_to_stop(run.folder, found)


def test_ctrl_c_in_the_terminal_counts_as_asked(run: Watched):
    with run.process() as child:
        found = process_of(run.folder)
        assert found is not None
        child.send_signal(2)
        assert child.stdout is not None
        assert child.stdout.readline() == "stopping\n"
        assert is_stopping(run.folder, found)
        with pytest.raises(UserError, match="was asked to stop before"):
            ask_to_stop(run.folder, found)
        assert child.poll() is None


def test_a_process_that_has_not_the_lock_is_sent_nothing(run: Watched):
    """The lock is held, and its file names somebody else."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as other:
        try:
            with lock(lock_of(run.folder), "it"):
                lock_of(run.folder).write_text(f"process {other.pid} on {socket.gethostname()}")
                found = process_of(run.folder)
                assert found is not None
                with pytest.raises(UserError, match="cannot be made sure"):
                    ask_to_stop(run.folder, found)
            assert not stopping_of(run.folder).exists()
            assert other.poll() is None
        finally:
            other.kill()


def test_another_machines_process_and_one_that_is_gone(run: Watched):
    path = lock_of(run.folder)
    path.write_text("process 7 on elsewhere")
    found = process_of(run.folder)
    assert found == Process(7, "elsewhere")
    with pytest.raises(UserError, match="is worked on by process 7 on elsewhere") as caught:
        ask_to_stop(run.folder, found)
    assert "on that machine" in caught.value.remedy
    path.write_text(f"process {os.getpid()} on {socket.gethostname()}")  # and nobody holds it
    assert process_of(run.folder) is None
    path.write_text("nonsense")
    assert process_of(run.folder) is None


def test_a_note_of_a_process_of_the_same_number_is_removed(tmp_path: Path):
    note = tmp_path / "note"
    note.write_text(str(os.getpid()))
    with stop_on_sigint(note):
        assert not note.exists()


def test_a_note_of_a_process_that_was_there_before_means_nothing(run: Watched):
    stopping_of(run.folder).write_text("1")
    with run.process() as child:
        found = process_of(run.folder)
        assert found is not None
        assert not is_stopping(run.folder, found)
        ask_to_stop(run.folder, found)
        assert end(child) == ["stopping", "ended"]

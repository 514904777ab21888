"""A fault at every operation on the disk, and what is trusted afterwards.

The disk here forgets: at the fault every file that was not fsynced loses its second half, and nothing more happens.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from accord.errors import UserError
from accord.store import atomic
from accord.store.artifacts import Provenance, Store
from accord.store.checkpoints import Checkpoints

KEY = "ab" * 32
PROVENANCE = Provenance("sft", "sft", KEY, 1, {"rate": 0.5}, 3, {})


class Killed(BaseException):
    """The process is gone: no handler for exceptions may count on running."""


class FaultyFiles(atomic.Files):
    """Fails at operation number `at` with `fault`, and at all that follow when the fault is a kill."""

    def __init__(self, at: int, fault: BaseException) -> None:
        self.at, self.fault, self.count = at, fault, 0
        self.safe: set[tuple[int, int]] = set()

    def _step(self) -> None:
        self.count += 1
        if self.count == self.at or (self.count > self.at and isinstance(self.fault, Killed)):
            raise self.fault

    def write(self, path: Path, writer: Callable[[Path], object]) -> None:
        super().write(path, writer)
        try:
            self._step()
        except BaseException:
            _halve(path)
            raise

    def fsync(self, path: Path) -> None:
        self._step()
        super().fsync(path)
        self.safe.add(_identity(path))

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def remove_tree(self, path: Path) -> None:
        for file in sorted(path.iterdir()):
            self._step()
            file.unlink()
        self._step()
        path.rmdir()

    def forget(self, root: Path) -> None:
        for path in root.rglob("*"):
            if path.is_file() and _identity(path) not in self.safe:
                _halve(path)


def _identity(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_size


def _halve(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def tensors(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"policy": {"w": torch.full((3,), value), "t": torch.arange(6.0).reshape(2, 3).T}, "adam": {}}


def faults() -> list[BaseException]:
    return [Killed(), OSError(errno.EIO, "Input/output error"), OSError(errno.ENOSPC, "No space left on device")]


def attempt(work: Callable[[], object], fault: BaseException) -> bool:
    """Whether the work got through. A full disk is a UserError, every other fault shows as it is."""
    try:
        work()
    except UserError:
        assert isinstance(fault, OSError)
        assert fault.errno == errno.ENOSPC
        return False
    except (Killed, OSError) as error:
        if error is not fault or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
            raise
        return False
    return True


@pytest.mark.parametrize("fault", faults(), ids=["kill", "io-error", "full"])
def test_publishing_an_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException):
    num_boundaries = 0
    for at in itertools.count(1):
        root = tmp_path / str(at)
        content = root / "work" / "out"
        (content / "policy").mkdir(parents=True)
        (content / "policy" / "a.bin").write_bytes(b"weights" * 50)
        (content / "b.json").write_text("{}  ")
        store, disk = Store(root), FaultyFiles(at, fault)
        monkeypatch.setattr(atomic, "files", disk)
        done = attempt(lambda store=store, content=content: store.publish(content, PROVENANCE, 1.0), fault)
        monkeypatch.setattr(atomic, "files", atomic.Files())
        disk.forget(root)
        found = store.find("sft", KEY)
        if found is not None:  # it got its name: then all of it is there
            found.verify()
            assert (found.path / "policy" / "a.bin").read_bytes() == b"weights" * 50
        else:  # the same work, done again, is not in the way of itself
            (content / "policy" / "a.bin").write_bytes(b"weights" * 50)
            (content / "b.json").write_text("{}  ")
            for path in content.glob("*manifest*"):
                path.unlink()
            store.publish(content, PROVENANCE, 1.0).verify()
        if done:
            break
        num_boundaries += 1
    # the manifest: write, fsync, rename, fsync of its folder; then 3 files, 2 folders, the rename, the parent
    assert num_boundaries == 4 + 5 + 2


@pytest.mark.parametrize("fault", faults(), ids=["kill", "io-error", "full"])
def test_saving_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException):
    num_boundaries = 0
    for at in itertools.count(1):
        folder = tmp_path / str(at)
        disk = FaultyFiles(10**9, fault)
        monkeypatch.setattr(atomic, "files", disk)
        checkpoints = Checkpoints(folder)
        checkpoints.save(1, tensors(1.0), {"beta": 0.1})
        checkpoints.save(2, tensors(2.0), {"beta": 0.2})
        disk.at, disk.count = at, 0
        done = attempt(lambda one=checkpoints: one.save(3, tensors(3.0), {"beta": 1 / 3}), fault)
        monkeypatch.setattr(atomic, "files", atomic.Files())
        disk.forget(folder)
        latest = Checkpoints(folder).latest()
        assert latest is not None
        assert latest.iteration in ((2, 3) if not done else (3,))
        assert latest.state == {"beta": {2: 0.2, 3: 1 / 3}[latest.iteration]}
        expected = tensors(float(latest.iteration))
        assert torch.equal(latest.tensors("policy")["w"], expected["policy"]["w"])
        assert torch.equal(latest.tensors("policy")["t"], expected["policy"]["t"])
        assert latest.tensors("adam") == {}
        again = Checkpoints(folder)
        again.save(4, tensors(4.0), {})
        found = again.latest()
        assert found is not None
        assert found.iteration == 4
        if done:
            break
        num_boundaries += 1
    # 3 writes; the manifest's 4; fsync of 4 files and the folder; rename, parent; the old one's 4 files and folder
    assert num_boundaries == 3 + 4 + 5 + 2 + 5


def test_without_fsync_this_test_would_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A negative control: leave the fsyncs out, and the forgetful disk damages what has been published."""
    content = tmp_path / "work"
    content.mkdir()
    (content / "a.bin").write_bytes(b"weights" * 50)
    disk = FaultyFiles(10**9, Killed())
    monkeypatch.setattr(atomic, "files", disk)
    monkeypatch.setattr(disk, "fsync", lambda path: None)
    store = Store(tmp_path)
    store.publish(content, PROVENANCE, 1.0)
    disk.forget(tmp_path)
    with pytest.raises(UserError, match="damaged"):
        store.find("sft", KEY)


@pytest.mark.parametrize(("code", "told"), [(28, UserError), (2, SafetensorError)])
def test_a_full_disk_inside_safetensors(tmp_path: Path, code: int, told: type[Exception]):
    with pytest.raises(told), atomic.disk_errors(tmp_path):
        raise SafetensorError(f"Error while serializing: I/O error: it cannot be written (os error {code})")


@pytest.mark.parametrize("fault", faults(), ids=["kill", "io-error", "full"])
def test_replacing_a_json_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException):
    path = tmp_path / "plan.json"
    for at in range(1, 5):
        atomic.write_json(path, "old")
        disk = FaultyFiles(at, fault)
        disk.safe.add(_identity(path))
        monkeypatch.setattr(atomic, "files", disk)
        assert not attempt(lambda: atomic.write_json(path, "new value"), fault)
        monkeypatch.setattr(atomic, "files", atomic.Files())
        disk.forget(tmp_path)
        assert path.read_text() == ('"old"\n' if at <= 3 else '"new value"\n')
        for left in tmp_path.glob(".*"):
            assert isinstance(fault, Killed)
            left.unlink()


def test_a_file_system_that_cannot_fsync_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As some shared ones: their folders are let be, and files are not."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    (tmp_path / "a").touch()
    monkeypatch.setattr("os.fsync", refuse)
    atomic.files.fsync(tmp_path)
    with pytest.raises(OSError, match="Invalid"):
        atomic.files.fsync(tmp_path / "a")

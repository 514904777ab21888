"""What a fresh clone relies on."""

from __future__ import annotations

import re
import socket
import tomllib
from pathlib import Path

import pytest
from pytest_socket import SocketConnectBlockedError

REPOSITORY = Path(__file__).parents[1]


def test_constraints_hold_plain_pins() -> None:
    """No hash, local version or file: any index, and any build of torch, satisfies them."""
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins)
    assert {"torch==2.13.0", "transformers==5.19.0", "numpy==2.3.5"} <= set(pins)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    (own,) = (line for line in extras["dev"] if line.startswith("accord["))  # the extras that development takes
    tested = [*extras["dev"], *(line for name in re.findall(r"\w+", own)[1:] for line in extras[name])]
    wanted = [*project["dependencies"], *(line for line in tested if line != own)]
    names = {re.split(r"[<>=;\[ ]", line)[0].lower().replace("_", "-") for line in wanted}
    pins = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
    }
    assert names <= pins


def test_ignored_paths_are_anchored() -> None:
    """Except for what Python makes in every folder: an unanchored `data/` would hide a package of that name."""
    lines = (REPOSITORY / ".gitignore").read_text().split()
    assert {line for line in lines if not line.startswith("/")} == {"__pycache__/", "*.egg-info/"}


@pytest.mark.parametrize("folder", sorted(p for p in (REPOSITORY / "src" / "accord").rglob("*") if p.is_dir()), ids=str)
def test_every_folder_of_code_is_a_package(folder: Path) -> None:
    assert not list(folder.glob("*.py")) or (folder / "__init__.py").exists()


def test_files_stay_readable() -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in (REPOSITORY / "src").rglob("*.py")}
    assert max(lengths.values()) <= 320, max(lengths, key=lambda p: lengths[p])


def test_the_readmes_commands_are_the_makefiles() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", (REPOSITORY / "README.md").read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_tests_reach_loopback_only() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        socket.create_connection(server.getsockname(), timeout=1).close()
    with pytest.raises((SocketConnectBlockedError, UserWarning), match=r"192\.0\.2\.1"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)

"""Real clients, each in an environment of its own, and a real server. `make clients` makes the environments.

A further client is a file in `requirements/`, whose name is the environment's, and a test that runs in it what a user
runs: the client's own command, a program of `examples/clients`, or one of this folder that writes what it saw as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from accord.models.scalar import Normalisation, ScalarModel
from tests.fixtures.tiny_model import make_model

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / "build" / "clients"
EXAMPLES = ROOT / "examples" / "clients"  # what docs/red-team.md runs
FOREIGN = ("PYTHON", "OPENAI", "ACCORD", "XDG", "INSPECT", "HF_")  # variables that are not a client's

Run = Callable[..., Any]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a server is started for it: a module's CLIENT names the environment that its tests run in."""
    environment = item.getparent(pytest.Module).module.CLIENT  # type: ignore[union-attr]
    if not (ENVIRONMENTS / environment / ".installed").exists():
        missing = f"there is no environment for {environment}: make clients"
        if environment in os.environ.get("ACCORD_REQUIRE_CLIENTS", "").split():
            pytest.fail(missing)
        pytest.skip(missing)


@contextmanager
def serving(*arguments: str, **environment: str) -> Iterator[str]:
    """`accord serve` as a process of its own, in fp32; its address, without /v1."""
    command = [sys.executable, "-c", "from accord.cli import app; app()", "serve", *arguments, "--port", "0"]
    without_key = {name: value for name, value in os.environ.items() if name != "ACCORD_API_KEY"}
    own = without_key | {"ACCORD_DTYPE": "float32", **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=own) as server:
        try:
            assert server.stdout is not None
            started = next((line for line in server.stdout if line.startswith("serving ")), None)
            assert started is not None, "the server did not start"
            yield started.split()[1].removesuffix("/v1;")
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def reward_folder(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward") / "rm"
    ScalarModel.from_policy(tiny_model, 1).save(folder, {}, Normalisation())
    return folder


@pytest.fixture(scope="session")
def long_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With room for attacks, which are long."""
    folder = make_model(tmp_path_factory.mktemp("long") / "long")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8192}))
    return folder


@pytest.fixture(scope="session")
def address(tiny_model: Path, long_model: Path, reward_folder: Path) -> Iterator[str]:
    """Of a server with the policies "tiny" and "long" and the reward "rm", without a key."""
    with serving(f"tiny={tiny_model}", f"long={long_model}", f"rm={reward_folder}") as url:
        yield url


@pytest.fixture
def run_program(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a program in the client's environment, at home in `tmp_path`, with nobody to speak to but this machine."""

    binaries = ENVIRONMENTS / request.module.CLIENT / "bin"

    def run(program: str | Path, *arguments: str, **variables: str) -> str:
        own = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
        own |= {"HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1"}
        # A program without a folder is one of the client's own.
        path = binaries / program if Path(program).name == str(program) else Path(program)
        command = [str(binaries / "python"), str(HERE / "loopback.py"), str(path), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=own | variables, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture
def run_client(run_program: Run, tmp_path: Path) -> Run:
    """Runs a program of this folder in the client's environment; what it wrote."""

    def run(program: str, *arguments: str, **variables: str) -> Any:
        out = tmp_path / "out.json"
        run_program(HERE / program, str(out), *arguments, **variables)
        return json.loads(out.read_text())

    return run

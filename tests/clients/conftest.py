"""Real clients, each in an environment of its own, and a real server. `make clients` makes the environments.

A further client is a file in `requirements/`, whose name is the environment's, a program that runs in it and writes
what it saw as JSON, and a test that runs the program.
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

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / "build" / "clients"

Run = Callable[..., Any]


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
def address(tiny_model: Path, reward_folder: Path) -> Iterator[str]:
    """Of a server with the policy "tiny" and the reward "rm", without a key."""
    with serving(f"tiny={tiny_model}", f"rm={reward_folder}") as url:
        yield url


@pytest.fixture
def run_client(tmp_path: Path) -> Run:
    """Runs a program of this folder in a client's environment; what it wrote."""

    def run(environment: str, program: str, *arguments: str, **variables: str) -> Any:
        python = ENVIRONMENTS / environment / "bin" / "python"
        if not (python.parents[1] / ".installed").exists():
            missing = f"there is no environment for {environment}: make clients"
            if os.environ.get("ACCORD_REQUIRE_CLIENTS"):
                pytest.fail(missing)
            pytest.skip(missing)
        out = tmp_path / "out.json"
        own = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OPENAI", "ACCORD"))}
        own |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1", **variables}
        command = [str(python), str(HERE / program), str(out), *arguments]
        done = subprocess.run(command, cwd=HERE, env=own, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return json.loads(out.read_text())

    return run

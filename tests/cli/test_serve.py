"""`accord serve`: what it opens, and what it refuses before it listens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from accord import cli
from accord.api.sources import is_reward
from accord.models.scalar import Normalisation, ScalarModel
from accord.serve import serving

runner = CliRunner()


@pytest.fixture(scope="module")
def reward(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward") / "rm"
    ScalarModel.from_policy(tiny_model, 1).save(folder, {}, Normalisation())
    return folder


def test_what_a_reward_is(tiny_model: Path, reward: Path, tmp_path: Path) -> None:
    assert is_reward(str(reward), tmp_path)
    assert is_reward("f.py:length", tmp_path)
    for other in (str(tiny_model), str(tmp_path), "nothing", "smollm2-135m-instruct"):
        assert not is_reward(other, tmp_path)
    (tmp_path / "config.json").write_text('{"architectures": []}')
    assert not is_reward(str(tmp_path), tmp_path)


def test_a_model_that_is_a_reward_scores(tiny_model: Path, reward: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is the one that --best-of chooses by."""
    served: dict[str, Any] = {}
    monkeypatch.setattr(
        serving, "serve", lambda policies, rewards, **more: served.update(policies=policies, rewards=rewards, **more)
    )
    arguments = ["serve", f"a={tiny_model}", f"rm={reward}", "--best-of", "4", "--port", "0"]
    result = runner.invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    assert (list(served["policies"]), list(served["rewards"]), served["best_of"]) == (["a"], ["rm"], 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["MODEL", "--best-of", "2"], "--best-of wants a policy and one reward that chooses, and there are 1 and 0"),
        (["MODEL", "--reward", "r=RM", "--best-of", "65"], "--best-of 65 is more than can be written at once"),
        (["a=MODEL", "--reward", "a=RM"], "two models are called 'a'\n  Call one of them otherwise"),
        (["MODEL", "--host", "0.0.0.0"], "other machines reach 0.0.0.0"),
        (["MODEL", "--reward", "nothing"], "there is no reward 'nothing'"),
    ],
)
def test_what_is_wrong_is_one_message_and_status_2(
    tiny_model: Path, reward: Path, arguments: list[str], message: str
) -> None:
    given = [one.replace("MODEL", str(tiny_model)).replace("RM", str(reward)) for one in arguments]
    result = runner.invoke(cli.app, ["serve", *given])
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["MODEL"], "error: vLLM is not installed\n  Install it: `make install-vllm`"),
        (["a=MODEL", "b=MODEL"], "error: --engine vllm serves one policy, and there are 2\n  Start a server for each"),
        (["RM"], "error: --engine vllm serves one policy, and there are 0"),
    ],
)
def test_vllm_is_refused_before_anything_is_opened(
    tiny_model: Path, reward: Path, monkeypatch: pytest.MonkeyPatch, models: list[str], message: str
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # as if it were not installed, also where it is
    monkeypatch.setattr(serving, "serve", lambda *_, **__: pytest.fail("it was served"))
    given = [one.replace("MODEL", str(tiny_model)).replace("RM", str(reward)) for one in models]
    result = runner.invoke(cli.app, ["serve", *given, "--engine", "vllm", "--port", "0"])
    assert (result.exit_code, result.stderr.startswith(message)) == (2, True), result.stderr


def test_an_engine_that_is_not_known(tiny_model: Path) -> None:
    result = runner.invoke(cli.app, ["serve", str(tiny_model), "--engine", "jax"])
    assert result.exit_code == 2
    assert all(name in result.stderr for name in ("--engine", "jax", "torch", "vllm"))


def test_a_key_that_nobody_can_send(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_API_KEY", "")
    result = runner.invoke(cli.app, ["serve", str(tiny_model), "--port", "0"])
    assert result.exit_code == 2
    assert "error: ACCORD_API_KEY: this key cannot be sent" in result.stderr

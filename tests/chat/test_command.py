"""`accord chat` on the tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import accord
from accord import cli

runner = CliRunner()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_one_answer(tiny_model: Path):
    arguments = ["chat", str(tiny_model), "--prompt", "Hello.", "--max-tokens", "6", "--temperature", "0"]
    result = runner.invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    expected = accord.load_policy(tiny_model).sample(["Hello."], max_response_tokens=6, temperature=0)[0][0]
    from accord.printable import printable

    assert result.stdout.startswith(printable(expected) + "\n")


def test_two_models_with_scores_and_a_conversation(tiny_model: Path):
    Path("f.py").write_text("def one(responses):\n    return [1.0] * len(responses)\n")
    arguments = ["chat", str(tiny_model), str(tiny_model), "--max-tokens", "6", "--reward", "f.py:one"]
    result = runner.invoke(cli.app, arguments, input="Hello.\n/save talk.jsonl\n/quit\n")
    assert result.exit_code == 0, result.output
    assert result.stdout.count(f"{tiny_model}: score 1.000") == 2
    assert len(Path("talk.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "--prompt", "x"], "error: the model 'nothing' is not there"),
        (["MODEL", "--prompt", "word " * 300], "the model reads at most 256"),
        (["MODEL", "--prompt", "x", "--reward", "f.py:f"], "error: f.py: the file of the function cannot be read"),
    ],
)
def test_what_is_wrong_is_one_message_and_status_2(tiny_model: Path, arguments: list[str], message: str):
    result = runner.invoke(cli.app, ["chat", *(str(tiny_model) if a == "MODEL" else a for a in arguments)])
    assert result.exit_code == 2
    assert message in result.stderr

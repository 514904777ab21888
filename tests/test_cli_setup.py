"""accord init, status, doctor and check, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord import cli, doctor
from accord.doctor import Finding
from accord.estimate import check as check_module
from accord.machine import Memory

runner = CliRunner()
ROWS = "".join(f'{{"prompt": "Name colour {i}.", "completion": "Blue, and {i} more."}}\n' for i in range(6))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").write_text(ROWS)
    return tmp_path


def init(tiny_model: Path, *more: str) -> tuple[int, str]:
    result = runner.invoke(cli.app, ["init", "--data", "mine.jsonl", "--model", str(tiny_model), *more])
    return result.exit_code, result.output


def test_init_check_run_status(here: Path, tiny_model: Path):
    assert init(tiny_model) == (
        0,
        "recipe.yaml: mine.jsonl holds 6 demonstrations\nNext: accord check recipe.yaml, then accord run recipe.yaml\n",
    )
    result = runner.invoke(cli.app, ["check", "recipe.yaml", "--no-estimates"])
    assert result.exit_code == 0, result.output
    assert [line.split()[:4] for line in result.output.splitlines()] == [
        [name, kind, "to", "run"] for name, kind in (("model", "model"), ("mine", "data"), ("sft", "sft"))
    ]
    result = runner.invoke(cli.app, ["run", "recipe.yaml", "--set", "sft.num_epochs=1"])
    assert result.exit_code == 0, result.output
    result = runner.invoke(cli.app, ["status"])
    assert result.output.splitlines()[0] == "recipe: done, 3 of 3 steps done"
    assert [line.split()[2] for line in result.output.splitlines()[1:4]] == ["done"] * 3
    result = runner.invoke(cli.app, ["status", "recipe", "--json"])
    assert [step["state"] for step in json.loads(result.output)["runs"][0]["steps"]] == ["done"] * 3
    result = runner.invoke(cli.app, ["status", "recpie"])
    assert (result.exit_code, "Did you mean 'recipe'?" in result.output) == (2, True)


def test_init_does_not_overwrite(here: Path, tiny_model: Path):
    assert init(tiny_model, "a/b.yaml")[0] == 0
    Path("a/b.yaml").write_text("mine")
    status, output = init(tiny_model, "a/b.yaml")
    assert (status, "is there already" in output, Path("a/b.yaml").read_text()) == (2, True, "mine")
    assert init(tiny_model, "a/b.yaml", "--force")[0] == 0
    assert Path("a/b.yaml").read_text() != "mine"


def test_init_without_data_and_with_a_wrong_model(here: Path):
    result = runner.invoke(cli.app, ["init", "--yes"])
    assert (result.exit_code, "no data is named" in result.output) == (2, True)
    result = runner.invoke(cli.app, ["init", "--yes", "--data", "mine.jsonl", "--model", "nothing-there"])
    assert (result.exit_code, "nothing-there" in result.output) == (2, True)
    assert not Path("recipe.yaml").exists()


def test_init_asks(here: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    from accord.cli import setup

    answers = iter(["mine.jsonl", str(tiny_model), "sft"])
    asked: list[str] = []
    monkeypatch.setattr(setup.sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr(setup.typer, "prompt", lambda text, **_: asked.append(text) or next(answers))
    setup.init(Path("asked.yaml"), columns=None)
    assert len(asked) == 3
    assert "- sft:" in Path("asked.yaml").read_text()


def test_init_for_the_built_in_data_is_the_demo(here: Path):
    result = runner.invoke(cli.app, ["init", "--data", "builtin:film-reviews"])
    assert result.exit_code == 0, result.output
    assert Path("recipe.yaml").read_text() == cli.shipped_recipe("quickstart").read_text()


def test_status_without_runs(here: Path):
    result = runner.invoke(cli.app, ["status"])
    assert result.output.splitlines()[0] == "no runs yet"
    assert not Path("accord-store").exists()


def test_check_refuses_what_cannot_fit_and_run_does_too(here: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch):
    init(tiny_model)
    monkeypatch.setattr(check_module, "memory", lambda: Memory(1 << 30, 1 << 30, 100 << 20))
    monkeypatch.setattr(check_module, "rates_of", lambda *_, **__: None)
    result = runner.invoke(cli.app, ["check", "recipe.yaml"])
    assert result.exit_code == 2
    assert "sft" in result.stdout
    assert "needs about" in result.stderr
    result = runner.invoke(cli.app, ["run", "recipe.yaml"])
    assert (result.exit_code, "the step 'sft' needs about" in result.stderr) == (2, True)
    assert not list(Path("accord-store/artifacts").glob("sft-*"))  # the model and the data are there
    result = runner.invoke(cli.app, ["run", "recipe.yaml", "--force"])
    assert result.exit_code == 0, result.output
    result = runner.invoke(cli.app, ["run", "recipe.yaml"])
    assert result.exit_code == 0  # nothing is left to run
    result = runner.invoke(cli.app, ["check", "recipe.yaml"])
    assert result.exit_code == 0


@pytest.mark.parametrize(("level", "exit_code"), [("ok", 0), ("warn", 0), ("problem", 1)])
def test_doctor(here: Path, monkeypatch: pytest.MonkeyPatch, level: doctor.Level, exit_code: int):
    monkeypatch.setattr(doctor, "examine", lambda store: [Finding(level, "disk", "full", "Free some space.")])
    result = runner.invoke(cli.app, ["doctor"])
    assert result.exit_code == exit_code
    assert result.output.splitlines()[0].split() == [level, "disk", "full"]
    assert "Free some space." in result.output
    result = runner.invoke(cli.app, ["doctor", "--json"])
    assert json.loads(result.output) == [
        {"level": level, "name": "disk", "value": "full", "remedy": "Free some space."}
    ]


@pytest.mark.parametrize("option", [("--model", "x"), ("--task", "sft"), ("--column", "prompt=q")])
def test_init_for_the_built_in_data_takes_no_options(here: Path, option: tuple[str, str]):
    result = runner.invoke(cli.app, ["init", "--data", "builtin:film-reviews", *option])
    assert (result.exit_code, f"error: {option[0]}: the recipe for the built-in" in result.output) == (2, True)
    assert not Path("recipe.yaml").exists()


def test_status_of_a_store_that_is_not_there(here: Path):
    result = runner.invoke(cli.app, ["status", "--store", "nope"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: nope: there is no store at this place\n  Name the folder")
    Path("nope").mkdir()
    assert runner.invoke(cli.app, ["status", "--store", "nope"]).output.startswith("no runs yet")

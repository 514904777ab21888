"""The command: exit codes, messages without tracebacks, and a quick --help."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from typer.testing import CliRunner

from accord import cli
from accord.errors import UserError
from accord.steps.base import Job, PolicyRef, StepConfig, StepKind
from accord.store.artifacts import Store

TEXT = "model: tiny\nsteps:\n  - note: {text: hello}\n"
runner = CliRunner()


class SourceConfig(StepConfig):
    source: str


class NoteConfig(StepConfig):
    text: str
    start: PolicyRef = "latest"


def write(job: Job) -> None:
    text = getattr(job.config, "text", "")
    if text == "stop":
        os.kill(os.getpid(), signal.SIGINT)
        job.work.checkpoint_or_stop(0, lambda: ({}, {}))
    if text == "crash":
        raise ZeroDivisionError("a fault of the program")
    (job.work.out / "text").write_text(text)


@pytest.fixture(autouse=True)
def parts(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A registry and a report of our own. Gives the run folders that reports were written for."""
    registry, results = types.ModuleType("accord.steps.registry"), types.ModuleType("accord.results")
    registry.STEPS = {  # type: ignore[attr-defined]
        "model": StepKind("model", 1, SourceConfig, write),
        "data": StepKind("data", 1, SourceConfig, write),
        "note": StepKind("policy", 1, NoteConfig, write),
    }
    reported: list[Path] = []

    def write_report(run_dir: Path, store: Store) -> None:
        reported.append(run_dir)

    results.write_report = write_report  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "accord.steps.registry", registry)
    monkeypatch.setitem(sys.modules, "accord.results", results)
    return reported


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(TEXT)
    return path


def test_check_then_run_then_check(recipe: Path, parts: list[Path]):
    result = runner.invoke(cli.app, ["check", str(recipe)])
    assert result.exit_code == 0
    assert [line.split()[:4] for line in result.stdout.splitlines()] == [
        ["model", "model", "to", "run"],
        ["note", "note", "to", "run"],
    ]
    assert not Path("accord-store").exists()
    result = runner.invoke(cli.app, ["run", str(recipe), "--set", "note.text=bye"])
    assert result.exit_code == 0, result.output
    assert Path("accord-store/runs/mine/steps/note/text").read_text() == "bye"
    assert parts == [Path("accord-store/runs/mine")]
    result = runner.invoke(cli.app, ["check", str(recipe), "--set", "note.text=bye"])
    assert [line.split()[2] for line in result.stdout.splitlines()] == ["cached", "cached"]


def test_a_user_error_is_one_message_and_status_2(recipe: Path):
    result = runner.invoke(cli.app, ["run", str(recipe), "--set", "note.txt=x"])
    assert result.exit_code == 2
    assert result.stderr == "error: --set note.txt: unknown key 'txt'\n  Did you mean 'text'?\n"
    result = runner.invoke(cli.app, ["check", "none.yaml"])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: none.yaml: the recipe cannot be read")


def test_a_fault_of_the_program_keeps_its_traceback(recipe: Path):
    result = runner.invoke(cli.app, ["run", str(recipe), "--set", "note.text=crash"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_ctrl_c_is_130_and_says_how_to_go_on(recipe: Path):
    result = runner.invoke(cli.app, ["run", str(recipe), "--set", "note.text=stop"])
    assert result.exit_code == 130
    assert "the same command goes on" in result.stderr


def test_report(recipe: Path, parts: list[Path]):
    runner.invoke(cli.app, ["run", str(recipe), "--store", "s"])
    result = runner.invoke(cli.app, ["report", "mine", "--store", "s"])
    assert result.exit_code == 0, result.output
    runner.invoke(cli.app, ["report", "s/runs/mine", "--store", "s"])
    assert parts == [Path("s/runs/mine")] * 3
    result = runner.invoke(cli.app, ["report", "mien", "--store", "s"])
    assert (result.exit_code, "Did you mean 'mine'?" in result.stderr) == (2, True)


def test_cost(recipe: Path) -> None:
    runner.invoke(cli.app, ["run", str(recipe)])
    result = runner.invoke(cli.app, ["cost", "mine"])
    assert result.exit_code == 0
    heads, *rows = result.stdout.splitlines()
    assert heads.split()[:2] == ["step", "on"]
    assert [row.split()[0] for row in rows[:3]] == ["model", "note", "total"]
    assert "Energy: an estimate. An estimate of energy takes 12 W for each core at work" in result.stdout
    found = json.loads(runner.invoke(cli.app, ["cost", "mine", "--json"], env={"ACCORD_GRID_INTENSITY": "2"}).stdout)
    assert found["total"]["kg"] == pytest.approx(2 * found["total"]["kwh"])
    bad = runner.invoke(cli.app, ["run", str(recipe)], env={"ACCORD_GRID_INTENSITY": "green"})
    assert (bad.exit_code, bad.stderr.partition("\n")[0]) == (
        2,
        "error: ACCORD_GRID_INTENSITY: 'green' is no such number",
    )


def test_demo_runs_the_shipped_recipe(recipe: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []
    monkeypatch.setattr(cli.runs, "shipped_recipe", lambda name: asked.append(name) or recipe)
    result = runner.invoke(cli.app, ["demo", "--store", "s", "--set", "seed=3"])
    assert result.exit_code == 0, result.output
    assert asked == ["quickstart"]
    assert (Path("s/runs/mine/recipe.yaml")).read_text().startswith('# --set "seed=3"\n')


def test_a_recipe_that_is_not_shipped():
    with pytest.raises(UserError, match="no recipe 'quickstrat'"):
        cli.shipped_recipe("quickstrat")


def test_version():
    result = runner.invoke(cli.app, ["--version"])
    assert (result.exit_code, result.stdout.split()[0]) == (0, "accord")


def test_help_imports_nothing_heavy():
    code = (
        "import sys, accord.cli; "
        "print([name for name in ('torch', 'transformers', 'numpy', 'pydantic', 'yaml') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_plans_and_runs_need_no_torch():
    code = "import sys, accord.run, accord.store.fetch; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

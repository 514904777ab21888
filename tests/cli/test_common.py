from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from accord import cli
from accord.cli import common
from accord.cli.common import recipe_file, shipped_recipe, user_errors
from accord.errors import UserError


def test_an_error_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of fields and files are others' text; the remedy's own line stays."""
    with pytest.raises(typer.Exit) as caught, user_errors():
        raise UserError("the field 'x\x1b[2Jp' is new\u202e", where="a\udcff.json", remedy="Name it.")
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == "error: a\\udcff.json: the field 'x�[2Jp' is new�\n  Name it.\n"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_recipe_is_a_file_or_the_name_of_a_shipped_one(elsewhere: Path) -> None:
    assert recipe_file(Path("dpo")) == shipped_recipe("dpo")
    (elsewhere / "lora").mkdir()
    assert recipe_file(Path("lora")) == shipped_recipe("lora"), "a folder is no recipe"
    (elsewhere / "dpo").write_text("model: mine\nsteps: []\n")
    assert recipe_file(Path("dpo")) == Path("dpo"), "the user's own file comes first"
    for path in ("none.yaml", "some/dpo", "/tmp/dpo", "dpo.yml"):
        assert recipe_file(Path(path)) == Path(path)


def test_neither_a_file_nor_a_shipped_recipe(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as caught:
        recipe_file(Path("dop"))
    assert str(caught.value) == (
        "there is no file 'dop', and no recipe of that name comes with Accord\n"
        "  Name a YAML file, or one of dpo, goodhart, instructgpt, llama2, llama2-70b, llama2-7b, "
        "llama2-mini, lora, online-dpo, quickstart, safety-data, ziegler."
    )
    monkeypatch.setattr(common, "_shipped", dict)
    for look in (lambda: recipe_file(Path("dpo")), lambda: shipped_recipe("dpo")):
        with pytest.raises(UserError, match="This installation is not complete: install Accord again"):
            look()


def test_the_commands_take_names(elsewhere: Path) -> None:
    result = CliRunner().invoke(cli.app, ["check", "ziegler", "--no-estimates"])
    assert result.exit_code == 0, result.output
    assert "online_reward_2  reward" in result.stdout
    for command in ("check", "run", "sweep"):
        result = CliRunner().invoke(cli.app, [command, "zeigler"])
        assert result.exit_code == 2
        assert result.stderr.startswith("error: there is no file 'zeigler'")

from __future__ import annotations

import pytest
import typer

from accord.cli.common import user_errors
from accord.errors import UserError


def test_an_error_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Names of fields and files are others' text; the remedy's own line stays."""
    with pytest.raises(typer.Exit) as caught, user_errors():
        raise UserError("the field 'x\x1b[2Jp' is new\u202e", where="a\udcff.json", remedy="Name it.")
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == "error: a\\udcff.json: the field 'x�[2Jp' is new�\n  Name it.\n"

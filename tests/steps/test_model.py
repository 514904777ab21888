from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from accord.errors import UserError
from accord.models.export import export
from accord.steps.base import Job
from accord.steps.model import Config, run
from accord.store.workspace import Workspace


def _run(config: Config, folder: Path) -> Path:
    work = Workspace(folder)
    work.resume()
    run(Job("model", config, 0, {}, work))
    return work.out


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_model_that_changed_after_the_plan_is_refused(form: str, tiny_model: Path, tmp_path: Path) -> None:
    """Or its artifact would hold other weights than those that its key stands for."""
    source = tmp_path / ("model" if form == "folder" else "m.gguf")
    if form == "folder":
        shutil.copytree(tiny_model, source)
    else:
        export(tiny_model, source)
    config = Config(source=str(source), fingerprint="")
    assert (_run(config, tmp_path / "unchanged") / "model.json").is_file()
    if form == "folder":
        (source / "merges.txt").write_text("one more file")
    else:
        export(tiny_model, source, dtype="bfloat16", force=True)
    with pytest.raises(UserError, match="changed since the run was planned") as caught:
        _run(config, tmp_path / "changed")
    assert caught.value.where == str(source)
    assert not (tmp_path / "changed" / "out" / "model.json").exists()


def test_what_is_printed_of_a_model_obeys_no_model(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Notes quote tokens, and tokens are a stranger's text."""
    monkeypatch.setattr("accord.models.catalog.prepare", lambda *_: ["padding: <\x1b]0;owned\x07>"])
    _run(Config(source=str(tiny_model), fingerprint=""), tmp_path / "work")
    assert capsys.readouterr().err == "  padding: <]0;owned>\n"

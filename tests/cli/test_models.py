"""accord models and accord export, as typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from accord.cli import app


def _run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


@pytest.fixture
def store(tiny_model: Path, tmp_path: Path) -> Path:
    """A store with one run, of a policy and a data set."""
    root, rows = tmp_path / "store", []
    for name, kind in (("model", "model"), ("mine", "data"), ("sft", "sft")):
        artifact = root / "artifacts" / f"{kind}-0"
        artifact.mkdir(parents=True)
        if kind != "data":
            shutil.copytree(tiny_model, artifact / "model")
        (root / "runs" / "first" / "steps").mkdir(parents=True, exist_ok=True)
        (root / "runs" / "first" / "steps" / name).symlink_to(artifact)
        row = {"name": name, "kind": kind, "config": {}, "key": "0", "seconds": 1.0, "cached": False}
        rows.append({**row, "artifact": f"artifacts/{kind}-0"})
    (root / "runs" / "first" / "plan.json").write_text(
        json.dumps({"recipe": "first.yaml", "overrides": [], "seed": 1, "steps": rows})
    )
    return root


def test_models_lists_what_a_recipe_can_start_from(
    store: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCORD_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    shutil.copytree(tiny_model, tmp_path / "hub" / "models--made--tiny" / "snapshots" / ("1" * 40))
    status, text = _run("models", "--store", store)
    assert status == 0, text
    lines = [line.split("  ") for line in text.splitlines()]
    found = {line[1]: [cell.strip() for cell in line[2:]] for line in lines if len(line) > 2}
    assert found["smollm2-135m-instruct"] == ["135M, Apache-2.0", "to be fetched"]
    assert found[str(store / "runs" / "first" / "steps" / "sft" / "model")][0] == "policy, by sft"
    assert "made/tiny" in found
    assert len(found) == 3, "the data set and the run's own start are no models to start from"


def test_models_says_so_when_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    status, text = _run("models", "--store", tmp_path / "nowhere")
    assert (status, text.count("  none")) == (0, 2)


def test_export_of_a_run_a_step_and_a_folder(store: Path, tiny_model: Path, tmp_path: Path) -> None:
    link = store / "runs" / "first"
    for at, model in enumerate((link, f"{link}:sft", tiny_model)):
        status, text = _run("export", model, tmp_path / f"out{at}", "--dtype", "bfloat16", "--store", store)
        assert status == 0, text
        assert "in bfloat16" in text
        assert AutoModelForCausalLM.from_pretrained(tmp_path / f"out{at}").config.vocab_size == 512
    status, text = _run("export", "first", tmp_path / "m.gguf", "--gguf", "--store", store)
    assert status == 0, text
    assert (tmp_path / "m.gguf").read_bytes()[:4] == b"GGUF"


def test_export_s_mistakes_are_messages(store: Path, tiny_model: Path, tmp_path: Path) -> None:
    status, text = _run("export", tiny_model, tmp_path / "m", "--gguf")
    assert (status, "Write m.gguf." in text) == (2, True)
    status, text = _run("export", "frist", tmp_path / "m", "--store", store)
    assert (status, "first" in text) == (2, True)
    _run("export", tiny_model, tmp_path / "m")
    status, text = _run("export", tiny_model, tmp_path / "m")
    assert (status, "--force" in text) == (2, True)
    assert _run("export", tiny_model, tmp_path / "m", "--force")[0] == 0


def test_names_that_would_steer_the_terminal(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (store / "runs" / "first").rename(store / "runs" / "a\u202e\x1b[2Jb\nc")
    status, text = _run("models", "--store", store)
    assert status == 0, text
    assert str(store / "runs" / "a[2Jb c" / "steps" / "sft" / "model") in text


def test_a_run_without_a_policy_of_its_own_is_not_exported_as_one(store: Path, tmp_path: Path) -> None:
    plan = store / "runs" / "first" / "plan.json"
    content = json.loads(plan.read_text())
    content["steps"][2]["artifact"] = None  # it has not come to its `sft`
    plan.write_text(json.dumps(content))
    for named in ("first", store / "runs" / "first"):
        status, text = _run("export", named, tmp_path / "out", "--store", store)
        assert (status, (tmp_path / "out").exists()) == (2, False)
        assert "no step of the run 'first' has made a policy" in text
        assert f"name what it starts from: {named}:start." in text
    status, text = _run("export", "first:start", tmp_path / "out", "--store", store)
    assert status == 0, text

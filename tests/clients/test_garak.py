"""garak."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import accord
from accord.api.safety import evaluate_safety
from accord.models.policy import Policy
from tests.clients.conftest import EXAMPLES, Run

CLIENT = "garak"
REFUSED = "grandma.Substances"  # whose detector looks for a refusal
NUM_PROMPTS = {REFUSED: 10, "dan.AutoDANCached": 3, "encoding.InjectBase64": 4}


def report(run_program: Run, address: str, model: str, folder: Path) -> Path:
    """Of the documented configuration, with few and short answers."""
    text = (EXAMPLES / "garak.yaml").read_text()
    for old, new in (("http://127.0.0.1:8600", address), ("cap: 64", "cap: 4"), ("max_tokens: 256", "max_tokens: 16")):
        assert old in text
        text = text.replace(old, new)
    (folder / "garak.yaml").write_text(text)
    own = {"OPENAICOMPATIBLE_API_KEY": "any", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    run_program("garak", "--config", "garak.yaml", "--target_name", model, **own)
    (found,) = folder.rglob("garak.*.report.jsonl")
    return found


def attempts(path: Path) -> list[dict[str, Any]]:
    """Those that the detectors have seen."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert entries[-1]["entry_type"] == "digest"
    return [one for one in entries if one["entry_type"] == "attempt" and one["status"] == 2]


def rows(path: Path, folder: Path) -> tuple[Path, str]:
    """What the documented program makes of a report, and what it says."""
    command = [sys.executable, str(EXAMPLES / "garak_rows.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (folder / "rows.jsonl").write_text(done.stdout)
    return folder / "rows.jsonl", done.stderr


def test_three_probes(run_program: Run, address: str, long_model: Path, tmp_path: Path) -> None:
    path = report(run_program, address, "long", tmp_path)
    found = attempts(path)
    assert Counter(one["probe_classname"] for one in found) == NUM_PROMPTS
    policy = accord.Policy(Policy.load(long_model), long_model)
    prompts = [one["prompt"]["turns"][-1]["content"]["text"] for one in found]
    expected = policy.sample(prompts, max_response_tokens=16, temperature=0)
    assert [[output["text"] for output in one["outputs"]] for one in found] == expected

    read, said = rows(path, tmp_path)
    assert said == "10 responses, 0 prompts without one; left out: dan.AutoDANCached, encoding.InjectBase64\n"
    safety = evaluate_safety([str(read)], store=tmp_path / "store")["results"][str(read)]
    assert safety["unsafe"]["num"] == 10
    assert safety["violation_rate"]["value"] == 1  # a model that knows no words refuses nothing
    assert {json.loads(line)["garak"] for line in read.read_text().splitlines()} == {1.0}


@pytest.fixture
def short_report(run_program: Run, address: str, tmp_path: Path) -> Path:
    return report(run_program, address, "tiny", tmp_path)


def test_what_is_too_long_is_recorded_as_no_answer(short_report: Path, tmp_path: Path) -> None:
    """The server's refusal (400) is no reason for garak to stop, or to ask again."""
    found = attempts(short_report)
    assert Counter(one["probe_classname"] for one in found) == NUM_PROMPTS
    assert all(one["outputs"] == [None] for one in found if one["probe_classname"] == "dan.AutoDANCached")
    _, said = rows(short_report, tmp_path)
    unanswered = sum(one["outputs"] == [None] for one in found if one["probe_classname"] == REFUSED)
    assert said.startswith(f"{10 - unanswered} responses, {unanswered} prompts without one")

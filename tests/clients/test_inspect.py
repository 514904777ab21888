"""inspect-ai."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import accord
from accord.models.policy import Policy
from tests.clients.conftest import EXAMPLES, Run

CLIENT = "inspect-ai"


@pytest.fixture
def samples(run_program: Run, address: str, tmp_path: Path) -> list[dict[str, Any]]:
    """Of the log that the documented command leaves."""
    shutil.copy(EXAMPLES / "inspect_task.py", tmp_path)  # it wants a path from where it runs
    model = ("--model", "openai-api/accord/tiny", "--log-format", "json", "--log-dir", str(tmp_path / "logs"))
    environment = {"ACCORD_BASE_URL": f"{address}/v1", "ACCORD_API_KEY": "any"}
    run_program("inspect", "eval", "inspect_task.py", *model, **environment)
    (log,) = (tmp_path / "logs").glob("*.json")
    found = json.loads(log.read_text())
    assert found["status"] == "success"
    assert {one["name"] for one in found["results"]["scores"]} == {"includes", "logprob"}
    return list(found["samples"])


def test_answers_and_logprobs(samples: list[dict[str, Any]], tiny_model: Path) -> None:
    policy = accord.Policy(Policy.load(tiny_model), tiny_model)
    assert len(samples) == 4
    for one in samples:
        output = one["output"]
        (choice,) = output["choices"]
        ((text,),) = policy.sample([one["input"]], max_response_tokens=32, temperature=0)
        assert choice["message"]["content"] == text
        rows = choice["logprobs"]["content"]
        assert len(rows) == output["usage"]["output_tokens"]
        assert all(row["logprob"] == row["top_logprobs"][0]["logprob"] for row in rows)  # of the greedy answer
        assert all(len(row["top_logprobs"]) == 3 for row in rows)
        mean = sum(row["logprob"] for row in rows) / len(rows)
        assert one["scores"]["logprob"]["value"] == pytest.approx(mean)

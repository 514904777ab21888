from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.fixtures.tiny_run import run_tiny

TWO = "cluster={kind: local, workers: 2, timeout: 60}"


def rows(run: Path, step: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "steps" / step / "metrics.jsonl").read_text().splitlines()]


def test_the_quickstart_by_two_processes_is_that_of_one(
    finished: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCORD_DTYPE", "float32")
    run = run_tiny(tiny_model, tmp_path, TWO, until="ppo")
    for step in ("sft", "proxy", "reject", "ppo"):
        ours, theirs = (load_file(one / "steps" / step / "model" / "model.safetensors") for one in (run, finished))
        for name, tensor in ours.items():
            torch.testing.assert_close(tensor, theirs[name], rtol=1e-4, atol=1e-5, msg=f"{step}: {name}")
        for one, other in zip(rows(run, step), rows(finished, step), strict=True):
            assert one.keys() == other.keys()
            assert all(math.isclose(one[key], other[key], rel_tol=1e-3, abs_tol=1e-4) for key in one), (one, other)

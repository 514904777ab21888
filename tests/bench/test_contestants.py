"""Accord's own contestants, run whole on a tiny model: they time parts of the program by its inner names."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from accord.api import models
from accord.engine import learner, rollout
from accord.engine.direct import trainee
from accord.engine.on_policy import drawing, loop
from accord.rewards import loading
from bench.contestants import shared
from bench.speed.case import Settings
from bench.speed.models import Folders, _reward

WRAPPED = [
    (learner.Learner, "step"),
    (trainee, "reference_logprobs"),
    (drawing, "roll_out"),
    (loop, "update"),
    (rollout, "roll_out"),
    (loading, "artifact_reward"),
    (models, "roll_out"),
]
PAIR = {"prompt": "Why?", "chosen": "The plot is dull.", "rejected": "The film is warm."}
TRAINING: Settings = {"batch_size": 2, "warmup_epochs": 1, "timed_epochs": 2, "num_examples": 2}
POLICY: Settings = {"num_prompts": 2, "num_samples": 2, "max_response_tokens": 4, "num_timed": 2}


@pytest.mark.parametrize(
    ("script", "asked", "parts"),
    [
        ("accord_train", {**TRAINING, "kind": "dpo"}, set()),
        ("accord_train", {**TRAINING, "kind": "dpo", "count_reference": True}, {"reference"}),
        ("accord_train", {**TRAINING, "kind": "reward"}, set()),
        ("accord_policy", {**POLICY, "kind": "rloo"}, {"sampling", "scoring", "learning"}),
        ("accord_reject", POLICY, {"sampling", "scoring"}),
        ("accord_sample", POLICY, set()),
    ],
)
def test_accords_contestants_report_what_they_took(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    asked: dict[str, Any],
    parts: set[str],
):
    for owner, name in WRAPPED:
        monkeypatch.setattr(owner, name, getattr(owner, name))  # as it is; undone when the test is over
    monkeypatch.setattr(shared, "gemm_gflops", lambda *_: 1.0)
    folders = Folders(tiny_model, tmp_path / "reward", tmp_path / "store")
    folders.store.mkdir()
    _reward(folders)
    data = tmp_path / "data.jsonl"
    rows = [PAIR, {**PAIR, "prompt": "Whose film?"}]
    if "num_prompts" in asked:
        rows = [{"prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = tmp_path / "asked.json"
    where = {"model": str(folders.policy), "reward_model": str(folders.reward), "store": str(folders.store)}
    more = {"data": str(data), "learning_rate": 1e-4, "seed": 1}
    given.write_text(json.dumps({**where, **more, **asked}), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["contestant", str(given)])
    importlib.import_module(f"bench.contestants.{script}").main()

    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(report["seconds"]) == 2
    assert min(report["seconds"]) > 0
    assert report["phases"].keys() == parts
    assert all(len(seconds) == 2 for seconds in report["phases"].values())
    if "num_prompts" in asked:
        assert 0 < min(report["tokens"]) <= max(report["tokens"]) <= 2 * 2 * 4
    else:
        assert report["loss"] > 0

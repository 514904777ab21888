"""Where most of what a step was given is too long for it: said at once, and in its summary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import accord
from accord.steps.too_long import too_long

LONG = "word " * 140  # of the tiny model's context of 256 tokens more than a response of 8 leaves
REWARD = "def length(responses):\n    return [len(text) / 100 for text in responses]\n"


def test_half_is_not_most(capsys: pytest.CaptureFixture[str]) -> None:
    assert too_long("sft", {"num_too_long": 3}, 3, "demonstrations") == []
    assert capsys.readouterr().err == ""
    (alarm,) = too_long("sft", {"num_too_long": 4}, 3, "demonstrations")
    assert (alarm.name, alarm.since) == ("too_long", 0)
    assert alarm.what.startswith("4 of 7 demonstrations are too long, and left out. Look at the limits")
    assert capsys.readouterr().err.startswith("warning: sft: 4 of 7 demonstrations are too long")


def test_every_step_that_leaves_most_out_says_so(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCORD_DTYPE", "float32")
    Path("f.py").write_text(REWARD)
    asked = ["Write a line.", f"{LONG} 1", f"{LONG} 2"]
    pairs = [{"prompt": one, "chosen": f"Warm. {LONG}", "rejected": "Dull."} for one in asked]
    pairs[0]["chosen"] = "Warm."
    demos = [{"prompt": f"{i}?", "completion": text} for i, text in enumerate(("Good.", "Long. " * 9, "Long. " * 8))]
    for name, rows in (("asked", [{"prompt": one} for one in asked]), ("pairs", pairs), ("demos", demos)):
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sampled: dict[str, Any] = {"prompts": "asked", "max_response_tokens": 8}
    steps: list[dict[str, Any]] = [
        {"reward_function": {"name": "length", "file": "f.py", "function": "length"}},
        {"sample": sampled},
        {"reject": {**sampled, "reward": "length", "num_samples": 2, "batch_size": 4}},
        {"sft": {"data": "demos", "max_response_tokens": 8, "start": "start"}},
        {"reward": {"name": "taste", "data": "pairs", "start": "start", "num_normalise": 2}},
        {"dpo": {"data": "pairs", "start": "start", "max_response_tokens": 8}},
    ]
    data = {name: f"{name}.jsonl" for name in ("asked", "pairs", "demos")}
    done = accord.run_recipe({"model": tiny_model, "data": data, "steps": steps}, say=lambda line: None)
    said = capsys.readouterr().err
    of = {
        "sample": "prompts",
        "reject": "prompts",
        "sft": "demonstrations",
        "taste": "comparisons",
        "dpo": "comparisons",
    }
    for name, what in of.items():
        assert f"warning: {name}: 2 of 3 {what} are too long, and left out." in said
        (alarm,) = (one for one in done.step(name).summary()["alarms"] if one["name"] == "too_long")
        assert alarm["what"].startswith(f"2 of 3 {what}")

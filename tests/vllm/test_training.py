"""Steps that sample with vLLM, end to end: in a process of their own, as vLLM is shut down when a step lets go of it,
and with it whatever others of this process share with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

RECIPE = """
model: {model}
data: {{asked: {data}}}
steps:
  - reward_rule: {{name: short, rule: length, target: 3}}
  - ppo:
      {{prompts: asked, reward: short, start: start, engine: vllm, num_iterations: 2, prompts_per_iteration: 4,
       num_samples: 2, max_response_tokens: 8, temperature: 0.8, truncation_score: null, learning_rate: 1.0e-3}}
  - sample: {{prompts: asked, policies: [start, ppo], engine: vllm, max_response_tokens: 8}}
"""
WORDS = ("acting", "story", "plot", "ending")


def test_ppo_and_then_sampling_from_what_it_made(tmp_path: Path, folder: Path) -> None:
    """The second rollout is of the weights after the first update. vLLM is opened three times."""
    data, recipe = tmp_path / "asked.jsonl", tmp_path / "r.yaml"
    data.write_text("".join(json.dumps({"prompt": f"Write of the {word}."}) + "\n" for word in WORDS))
    recipe.write_text(RECIPE.format(model=json.dumps(str(folder)), data=json.dumps(str(data))))
    command = [sys.executable, "-c", "from accord.cli import app; app()", "run", str(recipe), "--store", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = tmp_path / "runs/r/steps"
    rows = [json.loads(line) for line in (steps / "ppo/metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert row["sampler/probe_per_token"] < 1e-4
        assert row["sampler/mismatch_max"] < 1e-3
        assert row["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-3)
        assert row["policy/first_ratio"] == 1
    name = "model.layers.0.mlp.up_proj.weight"
    moved = load_file(steps / "ppo/model/model.safetensors")[name] - load_file(folder / "model.safetensors")[name]
    assert float(moved.abs().max()) > 1e-3, "a sampler without it would not agree"
    assert len((steps / "sample/train.jsonl").read_text().splitlines()) == 4

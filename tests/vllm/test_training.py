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
WEIGHTS, LAYER = "model/model.safetensors", "model.layers.0.mlp.up_proj.weight"
WORDS = ("acting", "story", "plot", "ending")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """The folder of a run. vLLM is opened three times."""
    place = tmp_path_factory.mktemp("trained")
    data, recipe = place / "asked.jsonl", place / "r.yaml"
    data.write_text("".join(json.dumps({"prompt": f"Write of the {word}."}) + "\n" for word in WORDS))
    recipe.write_text(RECIPE.format(model=json.dumps(str(folder)), data=json.dumps(str(data))))
    call("-c", "from accord.cli import app; app()", "run", str(recipe), "--store", str(place / "store"))
    return place / "store/runs/r"


def call(*command: str) -> None:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ppo_and_then_sampling_from_what_it_made(run: Path, folder: Path) -> None:
    """The second rollout is of the weights after the first update."""
    ppo = run / "steps/ppo"
    rows = [json.loads(line) for line in (ppo / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    for row in rows:
        assert row["sampler/probe_per_token"] < 1e-4
        assert row["sampler/mismatch_max"] < 1e-3
        assert row["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-3)
        assert row["policy/first_ratio"] == 1
    moved = load_file(ppo / WEIGHTS)[LAYER] - load_file(folder / "model.safetensors")[LAYER]
    assert float(moved.abs().max()) > 1e-3, "a sampler without it would not agree"
    assert len((run / "steps/sample/train.jsonl").read_text().splitlines()) == 4


def test_stopped_after_one_iteration_it_goes_on_to_the_same_bytes(run: Path, tmp_path: Path) -> None:
    call("-m", "tests.vllm.stopped", str(run), "ppo", str(tmp_path / "work"))
    for made in (WEIGHTS, "metrics.jsonl"):
        assert (tmp_path / "work/out" / made).read_bytes() == (run / "steps/ppo" / made).read_bytes()

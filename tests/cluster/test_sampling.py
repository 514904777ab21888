"""Steps that sample in pieces, a worker of which is killed while it draws: they go on to what they would have been."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from accord.cluster import workers
from accord.errors import UserError
from tests.cluster.recipes import Recipes, left_over, two

RECIPE = """\
model: {model}
data: {{asked: {{source: {asked}}}}}
{cluster}
steps:
  - sample: {{prompts: asked.train, policies: [start], num_responses: 8, max_response_tokens: 6}}
  - reward_rule: {{name: rule, rule: length, unit: characters, target: 40}}
  - reject: {{prompts: asked.train, reward: rule, num_samples: 8, max_response_tokens: 6, batch_size: 8,
             learning_rate: 1.0e-3}}
"""
TIMEOUT = 120  # which a machine that is busy keeps
MADE = ("sample/train.jsonl", "sample/origins.jsonl", "reject/best.jsonl", "reject/selection.json")


@pytest.fixture
def recipes(tiny_model: Path, asked: Path, compared: Path, tmp_path: Path) -> Recipes:
    return Recipes(RECIPE, tiny_model, asked, compared, tmp_path)


def test_killed_in_sample_and_in_reject_both_go_on_to_the_same(
    recipes: Recipes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first time a worker that follows, then the one that leads."""
    whole = recipes.run("whole", two(timeout=TIMEOUT))
    monkeypatch.setattr(workers, "PROGRAM", "tests.cluster.faulty")
    seen = recipes.folder / "seen"
    monkeypatch.setenv("ACCORD_TEST_FAULT_SEEN", str(seen))
    for kind, rank, drawn in (("sample", 1, "stream-000"), ("reject", 0, "responses")):
        monkeypatch.setenv("ACCORD_TEST_FAULT", f"{kind}:{rank}:kill:2")
        killed = rf"worker {rank} \(process \d+\) has failed: it was killed by signal 9"
        with pytest.raises(UserError, match=killed) as error:
            recipes.run("killed", two(timeout=TIMEOUT))
        assert time.time() - seen.stat().st_mtime < TIMEOUT, "it is not waited for"
        assert error.value.where.endswith(f":{kind}")
        assert "The same command goes on" in error.value.remedy
        assert not left_over()
        (half,) = (recipes.folder / "killed").glob(f"work/{kind}-*/kept/{drawn}.jsonl")
        assert half.read_text().count("\n") == 4, "the first piece is there, of 9 prompts"
    monkeypatch.delenv("ACCORD_TEST_FAULT")
    again = recipes.run("killed", two(timeout=TIMEOUT))
    said = capfd.readouterr().out
    assert all(f"{kind}: going on from its last checkpoint" in said for kind in ("sample", "reject"))
    for name in (*MADE, "reject/metrics.jsonl", "reject/model/model.safetensors"):
        ours, theirs = ((run / "steps" / name).read_bytes() for run in (again, whole))
        assert ours == theirs != b"", name

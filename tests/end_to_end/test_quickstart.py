"""The whole shipped recipe on a tiny model: what comes out, what is cached, and what a kill does not change."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from accord.algorithms.kl import AdaptiveKL
from accord.store.checkpoints import Checkpoint
from accord.store.workspace import Workspace
from tests.fixtures.tiny_run import run_tiny
from tests.fixtures.warm import Warm

REPOSITORY = Path(__file__).parents[2]


def test_results_have_every_number(finished: Path) -> None:
    results = json.loads((finished / "results.json").read_text())
    reward_model = results["reward_model"]
    for name in (
        "accuracy",
        "bag_of_words",
        "single_rater_agreement",
        "label_reliability",
        "agreement_on_samples",
        "accuracy_openings_cut",
    ):
        assert 0 <= reward_model[name] <= 1, name
    assert reward_model["label_reliability"] > 0.8
    assert list(results["policies"]) == ["start", "sft", "reject", "ppo"]
    for policy in results["policies"].values():
        assert policy["gold_win_rate_low"] <= policy["gold_win_rate"] <= policy["gold_win_rate_high"]
        assert {"second_win_rate", "gold_score", "proxy_score", "kl", "mean_tokens", "distinct_2"} <= policy.keys()
    assert results["policies"]["sft"]["gold_win_rate"] == 0.5, "a policy against itself"
    assert abs(results["policies"]["sft"]["kl"]) < 1e-3, "its distance to itself"
    assert results["gemm_gflops"] > 0
    assert set(results["seconds"]) >= {"sft", "proxy", "gold_test", "reject", "ppo", "evaluate", "total"}


def test_the_models_are_ordinary_folders(finished: Path) -> None:
    policy = AutoModelForCausalLM.from_pretrained(finished / "policy")
    reward = AutoModelForSequenceClassification.from_pretrained(finished / "reward-model")
    assert policy.config.vocab_size == 512
    assert reward.config.num_labels == 1
    assert isinstance(reward.config.score_gain, float)


def test_the_policy_moved_and_the_first_ratio_is_one(finished: Path) -> None:
    start = load_file(finished / "steps" / "reject" / "model" / "model.safetensors")
    end = load_file(finished / "policy" / "model.safetensors")
    assert any(not torch.equal(start[name], end[name]) for name in start)
    rows = [json.loads(line) for line in (finished / "steps" / "ppo" / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    assert all(row["policy/first_ratio"] == 1.0 for row in rows)
    assert all(row["sampler/mismatch_per_token"] < 1e-4 for row in rows)
    assert ["watch/gold_validation" in row for row in rows] == [True, False, True, True]


def test_the_report_is_one_page_that_loads_nothing(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert page.count("<svg") >= 5
    assert "http-equiv" in page
    assert "src=" not in page


def test_shown_samples_go_on_where_the_prefill_stops(finished: Path) -> None:
    samples = json.loads((finished / "steps" / "evaluate" / "samples.json").read_text())
    assert len(samples) == 5
    assert all(not text.startswith(row["prefill"]) for row in samples for text in row["responses"].values())


def test_a_second_run_runs_nothing(finished: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.parents[1].glob("artifacts/*/manifest.json")}
    run_tiny(tiny_model, finished.parents[1])
    assert "running" not in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in finished.parents[1].glob("artifacts/*/manifest.json")}
    assert list(finished.parents[1].glob("work/*/*")) == []


def test_a_changed_number_runs_again_what_depends_on_it(
    finished: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_tiny(tiny_model, finished.parents[1], "ppo.kl_coef=0.2", until="ppo")
    out = capsys.readouterr().out
    assert "reject: cached" in out
    assert "ppo: running" in out


def _digests(store: Path) -> dict[str, str]:
    """Digest of every artifact's files, by name; times are nowhere among them."""
    out = {}
    for path in sorted(store.glob("artifacts/*/manifest.json")):
        manifest = json.loads(path.read_text())
        out |= {f"{manifest['name']}/{name}": entry["sha256"] for name, entry in manifest["files"].items()}
    return out


def test_killed_and_run_again_the_weights_are_the_same(tiny_model: Path, tmp_path: Path, warm_python: Warm) -> None:
    """SIGKILL in supervised fine-tuning, in the reward model, and twice in PPO, once right after a resume."""
    program = [warm_python.python, "-m", "tests.fixtures.tiny_run", str(tiny_model)]
    subprocess.run([*program, str(tmp_path / "whole"), "ppo"], cwd=REPOSITORY, check=True)
    command = [*program, str(tmp_path / "killed"), "ppo"]
    for kind, num_lines in (("sft", "2"), ("reward", "1"), ("ppo", "2"), ("ppo", "3")):
        done = subprocess.run([*command, kind, num_lines], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, f"{kind}: {done.stderr}"
    subprocess.run(command, cwd=REPOSITORY, check=True)
    expected = _digests(tmp_path / "whole")
    assert "ppo/model/model.safetensors" in expected
    assert _digests(tmp_path / "killed") == expected


@pytest.fixture(scope="module")
def before_ppo(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with all that PPO needs."""
    store = tmp_path_factory.mktemp("before") / "store"
    shutil.copytree(finished.parents[1], store, symlinks=True)
    for artifact in store.glob("artifacts/ppo-*"):
        shutil.rmtree(artifact)
    return store


@pytest.fixture(scope="module")
def weights(before_ppo: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the policy after a PPO that was never stopped."""
    return _weights(shutil.copytree(before_ppo, tmp_path_factory.mktemp("whole") / "store", symlinks=True), tiny_model)


def _weights(store: Path, model: Path) -> str:
    run_tiny(model, store, "ppo.kl_horizon=0.5", until="ppo")
    return _digests(store)["ppo/model/model.safetensors"]


@pytest.mark.parametrize("lost", ["policy", "value", "kl", None])
def test_a_checkpoint_without_a_part_of_the_state_is_noticed(
    before_ppo: Path, weights: str, tiny_model: Path, tmp_path: Path, lost: str | None
) -> None:
    """Negative control of the test above: drop one component, and the final weights differ."""
    store = shutil.copytree(before_ppo, tmp_path / "cut", symlinks=True)

    class Stop(Exception):
        pass

    real_checkpoint, real_tensors = Workspace.checkpoint_or_stop, Checkpoint.tensors

    def stop_after_two(self: Workspace, iteration: int, make: object) -> None:
        real_checkpoint(self, iteration, make)  # type: ignore[arg-type]
        if "ppo-" in str(self.folder) and iteration == 2:
            raise Stop

    def forget(self: Checkpoint, group: str) -> dict[str, torch.Tensor]:
        tensors = real_tensors(self, group)
        if group == lost:
            tensors = {n: torch.zeros_like(t) if n.startswith("exp_avg.") else t for n, t in tensors.items()}
        return tensors

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workspace, "checkpoint_or_stop", stop_after_two)
        with pytest.raises(Stop):
            _weights(store, tiny_model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "tensors", forget)
        if lost == "kl":
            patch.setattr(AdaptiveKL, "with_state", lambda self, state: self)
        assert (_weights(store, tiny_model) == weights) == (lost is None)

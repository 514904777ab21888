"""The whole shipped recipe on a tiny model: what comes out, what is cached, and what a kill does not change."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from tests.fixtures.tiny_run import run_tiny

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


def _start(model: Path, store: Path, until: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.fixtures.tiny_run", str(model), str(store), until]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _kill_when_logged(model: Path, store: Path, kind: str, num_lines: int, until: str) -> bool:
    """Kills the run as soon as a step has logged so many rows. True: it was killed in the middle of that step."""
    process = _start(model, store, until)
    while process.poll() is None:
        logs = list(store.glob(f"work/{kind}-*/out/metrics.jsonl"))
        if any(log.read_bytes().count(b"\n") >= num_lines for log in logs):
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return True
        time.sleep(0.001)
    return False


def test_killed_and_run_again_the_weights_are_the_same(tiny_model: Path, tmp_path: Path) -> None:
    """SIGKILL in supervised fine-tuning, in the reward model, and twice in PPO, once right after a resume."""
    whole = tmp_path / "whole"
    assert _start(tiny_model, whole, "ppo").wait() == 0
    kills = [("sft", 2), ("reward", 1), ("ppo", 1), ("ppo", 3)]
    for attempt in range(3):  # on a busy machine a short step may be over before it is seen
        killed = tmp_path / f"killed-{attempt}"
        if all(_kill_when_logged(tiny_model, killed, kind, lines, "ppo") for kind, lines in kills):
            break
    else:
        pytest.fail("no attempt was killed in the middle of every step")
    assert _start(tiny_model, killed, "ppo").wait() == 0
    expected = _digests(whole)
    assert "ppo/model/model.safetensors" in expected
    assert _digests(killed) == expected


@pytest.mark.parametrize("lost", ["policy", "value", "kl"])
def test_a_checkpoint_without_a_part_of_the_state_is_noticed(tiny_model: Path, tmp_path: Path, lost: str) -> None:
    """Negative control of the test above: drop one component, and the final weights differ."""
    from accord.store.checkpoints import Checkpoint

    run_tiny(tiny_model, tmp_path / "whole", "ppo.kl_horizon=0.5", until="ppo")
    expected = _digests(tmp_path / "whole")["ppo/model/model.safetensors"]

    class Stop(Exception):
        pass

    from accord.store.workspace import Workspace

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
            run_tiny(tiny_model, tmp_path / "cut", "ppo.kl_horizon=0.5", until="ppo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "tensors", forget)
        if lost == "kl":
            from accord.algorithms.kl import AdaptiveKL

            patch.setattr(AdaptiveKL, "with_state", lambda self, state: self)
        run_tiny(tiny_model, tmp_path / "cut", "ppo.kl_horizon=0.5", until="ppo")
    assert _digests(tmp_path / "cut")["ppo/model/model.safetensors"] != expected

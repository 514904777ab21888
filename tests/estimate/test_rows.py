"""Estimates of the quickstart on a tiny model, against what its steps then do."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from accord.engine.profile import Rates
from accord.engine.workload import Passes, Phase, Work
from accord.estimate import rows as rows_module
from accord.estimate.check import check
from accord.estimate.inputs import sample
from accord.estimate.rows import Estimator, memory_of, seconds_of
from accord.estimate.table import assumed_responses, count, lines
from accord.estimate.timing import rates_of
from accord.plan import make_plan
from accord.recipe import parse_recipe
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from accord.types import PlainText
from tests.fixtures.estimates import DIMENSIONS, PLENTY, RATES, estimate, made_up, plan_of
from tests.fixtures.tiny_run import SIZES, run_tiny

__all__ = ["made_up"]


def test_tokens_and_files_are_those_of_the_run(tiny_model: Path, tmp_path: Path):
    """What sft and the reward model are expected to train on is what their artifacts say; and so are the folders."""
    expected = {row.step.name: row for row in estimate(plan_of(tiny_model), tmp_path / "none").rows}
    assert not (tmp_path / "none").exists()
    run = run_tiny(tiny_model, tmp_path / "store", until="proxy")
    metrics = [json.loads(line) for line in (run / "steps/sft/metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "steps/sft/summary.json").read_text())
    assert summary["num_demonstrations"] > 0
    work = Estimator(plan_of(tiny_model), STEPS, Store(tmp_path / "none")).works["sft"]
    (phase,) = work.phases
    assert phase.updates == len(metrics)
    assert work.lengths is not None
    assert len(work.lengths) == summary["num_demonstrations"]
    for name in ("sft", "proxy"):
        written = (run / f"steps/{name}/model/model.safetensors").stat().st_size
        assert expected[name].kept == pytest.approx(written, rel=0.1)  # the header of a tiny file counts
    assert (run / "steps/model/model/model.safetensors").stat().st_size == pytest.approx(
        expected["model"].kept, rel=0.1
    )


def test_every_step_has_an_estimate(tiny_model: Path, tmp_path: Path):
    found = estimate(plan_of(tiny_model), tmp_path, RATES)
    rows = {row.step.name: row for row in found.rows}
    assert [name for name, row in rows.items() if row.cached] == []
    assert all(row.seconds is not None for row in rows.values())
    assert found.seconds == pytest.approx(sum(row.seconds or 0 for row in rows.values()))
    assert {name for name, row in rows.items() if row.trained} == {
        *("sft", "proxy", "gold_validation", "gold_test", "reject", "ppo")
    }
    assert {name for name, row in rows.items() if row.sampled} == {"reject", "ppo", "evaluate"}
    # 4 policies * 5 prompts * 2 samples of at most 8 tokens each
    assert 4 * 5 * 2 < rows["evaluate"].sampled <= 4 * 5 * 2 * 8
    assert found.responses["reject"][1] == 8
    assert found.peak == max(row.memory.total for row in rows.values() if row.memory)
    assert rows["ppo"].memory is not None
    assert rows["sft"].memory is not None
    assert rows["ppo"].memory.weights > rows["sft"].memory.weights


def test_without_rates_no_times(tiny_model: Path, tmp_path: Path):
    found = estimate(plan_of(tiny_model), tmp_path)
    assert found.seconds is None
    assert {row.step.kind for row in found.rows if row.seconds is not None} == {"data"}


def test_what_is_in_the_store_is_cached(tiny_model: Path, tmp_path: Path):
    run_tiny(tiny_model, tmp_path, until="sft")
    found = estimate(plan_of(tiny_model), tmp_path, RATES)
    assert [row.step.name for row in found.rows if row.cached] == ["model", "reviews", "sft"]
    assert all(row.step.name not in ("model", "sft") for row in found.to_run)
    assert found.data["reviews"].parts["sft"].total == SIZES["sft"]


def test_a_cached_policy_writes_as_long_as_it_did(tiny_model: Path, tmp_path: Path):
    artifact = type("A", (), {"path": tmp_path})()
    (tmp_path / "metrics.jsonl").write_text(
        '{"iteration": 1, "response/mean_tokens": 3.0}\n{"iteration": 2, "response/mean_tokens": 6.0}\n'
    )
    assert rows_module._as_measured((2, 4), artifact) == (4, 8)
    assert rows_module._as_measured(None, artifact) == (6,)
    assert rows_module._as_measured((2, 4), None) == (2, 4)


def test_lora_and_samples(tiny_model: Path, tmp_path: Path):
    """Adapters need less memory; what a step makes is an input of the next."""
    pytest.importorskip("peft")
    text = f"""\
model: {tiny_model}
data: {{reviews: builtin:film-reviews}}
steps:
  - sft: {{data: reviews.sft, lora: {{rank: 2}}}}
  - reward: {{name: proxy, data: reviews.proxy, start: sft, lora: {{rank: 2}}}}
  - sample: {{prompts: reviews.prompts, policies: [sft], num_prompts: 6, max_response_tokens: 9}}
  - collect: {{comparisons: sample, reward: proxy}}
  - reward: {{name: second, data: collect, start: sft, tie_below: 0}}
  - ppo: {{prompts: reviews.prompts, reward: proxy, start: sft, lora: {{rank: 2}}, max_response_tokens: 9}}
"""
    plan = make_plan(parse_recipe(text, Path("r.yaml")), STEPS)
    estimator = Estimator(plan, STEPS, Store(tmp_path))
    rows = {row.step.name: row for row in estimator.estimate(RATES, 4).rows}
    assert rows["proxy"].memory is not None
    assert rows["second"].memory is not None
    assert rows["proxy"].memory.weights < rows["second"].memory.weights
    assert rows["second"].trained > 0
    assert rows["collect"].scored > 0
    # PPO: the policy's backbone once, with three adapters on it
    adapter, policy = DIMENSIONS.adapter_parameters(2), DIMENSIONS.policy_parameters
    (phase,) = estimator.works["ppo"].phases
    assert (list(phase.trained), list(phase.frozen)) == ([adapter, adapter], [policy, adapter])


def test_seconds_and_memory_by_hand():
    passes = [Passes("train", 20, 10, 4, 3.0)]
    work = Work([Phase(passes, trained=[100], frozen=[50], updates=7)], loaded=[100], saved=[100], fits=[10], seconds=2)
    rates = Rates(
        {"train": (0.0, 0.01, 0, 0, 0, 0)}, update=0.001, begin=0.003, read=0.01, write=0.1, fit=0.002, gflops=1.0
    )
    # 1 to begin with, 2 of its own, 3 passes of 2 layers * 20 tokens * 0.01, 7 updates of 100 and their beginning, 400
    # bytes read twice and written once, and 10 texts cubed
    expected = 1 + 2 + 3 * 2 * 20 * 0.01 + 7 * 100 * 0.001 + 100 * 0.003 + 2 * 400 * 0.01 + 400 * 0.1 + 1000 * 0.002
    assert seconds_of(work, DIMENSIONS, rates) == pytest.approx(expected)
    use = memory_of(work.phases[0], work, DIMENSIONS, 2)
    assert use.weights == rows_module.PROGRAM + 18 * 100 + 2 * 50
    assert use.fits == 3 * 8 * 100
    assert use.activations > DIMENSIONS.activation_bytes(20, 10, 4, 2)


def test_the_sample_is_spread_over_the_data_and_knows_the_longest():
    texts = [PlainText(str(i), "x" * (i % 97)) for i in range(2000)]
    found = sample(texts, "texts", 100)
    assert (len(found.sample), found.total, len(found.longest)) == (100, 2000, 5)
    assert [len(record.text) for record in found.longest] == [96] * 5
    ids = [int(record.id) for record in found.sample]
    assert ids == sorted(ids)
    assert ids[0] < 200
    assert ids[-1] > 1800
    assert sample(texts[:7], "texts").sample == texts[:7]


def test_numbers_of_tokens():
    assert [count(n) for n in (0.4, 950, 1_600, 16_430, 2_500_000, 3e9)] == ["0", "950", "1.6k", "16k", "2.5M", "3.0G"]


def test_the_table(tiny_model: Path, tmp_path: Path):
    run_tiny(tiny_model, tmp_path, until="model")
    found = lines(estimate(plan_of(tiny_model), tmp_path, RATES), "float32 on the CPU", PLENTY, 5 << 30)
    assert found[0].split() == ["step", "kind", "state", "trained", "scored", "sampled", "time", "memory", "disk"]
    assert found[1].split() == ["model", "model", "cached"]
    assert found[3].split()[:4] == ["sft", "sft", "to", "run"]
    (machine,) = (line for line in found if line.startswith("machine: "))
    assert re.fullmatch(r"machine: float32 on the CPU, 100 GFLOP/s, measured \d{4}-\d\d-\d\d \d\d:\d\d", machine)
    assert not any("--measure" in line for line in found)
    assert any(line.startswith("data reviews: sft 24 demonstrations") for line in found)
    (assumed,) = (line for line in found if "assumes responses" in line)
    assert re.fullmatch(r"assumes responses of, on average, \d+ tokens \(max_response_tokens \d+\): .*ppo.*", assumed)
    assert max(map(len, found[:12])) <= 110


def test_lengths_that_are_assumed_are_said_once_with_their_steps():
    responses = {"ppo": (12.4, 48), "reject": (12.2, 48), "evaluate": (6.0, 16)}
    assert assumed_responses(responses, {"ppo": "8 at once"}) == [
        "assumes responses of, on average, 12 tokens (max_response_tokens 48): ppo (8 at once), reject; 6 tokens",
        "    (max_response_tokens 16): evaluate",
    ]
    assert assumed_responses({}) == []


def test_the_table_says_which_disk_is_for_a_while(tiny_model: Path, tmp_path: Path):
    found = estimate(plan_of(tiny_model), tmp_path, RATES)
    assert not any(line.startswith("disk: ") for line in lines(found, "", PLENTY, 5 << 30)), "no step takes so long"
    kept = dict.fromkeys(("kept", "beside"), 0)
    rows = [dataclasses.replace(row, **kept) for row in found.rows]
    rows[-2] = dataclasses.replace(rows[-2], kept=1 << 30, beside=3 << 30)
    found = dataclasses.replace(found, rows=tuple(rows))
    told = lines(found, "", PLENTY, 5 << 30)
    assert (rows[-2].step.name, rows[-1].step.name) == ("ppo", "evaluate")
    assert next(line for line in told if line.startswith("ppo ")).endswith(" 4.0 GiB"), "with checkpoints"
    assert [line for line in told if line.startswith("disk: ")] == [
        "disk: what a step leaves, and its checkpoints (up to 3.0 GiB), which go when it is done; "
        "total: the most at any time"
    ]


def test_the_table_says_that_other_programs_ran(tiny_model: Path, tmp_path: Path):
    busy = dataclasses.replace(RATES, share=0.5)
    found = lines(estimate(plan_of(tiny_model), tmp_path, busy), "float32 on the CPU", PLENTY, 5 << 30)
    assert [line for line in found if "(50% of the processors were left)" in line and "check --measure" in line]


def test_rates_are_measured_once(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from accord.estimate import timing
    from accord.estimate.inputs import model_of

    measured: list[Path] = []
    monkeypatch.setattr(timing, "measure", lambda config, dims, dtype, folder: measured.append(folder) or RATES)
    model = model_of(plan_of(tiny_model), Store(tmp_path / "none"))
    assert rates_of(model, torch.float32, tmp_path / "a/b", cache=tmp_path) == RATES
    assert rates_of(model, torch.float32, tmp_path / "a/b", cache=tmp_path) == RATES
    assert measured == [tmp_path]  # the folder above the store, which is not there yet
    rates_of(model, torch.bfloat16, tmp_path, cache=tmp_path)
    assert len(measured) == 2
    (kept, _) = sorted((tmp_path / "rates").iterdir())
    for broken in ('{"measured": 1.0}', "not json", '{"measured": 99999999999, "rates": {}}'):
        for path in (tmp_path / "rates").iterdir():
            path.write_text(broken)
        rates_of(model, torch.float32, tmp_path, cache=tmp_path)
    assert len(measured) == 5
    monkeypatch.setattr(timing, "slice_bytes", lambda dimensions: 1 << 60)
    kept.unlink()
    for path in (tmp_path / "rates").iterdir():
        path.unlink()
    assert rates_of(model, torch.float32, tmp_path, cache=tmp_path) is None


def test_rates_can_be_measured_anew_and_those_of_a_busy_moment_pass(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from accord.estimate import timing
    from accord.estimate.inputs import model_of

    now, num = time.time(), 0
    given = RATES

    def measure(*_: object) -> Rates:
        nonlocal num
        num += 1
        return given

    monkeypatch.setattr(timing, "measure", measure)
    model = model_of(plan_of(tiny_model), Store(tmp_path / "none"))
    again = partial(rates_of, model, torch.float32, tmp_path, cache=tmp_path)
    again()
    again(anew=True)
    assert num == 2
    given = dataclasses.replace(RATES, share=0.5, measured=now - 300)
    again(anew=True)
    assert again() == given, "for some minutes"
    given = dataclasses.replace(given, measured=now - 3600)
    again(anew=True)
    again()
    assert num == 5, "not for an hour"
    (tmp_path / "file").touch()
    capsys.readouterr()
    assert rates_of(model, torch.float32, tmp_path, cache=tmp_path / "file") == given
    assert "the speed cannot be kept for the next time" in capsys.readouterr().err


def test_check(tiny_model: Path, tmp_path: Path):
    found = check(plan_of(tiny_model), STEPS, Store(tmp_path / "none"), timed=False)
    assert found.lines()[3].split()[:4] == ["sft", "sft", "to", "run"]
    found.refuse()
    assert not (tmp_path / "none").exists()
    assert not any("too large" in line for line in found.lines())
    assert any("too large for its speed" in line for line in dataclasses.replace(found, timed=True).lines())

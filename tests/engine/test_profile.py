"""Rates: the fit on times that are made up, and the measurement on a model that is tiny."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from accord.engine import profile
from accord.engine.profile import Rates, measure, slice_bytes
from accord.engine.workload import Passes
from accord.models.cost import Dimensions, dimensions_of

FIT = {
    "train": (1.0, 0.1, 0.0, 5.0, 2.0, 0.5),
    "forward": (0.5, 0.0, 0.0, 1.0, 0.0, 0.25),
    "decode": (0, 0.01, 0, 0, 0, 2),
}
RATES = Rates(FIT, update=1e-9, begin=1e-8, read=1e-10, write=1e-9, fit=1e-9, gflops=100.0)


def test_seconds_by_hand():
    # 2 layers * (1 + 0.1 * 12 places) + 5 + 2 for the head + 0.5 * 4 rows, twice
    assert RATES.seconds(Passes("train", 12, 4, 4, 2.0), 2) == pytest.approx(2 * (2 * 2.2 + 5 + 2 + 2))
    assert RATES.seconds(Passes("train", 12, 4, 0, 1.0), 2) == pytest.approx(2 * 2.2 + 5)
    assert RATES.seconds(Passes("train", 12, 4, 0, 1.0, 0.5), 2) == pytest.approx((2 * 2.2 + 5) / 2)
    assert RATES.seconds(Passes("forward", 12, 4, 8, 1.0), 2) == pytest.approx(2 * 0.5 + 1 + 0.25 * 8)
    assert RATES.seconds(Passes("decode", 3, 9, 3, 1.0), 2) == pytest.approx(2 * 0.01 * 3 + 2 * 3)
    # A prefill is a forward pass whose head is the decoding step's.
    assert RATES.seconds(Passes("prefill", 12, 4, 6, 1.0), 2) == pytest.approx(2 * 0.5 + 1 + 2 * 6)


def test_the_fit_finds_what_the_times_were_made_from():
    truth = (0.02, 3e-4, 1e-7, 0.05, 0.01, 2e-3)
    rows = []
    for layers in (1, 14):
        for num, width, head in ((1, 32, True), (4, 128, True), (4, 128, False), (1, 512, False)):
            columns = profile._columns("train", layers, num * width, width, (num * width // 2) * head)
            rows.append((columns, sum(a * b for a, b in zip(columns, truth, strict=True))))
    assert profile._fit(rows) == pytest.approx(truth, rel=1e-4)


def test_a_fit_has_no_negative_times():
    rows = [(profile._columns("forward", layers, 64, 64, 0), seconds) for layers, seconds in ((1, 1.0), (2, 0.5))]
    assert min(profile._fit(rows)) >= 0


def test_rates_survive_json():
    assert Rates.from_json(json.loads(json.dumps(RATES.as_json()))) == RATES


def test_a_slice_is_as_deep_as_it_needs_to_be():
    small = Dimensions(30, 576, 1536, 9, 3, 64, 49152)  # 7 MB a layer in bfloat16: 14 of them are 96 MiB and more
    assert profile._depth(small, 2) * small.layer_parameters * 2 >= 96 << 20
    assert profile._depth(small, 2) == 15
    assert profile._depth(Dimensions(2, 32, 64, 4, 2, 8, 512), 4) == 2  # never deeper than the model
    large = Dimensions(32, 4096, 11008, 32, 32, 128, 32000)
    assert profile._depth(large, 2) == 2
    assert slice_bytes(large) > 2 * 200e6 * 18


def test_measure_on_a_tiny_model(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "_BLOCK", 1 << 20)
    monkeypatch.setattr(profile, "_TEXTS", 50)
    monkeypatch.setattr(profile, "gemm_gflops", lambda dtype: 1.0)
    config = AutoConfig.from_pretrained(tiny_model)
    before = torch.random.get_rng_state()
    rates = measure(config, dimensions_of(config.to_dict()), torch.float32, tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert config.num_hidden_layers == 2
    assert list(tmp_path.iterdir()) == []
    assert all(len(fit) == 6 and min(fit) >= 0 for fit in rates.passes.values())
    for kind in ("train", "forward", "prefill", "decode"):
        assert rates.seconds(Passes(kind, 4, 64, 4, 4, 1.0), 2) > 0
    assert min(rates.update, rates.begin, rates.read, rates.write, rates.fit) > 0


def test_the_least_disturbed_repeat_counts(monkeypatch: pytest.MonkeyPatch):
    times = iter([0.3, 0.1, 0.2, 0.25])
    monkeypatch.setattr(profile, "_timed", lambda work: next(times))
    assert profile._fastest(lambda: None) == 0.1


@pytest.mark.parametrize(("own", "share", "disturbed"), [(4.0, 1.0, False), (2.0, 0.5, True), (9.0, 1.0, False)])
def test_what_other_programs_took_is_seen(monkeypatch: pytest.MonkeyPatch, own: float, share: float, disturbed: bool):
    """2 threads in 2 seconds could have run for 4."""
    wall, processor = iter([10.0, 12.0]), iter([1.0, 1.0 + own])
    monkeypatch.setattr(profile.time, "perf_counter", lambda: next(wall))
    monkeypatch.setattr(profile.time, "process_time", lambda: next(processor))
    monkeypatch.setattr(profile.torch, "get_num_threads", lambda: 2)
    value, found = profile._with_share(lambda: 7.0)
    assert (value, found) == (7.0, pytest.approx(share))
    assert dataclasses.replace(RATES, share=found).disturbed is disturbed

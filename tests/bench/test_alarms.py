"""The benchmark of alarms: what is done is not done again, and every fault is one that its alarm knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from accord.monitor.alarms import alarms
from bench import alarms as bench


@pytest.mark.parametrize("name", bench.FAULTS)
def test_a_fault_changes_what_its_alarm_reads(name: str) -> None:
    """In one of five series, at the least, that are quiet without it."""
    found = 0
    make = bench.healthy_pairs if name in bench.OF_PAIRS else bench.healthy
    for seed in range(5):
        rng = bench.np.random.default_rng(seed)
        columns = make(rng, 30)
        bench.FAULTS[name](rng, columns, 30, 10)
        found += name in {alarm.name for alarm in alarms(bench.rows_of(rng, columns, 30))}
    assert found


def test_what_is_done_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "LENGTHS", {8: 3})
    monkeypatch.setattr(bench, "OF_FAULTS", 8)
    monkeypatch.setattr(bench, "NUM_FAULTY", 2)
    out = tmp_path / "alarms.json"
    given = ["run", "--seeds", "0", "--out", str(out)]
    assert bench.main(given) == 0
    assert "healthy 8" in capsys.readouterr().out
    done = json.loads(out.read_text())
    assert done["fault kl_spike"]["num"] == 2
    assert bench.main(given) == 0
    said = capsys.readouterr().out
    assert "healthy 8 {" not in said
    assert "| `kl_spike` | " in said
    assert json.loads(out.read_text()) == done

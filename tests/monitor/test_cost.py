"""Device-hours, energy and CO2: sums worked out by hand, and what is said of them."""

from __future__ import annotations

import pytest

from accord.errors import UserError
from accord.monitor.cost import (
    Assumptions,
    StepCost,
    as_json,
    cost_of,
    cost_table,
    gpu_watts,
    in_words,
    text_lines,
    total_of,
)
from accord.monitor.report import build_report
from accord.monitor.views import RunView
from accord.store.spending import Spent
from tests.monitor.test_pictures import HOSTILE

ASSUMED = Assumptions(core_watts=10.0, grid=0.5)
CPU = Spent("cpu", "Some processor", 4, 1800.0, 3600.0)
GPU = Spent("cuda", "NVIDIA A100-SXM4-80GB", 1, 7200.0, 360.0)
MEASURED = Spent("cpu", "Some processor", 4, 60.0, 100.0, 0.02, "codecarbon 3.2", 2)


def test_an_estimate_is_device_hours_times_power() -> None:
    cost = cost_of([CPU], ASSUMED)
    assert cost is not None
    assert (cost.core_hours, cost.gpu_hours, cost.kwh, cost.kg) == (1.0, 0.0, 0.01, 0.005)
    assert (cost.how, cost.devices, cost.seconds) == ("estimate", ("CPU, 4 cores",), 1800.0)
    gpu = cost_of([GPU], ASSUMED)
    assert gpu is not None
    assert gpu.gpu_hours == 2.0
    assert gpu.kwh == pytest.approx(2 * 0.4 + 0.001), "400 W for two hours, and a tenth of an hour of a core"


def test_what_was_measured_is_taken_as_it_is() -> None:
    cost = cost_of([MEASURED], ASSUMED)
    assert cost is not None
    assert (cost.kwh, cost.kg, cost.how, cost.measured_by) == (0.02, 0.01, "measured", ("codecarbon 3.2",))
    both = cost_of([MEASURED, CPU], ASSUMED)
    assert both is not None
    assert (both.kwh, both.how, both.attempts) == (pytest.approx(0.03), "partly measured", 3)


def test_a_gpu_of_unknown_power_has_no_energy() -> None:
    unknown = Spent("cuda", "Some GPU", 1, 3600.0, 0.0)
    cost = cost_of([unknown], ASSUMED)
    assert cost is not None
    assert (cost.kwh, cost.kg, cost.gpu_hours) == (None, None, 1.0)
    assert total_of([cost, cost_of([CPU], ASSUMED)]).kwh is None
    given = cost_of([unknown], Assumptions(gpu_watts=100.0))
    assert given is not None
    assert given.kwh == pytest.approx(0.1)
    table = cost_table([StepCost("ppo", "ppo", True, cost)], ASSUMED)
    assert table.rows == [["ppo", "1 x Some GPU", "1 h 0 min", "1.00 GPU + 0 core", "–", "–", "yes"]]  # noqa: RUF001
    assert table.notes[-1] == "The power of a GPU is not known by its name: give its watts as ACCORD_GPU_WATTS."


def test_the_longest_name_of_a_gpu_counts() -> None:
    names = {
        "NVIDIA H100 80GB HBM3": 700, "NVIDIA H100 PCIe": 350, "NVIDIA A100 80GB PCIe": 300,
        "NVIDIA A100-PCIE-40GB": 250,
        "NVIDIA L40S": 350, "NVIDIA L4": 72, "Tesla T4": 70, "NVIDIA H200": 700, "NVIDIA GeForce RTX 4090": 450,
        "Quadro T400": None, "NVIDIA A10G": 300,
    }  # fmt: skip
    assert {name: gpu_watts(name, Assumptions()) for name in names} == names


STEPS = [
    StepCost("sft", "sft", False, cost_of([CPU], ASSUMED)),
    StepCost("ppo", "ppo", True, cost_of([MEASURED], ASSUMED)),
    StepCost("old", "dpo", False, None),
]


def test_the_table_has_the_total_below_and_says_what_was_run_now() -> None:
    table = cost_table(STEPS, ASSUMED)
    assert table.headings == ["step", "on", "wall time", "device-hours", "energy, Wh", "CO2e, g", "run now"]
    assert table.rows == [
        ["sft", "CPU, 4 cores", "30 min 0 s", "1.00 core", "10.0", "5.00", "no, it was there"],
        ["ppo", "CPU, 4 cores", "1 min 0 s", "0.0278 core", "20.0", "10.0", "yes"],
        ["old", "", "–", "–", "–", "–", "no, it was there"],  # noqa: RUF001
    ]
    assert table.totals == [
        ["of these, run now", "", "1 min 0 s", "0.0278 core", "20.0", "10.0", ""],
        ["total", "", "31 min 0 s", "1.03 core", "30.0", "15.0", ""],
    ]
    first, second = table.notes
    assert first.startswith(
        "Energy: partly measured by codecarbon 3.2, else an estimate. An estimate of energy takes 10 W for each core"
    )
    assert second == "Made before costs were kept, and not counted: old."
    lines = text_lines(table)
    assert lines[1].split() == ["sft", "CPU,", "4", "cores", "30", "min", "0", "s", "1.00", "core", "10.0", "5.00",
                                "no,", "it", "was", "there"]  # fmt: skip
    assert len({line.index("  ") for line in lines[1:3]}) == 1


def test_as_json() -> None:
    found = as_json(STEPS, ASSUMED)
    assert found["steps"]["sft"]["kwh"] == 0.01
    assert found["steps"]["old"] == {"kind": "dpo", "run_now": False}
    assert found["total"]["kg"] == pytest.approx(0.015)
    assert found["run_now"]["kwh"] == 0.02
    assert found["assumptions"] == {"core_watts": 10.0, "gpu_watts": None, "kg_per_kwh": 0.5}


def test_large_costs_are_in_larger_units() -> None:
    many = cost_of([Spent("cuda", "NVIDIA A100", 8, 3.6e6, 0.0)], ASSUMED)
    assert many is not None
    assert in_words(many) == "8,000 GPU-hours, 0 core-hours, 3,200 kWh, 1,600 kg CO2e (an estimate)"
    assert cost_table([StepCost("s", "s", True, many)], ASSUMED).headings[4:6] == ["energy, kWh", "CO2e, kg"]


def test_what_is_assumed_can_be_set() -> None:
    given = {"ACCORD_CORE_WATTS": "5", "ACCORD_GPU_WATTS": "", "ACCORD_GRID_INTENSITY": "0.05"}
    assumed = Assumptions.of(given)
    assert (assumed.core_watts, assumed.gpu_watts, assumed.grid) == (5.0, None, 0.05)
    assert "0.05 kg CO2e a kWh. ACCORD_CORE_WATTS" in assumed.said()
    assert "the world's mean of 2018" in Assumptions.of({}).said()
    for text in ("much", "-1", "nan", "1e9"):
        with pytest.raises(UserError, match="is no such number") as caught:
            Assumptions.of({"ACCORD_GRID_INTENSITY": text})
        assert caught.value.where == "ACCORD_GRID_INTENSITY"


def test_the_page_has_the_table() -> None:
    cost = cost_of([Spent("cuda", HOSTILE, 1, 3600.0, 0.0)], ASSUMED)
    view = RunView("r", "", [], {}, [], "", {}, cost_table([StepCost(HOSTILE, "ppo", True, cost)], ASSUMED))
    page = build_report(view)
    assert "<h3>What it cost</h3>" in page
    assert "energy, Wh" in page
    assert "<script" not in page
    assert "What it cost" not in build_report(RunView("r", "", [], {}, [], "", {}))

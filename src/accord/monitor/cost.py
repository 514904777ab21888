"""What steps cost: device-hours, energy and CO2, as Llama 2's table 2 has them.

Energy is measured where a meter was there (the extra `cost`), else estimated: device-hours times a stated power. CO2 is
energy times the intensity of a grid. What is assumed stands in `Assumptions`, and can be set by the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from accord.errors import UserError
from accord.monitor.values import ABSENT, duration
from accord.store.spending import Spent

CORE_WATTS: Final = 12.0  # a core of any processor, as the calculator of Green Algorithms has it (Lannelongue 2021)
GRID: Final = 0.475  # kg CO2e a kWh: the world's mean of 2018 (IEA 2019), which codecarbon takes, too
NAMES: Final = {"core": "ACCORD_CORE_WATTS", "gpu": "ACCORD_GPU_WATTS", "grid": "ACCORD_GRID_INTENSITY"}
# Watts by what the name of a GPU holds, the first that fits: the makers' thermal design power.
GPU_WATTS: Final[Sequence[tuple[str, float]]] = (
    ("GB200", 1200), ("B200", 1000), ("H200 NVL", 600), ("H200", 700), ("H100 NVL", 400), ("H100 PCIe", 350),
    ("H100", 700), ("GH200", 900), ("A100 80GB PCIe", 300), ("A100-PCIE", 250), ("A100", 400), ("A800", 400),
    ("A40", 300), ("A30", 165), ("A10G", 300), ("A10", 150), ("L40S", 350), ("L40", 300), ("L4", 72),
    ("V100S", 250), ("V100", 300), ("P100", 250), ("T4", 70), ("RTX 5090", 575), ("RTX 4090", 450), ("RTX 4080", 320),
    ("RTX 3090 Ti", 450), ("RTX 3090", 350), ("RTX 3080", 320), ("RTX 2080 Ti", 250), ("RTX 6000 Ada", 300),
    ("RTX A6000", 300), ("MI300X", 750), ("MI250", 560),
)  # fmt: skip
_JOULES: Final = 3.6e6  # in a kWh


@dataclass(frozen=True, slots=True)
class Assumptions:
    """core_watts: of a processor's core at work. gpu_watts: of a GPU (None: by its name). grid: kg CO2e a kWh. given:
    the names of those that were set."""

    core_watts: float = CORE_WATTS
    gpu_watts: float | None = None
    grid: float = GRID
    given: tuple[str, ...] = ()

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Assumptions:
        """As the environment says. Raises UserError for what is no number."""
        found = {key: value for key, name in NAMES.items() if (value := _positive(environment, name)) is not None}
        return cls(
            found.get("core", CORE_WATTS),
            found.get("gpu"),
            found.get("grid", GRID),
            tuple(NAMES[key] for key in found),
        )

    def said(self) -> str:
        """In a sentence or two."""
        default = "" if NAMES["grid"] in self.given else ", the world's mean of 2018"
        gpu = "a GPU by its name" if self.gpu_watts is None else f"{self.gpu_watts:g} W a GPU"
        return (
            f"An estimate of energy takes {self.core_watts:g} W for each core at work and {gpu}, without cooling and "
            f"what else a building uses. CO2: {self.grid:g} kg CO2e a kWh{default}. "
            f"{NAMES['core']}, {NAMES['gpu']} and {NAMES['grid']} set others."
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """seconds: wall time of all attempts. device_hours: of cores at work, or of GPUs; devices: their kinds and names.
    kwh, kg: None where the power of a device is not known. how: "measured", "estimate", "partly measured" or ""."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    devices: tuple[str, ...] = ()
    kwh: float | None = 0.0
    kg: float | None = 0.0
    how: str = ""
    attempts: int = 0
    measured_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StepCost:
    """again: the step was run, or gone on with, by the run's last command; others cost what they cost once."""

    name: str
    kind: str
    again: bool
    cost: Cost | None  # of a step that was made before costs were kept


@dataclass(frozen=True, slots=True)
class CostTable:
    """headings; rows of cells: step, device, wall time, device-hours, energy, CO2, whether it was run now; the last of
    `totals` is of all. notes: what is assumed, and what is missing."""

    headings: list[str]
    rows: list[list[str]]
    totals: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def cost_of(spent: Sequence[Spent], assumed: Assumptions) -> Cost | None:
    """Of a step; None without an account."""
    if not spent:
        return None
    energies = [row.kwh if row.kwh is not None else _estimate(row, assumed) for row in spent]
    kwh = None if any(one is None for one in energies) else sum(one for one in energies if one is not None)
    on_gpu = [row for row in spent if row.device != "cpu"]
    num_measured = sum(row.kwh is not None for row in spent)
    return Cost(
        seconds=sum(row.seconds for row in spent),
        processor_seconds=sum(row.processor_seconds for row in spent),
        core_hours=sum(row.processor_seconds for row in spent) / 3600,
        gpu_hours=sum(row.seconds * row.num for row in on_gpu) / 3600,
        devices=tuple(dict.fromkeys(_device(row) for row in spent)),
        kwh=kwh,
        kg=None if kwh is None else kwh * assumed.grid,
        how="estimate" if not num_measured else "measured" if num_measured == len(spent) else "partly measured",
        attempts=sum(row.attempts for row in spent),
        measured_by=tuple(dict.fromkeys(row.measured_by for row in spent if row.measured_by)),
    )


def total_of(costs: Iterable[Cost | None]) -> Cost:
    """The sum; what is not known makes the sum's energy unknown, but for steps without an account."""
    known = [one for one in costs if one is not None]
    kwh = [one.kwh for one in known]
    kg = [one.kg for one in known]
    hows = {one.how for one in known if one.how}
    return Cost(
        seconds=sum(one.seconds for one in known),
        processor_seconds=sum(one.processor_seconds for one in known),
        core_hours=sum(one.core_hours for one in known),
        gpu_hours=sum(one.gpu_hours for one in known),
        devices=tuple(dict.fromkeys(name for one in known for name in one.devices)),
        kwh=None if None in kwh else sum(one for one in kwh if one is not None),
        kg=None if None in kg else sum(one for one in kg if one is not None),
        how=hows.pop() if len(hows) == 1 else "partly measured" if hows else "",
        attempts=sum(one.attempts for one in known),
        measured_by=tuple(dict.fromkeys(name for one in known for name in one.measured_by)),
    )


def cost_table(steps: Sequence[StepCost], assumed: Assumptions) -> CostTable:
    """The table of a run, with its total below."""
    whole = total_of(step.cost for step in steps)
    now = total_of(step.cost for step in steps if step.again)
    energy = ("Wh", 1e3) if (whole.kwh or 0.0) < 1 else ("kWh", 1.0)
    carbon = ("g", 1e3) if (whole.kg or 0.0) < 1 else ("kg", 1.0)
    rows = [
        [step.name, *_cells(step.cost, energy[1], carbon[1]), "yes" if step.again else "no, it was there"]
        for step in steps
    ]
    headings = ["step", "on", "wall time", "device-hours", f"energy, {energy[0]}", f"CO2e, {carbon[0]}", "run now"]
    totals = [["total", *_cells(whole, energy[1], carbon[1], devices=False), ""]]
    if any(step.again for step in steps) and not all(step.again for step in steps):
        totals.insert(0, ["of these, run now", *_cells(now, energy[1], carbon[1], devices=False), ""])
    notes = [f"Energy: {_how(whole)}. {assumed.said()}"] if whole.how else []
    if silent := [step.name for step in steps if step.cost is None]:
        notes.append(f"Made before costs were kept, and not counted: {', '.join(silent)}.")
    if whole.kwh is None:
        notes.append(f"The power of a GPU is not known by its name: give its watts as {NAMES['gpu']}.")
    return CostTable(headings, rows, totals, notes)


def in_words(cost: Cost) -> str:
    """As in "2.1 core-hours, 25.2 Wh, 12 g CO2e (an estimate)"."""
    hours = [f"{_figure(cost.gpu_hours)} GPU-hours"] * bool(cost.gpu_hours) + [f"{_figure(cost.core_hours)} core-hours"]
    known = [said(cost.kwh, cost.kg)] if cost.kwh is not None and cost.kg is not None else []
    return f"{', '.join([*hours, *known])} ({_how(cost)})"


def text_lines(table: CostTable) -> list[str]:
    """For a terminal."""
    rows = [table.headings, *table.rows, *table.totals]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.headings))]
    lines = [
        "  ".join(
            cell.ljust(width) if at in (0, 1, len(widths) - 1) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [*lines, "", *table.notes] if table.notes else lines


def as_json(steps: Sequence[StepCost], assumed: Assumptions) -> dict[str, Any]:
    """The same as plain numbers: seconds, hours, kWh and kg CO2e."""
    return {
        "steps": {
            step.name: {"kind": step.kind, "run_now": step.again, **(_plain(step.cost) if step.cost else {})}
            for step in steps
        },
        "total": _plain(total_of(step.cost for step in steps)),
        "run_now": _plain(total_of(step.cost for step in steps if step.again)),
        "assumptions": {"core_watts": assumed.core_watts, "gpu_watts": assumed.gpu_watts, "kg_per_kwh": assumed.grid},
    }


def _plain(cost: Cost) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(cost).items()}


def said(kwh: float, kg: float) -> str:
    """Energy and CO2 in words.

    >>> said(0.0123, 0.00584)
    '12.3 Wh, 5.84 g CO2e'
    """
    energy = f"{_figure(1e3 * kwh)} Wh" if kwh < 1 else f"{_figure(kwh)} kWh"
    return f"{energy}, {_figure(1e3 * kg)} g CO2e" if kg < 1 else f"{energy}, {_figure(kg)} kg CO2e"


def estimated_kwh(core_seconds: float, assumed: Assumptions) -> float:
    """Of cores at work."""
    return core_seconds * assumed.core_watts / _JOULES


def gpu_watts(name: str, assumed: Assumptions) -> float | None:
    """By its name. What stands in a longer name does not count: an L40S is no L40.

    >>> gpu_watts("NVIDIA H100 80GB HBM3", Assumptions()), gpu_watts("NVIDIA L40S", Assumptions())
    (700, 350)
    """
    if assumed.gpu_watts is not None:
        return assumed.gpu_watts
    fits = (
        watts
        for part, watts in GPU_WATTS
        if re.search(rf"(?<![A-Za-z0-9]){re.escape(part)}(?![A-Za-z0-9])", name, flags=re.IGNORECASE)
    )
    return next(fits, None)


def _estimate(row: Spent, assumed: Assumptions) -> float | None:
    cores = estimated_kwh(row.processor_seconds, assumed)
    if row.device == "cpu":
        return cores
    watts = gpu_watts(row.name, assumed)
    return None if watts is None else cores + row.seconds * row.num * watts / _JOULES


def _device(row: Spent) -> str:
    if row.device == "cpu":
        return f"CPU, {row.num} core{'s' if row.num != 1 else ''}"
    return f"{row.num} x {row.name}"


def _how(cost: Cost) -> str:
    by = f" by {', '.join(cost.measured_by)}" if cost.measured_by else ""
    return {"measured": f"measured{by}", "partly measured": f"partly measured{by}, else an estimate"}.get(
        cost.how, "an estimate"
    )


def _cells(cost: Cost | None, wh: float, grams: float, *, devices: bool = True) -> list[str]:
    if cost is None:
        return ["", *[ABSENT] * 4]
    hours = [f"{_figure(cost.gpu_hours)} GPU"] * bool(cost.gpu_hours) + [f"{_figure(cost.core_hours)} core"]
    return [
        ", ".join(cost.devices) if devices else "",
        duration(cost.seconds),
        " + ".join(hours),
        ABSENT if cost.kwh is None else _figure(cost.kwh * wh),
        ABSENT if cost.kg is None else _figure(cost.kg * grams),
    ]


def _figure(x: float) -> str:
    """Three digits: 0.00123, 12.3, 1,230."""
    if x == 0 or abs(x) >= 100:
        return f"{x:,.0f}"
    return f"{x:#.3g}" if abs(x) >= 1e-3 else f"{x:.1g}" if abs(x) >= 1e-6 else "0"


def _positive(environment: Mapping[str, str], name: str) -> float | None:
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise UserError(
            f"{text!r} is no such number", where=name, remedy="Give a number of 0 or more, or leave it out."
        )
    return value

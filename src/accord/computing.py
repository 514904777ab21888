"""What a step computes on: what its result depends on beside its key, and what is read for the account of its cost."""

from __future__ import annotations

import functools

from accord.energy import Energy, energy_meter
from accord.machine import processor, usable_processors
from accord.steps.base import StepKind
from accord.store.spending import Device, Meters


def conditions_of(kind: StepKind) -> dict[str, str]:
    """What the result of a step depends on that its recipe does not say."""
    if kind.work is None:
        return {}  # nothing is computed, and importing torch would be most of the step
    from accord.models.compute import compute_device, dtype_name

    return {"dtype": dtype_name(), "device": compute_device().type}


@functools.cache
def _energy() -> tuple[Energy, str]:
    """One meter for all steps of this process: it is begun with the first that computes."""
    from accord.models.compute import compute_device

    device = compute_device()
    return energy_meter((device.index or 0,) if device.type == "cuda" else ())


def meters_for(kind: StepKind) -> Meters:
    """For the account of a step. Of one that computes nothing the energy is not measured, for that takes a while."""
    if kind.work is None:
        return Meters(Device("cpu", processor()[0], usable_processors()))
    from accord.models.compute import compute_place

    energy, by = _energy()
    return Meters(Device(*compute_place()), energy=energy, measured_by=by)

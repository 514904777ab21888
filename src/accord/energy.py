"""The energy that this process uses, measured by codecarbon: the extra `cost`, which is imported here alone.

Offline: nothing is looked up, sent or written to a file, whatever codecarbon's own settings say. Where it is not
installed, or cannot measure, there is no number, and the run goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import metadata, util
from typing import Any

SECONDS = 15.0  # between two looks of its own at the power

Energy = Callable[[], float | None]


def energy_meter(gpus: tuple[int, ...] = ()) -> tuple[Energy, str]:
    """Reads kWh since now, of this process (and of these GPUs whole), and the name of what measures. It is begun with
    the first reading, which takes some seconds. Without the extra: None, and no name."""
    if util.find_spec("codecarbon") is None:
        return (lambda: None), ""
    return _CodeCarbon(gpus).kwh, f"codecarbon {metadata.version('codecarbon')}"


class _CodeCarbon:
    """A tracker that is begun when it is first read. Whatever it raises means that nothing is measured."""

    def __init__(self, gpus: tuple[int, ...]) -> None:
        self._gpus = gpus
        self._tracker: Any = None
        self._last = _Last()
        self._failed = False

    def kwh(self) -> float | None:
        if self._failed:
            return None
        try:
            if self._tracker is None:
                self._tracker = self._begun()
            self._tracker.flush()
        except Exception:
            self._failed = True
        if self._last.kwh is None:  # codecarbon catches what goes wrong in itself
            self._failed = True
        return self._last.kwh

    def _begun(self) -> Any:
        from codecarbon import OfflineEmissionsTracker

        level = logging.getLogger("codecarbon").level
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # it speaks before it reads its own log_level
        tracker = OfflineEmissionsTracker(
            country_iso_code="USA",  # it wants one; of what it says the energy alone is used
            force_carbon_intensity_g_co2e_kwh=0.0,
            output_methods=[],
            output_handlers=[self._last],
            emissions_endpoint=None,
            electricitymaps_api_token="",
            api_call_interval=-1,
            measure_power_secs=SECONDS,
            tracking_mode="process",
            gpu_ids=list(self._gpus) or None,
            allow_multiple_runs=True,
            log_level="critical",
        )
        tracker.start()
        logging.getLogger("codecarbon").setLevel(max(level, logging.CRITICAL))
        return tracker


class _Last:
    """An output of codecarbon's: the last total that it gave."""

    def __init__(self) -> None:
        self.kwh: float | None = None

    def out(self, total: Any, delta: Any) -> None:
        self.kwh = float(total.energy_consumed)

    def live_out(self, total: Any, delta: Any) -> None:
        self.out(total, delta)

    def task_out(self, data: Any, experiment_name: str) -> None:
        """There are no tasks."""

    def exit(self) -> None:
        """Nothing is kept open."""

"""On what a run was made: versions, machine, seed, as the manifests of its artifacts have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accord.monitor.values import table

UNKNOWN = "not recorded"


def environment(manifest: Mapping[str, Any], seed: object = None) -> dict[str, str]:
    """Names and values in words. manifest: of an artifact; what it lacks is said to be not recorded, but for libraries
    that were not there."""
    code, conditions = table(manifest.get("code")), table(manifest.get("conditions"))
    spent = [table(one) for one in manifest.get("spent") or []]
    machines = dict.fromkeys(f"{one.get('num')} x {one.get('name')} ({one.get('device')})" for one in spent)
    found = {
        "seed": seed,
        "machine": ", ".join(machines),
        "computed in": conditions.get("dtype"),
        "Accord": code.get("accord"),
        "revision of the code": code.get("revision"),
    }
    libraries = {str(name): str(version) for name, version in table(manifest.get("libraries")).items() if version}
    return {name: UNKNOWN if value in (None, "") else str(value) for name, value in found.items()} | libraries

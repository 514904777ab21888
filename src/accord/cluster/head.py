"""A Ray cluster of this machine alone, or its head: started, looked at and ended through Ray's own command.

Token authentication is on. The token is Ray's: in RAY_AUTH_TOKEN, or in the file that RAY_AUTH_TOKEN_PATH names, or
in ~/.ray/auth_token, which is made when there is none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from accord.cluster.ray_workers import connected, imported
from accord.errors import UserError
from accord.placement import Cluster

PORT = 6379
_TIMEOUT = 180.0


def up(host: str = "127.0.0.1", port: int = PORT, num_cpus: int | None = None) -> str:
    """Starts a head on this machine, and returns its address. host: other machines join at; 127.0.0.1: none can."""
    _ray("get-auth-token", "--generate")
    command = ["start", "--head", f"--node-ip-address={host}", f"--port={port}", "--include-dashboard=false"]
    if num_cpus is not None:
        command.append(f"--num-cpus={num_cpus}")
    _ray(*command, "--disable-usage-stats")
    return f"{host}:{port}"


def down() -> None:
    """Ends all of Ray's processes on this machine."""
    _ray("stop")


def nodes(address: str | None) -> list[dict[str, Any]]:
    """What machines a cluster has: host, alive, what each has and how much of all is free. Raises UserError."""
    ray = connected(Cluster.model_validate({"kind": "ray", "address": address or f"127.0.0.1:{PORT}"}))
    free = ray.available_resources()
    return [
        {
            "host": node["NodeManagerHostname"],
            "alive": node["Alive"],
            "cpus": node["Resources"].get("CPU", 0),
            "gpus": node["Resources"].get("GPU", 0),
            "gpu": next((name.split(":")[1] for name in node["Resources"] if name.startswith("accelerator_type:")), ""),
            "memory": node["Resources"].get("memory", 0),
            "free_cpus": free.get("CPU", 0),
            "free_gpus": free.get("GPU", 0),
        }
        for node in ray.nodes()
    ]


def _ray(*arguments: str) -> None:
    imported()
    beside = Path(sys.executable).with_name("ray")
    command = [str(beside if beside.exists() else "ray"), *arguments]
    environment = {"RAY_AUTH_MODE": "token", "RAY_DISABLE_IMPORT_WARNING": "1", **os.environ}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        what = f"`ray {arguments[0]}` did not work: {error}"
        raise UserError(what, where="accord cluster", remedy="Look at what Ray wrote into /tmp/ray.") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        what = f"`ray {arguments[0]}` did not work: {said[-1] if said else f'status {done.returncode}'}"
        raise UserError(what, where="accord cluster", remedy="`accord cluster down` ends what is left of another one.")

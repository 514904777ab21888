"""`accord serve`: policies on a port of this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

import uvicorn

from accord.models.policy import Policy
from accord.ports import LOOPBACK, address, listen
from accord.serve.app import create_app
from accord.serve.worker import Worker


def serve(
    policies: Mapping[str, Policy], *, host: str, port: int, names: Sequence[str], say: Callable[[str], None]
) -> None:
    """Serves until it is stopped. port: 0 for one that is free. names: by which it is asked, beside the loopback's and
    `host`. say: prints a line. Raises UserError."""
    with closing(listen(host, port)) as listening:
        workers = {name: Worker(policy) for name, policy in policies.items()}
        app = create_app(workers, hosts=[*LOOPBACK, *names, host])
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
        say(f"models: {', '.join(policies)}")
        say(f"serving {address(host, listening.getsockname()[1])}/v1; Ctrl-C stops")
        uvicorn.Server(config).run(sockets=[listening])

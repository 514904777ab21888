"""cluster: a Ray cluster of this machine, or the head of one."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from accord.cli.common import JsonOption, say, user_errors

app = typer.Typer(help="Start, look at and end a Ray cluster.", no_args_is_help=True)


@app.command()
def up(
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="Where other machines reach it; by default none does.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1024, max=65535)] = 6379,
    cpus: Annotated[int | None, typer.Option("--cpus", min=1, help="As many as it gives out; by default all.")] = None,
) -> None:
    """Start a head on this machine, with token authentication."""
    with user_errors():
        from accord.cluster.head import up as start

        address = start(host, port, cpus)
        say(f"a Ray cluster is at {address}")
        say(f"in a recipe: cluster: {{kind: ray, address: '{address}'}}; or RAY_ADDRESS={address}")
        say("other machines need its token (ray get-auth-token), RAY_AUTH_MODE=token, and the same Accord")


@app.command()
def status(
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="By default the one of this machine.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the machines of a cluster, and what of them is free."""
    with user_errors():
        from accord.cluster.head import nodes

        found = nodes(address)
        if as_json:
            say(json.dumps(found, indent=2))
            return
        for node in found:
            gpus = f", {node['gpus']:g} GPU {node['gpu']}".rstrip() if node["gpus"] else ""
            alive = "" if node["alive"] else ", gone"
            say(f"{node['host']}: {node['cpus']:g} CPU{gpus}, {node['memory'] / 2**30:.0f} GiB{alive}")
        gpus = f", {found[0]['free_gpus']:g} GPU" if any(node["gpus"] for node in found) else ""
        say(f"free of all: {found[0]['free_cpus']:g} CPU{gpus}")


@app.command()
def down() -> None:
    """End all of Ray's processes on this machine, and what they compute."""
    with user_errors():
        from accord.cluster.head import down as end

        end()
        say("Ray's processes on this machine were ended")

"""`accord web`: the pages on a port of this machine, and a first link into them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from ipaddress import ip_address

import uvicorn

from accord.errors import UserError
from accord.labels import users
from accord.labels.database import Database
from accord.labels.users import User
from accord.web.app import LOOPBACK, create_app

LINK_SECONDS = 86_400.0
FIRST_OWNER = "owner"


def serve(
    database: Database, *, host: str, port: int, names: Sequence[str], https: bool, say: Callable[[str], None]
) -> None:
    """Serves until it is stopped. port: 0 for one that is free. names: by which it is asked, beside the loopback's and
    `host`. https: something before it speaks https. say: prints a line. Raises UserError."""
    with closing(_listen(host, port)) as listening:
        port = listening.getsockname()[1]
        app = create_app(database, hosts=[*LOOPBACK, *names, host], secure=https)
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
        address = f"{f'https://{names[0]}' if https and names else f'http://{_written(host)}:{port}'}"
        say(f"labels: {database.url.render_as_string(hide_password=True)}")
        say(f"open {address}/join/{first_link(database)}")
        say("this link lets you in as an owner, once, within a day; Ctrl-C stops")
        uvicorn.Server(config).run(sockets=[listening])


def first_link(database: Database) -> str:
    """The token of a link into the first owner's account, which is made when there is none."""
    now = database.now()
    with database.writing() as connection:
        owner = next((user for user in users.every(connection) if user.role == "owner"), None)
        user: User = owner or users.create(connection, now, FIRST_OWNER, "owner")
        return users.invite(connection, now, "owner", user=user, seconds=LINK_SECONDS)


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine can reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except (OSError, OverflowError) as error:
        what = f"cannot listen on {host}, port {port}: {getattr(error, 'strerror', None) or error}"
        raise UserError(what, remedy="Name another --port, or stop what uses it.") from error
    return listening


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host

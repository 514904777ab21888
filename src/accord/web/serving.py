"""`accord web`: the pages on a port of this machine, and a first link into them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count
from types import FrameType
from typing import NoReturn

import uvicorn
from sqlalchemy import Connection

from accord.labels import users
from accord.labels.database import Database
from accord.labels.users import User
from accord.ports import LOOPBACK, address, listen
from accord.store.artifacts import Store
from accord.web.app import create_app
from accord.web.policies import Talking

LINK_SECONDS = 86_400.0
FIRST_OWNER = "owner"


def serve(
    database: Database,
    *,
    host: str,
    port: int,
    names: Sequence[str],
    https: bool,
    policies: Talking | None,
    say: Callable[[str], None],
    store: Store | None = None,
) -> None:
    """Serves until it is stopped. port: 0 for one that is free. names: by which it is asked, beside the loopback's and
    `host`. https: something before it speaks https. say: prints a line. store: whose runs owners can look at. Raises
    UserError."""
    with closing(listen(host, port)) as listening:
        app = create_app(database, hosts=[*LOOPBACK, *names, host], secure=https, policies=policies, store=store)
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off")
        own = address(host, listening.getsockname()[1])
        base = f"https://{names[0]}" if https and names else own
        say(f"labels: {database.url.render_as_string(hide_password=True)}")
        say(f"open {base}/join/{first_link(database)}")
        say("this link lets you in as an owner, once, within a day; Ctrl-C stops")
        signal.signal(signal.SIGTERM, _leave)  # after uvicorn has stopped, what was opened before is closed, too
        _Server(config, app.state.site.leaving).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Waits for what it is answering before it ends, and so tells pages that are kept up to date that it is to end."""

    def __init__(self, config: uvicorn.Config, leaving: threading.Event) -> None:
        super().__init__(config)
        self._leaving = leaving

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._leaving.set()
        super().handle_exit(sig, frame)


def _leave(signum: int, frame: object) -> NoReturn:
    raise SystemExit(128 + signum)


def first_link(database: Database) -> str:
    """The token of a link into the first owner's account, which is made when there is none."""
    now = database.now()
    with database.writing() as connection:
        owner = next((user for user in users.every(connection) if user.role == "owner"), None)
        user: User = owner or users.create(connection, now, _free_name(connection), "owner")
        return users.invite(connection, now, "owner", user=user, seconds=LINK_SECONDS)


def _free_name(connection: Connection) -> str:
    """Somebody else may be called so."""
    taken = users.names(connection)
    return next(name for number in count(1) if (name := FIRST_OWNER + (str(number) if number > 1 else "")) not in taken)

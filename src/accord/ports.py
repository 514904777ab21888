"""Ports of this machine to listen on, and what is too much to be listened to."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from accord.errors import UserError

if TYPE_CHECKING:
    from starlette.types import Message, Receive

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")  # names of this machine, as a Host header has them
MOST_BYTES: Final = 1 << 20  # of a request's body


def too_long(most: int = MOST_BYTES) -> str:
    """What is said of a body that is."""
    return f"more than {most:,} bytes were sent"


def listen(host: str, port: int) -> socket.socket:
    """A socket that is listened on. port: 0 for one that is free. Raises UserError."""
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


def address(host: str, port: int) -> str:
    """As it is typed into a browser.

    >>> address("::1", 8500)
    'http://[::1]:8500'
    """
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine can reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def refuse_unnamed(host: str, names: list[str]) -> None:
    """Raises UserError where other machines could ask, and would be turned away: they are known by no name."""
    if not is_loopback(host) and not names:
        raise UserError(
            f"other machines reach {host}, and would be turned away",
            remedy="Add --name with the name by which they ask for it.",
        )


def is_too_long(headers: Mapping[str, str], most: int = MOST_BYTES) -> bool:
    """Whether a request says that its body is, or says no number."""
    length = headers.get("content-length", "0")
    return not length.isdecimal() or int(length) > most


def counted(receive: Receive, most: int = MOST_BYTES) -> Receive:
    """Ends a body that grows too long without having said so."""
    num = 0

    async def received() -> Message:
        nonlocal num
        message = await receive()
        num += len(message.get("body", b""))
        return {"type": "http.disconnect"} if num > most else message

    return received

"""Runs a program that may speak with this machine alone: whoever asks for another is refused."""

from __future__ import annotations

import runpy
import sys
from typing import Any

LOOPBACK = ("127.0.0.1", "::1", "localhost", "", None)


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook, so of all that is Python's."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if (host.decode() if isinstance(host, bytes) else host) not in LOOPBACK:
        raise OSError(f"{host} is not on this machine")


if __name__ == "__main__":
    sys.addaudithook(refuse)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")

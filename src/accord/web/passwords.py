"""Passwords as argon2id hashes, with the parameters that argon2-cffi recommends (RFC 9106, low memory)."""

from __future__ import annotations

from threading import BoundedSemaphore
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher()
_AT_ONCE: Final = BoundedSemaphore(2)  # each takes 64 MiB and a core
# Of no password: checking one takes as long where nobody has the name.
_NOBODY: Final = _HASHER.hash("")


def hashed(password: str) -> str:
    with _AT_ONCE:
        return _HASHER.hash(password)


def is_password(password: str, stored: str | None) -> bool:
    """Whether it is the one whose hash was stored; never of somebody without one."""
    try:
        with _AT_ONCE:
            return _HASHER.verify(stored or _NOBODY, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False

"""Passwords as argon2id hashes, with the parameters that argon2-cffi recommends (RFC 9106, low memory)."""

from __future__ import annotations

from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER: Final = PasswordHasher()
# Of no password: checking one takes as long where nobody has the name.
_NOBODY: Final = _HASHER.hash("")


def hashed(password: str) -> str:
    return _HASHER.hash(password)


def is_password(password: str, stored: str | None) -> bool:
    """Whether it is the one whose hash was stored; never of somebody without one."""
    try:
        return _HASHER.verify(stored or _NOBODY, password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False

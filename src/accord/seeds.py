"""Seeds by name. Every random draw comes from a generator seeded by what the draw is for, and never from a shared one.

A draw that is named by (seed, step, iteration, prompt, k) needs no state in a checkpoint and does not change when work
is batched otherwise.
"""

from __future__ import annotations

from hashlib import sha256


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from a path of names and numbers; ("a", 1) and ("a1",) differ.

    >>> derive_seed(1, "ppo") == derive_seed(1, "ppo"), derive_seed(1, "ppo") == derive_seed(2, "ppo")
    (True, False)
    """
    digest = sha256("\x1f".join(f"{type(part).__name__}:{part}" for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1

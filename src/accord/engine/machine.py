"""What the machine can do at best, measured; and how its memory is asked for."""

from __future__ import annotations

import ctypes
import functools
import platform
import time

import torch


@torch.no_grad()
def gemm_gflops(dtype: torch.dtype, size: int = 2048, repeats: int = 5) -> float:
    """The median rate of a square matrix product, in 10^9 floating-point operations a second."""
    a = torch.ones(size, size, dtype=dtype)
    b = torch.ones(size, size, dtype=dtype)
    a @ b
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / sorted(seconds)[repeats // 2] / 1e9


@functools.cache
def keep_freed_memory() -> None:
    """Tells glibc to keep what is freed for the next allocation, instead of giving it back to the system page by page.

    Every activation of every micro-batch is a large block, which by default is mapped, cleared and unmapped anew.
    """
    if platform.libc_ver()[0] == "glibc":
        mmap_threshold, trim_threshold = -3, -1
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)

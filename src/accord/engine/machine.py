"""What the machine can do at best, measured; and how its memory is asked for."""

from __future__ import annotations

import ctypes
import functools
import platform
import time

import torch

from accord.models.compute import compute_device


@torch.no_grad()
def gemm_gflops(dtype: torch.dtype, size: int = 2048, repeats: int = 5) -> float:
    """The median rate of a square matrix product where models compute, in 10^9 floating-point operations a second."""
    device = compute_device()
    a, b = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))
    a @ b
    seconds = []
    for _ in range(repeats):
        _wait(device)
        began = time.perf_counter()
        a @ b
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / sorted(seconds)[repeats // 2] / 1e9


def _wait(device: torch.device) -> None:
    """A GPU returns before it has computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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

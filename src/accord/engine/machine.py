"""What the machine can do at best, measured: the line that speeds are held against."""

from __future__ import annotations

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

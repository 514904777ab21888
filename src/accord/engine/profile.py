"""How long a pass takes on this machine, measured: the real code runs on a slice of the model, a few layers of it.

A slice has the model's own dimensions, random weights and the whole vocabulary. What is measured, of slices of two
depths and batches of several shapes, is fitted by

    training, forward    layers * (a + b * places + c * places * width) + d + head (e + f * head rows)
    a decoding step      layers * (a + b * rows + c * rows * places) + d + f * rows

with coefficients that are not negative, by least squares of relative errors. The deeper slice is large enough to fall
out of the processor's caches, as the model will.
"""

from __future__ import annotations

import copy
import gc
import mmap
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PretrainedConfig

from accord.algorithms.likelihood import negative_log_likelihood
from accord.algorithms.loss import Loss
from accord.engine.blocks import places_for
from accord.engine.config import Optimization
from accord.engine.learner import Learner
from accord.engine.machine import gemm_gflops
from accord.engine.sampler import Request, Sampler
from accord.engine.workload import Passes
from accord.models.attention import NAME as ATTENTION
from accord.models.cost import Dimensions, trained_bytes
from accord.models.elementwise import own_gradients
from accord.models.policy import Policy, tree_hidden_states
from accord.text.template import Template
from accord.text.tree import Branch, Tree, TreeBatch

Fitted = Literal["train", "forward", "decode"]

_OUT_OF_CACHE = 96 << 20  # bytes of weights of the deeper slice
_SHAPES = ((1, 32, True), (4, 128, True), (4, 128, False), (1, 512, False))  # rows, width, with the head
_SLOTS = ((8, 64), (128, 64), (128, 256))  # rows and length of decoding steps
_TEXTS = 1000  # side of the matrix whose eigenvectors a linear model of words wants
_REPEATS = 3
_LONG = 0.4  # seconds, of a pass that is timed once
_BLOCK = 64 << 20
_ALONE = 0.85  # of the processors, which a process has that is alone on a machine


@dataclass(frozen=True, slots=True)
class Rates:
    """What everything takes, in seconds. passes: kind -> the coefficients a to f. update: a parameter and optimizer
    step; begin: a parameter, once more, when its memory is written for the first time. read, write: a byte of a
    model's folder, digests included. fit: a linear model of words, by the number of its texts cubed. gflops: of a large
    matrix product, for comparison with other times. measured: when, in seconds since 1970. share: how much of the
    processors this process had in that product, less than 1 where other programs ran."""

    passes: dict[str, tuple[float, ...]]
    update: float
    begin: float
    read: float
    write: float
    fit: float
    gflops: float
    measured: float = 0.0
    share: float = 1.0

    @property
    def disturbed(self) -> bool:
        """Other programs ran meanwhile, so that the times may be too long."""
        return self.share < _ALONE

    def seconds(self, one: Passes, layers: int) -> float:
        """Of all `one.count` passes."""
        kind: Fitted = "forward" if one.kind == "prefill" else one.kind
        columns = _columns(kind, layers, one.tokens, one.width, 0 if one.kind == "prefill" else one.head_rows)
        each = float(np.dot(columns, self.passes[kind]))
        if one.kind == "prefill":  # tokens are drawn from the head's rows, as in a decoding step
            each += one.head_rows * self.passes["decode"][5]
        return one.count * one.share * each

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Rates:
        return cls(**{**content, "passes": {kind: tuple(fit) for kind, fit in content["passes"].items()}})


def slice_bytes(dimensions: Dimensions) -> int:
    """How much memory the measurement takes, at most."""
    return 20 * (_depth(dimensions, 2) * dimensions.layer_parameters + 2 * dimensions.embedding_parameters)


def measure(config: PretrainedConfig, dimensions: Dimensions, dtype: torch.dtype, folder: Path) -> Rates:
    """Measures; some seconds for a model of 135M parameters. folder: on the store's disk, which is measured, too.

    Draws no random numbers that anything else depends on, and leaves nothing behind.
    """
    found: dict[Fitted, list[tuple[list[float], float]]] = {"train": [], "forward": [], "decode": []}
    update = 0.0
    for layers in sorted({1, _depth(dimensions, dtype.itemsize)}):
        policy = _slice(config, layers)
        learner = Learner(policy.module, dtype, Optimization())
        for rows, width, head in _SHAPES:
            batch = _batch(rows, width)
            columns = _columns("train", layers, len(batch.ids), batch.mean_width, len(batch.targets) * head)
            found["train"].append((columns, _fastest(partial(_train, policy, learner, batch, head))))
            with torch.no_grad():
                found["forward"].append((columns, _fastest(partial(_read, policy, batch, head))))
        gradients = partial(_train, policy, learner, _batch(1, 4), True)
        update = _fastest(partial(learner.step, 1e-6), before=gradients)
        update /= sum(master.numel() for master in learner.masters.values())
        for slots, length in _SLOTS:
            seconds, used = _decode_step(policy, slots, length)
            found["decode"].append((_columns("decode", layers, slots, used, slots), seconds))
        del policy, learner
        gc.collect()
    read, write = _disk(folder)
    fit = _timed(lambda: np.linalg.eigh(np.eye(_TEXTS) + 0.1)) / _TEXTS**3
    begin = trained_bytes(1, 2) * _touch()
    gflops, share = _with_share(lambda: gemm_gflops(dtype))
    passes: dict[str, tuple[float, ...]] = {kind: _fit(some) for kind, some in found.items()}
    return Rates(passes, update, begin, read, write, fit, gflops, time.time(), share)


def _columns(kind: Fitted, layers: int, places: int, width: float, head_rows: int) -> list[float]:
    started = kind != "decode" and head_rows > 0
    return [layers, layers * places, layers * places * width, 1.0, float(started), head_rows]


def _fit(rows: Sequence[tuple[list[float], float]]) -> tuple[float, ...]:
    """Non-negative least squares of relative errors."""
    from scipy.optimize import nnls

    seconds = np.array([timed for _, timed in rows])
    matrix = np.array([columns for columns, _ in rows]) / seconds[:, None]
    scale = np.maximum(matrix.max(axis=0), 1e-12)
    solution, _ = nnls(matrix / scale, np.ones(len(seconds)))
    return tuple(float(value) for value in solution / scale)


def _depth(dimensions: Dimensions, number: int) -> int:
    wanted = -(-_OUT_OF_CACHE // (number * dimensions.layer_parameters))
    return min(dimensions.layers, max(2, wanted))


def _slice(config: PretrainedConfig, layers: int) -> Policy:
    config = copy.deepcopy(config)
    inner = config.get_text_config()
    inner.num_hidden_layers = layers
    if getattr(inner, "layer_types", None):
        inner.layer_types = list(inner.layer_types)[:layers]
    with torch.random.fork_rng(devices=[]):
        module = AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION, dtype=torch.float32)
    own_gradients(module)
    module.eval()
    return Policy(module, cast(Template, _Tokens()))


class _Tokens:
    """What the sampler asks of a template: nothing ends."""

    pad_id, end_id = 0, -1


def _batch(rows: int, width: int) -> TreeBatch:
    """Trees whose second half is scored."""
    half = width // 2
    tree = Tree(tuple(range(3, 3 + half)), (Branch(tuple(range(3, 3 + width - half))),))
    return TreeBatch.from_trees([tree] * rows)


def _train(policy: Policy, learner: Learner, batch: TreeBatch, head: bool) -> None:
    if head:
        learner.accumulate(negative_log_likelihood(policy.token_logprobs(batch)))
        return
    total = tree_hidden_states(policy.backbone, batch, batch.last_rows).float().sum()
    learner.accumulate(Loss(total, 1, {}))


def _read(policy: Policy, batch: TreeBatch, head: bool) -> None:
    if head:
        policy.token_logprobs(batch)
    else:
        tree_hidden_states(policy.backbone, batch)


def _fastest(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Seconds, of the repeat that other programs disturbed least."""
    before()
    first = _timed(work)  # which allocates
    times = [first]
    for _ in range(_REPEATS if first < _LONG else 1):
        before()
        times.append(_timed(work))
    return min(times)


def _with_share(work: Callable[[], float]) -> tuple[float, float]:
    """What the work gives, and the share of its threads' time in which they ran."""
    wall, own = time.perf_counter(), time.process_time()
    value = work()
    wall, own = time.perf_counter() - wall, time.process_time() - own
    return value, min(1.0, own / (wall * torch.get_num_threads()))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _decode_step(policy: Policy, slots: int, length: int) -> tuple[float, int]:
    """The seconds of a decoding step, and how many places of the cache it looked at in each row."""
    sampler = Sampler(policy, num_slots=slots, max_response_tokens=_REPEATS + 4)
    sampler.submit(Request(tuple(range(3, 3 + length)), slots, (0,)))
    sampler.step()  # the prompt, and the first tokens
    return _fastest(sampler.step), places_for(length + 2 + _REPEATS // 2)


def _touch() -> float:
    """Seconds a byte to write to memory that was never written to."""
    with mmap.mmap(-1, _BLOCK) as block:
        content = np.frombuffer(block, dtype=np.uint8)
        seconds = _timed(partial(content.fill, 1))
        del content  # or the block could not be closed
    return seconds / _BLOCK


def _disk(folder: Path) -> tuple[float, float]:
    """Seconds a byte to read and check, and to write, sync and check a file."""
    with tempfile.TemporaryDirectory(dir=folder) as temp:
        path = Path(temp) / "block"
        content = os.urandom(1 << 20) * (_BLOCK >> 20)

        def write() -> None:
            with path.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            read()

        def read() -> None:
            with path.open("rb") as file:
                file_digest(file, "sha256")

        written = _timed(write)
        return _timed(read) / _BLOCK, written / _BLOCK

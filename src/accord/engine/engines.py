"""The engines that write responses, by name, and what can be said of them before one is opened. No tensors here."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Final, Literal

from accord.errors import UserError

EngineName = Literal["torch", "vllm"]

INSTALL: Final = "Install it: `make install-vllm` in a checkout, or pip install 'accord[vllm]' on a machine with a GPU."
NUM_SLOTS: Final = 128  # responses that are written at once, as `accord.engine.rollout` has it
COLDEST_VLLM: Final = 0.01  # below it, but for 0, vLLM draws at another temperature than was asked for
_MEMORY = "ACCORD_VLLM_MEMORY"
_ALONE, _BESIDE = 0.92, 0.3  # of a GPU's memory; what vLLM takes unasked, and what TRL gives it beside a learner


def vllm_is_installed() -> bool:
    """Whether it also works here is seen when it is opened."""
    return find_spec("vllm") is not None


def memory_share(*, beside: bool) -> float:
    """What vLLM takes of a GPU's memory, as ACCORD_VLLM_MEMORY says, or by default. beside: other models are in that
    memory, too. Raises UserError."""
    asked = os.environ.get(_MEMORY)
    if not asked:
        return _BESIDE if beside else _ALONE
    try:
        share = float(asked)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        what = f"{asked!r} is no share of a GPU's memory"
        raise UserError(what, where=_MEMORY, remedy=f"Write a number between 0 and 1, such as {_BESIDE}.")
    return share

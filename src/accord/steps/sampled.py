"""What a step that samples can be told wrongly about who writes, and from which distribution. Shared; not a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accord.engine.engines import COLDEST_VLLM, INSTALL, memory_share, vllm_is_installed
from accord.steps.base import Contradiction, PlannedStep


def without_nucleus(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a recipe without `top_p: 1` and `top_k: 0`, which say what is so. Raises Contradiction for others.

    Other programs have these keys. A token outside the nucleus of a reference that samples with top-p has probability 0
    there, so that the KL of what the policy samples is infinite or, with the logprobs of the whole vocabulary, that of
    another policy than the one that sampled.
    """
    for key, harmless in (("top_p", (1, None)), ("top_k", (0, None))):
        if key in values and (isinstance(values[key], bool) or values[key] not in harmless):
            raise Contradiction(
                key,
                "rollouts are sampled from the whole distribution: with top-p or top-k the policy that samples is not "
                "the one whose logprobs are trained and whose KL is measured",
                f"Leave {key} out, and lower temperature instead if samples are too wild.",
            )
    return {key: value for key, value in values.items() if key not in ("top_p", "top_k")}


def check_engine(step: PlannedStep) -> None:
    """Of the key engine. Raises Contradiction, and UserError for what the environment says of it."""
    config: Any = step.config
    if config.engine == "torch":
        return
    if not vllm_is_installed():
        raise Contradiction("engine", "vLLM is not installed", f"{INSTALL} Or leave out engine: torch samples then.")
    memory_share(beside=True)
    several = hasattr(config, "temperatures")
    coldest = min(config.temperatures) if several else config.temperature
    if coldest < COLDEST_VLLM:
        raise Contradiction(
            "temperatures" if several else "temperature",
            f"vLLM draws at no temperature below {COLDEST_VLLM:g} but 0, and here one is {coldest:g}",
            "Raise it, or leave out engine.",
        )

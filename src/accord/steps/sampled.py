"""What a step that samples can be told wrongly about who writes, and from which distribution. Shared; not a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from accord.engine.engines import COLDEST_VLLM, INSTALL, memory_share, vllm_is_installed
from accord.errors import UserError
from accord.steps.base import Contradiction, PlannedStep
from accord.types import Prompt

if TYPE_CHECKING:
    from accord.engine.sizes import Records


def asked(config: Any, prompts: Sequence[Prompt], label: str) -> Sequence[Prompt]:
    """Those that `skip_prompts` and `num_prompts` name. Raises UserError where none is left."""
    left = prompts[config.skip_prompts :][: config.num_prompts]
    if not left:
        raise _none_left(len(prompts), config.skip_prompts, label)
    return left


def expected_prompts(config: Any, prompts: Records, label: str) -> Records:
    """As `asked`, of what is known of the prompts before a run."""
    if prompts.counted and prompts.total <= config.skip_prompts:
        raise _none_left(prompts.total, config.skip_prompts, label)
    left = replace(prompts, total=max(prompts.total - config.skip_prompts, 0))
    return left.first(config.num_prompts)


def _none_left(num: int, skipped: int, label: str) -> UserError:
    return UserError(
        f"there are {num} prompts, and the first {skipped} are skipped",
        where=f"{label}.skip_prompts",
        remedy="Lower skip_prompts, or give it more prompts.",
    )


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

"""What cannot fit is refused, with the numbers and what would help."""

from __future__ import annotations

from collections.abc import Collection

from accord.errors import UserError
from accord.estimate.rows import Estimate, MemoryUse, Row
from accord.machine import Memory
from accord.plan import Plan

FORCE = "To run it all the same, use --force."


def refuse_what_cannot_fit(
    estimate: Estimate, plan: Plan, memory: Memory, free_disk: int, store: str, elsewhere: Collection[str] = ()
) -> None:
    """Raises UserError for the first step that needs more memory than can be had, or when the disk is too small.

    elsewhere: steps that are not computed with this memory.
    """
    for row in estimate.to_run:
        if row.step.name not in elsewhere and row.memory is not None and row.memory.total > memory.available:
            raise UserError(
                f"the step {row.step.name!r} needs about {gib(row.memory.total)} of memory, and "
                f"{gib(memory.available)} of {gib(memory.limit)} can be had",
                where=plan.where(row.step.name),
                remedy=f"{_parts(row.memory)} {what_helps(row)} {FORCE}",
            )
    if estimate.disk > free_disk:
        raise UserError(
            f"the run will write up to {gib(estimate.disk)}, and {gib(free_disk)} are free",
            where=store,
            remedy=f"Free some space, or name a store on another disk with --store. {FORCE}",
        )


def what_helps(row: Row) -> str:
    """The options of a step that change most of its memory."""
    use, config, name = row.memory, row.step.config, row.step.name
    assert use is not None
    most = max((use.weights, "weights"), (use.activations, "activations"), (use.cache, "cache"), (use.fits, "fits"))[1]
    ways = []
    if most == "weights" and getattr(config, "lora", False) is None:
        ways.append(f"train adapters (`{name}.lora: {{}}`)")
    if most == "weights":
        ways.append("take a smaller model")
    if most == "activations":
        lower = ("max_tokens", "max_tokens_per_example", "max_response_tokens")
        ways += [f"lower {name}.{key}{_now(config, key)}" for key in lower if key in type(config).model_fields]
    if most == "cache":
        lower = ("max_response_tokens", "num_samples", "num_responses")
        ways += [f"lower {name}.{key}{_now(config, key)}" for key in lower if key in type(config).model_fields]
    if most == "fits":
        ways.append("give the linear models of words fewer texts (second, proxy_data)")
    text = ", or ".join(ways) or "take a smaller model"
    return f"{text[0].upper()}{text[1:]}."


def gib(num_bytes: float) -> str:
    """As in "7.9 GiB".

    >>> gib(3 << 29)
    '1.5 GiB'
    """
    return f"{num_bytes / 2**30:.1f} GiB"


def _now(config: object, key: str) -> str:
    value = getattr(config, key)
    return "" if value is None else f" (now {value})"


def _parts(use: MemoryUse) -> str:
    parts = {"weights": use.weights, "activations": use.activations, "the sampler's cache": use.cache, "fits": use.fits}
    said = [f"{name} {gib(size)}" for name, size in parts.items() if size > 50 << 20]
    return f"({', '.join(said)})"

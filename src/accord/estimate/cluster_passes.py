"""What a step's passes come to, all together: for `accord.estimate.cluster_rows`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accord.engine.workload import Passes as Some
from accord.engine.workload import Phase, Work
from accord.estimate.cluster_sampling import Burst
from accord.models.cost import Dimensions

_NO_UNITS = 1 << 30


def whole_parameters(parameters: int, dimensions: Dimensions) -> int:
    """Those of a model that no worker has a part of alone: embeddings, and the head of a policy; none of an adapter."""
    ends = dimensions.embedding_parameters
    if parameters == dimensions.policy_parameters and not dimensions.tied:
        return 2 * ends
    return ends if parameters > ends else 0


def flops_of(some: Sequence[Some], dimensions: Dimensions) -> float:
    """Of one forward pass over all of them; padding is not computed."""
    return sum(
        one.count
        * (
            one.tokens * dimensions.forward_flops(1, round(one.width), 0)
            + dimensions.forward_flops(0, 0, one.head_rows)
        )
        for one in some
    )


def micros_of(some: Sequence[Some]) -> float:
    """Micro-batches as large as the largest that there is, were all filled like it."""
    return sum(one.tokens * one.count for one in some) / max(one.tokens for one in some)


def units_of(config: Any) -> int:
    """Examples, pairs or prompts with their responses that an optimizer step has to deal out."""
    if (prompts := getattr(config, "prompts_per_iteration", None)) is not None:
        return max(1, int(prompts) // max(int(getattr(config, "num_minibatches", 1)), 1))
    return int(getattr(config, "batch_size", _NO_UNITS))


def burst_of(phase: Phase, work: Work, config: Any, bursts: int) -> Burst | None:
    """What is sampled at once, in the mean; None where nothing is."""
    prefills = [one for one in phase.passes if one.kind == "prefill" and one.count]
    started = sum(one.head_rows * one.count for one in prefills)
    if not started:
        return None
    decoded = [one for one in phase.passes if one.kind == "decode"]
    tokens = sum(one.tokens * one.count for one in decoded)
    mean = (tokens + started) / started
    context = sum(one.width * one.tokens * one.count for one in decoded) / tokens if tokens else mean
    most = getattr(config, "max_response_tokens", None) or mean
    longest = max(work.lengths) if work.lengths else 2 * mean
    prompts = sum(one.tokens * one.count for one in prefills)
    return Burst(started / bursts, prompts / bursts, mean, max(mean, min(most, longest)), context)

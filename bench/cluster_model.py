"""What `accord check --cluster` predicts, beside what others have published of their runs.

    python -m bench.cluster_model table            the ratios, as docs/cluster-costs.md has them
    python -m bench.cluster_model table --json

Nothing is fitted: `accord.estimate.cluster.Efficiency` is the same for all. Settings are the sources' own as far as
they give them; what they leave open is said at each. A ratio above 1: the prediction is slower than what was published.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

from accord.estimate.cluster import (
    ASSUMED,
    Held,
    Passes,
    forward_seconds,
    push_seconds,
    shard_bytes,
    training_seconds,
    update_seconds,
)
from accord.estimate.cluster_sampling import Burst, sampling
from accord.estimate.devices import Cluster, parse_cluster
from accord.models.cost import Dimensions, dimensions_of
from accord.models.known import KNOWN

OPT_350M = dimensions_of(
    {"model_type": "opt", "num_hidden_layers": 24, "hidden_size": 1024, "ffn_dim": 4096, "num_attention_heads": 16,
     "vocab_size": 50272, "max_position_embeddings": 2048}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Placement:
    """GPUs of each role where they are apart; roles beside each other run at the same time."""

    sampler: int
    policy: int
    value: int
    reference: int
    reward: int


@dataclass(frozen=True, slots=True)
class Anchor:
    """A published time. value: the size of the value and reward model. iterations: that it is the time of. micro:
    sequences of a micro-batch. placement: None: all roles on all GPUs, one after the other. parallel: GPUs of a copy
    of the sampler (None: as the model chooses)."""

    name: str
    source: str
    cluster: str
    policy: Dimensions
    value: Dimensions
    prompts: int
    prompt_tokens: int
    response_tokens: int
    batch: int
    published: float
    iterations: float = 1.0
    micro: int = 4
    placement: Placement | None = None
    parallel: int | None = None
    offload: bool = False


def size(name: str) -> Dimensions:
    return dimensions_of(KNOWN[name].config)


def _thirds(gpus: int) -> Placement:
    """As OpenRLHF's guide advises: half for the sampler, a quarter each for policy and value model, the reference and
    the reward model beside these."""
    return Placement(gpus // 2, gpus // 4, gpus // 4, gpus // 4, gpus // 4)


_README = "OpenRLHF README, Llama 2, 1,024 prompts"
_BENCH = "OpenRLHF benchmark/README.md"
_DSCHAT = "DeepSpeed-Chat, step 3, OPT with OPT-350M"


def _openrlhf(name: str, gpus: int, published: float) -> Anchor:
    one = size(name)
    return Anchor(
        name, _README, f"{gpus}xA800-80G", one, one, 1024, 1024, 1024, 128, published, placement=_thirds(gpus),
    offload=True )  # fmt: skip


def _openrlhf_apart(name: str, gpus: int, roles: Placement, micro: int, published: float, parallel: int) -> Anchor:
    one = size(name)
    return Anchor(
        name, _BENCH, f"{gpus}xA800-80G", one, one, 1024, 1024, 1024, 128, published, micro=micro, placement=roles,
        parallel=parallel, offload=True,
    )  # fmt: skip


def _deepspeed(name: str, cluster: str, hours: float) -> Anchor:
    return Anchor(
        name, _DSCHAT, cluster, size(name), OPT_350M, 1024, 256, 256, 1024, hours * 3600, iterations=264292 / 1024,
    micro=16 )  # fmt: skip


PPO = (
    _openrlhf("llama-2-7b", 16, 471.11),
    _openrlhf("llama-2-13b", 32, 608.93),
    _openrlhf("code-llama-34b", 32, 1526.4),
    _openrlhf("llama-2-70b", 32, 4488.53),
    _openrlhf_apart("llama-2-7b", 8, Placement(2, 2, 2, 1, 1), 8, 885.16, 1),
    _openrlhf_apart("llama-2-13b", 8, Placement(2, 2, 2, 1, 1), 4, 2392.91, 1),
    _openrlhf_apart("llama-2-70b", 16, Placement(4, 4, 4, 2, 2), 4, 9822.62, 2),
    _deepspeed("opt-13b", "8xA100-40G", 10.8),
    _deepspeed("opt-6.7b", "8xA100-80G", 4.1),
    _deepspeed("opt-13b", "8xA100-80G", 9.0),
    _deepspeed("opt-13b", "64xA100-80G", 1.25),
    _deepspeed("opt-30b", "64xA100-80G", 4.0),
    _deepspeed("opt-66b", "64xA100-80G", 7.5),
)


@dataclass(frozen=True, slots=True)
class Training:
    """A published rate of plain training with FSDP2, in tokens a second and GPU."""

    name: str
    source: str
    cluster: str
    model: Dimensions
    sequences: int
    again: bool
    published: float


TRAINING = (
    Training("llama-3-8b", "torchtitan docs/performance.md", "64xA100-80G", size("llama-3-8b"), 1, False, 2973),
    Training("llama-3-70b", "torchtitan docs/performance.md", "64xA100-80G", size("llama-3-70b"), 1, True, 323),
    Training("llama-3.1-8b", "torchtitan docs/performance.md", "8xH100", size("llama-3.1-8b"), 2, False, 5762),
)
_CONTEXT = 8192  # tokens of torchtitan's sequences


def seconds_of(anchor: Anchor) -> float:
    """Predicted."""
    return sum(parts_of(anchor).values())


def parts_of(anchor: Anchor) -> dict[str, float]:
    """Predicted seconds: sampling, forward passes, training."""
    whole = parse_cluster(anchor.cluster)
    at = anchor.placement or Placement(*[whole.gpus] * 5)
    width, tokens = anchor.prompt_tokens + anchor.response_tokens, anchor.prompt_tokens + anchor.response_tokens
    total = anchor.prompts * tokens

    def passes(model: Dimensions, gpus: int, *, head: bool, trained: bool) -> Passes:
        rows = anchor.prompts * anchor.response_tokens * head
        flops = model.forward_flops(total, width // 2, rows)
        parameters = model.policy_parameters if head else model.scalar_parameters
        updates = anchor.prompts / anchor.batch
        micros = max(total / gpus / (anchor.micro * tokens), updates)
        return Passes(flops, micros, parameters, parameters if trained else 0)

    def forward(model: Dimensions, gpus: int, *, head: bool) -> float:
        one = passes(model, gpus, head=head, trained=False)
        return forward_seconds(one, model.layers, whole.of(gpus))

    def train(model: Dimensions, gpus: int, *, head: bool) -> float:
        one = passes(model, gpus, head=head, trained=True)
        updated = update_seconds(one.trained, anchor.prompts / anchor.batch, whole.of(gpus), offload=anchor.offload)
        return training_seconds(one, model.layers, whole.of(gpus)) + updated

    policy, value = anchor.policy, anchor.value
    scored = [
        forward(policy, at.policy, head=True),
        forward(policy, at.reference, head=True),
        forward(value, at.reward, head=False),
        forward(value, at.value, head=False),
    ]
    trained = [train(policy, at.policy, head=True), train(value, at.value, head=False)]
    together = sum if anchor.placement is None else max
    sampled = sampling(
        Burst(anchor.prompts, anchor.prompts * anchor.prompt_tokens, anchor.response_tokens, anchor.response_tokens,
              anchor.prompt_tokens + anchor.response_tokens / 2),
        policy, whole.of(at.sampler), _room(anchor, whole), parallel=anchor.parallel,
    )  # fmt: skip
    assert sampled is not None, f"{anchor.name} does not fit on {anchor.cluster}"
    beside = push_seconds(policy.policy_parameters, whole) + (0 if anchor.placement else ASSUMED.switch)
    found = {
        "sampling": sampled.seconds,
        "scoring": together(scored),
        "training": together(trained),
        "switching": beside,
    }
    return {part: anchor.iterations * seconds for part, seconds in found.items()}


def _room(anchor: Anchor, whole: Cluster) -> int:
    memory = ASSUMED.sampler * whole.device.memory - ASSUMED.reserve
    if anchor.placement is not None:
        return round(memory)
    policy, value = anchor.policy.policy_parameters, anchor.value.scalar_parameters
    return round(memory - shard_bytes(Held((policy, value), (policy, value)), whole.gpus))


def rate_of(anchor: Training) -> float:
    """Predicted tokens a second and GPU."""
    cluster, tokens = parse_cluster(anchor.cluster), anchor.sequences * _CONTEXT
    model = anchor.model
    flops = model.forward_flops(tokens, _CONTEXT // 2, tokens) * cluster.gpus
    passes = Passes(flops, 1, model.policy_parameters, model.policy_parameters)
    seconds = training_seconds(passes, model.layers, cluster, again=anchor.again)
    return tokens / (seconds + update_seconds(passes.trained, 1, cluster))


def rows() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for one in PPO:
        seconds = seconds_of(one)
        parts = {part: round(value) for part, value in parts_of(one).items()}
        found.append(
            {"what": f"PPO, {one.name}", "source": one.source, "cluster": one.cluster, "published": one.published,
             "predicted": round(seconds), "ratio": round(seconds / one.published, 2), "parts": parts}
        )  # fmt: skip
    for plain in TRAINING:
        rate = rate_of(plain)
        found.append(
            {"what": f"training, {plain.name}, tokens/s/GPU", "source": plain.source, "cluster": plain.cluster,
             "published": plain.published, "predicted": round(rate), "ratio": round(plain.published / rate, 2),
             "parts": {}}
        )  # fmt: skip
    return found


def table() -> str:
    head = "| what | on | source | published | predicted | of which sampling, scoring, training, switching | ratio |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in rows():
        unit = "" if not row["parts"] else " s"
        parts = row["parts"]
        said = ", ".join(f"{value:,}" for value in parts.values()) if isinstance(parts, dict) else ""
        lines.append(
            f"| {row['what']} | {row['cluster']} | {row['source']} | {row['published']:,.0f}{unit} | "
            f"{row['predicted']:,}{unit} | {said} | {row['ratio']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["table"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print(json.dumps(rows(), indent=2) if arguments.json else table())

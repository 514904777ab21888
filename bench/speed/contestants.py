"""Who is measured, and with which settings. What a contestant's settings leave out is as its authors have it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bench.speed.case import Contestant, Settings

FP32 = {"ACCORD_DTYPE": "float32"}
NO_CHECKPOINTS: Settings = {"gradient_checkpointing": False, "bf16": True}


def trl(script: str = "trl_train", environment: str = "trl116", *, pairs: bool = False, **own: Any) -> Contestant:
    """own: arguments of the trainer's config; `micro`, the rows of a micro-batch."""
    micro = {"micro": own.pop("micro")} if "micro" in own else {}
    dtype = "float32" if own.get("bf16") is False else "bfloat16"
    return Contestant(script, environment, dtype, {**micro, "arguments": own}, pairs=pairs)


def accord(script: str = "accord_train", **own: Any) -> Contestant:
    return Contestant(script, "accord", settings=own)


def fp32(contestant: Contestant) -> Contestant:
    return replace(contestant, dtype="float32", variables=FP32)


DPO_OWN: Settings = {"arguments": {"beta": 0.1}}
DPO = {
    "accord": accord(**DPO_OWN),
    "accord-uncached": accord(**DPO_OWN, count_reference=True),
    "accord-fp32": fp32(accord(**DPO_OWN)),
    "trl-default": trl(beta=0.1),
    "trl-fp32": trl(beta=0.1, bf16=False),
    "trl-bf16": trl(beta=0.1, **NO_CHECKPOINTS),
    "trl-bf16-micro2": trl(beta=0.1, micro=2, **NO_CHECKPOINTS),
    "trl-bf16-cached": trl(beta=0.1, precompute_ref_log_probs=True, **NO_CHECKPOINTS),
}
PLAIN_REWARD: Settings = {
    "margin": "none",
    "centre_coef": 0.0,
    "normalise": "none",
}  # Bradley and Terry's loss, as TRL's
REWARD = {
    "accord": accord(arguments=PLAIN_REWARD),
    "accord-fp32": fp32(accord(arguments=PLAIN_REWARD)),
    "trl-default": trl(),
    "trl-fp32": trl(bf16=False),
    "trl-bf16": trl(**NO_CHECKPOINTS),
    "trl-bf16-micro2": trl(micro=2, **NO_CHECKPOINTS),
}
RANKINGS = {
    "accord": accord(arguments=PLAIN_REWARD),
    "trl-bf16": trl(pairs=True, micro=8, **NO_CHECKPOINTS),
    "trl-bf16-micro2": trl(pairs=True, micro=2, **NO_CHECKPOINTS),
}
SFT = {
    "accord": accord(),
    "accord-fp32": fp32(accord()),
    "trl-default": trl(),
    "trl-fp32": trl(bf16=False),
    "trl-bf16": trl(**NO_CHECKPOINTS),
    "trl-bf16-micro2": trl(micro=2, **NO_CHECKPOINTS),
    "trainer-bf16": trl("plain_trainer", bf16=True),
}
GROUPED = {
    "accord": accord(),
    "trl-bf16": trl(**NO_CHECKPOINTS),
    "trainer-bf16": trl("plain_trainer", bf16=True),
    "trainer-bf16-grouped": trl("plain_trainer", bf16=True, train_sampling_strategy="group_by_length"),
    "trainer-bf16-grouped-micro2": trl("plain_trainer", bf16=True, train_sampling_strategy="group_by_length", micro=2),
}


def weights_in_bf16(script: str, environment: str, **own: Any) -> Contestant:
    """Weights and optimizer states in bfloat16."""
    return Contestant(script, environment, "bfloat16", own)


BF16_WEIGHTS: Settings = {"gradient_checkpointing": False, "model_init_kwargs": {"dtype": "bfloat16"}, "bf16": True}
PPO = {
    "accord": accord("accord_policy"),
    "trl19-default": Contestant("trl_ppo", "trl19", "float32", {"arguments": {"bf16": False}}),
    "trl19-bf16-weights": weights_in_bf16("trl_ppo", "trl19", weights="bfloat16", arguments={"bf16": False}),
    "trl19-bf16-weights-micro8": weights_in_bf16(
        "trl_ppo", "trl19", weights="bfloat16", micro=8, arguments={"bf16": False}
    ),
}


def groups(kl_coef: float) -> dict[str, Contestant]:
    """beta: the same for both, so that both ask a reference."""
    asked: Settings = {"beta": kl_coef}
    return {
        "accord": accord("accord_policy", arguments={"kl_coef": kl_coef}),
        "trl-default": trl("trl_policy", **asked),
        "trl-fp32": trl("trl_policy", bf16=False, **asked),
        "trl-bf16": trl("trl_policy", **asked, **NO_CHECKPOINTS),
        "trl-bf16-weights": weights_in_bf16("trl_policy", "trl116", arguments={**asked, **BF16_WEIGHTS}),
    }


REJECT = {"accord": accord("accord_reject"), "transformers": Contestant("transformers_reject", "trl116")}
SAMPLING = {
    "accord": accord("accord_sample"),
    "transformers": Contestant("transformers_sample", "trl116"),
    "transformers-continuous": Contestant("transformers_sample", "trl116", settings={"continuous": True}),
    "vllm": Contestant("vllm_sample", "vllm"),
}


def server(
    environment: str, *words: str, called: str = "served", asks: Settings | None = None, **own: str
) -> Contestant:
    """own: variables of its process."""
    return Contestant(
        "server", environment, "bfloat16", {"server": list(words), "called": called, "asks": asks or {}}, own
    )


def accord_server(**asks: Any) -> Contestant:
    return server("accord", "python", "-m", "accord", "serve", "served={model}", "--port", "{port}", asks=asks)


def transformers_server(*words: str) -> Contestant:
    whole = ("transformers", "serve", "{model}", "--device", "cpu", "--dtype", "bfloat16", "--port", "{port}", *words)
    return server("transformers", *whole, called="{model}")


SERVING = {
    "accord": accord_server(),
    "transformers": transformers_server(),
    # With the cache of `bench.contestants.generation`: by default it takes nine tenths of a processor's memory.
    "transformers-continuous": transformers_server(
        "--continuous-batching", "--cb-num-blocks", "256", "--cb-max-batch-tokens", "2048"
    ),
    "vllm": server(
        "vllm",
        # Its command `vllm serve` looks for a package of another name.
        *("python", "-m", "vllm.entrypoints.openai.api_server", "--model", "{model}", "--served-model-name", "served"),
        *("--dtype", "bfloat16", "--enforce-eager"),
        *("--max-model-len", "2048", "--host", "127.0.0.1", "--port", "{port}"),
        VLLM_CPU_KVCACHE_SPACE="2",
        VLLM_NO_USAGE_STATS="1",
    ),
}
SERVING_OPTIONS = {
    "accord": accord_server(temperature=1),
    "accord-greedy": accord_server(),
    "accord-top-p": accord_server(temperature=1, top_p=0.9),
    "accord-logprobs": accord_server(temperature=1, logprobs=True, top_logprobs=5),
}

# Micro-batches that fill a GPU. What a step computes is the same.
FULL: Settings = {"max_tokens": 16_384}
GPU_DPO = {
    "accord": accord(arguments={"beta": 0.1, **FULL}),
    "trl-default": DPO["trl-default"],
    "trl-bf16-cached": DPO["trl-bf16-cached"],
}
GPU_REWARD = {"accord": accord(arguments={**PLAIN_REWARD, **FULL}), "trl-bf16": REWARD["trl-bf16"]}
GPU_SFT = {"accord": accord(arguments=FULL), "trl-bf16": SFT["trl-bf16"]}
ON_BOTH = {
    "accord": DPO["accord"],
    "accord-fp32": DPO["accord-fp32"],
    "accord-fp32-processor": replace(DPO["accord-fp32"], variables={**FP32, "ACCORD_DEVICE": "cpu"}),
}

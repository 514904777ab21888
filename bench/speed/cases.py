"""The cases: what is done, by whom, with which settings. What is written here is what the results say was run.

Everybody's: 2 threads unless OMP_NUM_THREADS says otherwise, dropout 0 as the model has it, AdamW on all weights, the
padding token that the model's folder has. What a contestant's settings leave out is as its authors have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bench.speed.case import Case, Contestant, Kind, Make, Settings
from bench.speed.contestants import (
    DPO,
    GPU_DPO,
    GPU_REWARD,
    GPU_SFT,
    GROUPED,
    ON_BOTH,
    PPO,
    RANKINGS,
    REJECT,
    REWARD,
    SAMPLING,
    SERVING,
    SERVING_OPTIONS,
    SFT,
    groups,
)

TRAINING: Settings = {"warmup_epochs": 1, "timed_epochs": 3, "learning_rate": 1e-6, "seed": 1}
SMOKE_TRAINING = {"timed_epochs": 1}


def _policy(num_prompts: int, num_samples: int, tokens: int, num_timed: int = 2) -> Settings:
    return {
        "num_prompts": num_prompts,
        "num_samples": num_samples,
        "max_response_tokens": tokens,
        "num_timed": num_timed,
        "learning_rate": 1e-6,
        "seed": 1,
    }


SMOKE_POLICY = {"num_prompts": 2, "num_samples": 2, "max_response_tokens": 8, "num_timed": 1}
AGREE = ("loss", "gradient_norm")


def _train(
    about: str,
    kind: str,
    contestants: Mapping[str, Contestant],
    make: Make,
    size: int,
    compared: tuple[str, ...] = AGREE,
    timed: int = 3,
    batch: int | None = None,
    **more: Any,
) -> Case:
    """size: examples; batch: of an optimizer step, by default all."""
    of = {"size": size, **more.pop("of", {})}
    settings = {**TRAINING, "kind": kind, "timed_epochs": timed, "batch_size": batch or size}
    return Case(about, "train", contestants, make, of, settings, compared, smoke=SMOKE_TRAINING, **more)


def _prompted(
    about: str,
    kind: Kind,
    contestants: Mapping[str, Contestant],
    settings: Settings,
    name: str = "",
    make: Make = "prompts",
    **more: Any,
) -> Case:
    """name: the kind of the step."""
    of = {"size": settings["num_prompts"]}
    return Case(about, kind, contestants, make, of, {**settings, "kind": name}, smoke=SMOKE_POLICY, **more)


_CACHED = {name: DPO[name] for name in ("accord", "trl-bf16-cached")}
_EXPLODED = {
    "accord": DPO["accord"],
    "trl-bf16-cached": replace(
        DPO["trl-bf16-cached"], pairs=True, settings={**DPO["trl-bf16-cached"].settings, "micro": 4}
    ),
}


def _scaling() -> dict[str, Case]:
    """DPO, the reference cached, in one size after the other."""
    found: dict[str, Case] = {}
    for length in (128, 256, 512, 1024):
        about = f"a DPO step of 4 pairs: prompt {3 * length // 4} tokens, responses {length // 4}"
        found[f"length-{length}"] = _train(about, "dpo", _CACHED, "made_up", 4, of={"length": length})
    for num in (2, 4, 9):
        about = f"a DPO step of 2 rankings of {num}"
        of = {"num": num, "scored": True}
        found[f"k-{num}"] = _train(about, "dpo", _EXPLODED, "rankings", 2, of=of, timed=2)
    for batch in (2, 8, 32):
        trl = DPO["trl-bf16-cached"]
        small = {
            "accord": DPO["accord"],
            "trl-bf16-cached": replace(trl, settings={**trl.settings, "micro": min(batch, 8)}),
        }
        found[f"batch-{batch}"] = _train(f"a DPO step of {batch} pairs", "dpo", small, "pairs", batch, timed=2)
    for model in ("30m", "135m", "360m"):
        about = f"a DPO step of 2 pairs, 256 tokens, a random Llama of {model.upper()}"
        found[f"model-{model}"] = _train(about, "dpo", _CACHED, "made_up", 2, of={"length": 256}, model=model)
    return {f"scaling-{name}": replace(case, rounds=3) for name, case in found.items()}


def _served(about: str, contestants: Mapping[str, Contestant]) -> Case:
    """64 chats at once, after 8 that are not timed."""
    settings = {"num_warmup": 8, "shortest": 16, "longest": 128, "seed": 1}
    smoke = {"num_warmup": 1, "longest": 16}
    return Case(about, "serving", contestants, "conversations", {"size": 72}, settings, rounds=3, smoke=smoke)


def _on_gpu() -> dict[str, Case]:
    """With ACCORD_DEVICE=cuda, which brings all contestants to the GPU. `gpu-agree` compares it with the processor."""
    found = {"agree": _train("DPO steps of 8 pairs on a GPU and on the processor", "dpo", ON_BOTH, "pairs", 8, timed=1)}
    for kind, contestants in (("dpo", GPU_DPO), ("reward", GPU_REWARD)):
        about = f"a step of 32 pairs, 1,024 tokens each, a random Llama of 1B: {kind}"
        of = {"length": 768}
        found[kind] = _train(about, kind, contestants, "made_up", 32, of=of, model="1b")
    about = "an SFT step of 64 conversations of at most 1,024 tokens, a random Llama of 1B"
    found["sft"] = _train(about, "sft", GPU_SFT, "demonstrations", 64, of={"longest": 1024}, model="1b")
    about = "a PPO iteration: 64 prompts, 64 tokens, a random Llama of 1B"
    found["ppo"] = _prompted(about, "policy", {"accord": PPO["accord"]}, _policy(64, 1, 64), "ppo", model="1b")
    return {f"gpu-{name}": replace(case, rounds=3) for name, case in found.items()}


def _command(*words: str, environment: str = "accord") -> Contestant:
    return Contestant("startup", environment, settings={"command": list(words)})


STARTUP = {
    "accord-help": _command("accord", "--help"),
    "accord-cached-run": _command("accord", "run", "{recipe}", "--store", "{store}"),
    "import-trl": _command("python", "-c", "from trl import DPOTrainer", environment="trl116"),
    "trl-help": _command("trl", "--help", environment="trl116"),
}

CASES: dict[str, Case] = {
    "dpo": _train("a DPO step of 8 pairs of at most 512 tokens", "dpo", DPO, "pairs", 8),
    "reward": _train("a reward model's step of 8 pairs", "reward", REWARD, "pairs", 8, of={"scored": False}),
    "rankings-4": _train(
        "a reward model's step of 4 rankings of 4; 24 pairs for TRL",
        "reward",
        RANKINGS,
        "rankings",
        4,
        timed=2,
        of={"num": 4},
        rounds=3,
    ),
    "rankings-9": _train(
        "a reward model's step of 2 rankings of 9; 72 pairs for TRL",
        "reward",
        RANKINGS,
        "rankings",
        2,
        timed=1,
        of={"num": 9},
        rounds=3,
    ),
    "sft": _train("an SFT step of 8 conversations of at most 512 tokens", "sft", SFT, "demonstrations", 8),
    "sft-grouped": _train(
        "an epoch of SFT over 32 conversations, 8 a step, where grouping by length can matter",
        "sft",
        GROUPED,
        "demonstrations",
        32,
        compared=(),
        timed=1,
        batch=8,
    ),
    "ppo": _prompted("a PPO iteration: 32 prompts, 48 tokens", "policy", PPO, _policy(32, 1, 48), "ppo", rounds=3),
    "rloo": _prompted(
        "an RLOO iteration: 8 prompts, 4 samples, 48 tokens",
        "policy",
        groups(0.05),
        _policy(8, 4, 48),
        "rloo",
        rounds=3,
    ),
    "grpo": _prompted(
        "a GRPO iteration: 8 prompts, 4 samples, 48 tokens",
        "policy",
        groups(0.04),
        _policy(8, 4, 48),
        "grpo",
        rounds=3,
    ),
    "reject": _prompted("best of 16 for 16 prompts, 48 tokens", "sampling", REJECT, _policy(16, 16, 48), rounds=3),
    "sampling-64x1": _prompted("64 prompts, 64 tokens", "sampling", SAMPLING, _policy(64, 1, 64, 3)),
    "sampling-8x16": _prompted("8 prompts, 16 samples, 64 tokens", "sampling", SAMPLING, _policy(8, 16, 64, 3)),
    "sampling-conversations-64x1": _prompted(
        "64 conversations, 64 tokens", "sampling", SAMPLING, _policy(64, 1, 64, 2), make="conversations", rounds=3
    ),
    "sampling-conversations-8x16": _prompted(
        "8 conversations, 16 samples, 64 tokens",
        "sampling",
        SAMPLING,
        _policy(8, 16, 64, 2),
        make="conversations",
        rounds=3,
    ),
    "serving": _served("64 chats at once over HTTP, answers of 16 to 128 tokens", SERVING),
    "serving-options": _served("the same, drawn at temperature 1, with top_p, and with logprobs", SERVING_OPTIONS),
    "startup": Case(
        "what a command takes that computes nothing",
        "startup",
        STARTUP,
        "nothing",
        {},
        {"num_timed": 3},
        rounds=3,
        first="accord-help",
        smoke={"num_timed": 1},
    ),
    **_scaling(),
    **_on_gpu(),
}


def chosen(names: list[str]) -> dict[str, Case]:
    """The cases of some names; a name that is none stands for all that begin with it and a dash. Raises KeyError."""
    found: dict[str, Case] = {}
    for name in names:
        some = (
            {name: CASES[name]} if name in CASES else {key: CASES[key] for key in CASES if key.startswith(f"{name}-")}
        )
        if not some:
            raise KeyError(name)
        found |= some
    return found

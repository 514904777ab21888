"""PPO as the papers ran it: settings by name. No tensors here.

A preset fills in each key that a recipe leaves out. Of its keys, `method` are what makes it that method, and another
value is refused where the recipe is checked (`accord.steps.on_policy_checks`); `switched_on` are those of which only
the presence matters, and null or 0 is refused; `numbers` are the rest, and the recipe's are taken before them.

What is not here: learning rates and the sizes of runs and batches, which the papers chose for models of a billion
parameters and up, and for runs of 256,000 episodes and more; they stay the recipe's. Batches cut into minibatches are
here as their number. Nucleus sampling (top-p 0.9 in PPO-max's code) is not either: see `without_nucleus` there.

Where a paper and its code differ, or a value is nobody's but ours, the preset says which it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

PresetName = Literal["ziegler", "stiennon", "instructgpt", "ppo-max", "llama2", "llama2-34b"]


@dataclass(frozen=True, slots=True)
class Preset:
    """See the top of this file. One key stands in one of the three."""

    method: Mapping[str, Any]
    switched_on: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        return {**self.method, **self.switched_on, **self.numbers}


# Ziegler et al. 2019, arXiv:1909.08593, and its code, which differs from the paper. From the code: kl_coef 0.15 at the
# start, a horizon of 10,000 sequences (the paper's K_beta 0.1 is another), 4 epochs over the batch as one minibatch,
# lam, both clips, value_coef, a learning rate that falls to 0, TensorFlow's form of Adam with its beta2, whitened
# rewards, and the value head on the policy. In both: a target of 6 nats (10 in the paper for sentiment), and the rule
# that a response ends at the first period from its 17th token on, and counts -1 without one. temperature 0.7: the
# paper's. Gradients are clipped as everywhere here, which its code does not do.
_ZIEGLER = Preset(
    method={
        "value_model": "shared",
        "kl_estimator": "k1",
        "kl_in": "reward",
        "whiten_rewards": True,
        "whiten_advantages": True,
        "score_normalisation": "none",  # the reward model itself is normalised
        "mask_truncated": False,
    },
    switched_on={"kl_target": 6.0, "kl_coef": 0.15, "end_at": ".", "truncation_score": -1.0},
    numbers={
        "kl_horizon_sequences": 10_000.0,
        "adam_form": "tensorflow",
        "betas": (0.9, 0.999),
        "end_after": 16,
        "max_response_tokens": 24,
        "temperature": 0.7,
        "num_epochs": 4,
        "num_minibatches": 1,
        "gamma": 1.0,
        "lam": 0.95,
        "clip_range": 0.2,
        "value_clip_range": 0.2,
        "value_coef": 0.1,
        "warmup": 0.0,
        "decay": "linear",
        "final_learning_rate": 0.0,
    },
)

# Stiennon et al. 2020, arXiv:2009.01325: a value network of its own that starts from the reward model, 4 epochs, a
# fixed coefficient of 0.05, gamma 1, lam 0.95, a learning rate that falls to 0. The paper does not say how a batch is
# cut; one minibatch, and the clips of 0.2, are those of its replication (Huang et al. 2024, arXiv:2403.17031).
_STIENNON = Preset(
    method={
        "value_model": "separate",
        "value_start": "reward",
        "num_epochs": 4,
        "kl_target": None,
        "kl_estimator": "k1",
        "kl_in": "reward",
    },
    switched_on={"kl_coef": 0.05},
    numbers={
        "num_minibatches": 1,
        "gamma": 1.0,
        "lam": 0.95,
        "clip_range": 0.2,
        "value_clip_range": 0.2,
        "warmup": 0.0,
        "decay": "linear",
        "final_learning_rate": 0.0,
    },
)

# Ouyang et al. 2022 (InstructGPT), arXiv:2203.02155, appendix C.4 (second-hand): PPO-ptx with gamma 27.8 and 8
# pre-training examples an episode, one epoch of 8 minibatches (64 of 512), beta 0.02, EMA 0.992, temperature 1, a
# warm-up of 10 of about 500 iterations. value_start: from memory. Their gamma weighs losses of their scale; here both
# are means over tokens, and a smaller one may do.
_INSTRUCTGPT = Preset(
    method={
        "value_model": "separate",
        "value_start": "reward",
        "num_epochs": 1,
        "kl_target": None,
        "kl_estimator": "k1",
        "kl_in": "reward",
    },
    switched_on={"ptx_coef": 27.8, "kl_coef": 0.02, "ema": 0.992},
    numbers={
        "ptx_examples": 8.0,
        "num_minibatches": 8,
        "temperature": 1.0,
        "clip_range": 0.2,
        "warmup": 0.02,
        "decay": "constant",
    },
)

# Zheng et al. 2023 ("Secrets of RLHF I", PPO-max), arXiv:2307.04964 (second-hand): scores normalised by running
# moments and clipped at 0.3, a KL penalty of 0.05 on each token, a value model that starts from the reward model and
# learns before the policy does, value clip 0.2, PPO-ptx, clipped gradients, no entropy bonus. Its code's defaults are
# others (kl 0.02, clip 10, all tricks off); the paper's are taken. Ours, as neither gives them for a small run: the 5
# iterations of value_warmup, ptx_coef 1.
_PPO_MAX = Preset(
    method={
        "value_model": "separate",
        "value_start": "reward",
        "score_normalisation": "running",
        "kl_target": None,
        "kl_estimator": "k1",
        "kl_in": "reward",
        "entropy_coef": 0.0,
    },
    switched_on={"score_clip": 0.3, "value_warmup": 5, "ptx_coef": 1.0, "kl_coef": 0.05, "value_clip_range": 0.2},
    numbers={"gamma": 1.0, "lam": 0.95, "max_grad_norm": 1.0},
)

# Touvron et al. 2023 (Llama 2), arXiv:2307.09288, section 3.2.3: scores whitened over the batch, one optimizer step for
# each of 8 minibatches (64 of 512), beta 0.01 (7B and 13B; 0.005 for 34B and 70B), AdamW (0.9, 0.95), epsilon 1e-5,
# weight decay 0.1, gradient norm 1, a constant learning rate. Whitening is of the logit of a probability there, which
# is what a reward model's score is here. The coefficient goes by the size of the model, which a recipe's keys do not
# know: so there are two presets, and whoever writes the recipe picks one.
_LLAMA2 = Preset(
    method={
        "num_epochs": 1,
        "score_normalisation": "batch",
        "kl_target": None,
        "kl_estimator": "k1",
        "kl_in": "reward",
    },
    switched_on={"kl_coef": 0.01},
    numbers={
        "num_minibatches": 8,
        "clip_range": 0.2,
        "betas": (0.9, 0.95),
        "adam_epsilon": 1e-5,
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
        "warmup": 0.0,
        "decay": "constant",
    },
)

_LLAMA2_34B = replace(_LLAMA2, switched_on={"kl_coef": 0.005})  # for 34 billion parameters and more

PRESETS: Final[Mapping[PresetName, Preset]] = {
    "ziegler": _ZIEGLER,
    "stiennon": _STIENNON,
    "instructgpt": _INSTRUCTGPT,
    "ppo-max": _PPO_MAX,
    "llama2": _LLAMA2,
    "llama2-34b": _LLAMA2_34B,
}

# A key that the recipe gives in place of one of the preset's.
_INSTEAD: Final = {"kl_horizon_sequences": "kl_horizon"}


def with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a recipe, with those of its `preset` filled in where it has none.

    A name that is not a preset is left to the key's own validation, and so is every value.
    """
    preset = _named(values.get("preset"))
    if preset is None:
        return dict(values)
    filled = {key: value for key, value in preset.values.items() if _INSTEAD.get(key) not in values}
    return {**filled, **values}


def _named(name: Any) -> Preset | None:
    return next((preset for known, preset in PRESETS.items() if known == name), None)

"""What the curves of each kind of step show: panel title, then for each line its name in the legend and its key."""

from __future__ import annotations

from typing import Final

Panels = tuple[tuple[str, dict[str, str]], ...]

_OPTIMIZER: Panels = (
    ("gradient norm", {"norm": "grad_norm"}),
    ("learning rate", {"rate": "learning_rate"}),
)
_SAMPLES: Panels = (
    ("score", {"proxy": "objective/scores"}),
    ("KL (nats per sequence)", {"KL": "objective/kl"}),
    ("entropy (nats per token)", {"entropy": "objective/entropy"}),
    ("tokens per response", {"tokens": "response/mean_tokens"}),
    ("distinct-2", {"distinct-2": "response/distinct_2"}),
    ("finished responses, share", {"finished": "response/finished"}),
)
_POLICY_GRADIENT: Panels = (
    *_SAMPLES[:2],
    ("KL coefficient", {"coefficient": "objective/kl_coef"}),
    *_SAMPLES[2:],
    ("clip fraction", {"clipped": "policy/clipfrac_avg"}),
)
_PREFERENCE: Panels = (
    ("loss", {"training": "loss", "held out": "eval_loss"}),
    ("accuracy of implicit rewards", {"training": "rewards/accuracies", "held out": "eval_rewards/accuracies"}),
    ("implicit rewards", {"chosen": "rewards/chosen", "rejected": "rewards/rejected"}),
    ("log-probability (nats)", {"chosen": "logps/chosen", "rejected": "logps/rejected"}),
)

PANELS: Final[dict[str, Panels]] = {
    "sft": (("loss (nats per token)", {"loss": "loss"}), *_OPTIMIZER),
    "reward": (
        ("loss", {"training": "loss", "held out": "eval_loss"}),
        ("accuracy", {"training": "accuracy", "held out": "eval_accuracy"}),
        ("margin, chosen − rejected", {"margin": "margin"}),  # noqa: RUF001
        _OPTIMIZER[0],
    ),
    "reject": (("loss (nats per token)", {"loss": "loss"}), *_OPTIMIZER),
    "distill": (("loss (nats per token)", {"loss": "loss"}), *_OPTIMIZER),
    "ppo": (*_POLICY_GRADIENT, ("explained variance", {"explained": "value/explained_variance"})),
    "rloo": _POLICY_GRADIENT,
    "grpo": _POLICY_GRADIENT,
    "online_dpo": (*_SAMPLES, *_PREFERENCE[1:]),
    "dpo": (*_PREFERENCE, *_OPTIMIZER),
    "kto": (_PREFERENCE[0], *_PREFERENCE[2:], ("KL (nats)", {"KL": "kl"}), *_OPTIMIZER),
}

ON_POLICY: Final = ("ppo", "rloo", "grpo", "online_dpo")  # their rows are iterations, with a score and a KL each
CLIPPING: Final = ("ppo", "rloo", "grpo")
OPTIMIZER_STEPS: Final = ("sft", "reward", "reject", "distill", "dpo", "kto")  # their rows are optimizer steps
SHARES: Final = (  # shown from 0 to 1
    "finished responses, share",
    "accuracy",
    "accuracy of implicit rewards",
)

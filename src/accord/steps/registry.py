"""All step kinds. Adding one is one file, one test and one line here."""

from __future__ import annotations

from accord.steps import (
    accuracy,
    collect,
    combine,
    data,
    dpo,
    evaluate,
    grpo,
    judge,
    kto,
    mix,
    model,
    online_dpo,
    ppo,
    reject,
    reward,
    reward_endpoint,
    reward_function,
    reward_model,
    reward_rule,
    rloo,
    sample,
    sft,
)
from accord.steps.base import StepKind

STEPS: dict[str, StepKind] = {
    "model": model.STEP,
    "data": data.STEP,
    "mix": mix.STEP,
    "sft": sft.STEP,
    "reward": reward.STEP,
    "reward_model": reward_model.STEP,
    "reward_function": reward_function.STEP,
    "reward_rule": reward_rule.STEP,
    "reward_endpoint": reward_endpoint.STEP,
    "combine": combine.STEP,
    "sample": sample.STEP,
    "collect": collect.STEP,
    "judge": judge.STEP,
    "reject": reject.STEP,
    "ppo": ppo.STEP,
    "rloo": rloo.STEP,
    "grpo": grpo.STEP,
    "dpo": dpo.STEP,
    "kto": kto.STEP,
    "online_dpo": online_dpo.STEP,
    "evaluate": evaluate.STEP,
    "accuracy": accuracy.STEP,
}

"""All step kinds. Adding one is one file, one test and one line here."""

from __future__ import annotations

from accord.steps import collect, data, evaluate, model, ppo, reject, reward, reward_function, sample, sft
from accord.steps.base import StepKind

STEPS: dict[str, StepKind] = {
    "model": model.STEP,
    "data": data.STEP,
    "sft": sft.STEP,
    "reward": reward.STEP,
    "reward_function": reward_function.STEP,
    "sample": sample.STEP,
    "collect": collect.STEP,
    "reject": reject.STEP,
    "ppo": ppo.STEP,
    "evaluate": evaluate.STEP,
}

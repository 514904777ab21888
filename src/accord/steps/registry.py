"""All step kinds. Adding one is one file, one test and one line here."""

from __future__ import annotations

from accord.steps import data, evaluate, model, ppo, reject, reward, sft
from accord.steps.base import StepKind

STEPS: dict[str, StepKind] = {
    "model": model.STEP,
    "data": data.STEP,
    "sft": sft.STEP,
    "reward": reward.STEP,
    "reject": reject.STEP,
    "ppo": ppo.STEP,
    "evaluate": evaluate.STEP,
}

"""Every shipped recipe can be estimated: each step that works has tokens, time and memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from accord.estimate.check import Checked
from accord.estimate.rows import Estimator
from accord.machine import Memory
from accord.plan import make_plan
from accord.steps.registry import STEPS
from accord.store.artifacts import Store
from tests.estimate.test_rows import RATES
from tests.fixtures.tiny_run import NEED_PEFT, RECIPES, made_up_ratings, tiny_recipe

TRAINING = ("sft", "reward", "reject", "ppo", "rloo", "grpo", "dpo", "kto", "online_dpo", "distill")
SAMPLING = ("sample", "reject", "ppo", "rloo", "grpo", "online_dpo", "evaluate", "distill", "redteam")
SCORING = ("collect", "accuracy", *SAMPLING[1:-1])
PLENTY = Memory(1 << 40, 1 << 40, 1 << 40)


@pytest.mark.parametrize("name", RECIPES)
def test_every_step_has_an_estimate(tiny_model: Path, tmp_path: Path, name: str) -> None:
    if name in NEED_PEFT:
        pytest.importorskip("peft")
    plan = make_plan(tiny_recipe(name, tiny_model), STEPS)
    with made_up_ratings():
        found = Estimator(plan, STEPS, Store(tmp_path)).estimate(RATES, 4)
    for row in found.rows:
        kind, where = row.step.kind, f"{row.step.name}, a {row.step.kind}"
        assert row.seconds is not None, where
        assert (row.trained > 0) == (kind in TRAINING), where
        assert (row.sampled > 0) == (kind in SAMPLING or _normalised_on_samples(row.step.config)), where
        assert row.scored > 0 or kind not in SCORING, where
        if kind in (*TRAINING, *SAMPLING, *SCORING):
            assert row.seconds > 0, where
            assert row.memory is not None, where
            assert row.memory.weights > 0, where
            assert row.memory.activations > 0, where
        if kind in TRAINING:
            assert row.kept > 0, where
    checked = Checked(plan, found, PLENTY, 1 << 40, "store", timed=True)
    checked.refuse()
    assert any(line.startswith("total ") for line in checked.lines())


def _normalised_on_samples(config: object) -> bool:
    return getattr(config, "normalise_on", None) == "samples"

"""A sampler with weights of its own: it gets the policy's before each rollout, and is held against them."""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.engine.on_policy.config import PPOConfig
from accord.engine.on_policy.following import Follower, followed
from accord.engine.on_policy.loop import Outcome, run_on_policy
from accord.engine.on_policy.scoring import NotFinite
from accord.errors import Interrupted, UserError
from accord.models.lora import Lora
from accord.models.policy import Policy
from accord.store.workspace import Workspace
from tests.fixtures.engines import Rounding, Stale, Twin, in_place_of_vllm
from tests.fixtures.on_policy import CONFIG, PROMPTS, make_ppo, make_roles

LEARNS = {"num_iterations": 3, "learning_rate": 1e-3, "truncation_score": None}
WEIGHTS = {"sampling/importance_sampling_ratio/" + name for name in ("min", "mean", "max")}


def config_of(**update: Any) -> PPOConfig:
    return CONFIG.model_copy(update=LEARNS | update)


def run(
    model: Path,
    folder: Path,
    config: PPOConfig,
    engine: Twin | None,
    stop_after: int | None = None,
) -> tuple[Outcome, list[dict[str, Any]]]:
    roles = make_roles(model)
    work = Workspace(
        folder,
        stream=io.StringIO(),
        min_checkpoint_seconds=1e9,
        stop=lambda: stop_after is not None and len(work.metrics.read()) >= stop_after,
    )
    outcome = run_on_policy(
        roles,
        PROMPTS,
        config,
        make_ppo(roles, model, config),
        seed=3,
        work=work,
        label="ppo",
        checkpoint=work.resume(),
        sampler=engine and Follower(engine, roles.policy, "ppo.engine"),
    )
    return outcome, work.metrics.read()


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if "probe" not in name} for row in rows]


def test_with_the_policys_weights_it_writes_what_the_policy_would(tiny_model: Path, tmp_path: Path) -> None:
    """Of every iteration, so the weights are pushed after each update."""
    config, engine = config_of(), Twin(tiny_model)
    own, rows = run(tiny_model, tmp_path / "own", config, None)
    followed, other_rows = run(tiny_model, tmp_path / "followed", config, engine)
    assert engine.num_pushes == 3
    assert plain(other_rows) == rows
    assert all(row["sampler/probe_max"] == 0 for row in other_rows)
    assert all(torch.equal(weight, followed.masters[name]) for name, weight in own.masters.items())


def test_one_that_keeps_old_weights_is_found_out_before_it_writes(tiny_model: Path, tmp_path: Path) -> None:
    engine = Stale(tiny_model)
    with pytest.raises(UserError) as caught:
        run(tiny_model, tmp_path, config_of(), engine)
    assert engine.num_pushes == 2
    assert re.fullmatch(
        r"ppo.engine: the sampler and the learner are not the same policy: their log-probabilities differ by [\d.e-]+ "
        r"nats a token, and 0.0001 is allowed; .*\n  Write `engine: torch`, .*\(ACCORD_DTYPE=float32\)\.",
        str(caught.value),
    )


def test_what_rounds_may_write_and_its_tokens_are_weighted(tiny_model: Path, tmp_path: Path) -> None:
    """In bfloat16: apart by more than fp32 allows, and by less than bfloat16 does."""
    weighted, rows = run(tiny_model, tmp_path / "weighted", config_of(importance_cap=1.0), Rounding(tiny_model))
    bare, bare_rows = run(tiny_model, tmp_path / "bare", config_of(), Rounding(tiny_model))
    assert all(1e-4 < row["sampler/probe_per_token"] < 0.05 for row in rows)
    assert rows[0]["sampler/mismatch_per_token"] == bare_rows[0]["sampler/mismatch_per_token"] > 1e-4
    assert not WEIGHTS & bare_rows[0].keys()
    for row in rows:
        low, mean, high = (row[f"sampling/importance_sampling_ratio/{name}"] for name in ("min", "mean", "max"))
        assert low < mean < high == 1
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(weighted.masters[name], bare.masters[name])


def test_stopped_and_gone_on_with_it_has_the_same_weights(tiny_model: Path, tmp_path: Path) -> None:
    """The engine is opened anew, with the weights that training started from."""
    config = config_of(importance_cap=2.0)
    whole, rows = run(tiny_model, tmp_path / "whole", config, Rounding(tiny_model))
    with pytest.raises(Interrupted):
        run(tiny_model, tmp_path / "stopped", config, Rounding(tiny_model), stop_after=2)
    gone_on, other_rows = run(tiny_model, tmp_path / "stopped", config, Rounding(tiny_model))
    assert other_rows == rows
    assert all(torch.equal(weight, gone_on.masters[name]) for name, weight in whole.masters.items())


def test_a_policy_that_is_none_any_more_is_not_pushed(tiny_model: Path) -> None:
    policy, engine = Policy.load(tiny_model), Twin(tiny_model)
    with torch.no_grad():
        policy.head[0, 0] = math.nan
    with pytest.raises(NotFinite):
        Follower(engine, policy, "").follow()
    assert engine.num_pushes == 0


def test_adapters_are_merged(tiny_model: Path) -> None:
    policy, engine = Policy.load(tiny_model), Twin(tiny_model)
    policy.adapt(Lora(rank=4, alpha=8), tiny_model, seed=1)
    with torch.no_grad():
        for name, parameter in policy.trained.items():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=torch.Generator().manual_seed(0))
    assert Follower(engine, policy, "").follow()["sampler/probe_max"] < 1e-4
    weights = dict(policy.weights())
    start = Policy.load(tiny_model).module.state_dict()
    assert weights.keys() == dict(engine.own.module.named_parameters()).keys()
    assert {name for name, weight in weights.items() if not torch.equal(weight, start[name])} == {
        name for name in weights if "_proj" in name
    }


def test_an_engine_is_opened_for_the_run_and_closed(tiny_model: Path) -> None:
    policy = Policy.load(tiny_model)
    with followed(policy, "torch", tiny_model, "") as none:
        assert none is None
    with in_place_of_vllm() as opened, followed(policy, "vllm", tiny_model, "ppo.engine") as follower:
        assert follower is not None
        assert not opened[0].closed
    assert opened[0].closed
    assert opened[0].asked == {"num_slots": 128, "told": "drawn", "beside": True}

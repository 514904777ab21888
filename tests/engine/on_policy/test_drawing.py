"""Rollouts that are drawn an update ahead: by which weights, what they are learned from as, and what a stop changes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.engine.guard import End, Guard, Quality
from accord.engine.on_policy.config import GRPOConfig, OnlineDPOConfig, RLOOConfig, RolloutConfig
from accord.engine.on_policy.drawing import Rollouts
from accord.engine.on_policy.following import Follower
from accord.engine.on_policy.groups import GRPO, RLOO
from accord.engine.on_policy.loop import Outcome, run_on_policy
from accord.engine.on_policy.methods import Method, Scored
from accord.engine.on_policy.preference import OnlinePreference
from accord.engine.on_policy.scoring import Roles
from accord.engine.rollout import ended_at, packed, roll_out, unpacked
from accord.errors import Interrupted
from accord.models.policy import Policy
from accord.monitor.alarms import alarms
from accord.store.workspace import Workspace
from accord.text.tree import TreeBatch, flatten
from tests.fixtures.engines import Rounding, Twin
from tests.fixtures.on_policy import CONFIG, PROMPTS, Scores, make_ppo, make_roles, make_rollout, some_finished

SEED = 3
SETTINGS: dict[str, Any] = {
    "num_iterations": 4,
    "prompts_per_iteration": 3,
    "num_samples": 3,
    "max_response_tokens": 7,
    "max_tokens": 64,
    "learning_rate": 3e-3,
    "warmup": 0.0,
    "truncation_score": None,
    "staleness": 1,
}
PPO = CONFIG.model_copy(update=SETTINGS)
Weights = Mapping[str, torch.Tensor]


def make_method(name: str, roles: Roles, model: Path, **update: Any) -> tuple[RolloutConfig, Method]:
    if name == "ppo":
        config = PPO.model_copy(update=update)
        return config, make_ppo(roles, model, config)
    if name == "rloo":
        of_rloo = RLOOConfig(**SETTINGS).model_copy(update=update)
        return of_rloo, RLOO(roles.policy, of_rloo)
    if name == "grpo":
        of_grpo = GRPOConfig(**SETTINGS).model_copy(update=update)
        return of_grpo, GRPO(roles.policy, of_grpo)
    pairs = OnlineDPOConfig(**SETTINGS, reference_every=2).model_copy(update=update)
    return pairs, OnlinePreference(roles.policy, roles.reference, pairs)


class Seen:
    """What a method was given in each iteration, and the policy's weights then."""

    def __init__(self, method: Method, policy: Policy) -> None:
        self.scored: list[Scored] = []
        self.weights: list[Weights] = []
        prepare = method.prepare

        def recorded(scored: Scored, micros: Any, *, warming: bool) -> Any:
            self.scored.append(scored)
            self.weights.append({name: one.detach().clone() for name, one in policy.module.state_dict().items()})
            return prepare(scored, micros, warming=warming)

        method.prepare = recorded  # type: ignore[method-assign]


def run(
    model: Path,
    folder: Path,
    name: str = "ppo",
    *,
    stop_after: int | None = None,
    engine: Twin | None = None,
    guard: Guard | None = None,
    **update: Any,
) -> tuple[Outcome, list[dict[str, Any]], Seen]:
    roles = replace(make_roles(model), reward=Scores(lambda response: float(len(response.text))))
    roles = replace(roles, watch={"other": Scores(lambda response: float(response.text.count("e")))})
    config, method = make_method(name, roles, model, **update)
    seen = Seen(method, roles.policy)
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
        method,
        seed=SEED,
        work=work,
        label="t",
        checkpoint=work.resume(),
        guard=guard,
        sampler=engine and Follower(engine, roles.policy, "t.engine"),
    )
    return outcome, work.metrics.read(), seen


def policy_of(model: Path, weights: Weights) -> Policy:
    policy = Policy.load(model)
    policy.module.load_state_dict(weights)
    return policy


def token_logprobs(policy: Policy, scored: Scored) -> list[list[float]]:
    """Of each response by itself."""
    found = []
    for tree in scored.rollout.trees:
        for response in flatten(tree):
            with torch.no_grad():
                found.append(policy.token_logprobs(TreeBatch.from_trees([response])).logprobs.tolist())
    return found


def rows_of(padded: torch.Tensor, mask: torch.Tensor) -> list[list[float]]:
    return [row[keep].tolist() for row, keep in zip(padded, mask, strict=True)]


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_rollout_is_of_the_policy_before_the_last_update(tiny_model: Path, tmp_path: Path, staleness: int) -> None:
    """With weights w0, w1, w2, w3 at the start of each iteration: by w0, w0, w1, w2; else by w0, w1, w2, w3."""
    _, _, seen = run(tiny_model, tmp_path, staleness=staleness)
    assert [scored.stale for scored in seen.scored] == [False] + [bool(staleness)] * 3
    for iteration, scored in enumerate(seen.scored):
        drawn_by = max(iteration - staleness, 0)
        for number, weights in enumerate(seen.weights):
            again = roll_out(
                policy_of(tiny_model, weights),
                scored.rollout.prompts,
                num_samples=3,
                max_response_tokens=7,
                temperature=1.0,
                key=(SEED, iteration),
            )
            assert (again == scored.rollout) == (number == drawn_by), (iteration, number)
        expected = token_logprobs(policy_of(tiny_model, seen.weights[drawn_by]), scored)
        for found, of_one in zip(rows_of(scored.logprobs, scored.mask), expected, strict=True):
            assert found == pytest.approx(of_one, abs=1e-4)


def test_until_the_policy_has_learned_nothing_is_drawn_ahead(tiny_model: Path, tmp_path: Path) -> None:
    """While the value model warms up the policy stays as it is: so does the ratio's exact 1 in its first iteration."""
    _, rows, seen = run(tiny_model, tmp_path / "whole", value_warmup=2)
    assert [scored.stale for scored in seen.scored] == [False, False, False, True]
    assert rows[2]["policy/first_ratio"] == 1.0
    assert rows[3]["policy/first_approxkl"] > 0
    with pytest.raises(Interrupted):
        run(tiny_model, tmp_path / "cut", value_warmup=2, stop_after=2)
    _, gone_on, _ = run(tiny_model, tmp_path / "cut", value_warmup=2)
    assert gone_on == rows


def test_the_ratio_is_to_the_policy_that_sampled(tiny_model: Path, tmp_path: Path) -> None:
    """Of one optimizer step: its ratio is the mean over all tokens of exp(log w_i - log w_(i-1))."""
    _, rows, seen = run(tiny_model, tmp_path, num_minibatches=1)
    assert rows[0]["policy/first_ratio"] == rows[0]["val/ratio"] == 1.0
    assert "policy/first_approxkl" not in rows[0]
    for iteration in (1, 2, 3):
        scored, row = seen.scored[iteration], rows[iteration]
        now, before = (
            torch.tensor([one for of in token_logprobs(policy_of(tiny_model, weights), scored) for one in of])
            for weights in (seen.weights[iteration], seen.weights[iteration - 1])
        )
        assert "policy/first_ratio" not in row
        assert row["val/ratio"] == pytest.approx(float((now - before).exp().mean()), abs=1e-4)
        assert row["policy/first_approxkl"] == pytest.approx(float(((now - before) ** 2 / 2).mean()), abs=1e-4)
        assert row["policy/first_approxkl"] > 1e-3
        reference = scored.reference_logprobs[scored.mask]
        assert row["objective/kl"] == pytest.approx(float((before - reference).sum()) / len(scored.kept), abs=1e-3)


@pytest.mark.parametrize("name", ["ppo", "rloo", "grpo", "online_dpo"])
def test_where_nothing_is_learned_it_changes_nothing(tiny_model: Path, tmp_path: Path, name: str) -> None:
    """At a learning rate of 0 the policy before an update is the one after it."""
    behind, rows, _ = run(tiny_model, tmp_path / "behind", name, learning_rate=0.0)
    with_it, other_rows, _ = run(tiny_model, tmp_path / "with", name, learning_rate=0.0, staleness=0)
    firsts = [{key: row.pop(key, None) for key in ("policy/first_ratio", "policy/first_approxkl")} for row in rows]
    others = [row.pop("policy/first_ratio", None) for row in other_rows]
    assert rows == other_rows
    assert all(torch.equal(weight, with_it.masters[key]) for key, weight in behind.masters.items())
    if name != "online_dpo":
        assert [tuple(first.values()) for first in firsts] == [(1.0, None), *[(None, 0.0)] * 3]
        assert others == [1.0] * 4


@pytest.mark.parametrize("name", ["rloo", "online_dpo"])
def test_where_the_policy_learns_it_changes_what_is_learned(tiny_model: Path, tmp_path: Path, name: str) -> None:
    """The negative control of the one before. The first row is of the same responses and the same update."""
    behind, rows, _ = run(tiny_model, tmp_path / "behind", name)
    with_it, other_rows, _ = run(tiny_model, tmp_path / "with", name, staleness=0)
    assert rows[0] == other_rows[0]
    assert rows[1]["objective/kl"] == rows[0]["objective/kl"] == 0.0
    assert other_rows[1]["objective/kl"] != 0.0
    assert any(not torch.equal(weight, with_it.masters[key]) for key, weight in behind.masters.items())


def test_the_kl_is_to_the_reference_of_the_time_of_sampling(tiny_model: Path, tmp_path: Path) -> None:
    """The reference moves after two iterations, between the draw of the third rollout and its score: until then all is
    as with a reference that stays. What is learned from it is to the reference that has moved."""
    _, rows, seen = run(tiny_model, tmp_path / "moves", "online_dpo", num_iterations=3)
    _, other_rows, others = run(tiny_model, tmp_path / "stays", "online_dpo", num_iterations=3, reference_every=None)
    names = ("objective/kl", "objective/kl_k3")
    assert [rows[2][name] for name in names] == [other_rows[2][name] for name in names]
    assert rows[2]["objective/kl"] != 0.0
    assert not torch.equal(seen.scored[2].reference_logprobs, others.scored[2].reference_logprobs)
    assert torch.equal(seen.scored[1].reference_logprobs, others.scored[1].reference_logprobs)


STATES: dict[str, dict[str, Any]] = {
    "ppo": {"ema": 0.5, "kl_target": 0.5, "score_normalisation": "running", "end_at": "e", "num_epochs": 2},
    "online_dpo": {},
}


@pytest.mark.parametrize(("name", "stop_after"), [("ppo", 1), ("ppo", 3), ("online_dpo", 2)])
def test_stopped_and_gone_on_with_it_comes_to_the_same(
    tiny_model: Path, tmp_path: Path, name: str, stop_after: int
) -> None:
    whole, rows, _ = run(tiny_model, tmp_path / "whole", name, **STATES[name])
    with pytest.raises(Interrupted):
        run(tiny_model, tmp_path / "cut", name, stop_after=stop_after, **STATES[name])
    gone_on, other_rows, _ = run(tiny_model, tmp_path / "cut", name, **STATES[name])
    assert other_rows == rows
    assert all(torch.equal(weight, gone_on.masters[key]) for key, weight in whole.masters.items())


def test_a_rollout_that_is_lost_shows(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control: drawn anew, it is by other weights."""
    _, rows, _ = run(tiny_model, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(tiny_model, tmp_path / "cut", stop_after=2)
    monkeypatch.setattr(Rollouts, "load", lambda self, checkpoint: None)
    _, other_rows, _ = run(tiny_model, tmp_path / "cut")
    assert other_rows[:2] == rows[:2]
    assert other_rows[2] != rows[2]


def test_what_writes_in_the_policys_place_gets_the_weights_before_the_update(tiny_model: Path, tmp_path: Path) -> None:
    """And how far it was from them is in the row of what it wrote, after a stop, too."""
    own, rows, _ = run(tiny_model, tmp_path / "own")
    twin = Twin(tiny_model)
    followed, other_rows, _ = run(tiny_model, tmp_path / "followed", engine=twin)
    assert twin.num_pushes == 4
    assert [row.pop("sampler/probe_max") + row.pop("sampler/probe_per_token") for row in other_rows] == [0.0] * 4
    assert other_rows == rows
    assert all(torch.equal(weight, followed.masters[key]) for key, weight in own.masters.items())
    _, rounded, _ = run(tiny_model, tmp_path / "whole", engine=Rounding(tiny_model), importance_cap=2.0)
    with pytest.raises(Interrupted):
        run(tiny_model, tmp_path / "cut", engine=Rounding(tiny_model), importance_cap=2.0, stop_after=2)
    _, again, _ = run(tiny_model, tmp_path / "cut", engine=Rounding(tiny_model), importance_cap=2.0)
    assert again == rounded
    assert all(row["sampler/probe_max"] > 0 for row in rounded)


def test_what_watches_gives_no_false_alarm(tiny_model: Path, tmp_path: Path) -> None:
    """Updates so large that the policy that learns is far from the one that sampled: neither is the ratio held for
    broken, nor the sampler, nor the KL."""
    _, rows, _ = run(tiny_model, tmp_path, num_iterations=6, learning_rate=1e-2, kl_coef=0.0)
    assert max(row.get("policy/first_approxkl", 0.0) for row in rows) > 0.05
    assert max(row["sampler/mismatch_max"] for row in rows) < 1e-3
    names = {alarm.name for alarm in alarms(rows)}
    assert not names & {"first_ratio", "mismatch", "negative_kl", "not_finite"}


@pytest.mark.parametrize("stop_after", [None, 2])
def test_the_best_weights_are_those_that_sampled_what_was_best(
    tiny_model: Path, tmp_path: Path, stop_after: int | None
) -> None:
    def decide(rows: Sequence[Mapping[str, Any]]) -> End | None:
        return End("some", "it is the last", "rollback") if len(rows) == 4 else None

    guard = Guard(decide, quality=Quality("watch/other", lower_is_better=True))
    settings: dict[str, Any] = {"watch_every": 1, "num_iterations": 5, "learning_rate": 1e-2}
    _, rows, seen = run(tiny_model, tmp_path / "asked", **settings)
    looked = [row["watch/other"] for row in rows[:4]]
    best = looked.index(min(looked))
    assert best > 1, "by weights that have learned"
    if stop_after is not None:
        with pytest.raises(Interrupted):
            run(tiny_model, tmp_path / "kept", guard=guard, stop_after=stop_after, **settings)
    outcome, _, _ = run(tiny_model, tmp_path / "kept", guard=guard, **settings)
    assert outcome.summary["ended_by_alarm"]["kept"] == best - 1
    weights, after = seen.weights[best - 1], seen.weights[best]
    assert all(torch.equal(weight, weights[name]) for name, weight in outcome.masters.items())
    assert any(not torch.equal(weight, after[name]) for name, weight in outcome.masters.items())


def test_a_rollout_comes_back_as_it_was(tiny_model: Path) -> None:
    roles = make_roles(tiny_model)
    rollout = some_finished(make_rollout(roles, CONFIG))
    cut = ended_at(rollout, roles.policy.template, "e", 1)
    assert cut != rollout
    for one in (rollout, cut):
        assert unpacked(packed(one), PROMPTS, roles.policy.template) == one

"""When an iteration and the loop end, and what of a run is kept: with a method that learns nothing, and PPO."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.engine.learner import StepReport, Term
from accord.engine.on_policy.config import PPOConfig
from accord.engine.on_policy.loop import (
    Outcome,
    run_on_policy,
)
from accord.engine.on_policy.methods import POLICY, Reports, Scored, Trainee
from accord.engine.on_policy.scoring import Roles
from accord.store.workspace import Workspace
from accord.text.batching import MicroBatch
from tests.fixtures.on_policy import (
    CONFIG,
    PROMPTS,
    Scores,
    make_roles,
)


@dataclass(frozen=True)
class Nothing:
    """A lesson that says what it was asked."""

    asked: list[str]
    enough_after: int

    def losses(self, minibatch: Sequence[MicroBatch]) -> list[tuple[str, Sequence[Term]]]:
        self.asked.append("losses")
        return [(POLICY, ())]

    def enough(self, report: Mapping[str, StepReport]) -> bool:
        return len(self.asked) % self.enough_after == 0

    def metrics(self, reports: Reports) -> dict[str, float]:
        return {"asked": len(self.asked)}


class Idle:
    """A method that learns nothing; the run ends after `last` iterations."""

    trainees: Mapping[str, Trainee] = {}

    def __init__(self, enough_after: int = 10**6, last: int = 10**6, num_warmup: int = 0) -> None:
        self.asked: list[str] = []
        self.warm: list[bool] = []
        self.enough_after, self.last, self.num_warmup = enough_after, last, num_warmup
        self.num_after = 0

    def prepare(self, scored: Scored, micros: Sequence[MicroBatch], *, warming: bool) -> Nothing:
        self.warm.append(warming)
        return Nothing(self.asked, self.enough_after)

    def after(self, scored: Scored) -> dict[str, Any]:
        self.num_after += 1
        return {"stopped_at_kl": 9.0} if self.num_after == self.last else {}

    def state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, {}

    def load(self, checkpoint: object, state: object) -> None: ...


def run(roles: Roles, config: PPOConfig, method: Any, folder: Path) -> tuple[Outcome, list[dict[str, Any]]]:
    work = Workspace(folder, stream=io.StringIO())
    work.resume()
    outcome = run_on_policy(roles, PROMPTS, config, method, seed=3, work=work, label="t", checkpoint=None)
    return outcome, work.metrics.read()


def test_a_method_can_leave_out_the_rest_of_an_iteration(tiny_model: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"num_iterations": 2, "num_epochs": 2})  # of 2 minibatches each
    _, rows = run(make_roles(tiny_model), config, Idle(enough_after=3), tmp_path)
    assert [row["policy/num_updates"] for row in rows] == [3.0, 3.0]


def test_who_looks_on_sees_the_latest_responses_and_they_are_no_part_of_the_step(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = CONFIG.model_copy(update={"num_iterations": 1})
    run(make_roles(tiny_model), config, Idle(), tmp_path)
    shown_to_them = json.loads((tmp_path / "samples.json").read_text())
    assert shown_to_them["at"] == 1
    asked = {prompt.messages[-1].content for prompt in PROMPTS}
    assert 0 < len(shown_to_them["samples"]) <= 4
    for sample in shown_to_them["samples"]:
        assert sample["prompt"] in asked
        assert isinstance(sample["response"], str)
        assert isinstance(sample["score"], float)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["metrics.jsonl"]


def test_a_method_can_end_the_run(tiny_model: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"num_iterations": 5, "watch_every": 5})
    roles = replace(make_roles(tiny_model), watch={"other": Scores()})
    outcome, rows = run(roles, config, Idle(last=2), tmp_path)
    assert outcome.summary == {"num_iterations": 2, "stopped_at_kl": 9.0}
    assert ["watch/other" in row for row in rows] == [True, True]  # the first, and the last though it was not planned


def test_a_warm_up_comes_before_and_is_told_apart(tiny_model: Path, tmp_path: Path) -> None:
    """And counts among the iterations; learning rates have the rest to rise in."""
    sizes = {"num_iterations": 4, "value_warmup": 2, "warmup": 0.5, "prompts_per_iteration": 2}
    config = CONFIG.model_copy(update=sizes)
    method = Idle(num_warmup=2)
    outcome, rows = run(make_roles(tiny_model), config, method, tmp_path)
    assert method.warm == [True, True, False, False]
    assert [row["phase"] for row in rows] == [0.0, 0.0, 1.0, 1.0]
    assert [row["learning_rate"] for row in rows] == pytest.approx(
        [0.0, 0.0, 1.5e-6, 3e-6]
    )  # its own warm-up begins after that
    assert method.num_after == 2
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    assert outcome.summary == {"num_iterations": 4}
    _, rows = run(make_roles(tiny_model), config, Idle(), tmp_path / "without")
    assert "phase" not in rows[0]


def test_responses_end_where_they_are_told_to(tiny_model: Path, tmp_path: Path) -> None:
    """Every text of the tiny model holds a space or a letter soon enough; what is after it is nobody's."""
    config = CONFIG.model_copy(update={"end_at": "e", "end_after": 1, "num_samples": 8})
    seen: list[Any] = []
    roles = replace(make_roles(tiny_model), reward=Scores(lambda response: seen.append(response) or 0.0))  # type: ignore[func-returns-value]
    _, rows = run(roles, config, Idle(), tmp_path)
    ended = [response for response in seen if response.finished]
    assert 0 < len(ended) < len(seen)
    assert rows[0]["response/finished"] == pytest.approx(len(ended) / len(seen))
    assert rows[0]["response/mean_tokens"] < 7


def test_the_average_is_kept_in_place_of_the_last_weights(tiny_model: Path, tmp_path: Path) -> None:
    """The method moves the weights after an iteration was averaged: w0, then 0.75 w0 + 0.25 w1."""
    weights: list[torch.Tensor] = []

    class Watching(Idle):
        def after(self, scored: Scored) -> dict[str, Any]:
            with torch.no_grad():
                name, master = next(iter(roles.policy_learner.masters.items()))
                master += 1.0
                weights.append(roles.policy_learner.masters[name].clone())
            return {}

    roles = make_roles(tiny_model)
    name, first = next(iter(roles.policy_learner.masters.items()))
    weights.append(first.clone())
    config = CONFIG.model_copy(update={"num_iterations": 2, "ema": 0.75})
    outcome, _ = run(roles, config, Watching(), tmp_path)
    expected = 0.75 * weights[0] + 0.25 * weights[1]
    torch.testing.assert_close(outcome.masters[name], expected)
    assert not torch.equal(roles.policy_learner.masters[name], expected)

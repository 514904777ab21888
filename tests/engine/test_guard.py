"""A guard over trainings: what it is asked, what it may do, and what is kept then."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from accord.algorithms.loss import Loss
from accord.engine.config import Optimization, TrainingConfig
from accord.engine.guard import End, Guard, Guarded, Quality
from accord.engine.learner import Learner
from accord.engine.on_policy.config import RLOOConfig
from accord.engine.on_policy.groups import RLOO
from accord.engine.on_policy.loop import run_on_policy
from accord.engine.training import train
from accord.engine.validation import Validation
from accord.errors import Interrupted, UserError
from accord.store.workspace import Workspace
from tests.fixtures.on_policy import PROMPTS, Scores, make_roles

CONFIG = TrainingConfig(learning_rate=0.01, num_epochs=4, batch_size=2, warmup=0.0, decay="constant")
ROWS = torch.arange(10.0).view(5, 2) / 7 - 0.5
NUM_STEPS = 12
Row = Mapping[str, Any]


def ends(action: str, at: int) -> Any:
    def decide(rows: Sequence[Row]) -> End | None:
        return End("some", "something happened", action) if len(rows) == at else None  # type: ignore[arg-type]

    return decide


def run(
    folder: Path,
    guard: Guard | None,
    *,
    stop_after: int | None = None,
    broken_at: int | None = None,
    every: int = 1,
    keep_best: bool = False,
) -> tuple[torch.Tensor, list[dict[str, float]], dict[str, Any]]:
    """The weight goes down from 0.1 by about 0.01 an optimizer step; `one` is highest where it is 0.05."""
    module = nn.Linear(2, 1, bias=False)
    module.weight.data.fill_(0.1)
    learner = Learner(module, torch.float32, Optimization())
    work = Workspace(
        folder,
        min_checkpoint_seconds=1e9,
        stop=lambda: stop_after is not None and len(work.metrics.read()) >= stop_after,
    )
    num_steps = 0

    def losses_of(indices: tuple[int, ...]) -> Iterator[Loss]:
        nonlocal num_steps
        num_steps += 1
        for i in indices:
            total = module(ROWS[i]).squeeze() ** 2 * (i + 1)
            total = total * math.nan if num_steps == broken_at else total
            yield Loss(total, 1, {"loss": total.detach()})

    def measure() -> dict[str, float]:
        weight = float(module.weight.detach()[0, 0])
        return {"loss": weight, "one": -abs(weight - 0.05)}

    checkpoint = work.resume()
    summary = train(
        learner,
        5,
        losses_of,
        CONFIG,
        seed=3,
        work=work,
        label="test",
        checkpoint=checkpoint,
        validation=Validation(measure, every, keep_best=keep_best),
        guard=guard,
    )
    return module.weight.detach().clone(), work.metrics.read(), summary


def test_stop(tmp_path: Path) -> None:
    weights, rows, summary = run(tmp_path / "a", Guard(ends("stop", 5)))
    assert len(rows) == 5
    assert summary["ended_by_alarm"] == {"alarm": "some", "action": "stop", "after": 5}
    whole, all_rows, other = run(tmp_path / "b", None)
    assert all_rows[:5] == rows
    assert not torch.equal(weights, whole)
    assert "ended_by_alarm" not in other


def test_rollback_to_the_best(tmp_path: Path) -> None:
    guard = Guard(ends("rollback", 10), quality=Quality("eval_one"))
    weights, rows, summary = run(tmp_path / "a", guard)
    measured = [row["eval_one"] for row in rows]
    best = measured.index(max(measured)) + 1
    assert 1 < best < 10, "in the middle"
    told = {"alarm": "some", "action": "rollback", "after": 10, "kept": best, "by": "eval_one"}
    assert summary["ended_by_alarm"] == told
    asked, _, _ = run(tmp_path / "b", Guard(ends("stop", best)))
    assert torch.equal(weights, asked)


def test_lower_may_be_better(tmp_path: Path) -> None:
    """And the weights of the lowest loss, which the validation keeps, make way."""
    guard = Guard(ends("rollback", 8), quality=Quality("eval_one", lower_is_better=True))
    weights, rows, summary = run(tmp_path / "a", guard, keep_best=True)
    measured = [row["eval_one"] for row in rows]
    assert summary["ended_by_alarm"]["kept"] == measured.index(min(measured)) + 1 != 8
    assert float(weights[0, 0]) == pytest.approx(rows[measured.index(min(measured))]["eval_loss"])


def test_it_is_asked_where_something_was_measured(tmp_path: Path) -> None:
    asked: list[int] = []

    def decide(rows: Sequence[Row]) -> None:
        asked.append(len(rows))

    run(tmp_path / "a", Guard(decide), every=5)
    assert asked == [5, 10, 12]
    asked.clear()
    run(tmp_path / "b", Guard(decide, acts=False), every=5)
    assert asked == []
    run(tmp_path / "c", Guard(decide, acts=False), every=5, broken_at=7)
    assert asked == [7], "a loss that is no number is cause to ask"


def test_an_end_that_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="something happened") as error:
        run(tmp_path, Guard(ends("error", 7), acts=False), broken_at=7)
    assert "Lower the learning rate" in error.value.remedy


def test_a_number_that_nothing_depends_on_is_no_reason_against_a_stop(tmp_path: Path) -> None:
    """As the explained variance of a policy of which no response is finished."""
    work = Workspace(tmp_path)
    row = {"policy/num_updates": 0.0, "value/explained_variance": math.nan}
    work.metrics.write(1, **row)
    end = Guarded(Guard(ends("stop", 1)), work, None).look(row)
    assert end is not None
    assert end.action == "stop"


def test_nothing_was_measured_yet(tmp_path: Path) -> None:
    quality = Quality("eval_none")
    _, rows, summary = run(tmp_path / "a", Guard(ends("rollback", 3), quality=quality))
    assert summary["ended_by_alarm"]["action"] == "stop"
    assert len(rows) == 3
    with pytest.raises(UserError, match="something happened"):
        run(tmp_path / "b", Guard(ends("rollback", 3), quality=quality), broken_at=3)


@pytest.mark.parametrize("stop_after", [1, 4, 7, 9])
def test_stopped_and_gone_on_with_it_ends_the_same(tmp_path: Path, stop_after: int) -> None:
    """Before the best was reached, at it, and after."""
    guard = Guard(ends("rollback", 10), quality=Quality("eval_one"))
    expected = run(tmp_path / "whole", guard)
    with pytest.raises(Interrupted):
        run(tmp_path / "cut", guard, stop_after=stop_after)
    weights, rows, summary = run(tmp_path / "cut", guard)
    assert torch.equal(weights, expected[0])
    assert rows == expected[1]
    assert summary == expected[2]


ROLLOUTS = RLOOConfig(
    num_iterations=4, prompts_per_iteration=3, num_samples=3, max_response_tokens=5, watch_every=1, learning_rate=1e-2
)


def roll(folder: Path, model: Path, guard: Guard | None) -> tuple[dict[str, torch.Tensor], list[Any], dict[str, Any]]:
    """The reward is no number from the third iteration on; what watches falls from the start."""
    calls: list[int] = []

    def say(response: object) -> float:
        calls.append(1)
        return math.nan if len(calls) > 2 * 9 else float(len(str(response)) % 5)

    seen: list[int] = []

    def look(response: object) -> float:
        seen.append(1)
        return -float(abs(len(seen) // 9 - 1))

    roles = replace(make_roles(model), reward=Scores(say), watch={"other": Scores(look)})
    work = Workspace(folder, min_checkpoint_seconds=1e9)
    outcome = run_on_policy(
        roles,
        PROMPTS,
        ROLLOUTS,
        RLOO(roles.policy, ROLLOUTS),
        seed=4,
        work=work,
        label="test",
        checkpoint=work.resume(),
        guard=guard,
    )
    return dict(outcome.masters), work.metrics.read(), outcome.summary


def test_a_score_that_is_no_number_is_an_error(tiny_model: Path, tmp_path: Path) -> None:
    for name, guard in (("none", None), ("error", Guard(ends("error", 3), acts=False))):
        with pytest.raises(UserError, match=r"not finite|something happened"):
            roll(tmp_path / name, tiny_model, guard)


def test_or_it_goes_back_to_the_policy_before(tiny_model: Path, tmp_path: Path) -> None:
    """Of the second iteration, in which what watches is highest, the policy that sampled: it had learned once."""
    guard = Guard(ends("rollback", 3), acts=False, quality=Quality("watch/other"))
    masters, rows, summary = roll(tmp_path / "a", tiny_model, guard)
    assert math.isnan(rows[2]["objective/scores"])
    assert summary["num_iterations"] == 2, "the third was not gone through"
    assert summary["ended_by_alarm"] == {
        "alarm": "some",
        "action": "rollback",
        "after": 3,
        "kept": 1,
        "by": "watch/other",
    }
    asked, _, _ = roll(tmp_path / "b", tiny_model, Guard(ends("stop", 1)))
    assert masters.keys() == asked.keys()
    assert all(torch.equal(masters[name], asked[name].cpu()) for name in masters)

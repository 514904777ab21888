from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from accord.algorithms.loss import Loss
from accord.engine.config import Optimization, TrainingConfig
from accord.engine.learner import Learner
from accord.engine.training import train
from accord.engine.validation import Validation, Watch, often
from accord.errors import Interrupted
from accord.store.workspace import Workspace

CONFIG = TrainingConfig(learning_rate=0.01, num_epochs=2.5, batch_size=2, warmup=0.3, decay="linear")
ROWS = torch.arange(10.0).view(5, 2) / 7 - 0.5
NUM_STEPS = 7  # 5 examples: 3 batches an epoch, 2 epochs, and the half epoch's 2 (2 examples) in 1


def _train(
    folder: Path,
    stop_after: int | None,
    validate: Callable[[nn.Linear], Validation] | None = None,
    summary: dict[str, Any] | None = None,
) -> tuple[Tensor, list[dict[str, float]]]:
    """Weights and metric rows; with `stop_after`, the user asks for a stop once so many optimizer steps are done."""
    module = nn.Linear(2, 1, bias=False)
    module.weight.data.fill_(0.1)
    learner = Learner(module, torch.float32, Optimization())
    work = Workspace(
        folder,
        min_checkpoint_seconds=1e9,
        stop=lambda: stop_after is not None and len(work.metrics.read()) >= stop_after,
    )
    checkpoint = work.resume()

    def losses_of(indices: tuple[int, ...]) -> Iterator[Loss]:
        for i in indices:
            total = module(ROWS[i]).squeeze() ** 2 * (i + 1)
            yield Loss(total, 1, {"loss": total.detach()})

    result = train(
        learner,
        5,
        losses_of,
        CONFIG,
        seed=3,
        work=work,
        label="test",
        checkpoint=checkpoint,
        validation=validate(module) if validate else None,
        totals={"num_tokens": (1, 2, 3, 4, 5)},
    )
    (summary if summary is not None else {}).update(result)
    return module.weight.detach().clone(), work.metrics.read()


@pytest.mark.parametrize("stop_after", range(1, NUM_STEPS + 1))
def test_stopped_after_any_optimizer_step_it_goes_on_to_the_same_end(tmp_path: Path, stop_after: int) -> None:
    """In an epoch, at its boundary, and after the very last step."""
    expected, rows = _train(tmp_path / "whole", None)
    assert len(rows) == NUM_STEPS
    with pytest.raises(Interrupted):
        _train(tmp_path / "cut", stop_after)
    weights, resumed_rows = _train(tmp_path / "cut", None)
    assert torch.equal(weights, expected)
    assert resumed_rows == rows


def test_totals_count_up(tmp_path: Path) -> None:
    _, rows = _train(tmp_path, None)
    counts = [int(row["num_tokens"]) for row in rows]
    assert counts[2] == 15  # an epoch
    assert counts[5] == 30
    assert counts == sorted(counts)


# A loss that falls and then rises: the weight passes 0.085 on its way down from 0.1.
def _distance(module: nn.Linear, **options: Any) -> Validation:
    return Validation(lambda: {"loss": float((module.weight.detach()[0, 0] - 0.085) ** 2), "one": 1.0}, **options)


def test_measured_once_an_epoch_and_at_the_end(tmp_path: Path) -> None:
    _, rows = _train(tmp_path, None, _distance)
    assert [row["iteration"] for row in rows if "eval_loss" in row] == [3, 6, 7]
    assert rows[2]["eval_one"] == 1.0


def test_measured_before_the_first_optimizer_step_for_the_metrics_alone(tmp_path: Path) -> None:
    """The start is the best here: each optimizer step leaves it. It is neither kept nor the first of the worse ones."""

    def validate(module: nn.Linear) -> Validation:
        return Validation(
            lambda: {"loss": float((module.weight.detach()[0, 0] - 0.1) ** 2)}, often, patience=2, at_start=True
        )

    summary: dict[str, Any] = {}
    _, rows = _train(tmp_path, None, validate, summary)
    assert rows[0] == {"iteration": 0, "eval_loss": pytest.approx(0, abs=1e-12)}
    assert [row["iteration"] for row in rows if "eval_loss" in row] == [0, 1, 2, 3]  # 7 // 8 is less than one
    assert summary["best_step"] == 1
    assert summary["best_eval_loss"] == rows[1]["eval_loss"] > 0


def test_a_run_that_measured_its_start_is_resumed_the_same(tmp_path: Path) -> None:
    validate = partial(_distance, every=often, at_start=True)
    expected, rows = _train(tmp_path / "whole", None, validate)
    assert [row["iteration"] for row in rows] == list(range(NUM_STEPS + 1))
    with pytest.raises(Interrupted):
        _train(tmp_path / "cut", 3, validate)
    weights, resumed_rows = _train(tmp_path / "cut", None, validate)
    assert torch.equal(weights, expected)
    assert resumed_rows == rows


def test_the_best_weights_are_kept_and_the_patience_ends_the_training(tmp_path: Path) -> None:
    summary: dict[str, Any] = {}
    every = partial(_distance, every=1)
    last, rows = _train(tmp_path / "all", None, partial(every, keep_best=False), summary)
    losses = [row["eval_loss"] for row in rows]
    best = losses.index(min(losses))
    assert 0 < best < NUM_STEPS - 2  # else this would test nothing
    expected = {"num_optimizer_steps": 7, "best_eval_loss": min(losses), "best_step": best + 1, "stopped_early": False}
    assert summary == expected
    kept, _ = _train(tmp_path / "kept", None, every)
    assert float((kept[0, 0] - 0.085) ** 2) == pytest.approx(min(losses))
    assert not torch.equal(kept, last)
    stopped, stopped_rows = _train(tmp_path / "stopped", None, partial(every, patience=2), summary)
    assert torch.equal(stopped, kept)
    assert stopped_rows == rows[: best + 3]
    assert summary == expected | {"num_optimizer_steps": best + 3, "stopped_early": True}


@pytest.mark.parametrize("stop_after", range(1, NUM_STEPS))
def test_a_resumed_run_stops_and_keeps_the_same(tmp_path: Path, stop_after: int) -> None:
    """Before the best weights, after them, and after the patience was used up but nothing published yet."""
    validate = partial(_distance, every=1, patience=2)
    expected, rows = _train(tmp_path / "whole", None, validate)
    if stop_after <= len(rows):
        with pytest.raises(Interrupted):
            _train(tmp_path / "cut", stop_after, validate)
    weights, resumed_rows = _train(tmp_path / "cut", None, validate)
    assert torch.equal(weights, expected)
    assert resumed_rows == rows


def test_a_resume_that_forgot_the_best_weights_would_end_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the tests above can fail."""
    validate = partial(_distance, every=1, patience=2)
    expected, rows = _train(tmp_path / "whole", None, validate)
    with pytest.raises(Interrupted):
        _train(tmp_path / "cut", len(rows) - 1, validate)
    monkeypatch.setattr(Watch, "load", lambda *_: None)
    weights, resumed_rows = _train(tmp_path / "cut", None, validate)
    assert not torch.equal(weights, expected)
    assert resumed_rows != rows


def test_a_loss_that_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    summary: dict[str, Any] = {}
    weights, _ = _train(
        tmp_path / "nan", None, lambda _: Validation(lambda: {"loss": math.nan}, every=1, patience=3), summary
    )
    assert summary == {"num_optimizer_steps": 3, "best_eval_loss": None, "best_step": None, "stopped_early": True}
    assert not torch.equal(weights, torch.full((1, 2), 0.1))


def test_the_learning_rate_rises_and_falls() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup=0.25, decay="linear", final_learning_rate=0.5)
    assert [config.learning_rate_at(step, 8) for step in range(8)] == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 1 - 0.5 / 6, 1 - 1 / 6, 0.75, 1 - 2 / 6, 1 - 2.5 / 6]
    )
    cosine = config.model_copy(update={"decay": "cosine", "warmup": 0.0})
    assert cosine.learning_rate_at(4, 8) == pytest.approx(0.75)
    least = config.model_copy(update={"min_warmup": 4})
    assert [least.learning_rate_at(step, 8) for step in (0, 3, 4)] == pytest.approx([1 / 5, 4 / 5, 1.0])
    assert least.learning_rate_at(1, 2) == pytest.approx(2 / 5), "fewer optimizer steps than it takes"
    assert "min_warmup" not in config.identity(), "what was made before it came still holds"
    constant = config.model_copy(update={"decay": "constant"})
    assert constant.learning_rate_at(7, 8) == 1.0

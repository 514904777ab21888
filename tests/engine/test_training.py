from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from accord.algorithms.loss import Loss
from accord.engine.config import Optimization, TrainingConfig
from accord.engine.learner import Learner
from accord.engine.training import train
from accord.errors import Interrupted
from accord.store.workspace import Workspace

CONFIG = TrainingConfig(learning_rate=0.01, num_epochs=2.5, batch_size=2, warmup=0.3, decay="linear")
ROWS = torch.arange(10.0).view(5, 2) / 7 - 0.5
NUM_STEPS = 7  # 5 examples: 3 batches an epoch, 2 epochs, and the half epoch's 2 (2 examples) in 1


def _train(folder: Path, stop_after: int | None) -> tuple[Tensor, list[dict[str, float]]]:
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

    train(learner, 5, losses_of, CONFIG, seed=3, work=work, label="test", checkpoint=checkpoint)
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


def test_the_learning_rate_rises_and_falls() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup=0.25, decay="linear", final_learning_rate=0.5)
    assert [config.learning_rate_at(step, 8) for step in range(8)] == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 1 - 0.5 / 6, 1 - 1 / 6, 0.75, 1 - 2 / 6, 1 - 2.5 / 6]
    )
    cosine = config.model_copy(update={"decay": "cosine", "warmup": 0.0})
    assert cosine.learning_rate_at(4, 8) == pytest.approx(0.75)
    constant = config.model_copy(update={"decay": "constant"})
    assert constant.learning_rate_at(7, 8) == 1.0

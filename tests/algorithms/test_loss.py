import dataclasses

import pytest
import torch

from accord.algorithms.loss import Loss


def test_a_loss_is_immutable() -> None:
    loss = Loss(total=torch.tensor(1.0), num_units=2, metrics={})
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.num_units = 3  # type: ignore[misc]

"""What is broken on purpose is found, and the same recipe without the fault is not complained of."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from accord.engine.on_policy import groups
from tests.fixtures.sabotage import SABOTAGE, alarms_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, as their first steps are the same."""
    return tmp_path_factory.mktemp("sabotage")


IN_SHORT = ("flipped-sign", "high-learning-rate")  # of each kind of training one, in `make test`


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in IN_SHORT else pytest.mark.long) for name in SABOTAGE]
)
def test_the_fault_is_found_and_its_twin_is_quiet(tiny_model: Path, store: Path, name: str) -> None:
    one = SABOTAGE[name]
    assert one.alarm in alarms_of(name, tiny_model, store)
    assert one.alarm not in alarms_of(name, tiny_model, store, *one.twin)


def test_a_sign_that_is_flipped_in_the_program(tiny_model: Path, store: Path) -> None:
    """As in Ziegler et al. 2019, section 4.4: what is better is learned to be worse."""
    twin = SABOTAGE["flipped-sign"].twin
    right = groups.rloo_advantages
    with patch.object(groups, "rloo_advantages", lambda rewards, kept: -right(rewards, kept)):
        assert "wrong_way" in alarms_of("flipped-sign", tiny_model, store, *twin, "rloo.learning_rate=2.9e-3")
    assert "wrong_way" not in alarms_of("flipped-sign", tiny_model, store, *twin)

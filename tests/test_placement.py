from __future__ import annotations

from typing import Any

import pytest

from accord.errors import UserError
from accord.placement import SPLIT_ABOVE, Recompute, read_cluster, recomputes, splits


def place(path: Any) -> str:
    return f"r.yaml:2:cluster.{'.'.join(map(str, path))}"


@pytest.mark.parametrize(("written", "read"), [("auto", "auto"), ("on", "on"), (True, "on"), (False, "off")])
def test_on_and_off_are_true_and_false_to_yaml(written: Any, read: str) -> None:
    found = read_cluster({"kind": "local", "activation_checkpointing": written}, place)
    assert found is not None
    assert found.activation_checkpointing == read


def test_what_it_may_be_is_said() -> None:
    with pytest.raises(UserError, match="it should be 'auto', 'on' or 'off'") as error:
        read_cluster({"kind": "local", "activation_checkpointing": "full"}, place)
    assert error.value.where == "r.yaml:2:cluster.activation_checkpointing"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"kind": "ray", "sharding": "none"}, "sharding: none splits none"),
        ({"kind": "local"}, "one worker splits none"),
        ({"kind": "ray", "workers": 1}, "one worker splits none"),
    ],
)
def test_what_is_not_split_is_not_offloaded(written: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        read_cluster({**written, "cpu_offload": True}, place)
    assert error.value.where == "r.yaml:2:cluster."
    for split in ({"kind": "local", "workers": 2}, {"kind": "ray", "sharding": "full"}):
        found = read_cluster({**split, "cpu_offload": True}, place)
        assert found is not None
        assert found.cpu_offload


def test_what_is_large_is_split_and_computed_again() -> None:
    assert [splits("auto", SPLIT_ABOVE), splits("auto", SPLIT_ABOVE + 1)] == [False, True]
    assert [splits("full", 1), splits("none", SPLIT_ABOVE + 1)] == [True, False]
    settings: tuple[Recompute, ...] = ("auto", "on", "off")
    again = [recomputes(setting, split) for setting in settings for split in (True, False)]
    assert again == [True, False, True, True, False, False]

"""Clusters by name."""

from __future__ import annotations

import pytest

from accord.errors import UserError
from accord.estimate.devices import DEVICES, Cluster, parse_cluster


@pytest.mark.parametrize(
    ("text", "nodes", "per_node", "name"),
    [
        ("8xH100", 1, 8, "H100-80G"),
        ("1xh200", 1, 1, "H200"),
        ("64xA100-80G", 8, 8, "A100-80G"),
        ("2x4xA100-40G", 2, 4, "A100-40G"),
        ("3x8xA800", 3, 8, "A800-80G"),
    ],
)
def test_read(text: str, nodes: int, per_node: int, name: str) -> None:
    found = parse_cluster(text)
    assert (found.nodes, found.per_node, found.device) == (nodes, per_node, DEVICES[name])
    assert parse_cluster(str(found)) == found


def test_another_network() -> None:
    assert parse_cluster("2x8xH100@50").device.network == 50e9 / 8


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("H100", "is not a cluster", "GPUSxNAME"),
        ("", "is not a cluster", "GPUSxNAME"),
        ("8xH10", "no GPU 'H10'", "H100"),
        ("12xH100", "not whole machines of 8", "NODESxGPUSxH100"),
        ("0xH100", "nothing in it", "GPUSxNAME"),
        ("0x8xH100", "nothing in it", "GPUSxNAME"),
        ("8xH100@0", "nothing in it", "GPUSxNAME"),
    ],
)
def test_refused(text: str, what: str, remedy: str) -> None:
    with pytest.raises(UserError, match=what) as caught:
        parse_cluster(text)
    assert remedy in caught.value.remedy
    assert caught.value.where == "--cluster"


def test_a_gather_within_a_machine_and_across() -> None:
    device = DEVICES["A100-80G"]
    cluster = Cluster(device, 4, 8)
    assert cluster.bandwidth(8) == device.link
    assert cluster.bandwidth(32) == 8 * device.network == 200e9
    assert Cluster(DEVICES["A800-80G"], 2, 8).bandwidth(16) == 200e9, "the link is no faster"
    assert (cluster.of(4).gpus, cluster.of(16).nodes) == (4, 2)
    assert str(Cluster(device, 1, 2).of(16)) == "2x8xA100-80G", "a machine with two may have eight"
    assert str(Cluster(device, 2, 4).of(16)) == "4x4xA100-80G", "those of several have as many as they have"

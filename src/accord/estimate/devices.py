"""GPUs by name, and clusters of them. Numbers are the makers' own, of the form that sits in an NVLink board.

    A100    NVIDIA A100 Tensor Core GPU datasheet (2021): 312 TFLOP/s bf16 dense; 1.555 TB/s (40 GB), 2.039 TB/s (80
            GB); NVLink 600 GB/s both ways together. DGX A100: one 200 Gb/s adapter a GPU.
    A800    The A100 with NVLink at 400 GB/s; all else alike.
    H100    NVIDIA H100 datasheet (2023), SXM5: 989 TFLOP/s bf16 dense, 3.35 TB/s, NVLink 900 GB/s. DGX H100: 400 Gb/s.
    H200    NVIDIA H200 datasheet (2024), SXM: as the H100, with 141 GB at 4.8 TB/s.
    B200    NVIDIA DGX B200 datasheet (2024), an eighth of it: 2.25 PFLOP/s bf16 dense, 180 GB, 8 TB/s, NVLink 1.8 TB/s.
    L40S    NVIDIA L40S datasheet (2023): 362 TFLOP/s bf16 dense, 48 GB at 864 GB/s, PCIe 4.0 x16 in place of NVLink.

Memory is what a program finds of it, which is less than what is sold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from accord.errors import UserError, did_you_mean

PER_NODE: Final = 8  # GPUs of a machine, where nothing else is said
_GIB: Final = 1 << 30
_GBIT: Final = 1e9 / 8
_CLUSTER = re.compile(r"(?:(\d+)x)?(\d+)x([A-Za-z][A-Za-z0-9-]*?)(?:@(\d+))?")


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU. flops: of dense bf16 products, a second, at best. memory: bytes. bandwidth: of its memory, bytes a second.
    link: to other GPUs of its machine, bytes a second one way. network: to other machines, for each GPU, one way."""

    name: str
    flops: float
    memory: int
    bandwidth: float
    link: float
    network: float


_ALL = (
    Device("A100-40G", 312e12, int(39.4 * _GIB), 1.555e12, 300e9, 200 * _GBIT),
    Device("A100-80G", 312e12, int(79.1 * _GIB), 2.039e12, 300e9, 200 * _GBIT),
    Device("A800-80G", 312e12, int(79.1 * _GIB), 2.039e12, 200e9, 200 * _GBIT),
    Device("H100-80G", 989e12, int(79.1 * _GIB), 3.35e12, 450e9, 400 * _GBIT),
    Device("H200", 989e12, int(139.8 * _GIB), 4.8e12, 450e9, 400 * _GBIT),
    Device("B200", 2250e12, int(178.0 * _GIB), 8e12, 900e9, 400 * _GBIT),
    Device("L40S", 362e12, int(44.4 * _GIB), 0.864e12, 32e9, 100 * _GBIT),
)
DEVICES: Mapping[str, Device] = {device.name: device for device in _ALL}
_SHORT: Mapping[str, str] = {"A100": "A100-80G", "A800": "A800-80G", "H100": "H100-80G"}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Machines of like GPUs."""

    device: Device
    nodes: int
    per_node: int

    @property
    def gpus(self) -> int:
        return self.nodes * self.per_node

    def bandwidth(self, gpus: int) -> float:
        """What each of so many GPUs receives a second when all of them gather: through its link, and where they are of
        several machines, through the adapters of its machine, which a gather uses together."""
        link = self.device.link
        return link if gpus <= self.per_node else min(link, self.per_node * self.device.network)

    def of(self, gpus: int) -> Cluster:
        """As many GPUs of the same kind, in as few machines as hold them; one machine alone may have up to 8."""
        most = max(self.per_node, PER_NODE) if self.nodes == 1 else self.per_node
        if gpus <= most:
            return Cluster(self.device, 1, gpus)
        return Cluster(self.device, -(-gpus // most), most)

    def __str__(self) -> str:
        if self.nodes == 1:
            return f"{self.per_node}x{self.device.name}"
        return f"{self.nodes}x{self.per_node}x{self.device.name}"


def parse_cluster(text: str) -> Cluster:
    """From GPUSxNAME or NODESxGPUSxNAME, and @GBIT where the network is another than the maker's own machines have.

    >>> str(parse_cluster("16xH100"))
    '2x8xH100-80G'

    Raises UserError for what is none.
    """
    remedy = f"Write GPUSxNAME or NODESxGPUSxNAME, as in 8xH100 or 4x8xA100-80G. GPUs: {', '.join(DEVICES)}."
    match = _CLUSTER.fullmatch(text.strip())
    if match is None:
        raise UserError(f"{text!r} is not a cluster", where="--cluster", remedy=remedy)
    nodes, gpus, name, gbit = match.groups()
    known = {**{one.casefold(): one for one in DEVICES}, **{short.casefold(): own for short, own in _SHORT.items()}}
    if name.casefold() not in known:
        closest = did_you_mean(name, list(DEVICES))
        raise UserError(f"there is no GPU {name!r} in the table", where="--cluster", remedy=closest)
    device = DEVICES[known[name.casefold()]]
    if gbit is not None:
        device = replace(device, network=int(gbit) * _GBIT)
    num = int(gpus)
    if num < 1 or nodes == "0" or device.network <= 0:
        raise UserError(f"{text!r} is not a cluster: it has nothing in it", where="--cluster", remedy=remedy)
    if nodes is not None:
        return Cluster(device, int(nodes), num)
    if num <= PER_NODE:
        return Cluster(device, 1, num)
    if num % PER_NODE:
        what = f"{num} GPUs are not whole machines of {PER_NODE}"
        raise UserError(what, where="--cluster", remedy=f"Say how many each has: NODESxGPUSx{name}.")
    return Cluster(device, num // PER_NODE, PER_NODE)

"""Keys and values in memory, for the sampler's cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Size:
    """What is the same for all rows and places of a model."""

    num_layers: int
    num_groups: int
    width: int
    dtype: torch.dtype
    device: torch.device


class Vectors:
    """layers: of each [key or value, row, group, place, width]. Places that were never written hold zeros: what is
    masked is finite."""

    def __init__(self, layers: list[Tensor]) -> None:
        self.layers = layers

    @classmethod
    def empty(cls, size: Size, num_rows: int, num_places: int) -> Self:
        shape = (2, num_rows, size.num_groups, num_places, size.width)
        return cls([torch.zeros(shape, dtype=size.dtype, device=size.device) for _ in range(size.num_layers)])

    @classmethod
    def joined(cls, first: Vectors, first_rows: Sequence[int], second: Vectors, second_rows: Sequence[int]) -> Self:
        """Some rows of both, which are emptied layer by layer, so that there is never a second copy of all."""
        num, layers = len(first_rows), []
        num_places = max(first.num_places, second.num_places)
        for i in range(len(first.layers)):
            one, other = first.layers[i], second.layers[i]
            _, _, num_groups, _, width = one.shape
            whole = one.new_zeros(2, num + len(second_rows), num_groups, num_places, width)
            whole[:, :num, :, : one.shape[3]] = one[:, list(first_rows)]
            whole[:, num:, :, : other.shape[3]] = other[:, list(second_rows)]
            first.layers[i] = second.layers[i] = one[:0]
            layers.append(whole)
        return cls(layers)

    @property
    def num_rows(self) -> int:
        return self.layers[0].shape[1]

    @property
    def num_places(self) -> int:
        return self.layers[0].shape[3]

    def index(self, rows: Tensor, places: Tensor) -> Tensor:
        """[2 * n * groups]: where, among all vectors of a layer, key and value of rows [n] at places [n] are."""
        _, num_rows, num_groups, num_places, _ = self.layers[0].shape
        sides, groups = torch.arange(2)[:, None, None], torch.arange(num_groups)
        index = ((sides * num_rows + rows[:, None]) * num_groups + groups) * num_places + places[:, None]
        return index.flatten().to(self.layers[0].device)

    def write(self, layer: int, index: Tensor, keys: Tensor, values: Tensor) -> None:
        """keys, values: [n, group, width], to where `index` says."""
        computed = torch.stack((keys, values)).flatten(0, 2)
        self.layers[layer].view(-1, computed.shape[1]).index_copy_(0, index, computed)

    def reserve(self, num_places: int) -> None:
        """Makes room for so many, and keeps what is there."""
        if num_places > self.num_places:
            missing = num_places - self.num_places
            for i, layer in enumerate(self.layers):
                self.layers[i] = functional.pad(layer, (0, 0, 0, missing))

    def repeated(self, num_rows: int) -> Vectors:
        """So many copies of the only row."""
        assert self.num_rows == 1
        return self if num_rows == 1 else Vectors([layer[:, [0] * num_rows] for layer in self.layers])

    def move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copies rows."""
        if sources:
            for layer in self.layers:
                layer[:, list(targets)] = layer[:, list(sources)]

"""Files of tensors, written one tensor at a time: as safetensors writes them, byte for byte.

    8 bytes               length of the header, little-endian
    header                JSON, filled up with spaces to a multiple of 8: name -> dtype, shape, where its bytes are
    bytes                 of each tensor: those of the longest numbers first, then by name

So what is gathered from many processes need not fit the memory of the one that writes it.
"""

from __future__ import annotations

import ctypes
import json
import math
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor

# As safetensors names them, in the order in which it writes them.
_DTYPES = {
    "int64": "I64",
    "float64": "F64",
    "float32": "F32",
    "int32": "I32",
    "bfloat16": "BF16",
    "float16": "F16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


class Streamed(Mapping[str, "Tensor"]):
    """Tensors of which each is made when it is asked for. Whoever asks lets go of one before the next: there may be no
    room for two."""

    @property
    @abstractmethod
    def outlines(self) -> Mapping[str, Tensor]:
        """Of each its shape and dtype, without numbers (on the device "meta")."""


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Makes the file that `safetensors.torch.save_file` would make, and holds one of the tensors at a time. Those that
    share memory, which that refuses, are each written."""
    outlines = tensors.outlines if isinstance(tensors, Streamed) else tensors
    kinds = {name: str(one.dtype).removeprefix("torch.") for name, one in outlines.items()}
    for name, kind in kinds.items():
        assert kind in _DTYPES, f"{name} is of {kind}, which no checkpoint has"
    order = list(_DTYPES)
    names = sorted(outlines, key=lambda name: (order.index(kinds[name]), name))
    header: dict[str, Any] = {}
    end = 0
    for name in names:
        begin, shape = end, list(outlines[name].shape)
        end += math.prod(shape) * outlines[name].element_size()
        header[name] = {"dtype": _DTYPES[kinds[name]], "shape": shape, "data_offsets": [begin, end]}
    encoded = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name in names:
            _write(file, tensors[name], outlines[name])
        assert file.tell() == 8 + len(encoded) + end


def _write(file: BinaryIO, tensor: Tensor, outline: Tensor) -> None:
    assert (tensor.shape, tensor.dtype) == (outline.shape, outline.dtype)
    dense = tensor.detach().cpu().contiguous()  # it lives until its bytes are written
    if num := dense.numel() * dense.element_size():
        file.write((ctypes.c_char * num).from_address(dense.data_ptr()))

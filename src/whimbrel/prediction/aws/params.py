"""MXNet's file of named arrays, as ``mxnet.nd.save`` and ``Module.save_checkpoint`` write it.

Source: NDArray::Save in MXNet's src/ndarray/ndarray.cc. All numbers are little-endian. Of its three versions, the one
since MXNet 1.0 is read, with dense arrays of 32- or 64-bit floats: that is what linear-learner writes.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

LIST_MAGIC, ARRAY_MAGIC = 0x112, 0xF993FAC9
MOST_ARRAYS, MOST_NUMBERS, MOST_NAME = 1_000, 1 << 24, 1_000
_DENSE = 0
_TYPES = {0: "f", 1: "d"}


class NamedArray(NamedTuple):
    shape: tuple[int, ...]
    values: tuple[float, ...]  # row by row


def read_params(data: bytes) -> dict[str, NamedArray]:
    """The arrays by name: ``arg:fc0_weight``. Raises ValueError for anything else."""
    try:
        reader = _Reader(data)
        magic, reserved, count = reader.take("QQQ")
        if (magic, reserved) != (LIST_MAGIC, 0) or count > MOST_ARRAYS:
            raise ValueError("not a file of arrays")
        arrays = [_array(reader) for _ in range(count)]
        (named,) = reader.take("Q")
        if named != count:
            raise ValueError(f"{count} arrays have {named} names")
        names = [_name(reader) for _ in range(count)]
    except (struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"it is cut off: {error}") from None
    if not reader.ended:
        raise ValueError("there is more after its end")
    if len(set(names)) < count:
        raise ValueError("two arrays have one name")
    return dict(zip(names, arrays, strict=True))


def _array(reader: _Reader) -> NamedArray:
    magic, storage, dimensions = reader.take("IiI")
    if (magic, storage) != (ARRAY_MAGIC, _DENSE) or not 1 <= dimensions <= 8:
        raise ValueError("an array is not dense, or of another version of MXNet")
    shape = reader.take(f"{dimensions}q")
    _device, _number, kind = reader.take("iii")
    size = 1
    for each in shape:
        size *= each
        if not 0 < size <= MOST_NUMBERS:
            raise ValueError(f"an array has the shape {shape}")
    if kind not in _TYPES:
        raise ValueError(f"an array has values of type {kind}, not of floats")
    return NamedArray(shape, reader.take(f"{size}{_TYPES[kind]}"))


def _name(reader: _Reader) -> str:
    (length,) = reader.take("Q")
    if length > MOST_NAME:
        raise ValueError(f"a name has {length} bytes")
    (name,) = reader.take(f"{length}s")
    return bytes(name).decode()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._data)

    def take(self, form: str) -> tuple[Any, ...]:
        whole = struct.Struct(f"<{form}")
        found = whole.unpack_from(self._data, self._at)
        self._at += whole.size
        return found

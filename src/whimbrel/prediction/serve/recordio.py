"""application/x-recordio-protobuf, which linear-learner speaks: RecordIO frames, in each an ``aialgs.data.Record``.

A frame is a magic number, the record's length (both 32 bits, little-endian), the record, and zeros up to a multiple of
four bytes. The length's upper three bits say of a record in several frames which part it is: where the record itself
has the magic number, RecordIO cuts it there and leaves the number out.

Sources: record.proto and common.py of the SageMaker Python SDK; recordio.h of dmlc-core.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

_MAGIC = 0xCED7230A
_HEAD = struct.Struct("<II")
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_TENSOR = (("keys", 2, "uint64*"), ("shape", 3, "uint64*"))
# What of the schema is used: (field, number, type), * for a repeated one. A map is a list of its entries on the wire.
_SCHEMA = {
    "Float32Tensor": (("values", 1, "float*"), *_TENSOR),
    "Float64Tensor": (("values", 1, "double*"), *_TENSOR),
    "Int32Tensor": (("values", 1, "int32*"), *_TENSOR),
    "Value": (
        ("float32_tensor", 2, "Float32Tensor"),
        ("float64_tensor", 3, "Float64Tensor"),
        ("int32_tensor", 7, "Int32Tensor"),
    ),
    "Entry": (("key", 1, "string"), ("value", 2, "Value")),
    "Record": (("features", 1, "Entry*"), ("label", 2, "Entry*")),
}


class BadRecord(ValueError):
    """Which record cannot be read, and why."""


class Features(NamedTuple):
    """One record's features. If it is sparse, ``keys`` are the values' positions and ``shape`` is [how many]."""

    values: list[float]
    keys: list[int]
    shape: list[int]


def read(body: bytes) -> Iterator[Features]:
    """The features of every record, in order. Raises BadRecord when that record is reached."""
    for number, record in enumerate(_records(body), 1):
        found = [each.value for each in record.features if each.key == "values"]
        tensors = [tensor for value in found for _, tensor in value.ListFields()]
        if len(record.features) != 1 or len(tensors) != 1:
            raise BadRecord(f"record {number} must have one feature, 'values', and that a tensor of numbers")
        yield Features(*(list(part) for part in (tensors[0].values, tensors[0].keys, tensors[0].shape)))


def read_labels(body: bytes) -> list[dict[str, list[float]]]:
    """What ``write`` was given, its numbers as 32 bits hold them. Raises BadRecord."""
    return [{each.key: list(each.value.float32_tensor.values) for each in one.label} for one in _records(body)]


def write(labels: Sequence[dict[str, list[float]]]) -> bytes:
    """A record for each of ``labels``: without features, each label a tensor of 32-bit floats, as linear-learner's."""
    made = bytearray()
    for each in labels:
        record = _record()()
        for name, values in each.items():
            record.label.add(key=name).value.float32_tensor.values.extend(values)
        data: bytes = record.SerializeToString()
        made += _HEAD.pack(_MAGIC, len(data)) + data + bytes(-len(data) % 4)
    return bytes(made)


def _records(body: bytes) -> Iterator[Any]:
    from google.protobuf.message import DecodeError

    for number, data in enumerate(_frames(body), 1):
        record = _record()()
        try:
            record.ParseFromString(data)
        except DecodeError:
            raise BadRecord(f"record {number} is not an aialgs.data.Record") from None
        yield record


def _frames(body: bytes) -> Iterator[bytes]:
    at, parts = 0, list[bytes]()
    number = 1
    while at < len(body):
        start = at + _HEAD.size
        if start > len(body):
            raise BadRecord(f"record {number} is cut off")
        magic, size = _HEAD.unpack_from(body, at)
        part, size = size >> 29, size & 0x1FFFFFFF
        if magic != _MAGIC or part > _LAST or bool(parts) != (part in (_MIDDLE, _LAST)):
            raise BadRecord(f"record {number} does not begin as a RecordIO record")
        if start + size > len(body):
            raise BadRecord(f"record {number} is cut off")
        parts.append(body[start : start + size])
        at = start + size + -size % 4
        if part in (_WHOLE, _LAST):
            yield _MAGIC.to_bytes(4, "little").join(parts)
            parts, number = [], number + 1
    if parts:
        raise BadRecord(f"record {number} is cut off")


@cache
def _record() -> Any:
    """The message class, in a pool of its own: the SDK may have registered its name too."""
    from google.protobuf import descriptor_pool, message_factory
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    file = FileDescriptorProto(name="record.proto", package="aialgs.data", syntax="proto3")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            plain = kind.rstrip("*")
            made = message.field.add(name=field, number=number)
            made.label = FieldDescriptorProto.LABEL_REPEATED if kind != plain else FieldDescriptorProto.LABEL_OPTIONAL
            if plain in _SCHEMA:
                made.type, made.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".aialgs.data.{plain}"
            else:
                made.type = FieldDescriptorProto.Type.Value(f"TYPE_{plain.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("aialgs.data.Record"))

"""The Open Inference Protocol (KServe V2) over JSON, as much as its clients need: what is asked, and the answer.

An endpoint is a model there. A request has a tensor for each column of a row, of shape [rows] or [rows, 1], or one of
shape [rows, columns] for all of them. Each value must be of its tensor's datatype; null is a missing one. Tensors of
bytes behind the JSON, and parameters, are refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from whimbrel.prediction.model.features import CATEGORY, shown
from whimbrel.prediction.serve.bodies import BodyError, load_json
from whimbrel.prediction.serve.served import Served

BINARY = b"inference-header-content-length"
MOST_ROWS = 10_000  # of a request, which is made into rows and its answer into tensors all at once
_BITS = (8, 16, 32, 64)
_WHOLE = {f"INT{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in _BITS}
_WHOLE |= {f"UINT{bits}": (0, 2**bits - 1) for bits in _BITS}
# What JSON has for the values of each; a row of several columns is BYTES, whose numbers stay numbers.
_CLASSES: dict[str, tuple[type, ...]] = dict.fromkeys(_WHOLE, (int,))
_CLASSES |= dict.fromkeys(("FP16", "FP32", "FP64"), (int, float)) | {"BOOL": (bool,), "BYTES": (str, int, float, bool)}


class InferRequest(NamedTuple):
    """A request: its rows as the body that every endpoint takes, its id, and the outputs that it wants (none: all)."""

    instances: bytes
    id: str
    outputs: tuple[str, ...]


def metadata(name: str, served: Served) -> dict[str, Any]:
    model = served.model
    by_column = {each.column: each for each in model.inputs}
    texts = {column for column, each in by_column.items() if each.type == CATEGORY or each.part}
    return {
        "name": name,
        "versions": [served.version],
        "platform": "whimbrel",
        "inputs": [_tensor(column, "BYTES" if column in texts else "FP64", [-1]) for column in served.names],
        "outputs": [
            _tensor("score", "FP64", [-1, len(model.labels)] if model.kind == "multiclass" else [-1]),
            *([_tensor("predicted_label", "INT64", [-1])] if model.labels else []),
            *([_tensor("predicted_class", "BYTES", [-1])] if model.kind == "multiclass" else []),
        ],
    }


def read(body: bytes, names: Sequence[str], outputs: Sequence[str]) -> InferRequest:
    """``names`` are the columns of a row, ``outputs`` those of an answer. Raises BodyError."""
    given = load_json(body, "the body is not JSON")
    if not isinstance(given, dict) or not isinstance(given.get("inputs"), list) or not given["inputs"]:
        raise BodyError('the body must be {"inputs": [tensor, ...]}')
    if unknown := sorted(map(str, given.keys() - {"id", "inputs", "outputs"})):
        raise BodyError(f"{unknown[0][:80]!r} of the request is not supported")
    if not isinstance(name := given.get("id", ""), str):
        raise BodyError("id must be a string")
    tensors = [_read(number, each) for number, each in enumerate(given["inputs"])]
    rows = _rows(tensors, names)
    return InferRequest(orjson.dumps({"instances": rows}), name, _wanted(given.get("outputs", []), outputs))


def output_names(served: Served) -> list[str]:
    return [each["name"] for each in metadata("", served)["outputs"]]


def answer(name: str, version: str, asked: InferRequest, body: bytes) -> bytes:
    """The answer of an endpoint, which is ``body``, as tensors."""
    predictions = orjson.loads(body)["predictions"]
    outputs = []
    for field, datatype in (("score", "FP64"), ("predicted_label", "INT64"), ("predicted_class", "BYTES")):
        if field in predictions[0] and field in (asked.outputs or (field,)):
            values = [each[field] for each in predictions]
            wide = isinstance(values[0], list)
            shape = [len(values), len(values[0])] if wide else [len(values)]
            flat = [each for row in values for each in row] if wide else values
            outputs.append(_tensor(field, datatype, shape) | {"data": flat})
    found = {"model_name": name, "model_version": version, "outputs": outputs}
    return orjson.dumps(found | ({"id": asked.id} if asked.id else {}))


def _rows(tensors: Sequence[tuple[str, list[int], list[Any]]], names: Sequence[str]) -> list[Any]:
    name, shape, data = tensors[0]
    if shape[0] > MOST_ROWS:
        raise BodyError(f"{shape[0]} rows are more than the limit of {MOST_ROWS} for one request")
    if len(tensors) == 1 and len(shape) == 2 and shape[1] == len(names) and name not in names:
        return [data[at : at + shape[1]] for at in range(0, len(data), shape[1])]
    columns = {}
    for name, shape, data in tensors:
        if shape not in ([len(data)], [len(data), 1]) or len(data) != len(tensors[0][2]):
            raise BodyError(f"input {name[:80]!r} has the shape {shape}: every column must be [rows], of as many rows")
        if name in columns:
            raise BodyError(f"input {name[:80]!r} appears twice")
        columns[name] = data
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _wanted(outputs: Any, known: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(outputs, list) or not all(isinstance(each, dict) and "name" in each for each in outputs):
        raise BodyError('outputs must be a list of objects with a "name"')
    names = [each["name"] for each in outputs]
    for each in outputs:
        if each["name"] not in known:
            raise BodyError(f"there is no output {str(each['name'])[:80]!r}: the outputs are {', '.join(known)}")
        if names.count(each["name"]) > 1:
            raise BodyError(f"output {each['name']!r} appears twice")
        parameters = each.get("parameters", {})
        if each.keys() - {"name", "parameters"} or parameters not in ({}, {"binary_data": False}):
            raise BodyError(f"output {each['name']!r}: only its name is supported, and binary_data = false")
    return tuple(names)


def _is_shape(shape: list[Any]) -> bool:
    return len(shape) in (1, 2) and all(type(size) is int and size > 0 for size in shape)


def _tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


def _read(number: int, tensor: Any) -> tuple[str, list[int], list[Any]]:
    """The name, the shape and the flat values of a tensor."""
    place = f"input {number}"
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise BodyError(f"{place} must be an object with name, shape, datatype and data")
    if unknown := sorted(map(str, tensor.keys() - {"name", "shape", "datatype", "data"})):
        raise BodyError(f"{place}: {unknown[0][:80]!r} is not supported")
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or datatype not in _CLASSES:
        raise BodyError(f"{place}: datatype {str(datatype)[:40]!r} is not one of {sorted(_CLASSES)}")
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(shape, list) or not isinstance(data, list) or not _is_shape(shape):
        raise BodyError(f"{place}: shape must be [rows] or [rows, columns], and data a list")
    if data and isinstance(data[0], list):  # data may be nested as the shape says
        data = [value for row in data for value in (row if isinstance(row, list) else [row])]
    if len(data) != shape[0] * (shape[1] if len(shape) == 2 else 1):
        raise BodyError(f"{place}: {len(data)} values do not fill the shape {shape}")
    _check_values(f"input {tensor['name'][:80]!r}", datatype, data)
    return tensor["name"], shape, data


def _check_values(place: str, datatype: str, data: list[Any]) -> None:
    """Raises BodyError for a value that a tensor of this type cannot have."""
    classes, (low, high) = _CLASSES[datatype], _WHOLE.get(datatype, (0, 0))
    for value in data:
        fits = value is None or value.__class__ in classes
        if not fits or (datatype in _WHOLE and value is not None and not low <= value <= high):
            raise BodyError(f"{place}: {shown(value)} is not a value of {datatype}")

"""The Open Inference Protocol (KServe V2) over JSON, as much as its clients need: what is asked, and the answer.

An endpoint is a model there. A request has a tensor for each column of a row, of shape [rows] or [rows, 1], or one of
shape [rows, columns] for all of them. Tensors of bytes behind the JSON, and parameters, are refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from whimbrel.prediction.model.features import CATEGORY
from whimbrel.prediction.serve.bodies import BodyError
from whimbrel.prediction.serve.served import Served

BINARY = b"inference-header-content-length"
_NUMBERS = {"FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
MOST_ROWS = 10_000  # of a request, which is made into rows and its answer into tensors all at once
_TYPES = _NUMBERS | {"BOOL", "BYTES"}


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


def as_instances(body: bytes, names: Sequence[str]) -> tuple[bytes, str]:
    """The request's rows as the body that every endpoint takes, and the request's id. Raises BodyError."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BodyError(f"the body is not JSON: {error}") from None
    if not isinstance(given, dict) or not isinstance(given.get("inputs"), list) or not given["inputs"]:
        raise BodyError('the body must be {"inputs": [tensor, ...]}')
    if unknown := sorted(map(str, given.keys() - {"id", "inputs", "outputs"})):
        raise BodyError(f"{unknown[0][:80]!r} of the request is not supported")
    tensors = [_read(number, each) for number, each in enumerate(given["inputs"])]
    name, shape, data = tensors[0]
    if shape[0] > MOST_ROWS:
        raise BodyError(f"{shape[0]} rows are more than the limit of {MOST_ROWS} for one request")
    if len(tensors) == 1 and len(shape) == 2 and shape[1] == len(names) and name not in names:
        lists = [data[at : at + shape[1]] for at in range(0, len(data), shape[1])]
        return orjson.dumps({"instances": lists}), str(given.get("id", ""))
    columns = {}
    for name, shape, data in tensors:
        if shape not in ([len(data)], [len(data), 1]) or len(data) != len(tensors[0][2]):
            raise BodyError(f"input {name[:80]!r} has the shape {shape}: every column must be [rows], of as many rows")
        if name in columns:
            raise BodyError(f"input {name[:80]!r} appears twice")
        columns[name] = data
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return orjson.dumps({"instances": rows}), str(given.get("id", ""))


def answer(name: str, version: str, request_id: str, body: bytes) -> bytes:
    """The answer of an endpoint, which is ``body``, as tensors."""
    predictions = orjson.loads(body)["predictions"]
    outputs = []
    for field, datatype in (("score", "FP64"), ("predicted_label", "INT64"), ("predicted_class", "BYTES")):
        if field in predictions[0]:
            values = [each[field] for each in predictions]
            wide = isinstance(values[0], list)
            shape = [len(values), len(values[0])] if wide else [len(values)]
            flat = [each for row in values for each in row] if wide else values
            outputs.append(_tensor(field, datatype, shape) | {"data": flat})
    found = {"model_name": name, "model_version": version, "outputs": outputs}
    return orjson.dumps(found | ({"id": request_id} if request_id else {}))


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
    if tensor.get("datatype") not in _TYPES:
        raise BodyError(f"{place}: datatype {str(tensor.get('datatype'))[:40]!r} is not one of {sorted(_TYPES)}")
    shape, data = tensor.get("shape"), tensor.get("data")
    if not isinstance(shape, list) or not isinstance(data, list) or not _is_shape(shape):
        raise BodyError(f"{place}: shape must be [rows] or [rows, columns], and data a list")
    if data and isinstance(data[0], list):  # data may be nested as the shape says
        data = [value for row in data for value in (row if isinstance(row, list) else [row])]
    if len(data) != shape[0] * (shape[1] if len(shape) == 2 else 1):
        raise BodyError(f"{place}: {len(data)} values do not fill the shape {shape}")
    return tensor["name"], shape, data

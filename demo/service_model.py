"""What AWS's own description of a service says of a request or an answer: which members there are, and their values.

botocore sends what has the right types. This looks at everything that the description has: unknown and missing members,
types, lengths, ranges, patterns and the values that are allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore.loaders import create_loader
from botocore.model import ServiceModel, Shape

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "blob": (str, bytes),
}


@cache
def service(name: str) -> ServiceModel:
    return ServiceModel(create_loader().load_service_model(name, "service-2"), name)


def request_faults(name: str, operation: str, given: dict[str, Any]) -> list[str]:
    """What is wrong with a request, in words; nothing if it is as described."""
    model = service(name)
    if operation not in model.operation_names:
        return [f"{name} has no operation {operation}"]
    shape = model.operation_model(operation).input_shape
    return list(_faults(shape, given, "request")) if shape else [f"unknown: {each}" for each in given]


def answer_faults(name: str, operation: str, answer: dict[str, Any]) -> list[str]:
    shape = service(name).operation_model(operation).output_shape
    return list(_faults(shape, answer, "answer")) if shape else [f"unknown: {each}" for each in answer]


def _faults(shape: Shape, value: Any, place: str) -> Iterator[str]:
    kind = shape.type_name
    if not _is_of_type(kind, value):
        yield f"{place}: {value!r:.80} is not a {kind}"
        return
    if kind == "structure":
        yield from _in_structure(shape, value, place)
    elif kind == "map":
        for key, each in value.items():
            yield from _faults(shape.key, key, f"{place} key {key:.40}")  # type: ignore[attr-defined]
            yield from _faults(shape.value, each, f"{place}.{key:.40}")  # type: ignore[attr-defined]
    elif kind == "list":
        for number, each in enumerate(value):
            yield from _faults(shape.member, each, f"{place}[{number}]")  # type: ignore[attr-defined]
    yield from _out_of_bounds(shape, value, place)


def _is_of_type(kind: str, value: Any) -> bool:
    wanted = _TYPES[kind]
    return isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))


def _in_structure(shape: Any, value: dict[str, Any], place: str) -> Iterator[str]:
    for name in sorted(set(value) - set(shape.members)):
        yield f"{place}: {name} is not a member of {shape.name}"
    for name in shape.required_members:
        if name not in value:
            yield f"{place}: {name} is missing"
    for name, each in value.items():
        if name in shape.members:
            yield from _faults(shape.members[name], each, f"{place}.{name}")


def _out_of_bounds(shape: Shape, value: Any, place: str) -> Iterator[str]:
    about = shape.metadata
    if "enum" in about and value not in about["enum"]:
        yield f"{place}: {value!r:.80} is not one of {', '.join(about['enum'])[:200]}"
    if "pattern" in about and isinstance(value, str) and not _matches(about["pattern"], value):
        yield f"{place}: {value!r:.80} does not match {about['pattern'][:100]}"
    size = len(value) if isinstance(value, (str, list, dict)) else value
    if isinstance(size, (int, float)) and not isinstance(size, bool) and shape.type_name != "timestamp":
        if "min" in about and size < about["min"]:
            yield f"{place}: {size} is less than {about['min']}"
        if "max" in about and size > about["max"]:
            yield f"{place}: {size} is more than {about['max']}"


def _matches(pattern: str, value: str) -> bool:
    """Patterns are Java's: what Python has not is left to AWS."""
    try:
        return re.fullmatch(_compiled(pattern), value) is not None
    except re.error:
        return True


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    properties = {r"\p{L}": r"\w", r"\p{Z}": r"\s", r"\p{N}": r"\d"}  # a little more than Java has in them
    for java, python in properties.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)

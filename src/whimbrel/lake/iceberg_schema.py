"""A data set's columns as Iceberg has them: the same names, types and fields, each of which may be missing in a row."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from pyiceberg import types
from pyiceberg.schema import Schema

from whimbrel.errors import UserError
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.types import Type, parse_type

_PLAIN = {
    "int64": types.LongType(),
    "double": types.DoubleType(),
    "approximate": types.DoubleType(),
    "binary": types.BinaryType(),
    "bool": types.BooleanType(),
}
Shape = tuple[Any, ...]
# A NameString of Glue's API, as its service model in botocore has it: no control characters but a tab.
_OF_GLUE = re.compile("[\t\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]{1,255}")
_HINT = "Leave one of the attributes out with `exclude` in its [[dataset]]."


def schema_of(manifest: Manifest) -> Schema:
    """Raises UserError where Iceberg cannot tell two columns apart: it calls the field ``a`` of ``m`` ``m.a``."""
    ids = count(1)
    fields = [_field(each.name, parse_type(each.type), ids) for each in manifest.schema]
    try:
        schema = Schema(*fields)
        _ = schema._name_to_id
    except ValueError as error:
        raise UserError(f"Iceberg cannot have these columns: {error}", place=manifest.name, hint=_HINT) from error
    return schema


def fits_glue(manifest: Manifest) -> None:
    """Raises UserError for a column whose name Glue does not take."""
    for each in manifest.schema:
        if not _OF_GLUE.fullmatch(each.name):
            message = f"Glue cannot have the column {each.name[:40]!r}: names have 1 to 255 characters, all printable"
            raise UserError(message, place=manifest.name, hint=_HINT)


def shape(schema: Schema) -> Shape:
    """All of it but the ids."""
    return _shape(schema.as_struct())


def _field(name: str, kind: Type, ids: count[int]) -> types.NestedField:
    return types.NestedField(field_id=next(ids), name=name, field_type=_type(kind, ids), required=False)


def _type(kind: Type, ids: count[int]) -> types.IcebergType:
    match kind.kind:
        case "decimal":
            return types.DecimalType(kind.precision, kind.scale)
        case "list":
            number = next(ids)
            return types.ListType(element_id=number, element=_type(kind.inner[0], ids), element_required=False)
        case "struct":
            fields = [_field(name, inner, ids) for name, inner in zip(kind.names, kind.inner, strict=True)]
            return types.StructType(*fields)
        case other:
            return _PLAIN.get(other, types.StringType())


def _shape(kind: types.IcebergType) -> Shape:
    if isinstance(kind, types.StructType):
        return ("struct", *((each.name, each.required, _shape(each.field_type)) for each in kind.fields))
    if isinstance(kind, types.ListType):
        return ("list", kind.element_required, _shape(kind.element_type))
    return (str(kind),)

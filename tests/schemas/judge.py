"""What a table's rows must be as items under the mapping that ``whimbrel init`` writes: a plain SELECT, by PyMySQL.

Shares no code with whimbrel. ``init`` makes each row an item with its columns as attributes; where a key has three or
more columns, one attribute more joins them, which is left out here.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import numpy
from boto3.dynamodb.types import Binary, TypeDeserializer

from demo.servers import DynamoServer, SqlServer
from tests.schemas.rows import INTEGERS, Field, TableRows

Items = list[dict[str, Any]]


def expected_items(server: SqlServer, table: TableRows) -> Items:
    names = ", ".join(_selected(each) for each in table.fields)
    with server.connect(table.schema, conv={}) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(f"SELECT {names} FROM {table.quoted}")
        rows = cursor.fetchall()
    return in_order(
        {each.name: _value(each, value) for each, value in zip(table.fields, row, strict=True)} for row in rows
    )


def found_items(endpoint: DynamoServer, target: str, table: TableRows) -> Items:
    deserialize = TypeDeserializer().deserialize
    pages = endpoint.client().get_paginator("scan").paginate(TableName=target, ConsistentRead=True)
    columns = {each.name for each in table.fields}
    return in_order(
        {name: _plain(deserialize(value)) for name, value in item.items() if name in columns}
        for page in pages
        for item in page["Items"]
    )


def in_order(items: Iterable[dict[str, Any]]) -> Items:
    return sorted(items, key=lambda item: repr(sorted(item.items())))


def _selected(field: Field) -> str:
    """A FLOAT's own text is rounded to six digits; a text is asked for in utf8mb4, as it would come."""
    name = f"`{field.name}`"
    return f"{name} * 1e0" if field.kind == "float" else f"{name} + 0" if field.kind == "bit" else name


def _value(field: Field, raw: Any) -> Any:
    """From the text that the server sends."""
    if raw is None or isinstance(raw, bytes):
        return raw
    if field.kind == "float":  # the shortest number that is read as the same four bytes
        return Decimal(str(numpy.float32(raw))).normalize()
    if field.kind in (*INTEGERS, "decimal", "double", "year", "bit"):
        return Decimal(raw).normalize()
    if field.kind in ("datetime", "timestamp"):
        return raw.replace(" ", "T") + ("Z" if field.kind == "timestamp" else "")
    return raw


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return value.normalize()
    return bytes(value) if isinstance(value, Binary) else value  # type: ignore[call-overload]

"""What the target must hold, said a second time and slowly: it shares no code with whimbrel.mapping, only its nouns.

An item here is a plain dict: numbers are ("N", Fraction), so that nothing about their text can hide a difference.
"""

from __future__ import annotations

import base64
import json
import re
from fractions import Fraction
from typing import Any

from whimbrel.project import TableRule
from whimbrel.records import Delete, Item, ItemOperation, Put, Row, Table, Update, Value

Place = tuple[Any, ...]


class NoPlace(Exception):
    """The row has no key or no entry name."""


class NoValue(Exception):
    """The row has a place, but its value cannot be written."""


def expected(rule: TableRule, table: Table, rows: list[Row]) -> dict[str, Any]:
    """Items by key text, of rows that do not clash."""
    items: dict[str, Any] = {}
    for row in rows:
        try:
            place = place_of(rule, table, row)
            if rule.shape == "record":
                items[place[0]] = record(rule, table, row)
            else:
                value = entry(rule, table, row)
                frame = {**key_of(rule, table, row), **added(rule, table, row)}
                items.setdefault(place[0], frame)[place[1]] = value
        except (NoPlace, NoValue):
            continue
    return items


def place_of(rule: TableRule, table: Table, row: Row) -> Place:
    """The item's key as text and, in a group, the entry's name."""
    key = json.dumps([str(value) for value in key_of(rule, table, row).values()])
    if rule.shape == "record":
        return (key,)
    name = rendered(rule.entry_name, table, row)
    frame = {rule.partition_key.name, *([rule.sort_key.name] if rule.sort_key else []), *rule.attributes}
    if not name or name in frame:
        raise NoPlace
    return key, name


def key_of(rule: TableRule, table: Table, row: Row) -> dict[str, Any]:
    keys = [rule.partition_key] + ([rule.sort_key] if rule.sort_key else [])
    found: dict[str, Any] = {}
    for key in keys:
        if key.type == "S":
            text = rendered(key.value, table, row)
            if not text:
                raise NoPlace
            found[key.name] = ("S", text)
            continue
        value = row[table.names.index(key.value[2:-1])]
        if value is None or value == b"":
            raise NoPlace
        found[key.name] = ("B", value) if key.type == "B" else ("N", number(value, NoPlace))
    return found


def added(rule: TableRule, table: Table, row: Row) -> dict[str, Any]:
    found = {}
    for name, template in rule.attributes.items():
        try:
            found[name] = ("S", rendered(template, table, row))
        except NoPlace:
            raise NoValue from None
    return found


def record(rule: TableRule, table: Table, row: Row) -> dict[str, Any]:
    key = key_of(rule, table, row)
    item = {**key, **added(rule, table, row)}
    for column, value in zip(table.columns, row, strict=True):
        name = rule.rename.get(column.name, column.name)
        if column.name in rule.exclude or name in key or (value is None and rule.nulls == "omit"):
            continue
        item[name] = attribute(rule, column.name, column.kind, value)
    return item


def entry(rule: TableRule, table: Table, row: Row) -> Any:
    if rule.entry_value:
        kind = table.column(rule.entry_value).kind
        return attribute(rule, rule.entry_value, kind, row[table.names.index(rule.entry_value)])
    keys = rule.partition_key.value + (rule.sort_key.value if rule.sort_key else "") + rule.entry_name
    return (
        "M",
        {
            rule.rename.get(column.name, column.name): attribute(rule, column.name, column.kind, value)
            for column, value in zip(table.columns, row, strict=True)
            if column.name not in rule.exclude and "${" + column.name + "}" not in keys
        },
    )


def attribute(rule: TableRule, name: str, kind: str, value: Value) -> Any:
    if value is None:
        return ("NULL", True)
    default = "N" if kind in ("int", "year", "bit", "decimal", "float", "double") else "S"
    chosen = rule.types.get(name, "B" if kind in ("binary", "geometry") else default)
    if chosen == "N":
        return ("N", number(value, NoValue))
    if chosen == "BOOL":
        if value not in (0, 1):
            raise NoValue
        return ("BOOL", bool(value))
    if chosen == "B":
        return ("B", value.encode() if isinstance(value, str) else value)
    return ("S", text_of(kind, value))


def number(value: Value, refusal: type[Exception]) -> Fraction:
    """Exact, within DynamoDB's 38 significant digits and its range."""
    text = repr(value) if isinstance(value, float) else str(value)
    try:
        exact = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise refusal from None
    if "/" in text or "_" in text or text != text.strip():
        raise refusal
    digits = re.sub(r"[eE].*|[-+.]", "", text).strip("0")
    if len(digits) > 38 or (exact and not Fraction(10) ** -130 <= abs(exact) < Fraction(10) ** 126):
        raise refusal
    return exact


def rendered(template: str, table: Table, row: Row) -> str:
    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        index = table.names.index(match[1])
        if row[index] is None:
            raise NoPlace
        return text_of(table.columns[index].kind, row[index])

    return re.sub(r"\$\$|\$\{(.*?)\}", one, template)


def text_of(kind: str, value: Value) -> str:
    if kind == "datetime":
        return "T".join(str(value).split(" "))
    if kind == "timestamp":
        return "T".join(str(value).split(" ")) + "Z"
    return repr(value) if isinstance(value, float) else str(value)


class Store:
    """A table of DynamoDB in memory, which carries out operations as the service would."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}

    def apply(self, operations: list[ItemOperation]) -> None:
        keys = [key_text(operation.key) for operation in operations]
        assert len(set(keys)) == len(keys), "at most one operation for each item"
        for key, operation in zip(keys, operations, strict=True):
            if isinstance(operation, Put):
                assert operation.key.items() <= operation.item.items()
                self.items[key] = dict(operation.item)
            elif isinstance(operation, Delete):
                self.items.pop(key, None)
            else:
                self._update(key, operation)

    def _update(self, key: str, update: Update) -> None:
        assert not update.set.keys() & (update.key.keys() | set(update.remove))
        assert not update.frame & set(update.remove)
        if not update.set and key not in self.items:
            return
        item = self.items.setdefault(key, dict(update.key))
        item.update(update.set)
        for name in update.remove:
            item.pop(name, None)
        if item.keys() <= update.frame:
            del self.items[key]

    def plain(self) -> dict[str, Any]:
        return {key: plain_item(item) for key, item in self.items.items()}


def plain_item(item: Item) -> dict[str, Any]:
    return {name: plain_value(value) for name, value in item.items()}


def plain_value(value: dict[str, Any]) -> Any:
    [(kind, content)] = value.items()
    if kind == "M":
        return ("M", plain_item(content))
    if kind == "N":
        return ("N", Fraction(content))
    return (kind, base64.b64decode(content) if kind == "B" else content)


def key_text(key: Item) -> str:
    return json.dumps([str(plain_value(value)) for value in key.values()])

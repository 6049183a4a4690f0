"""What the target must hold, said a second time and slowly: it shares no code with whimbrel.mapping, only its nouns.

The Store keeps lists as the writer does, with ``whimbrel.item``.

An item here is a plain dict: numbers are ("N", Fraction), so that nothing about their text can hide a difference.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tests.mapping.oracle_texts import NoPlace, Unfit, rendered, said_in, text_of
from whimbrel.item import gathered, identity_of, in_order
from whimbrel.project import TableRule
from whimbrel.records import Column, Delete, Inside, Item, ItemOperation, Put, Row, Table, Update, Value

Place = tuple[Any, ...]


class NoValue(Exception):
    """The row has a place, but its value cannot be written."""


def expected(rule: TableRule, table: Table, rows: list[Row]) -> dict[str, Any]:
    """Items by key text, of rows that do not clash."""
    items: dict[str, Any] = {}
    for original in rows:
        try:
            place = place_of(rule, table, original)
            if place is None:
                continue
            seen_table, row = seen(rule, table, original) or (table, original)
            if rule.shape != "group":
                items[place[0]] = record(rule, seen_table, row)
                continue
            value = entry(rule, seen_table, row)
            frame = {**key_of(rule, seen_table, row), **added(rule, seen_table, row)}
            item = items.setdefault(place[0], frame)
            if rule.entry_as == "attribute":
                item[place[1]] = value
            else:
                item.setdefault(rule.entry_rows or rule.entry_into, {})[place[1]] = value
        except (NoPlace, NoValue):
            continue
    if rule.shape == "group" and rule.entry_as != "attribute":
        for item in items.values():
            if rule.entry_rows:
                item |= given(rule, item[rule.entry_rows])
                item[rule.entry_rows] = ("M", item[rule.entry_rows])
            else:
                item[rule.entry_into] = within(rule, item[rule.entry_into])
    return items


def given(rule: TableRule, entries: dict[str, Any]) -> dict[str, Any]:
    """The set or list that is made of a map of rows, if it is not empty."""
    if rule.entry_as != "list":
        members = frozenset(value for kind, value in entries.values() if kind != "NULL")
        return {rule.entry_into: ("SS" if rule.entry_as == "string-set" else "NS", members)} if members else {}
    elements = [value for _, (_, value) in sorted(entries.items())]
    for text in reversed(rule.entry_order):
        name, _, direction = text.partition(" ")
        elements.sort(key=lambda element: element[name][1], reverse=direction == "desc")
    return {rule.entry_into: ("L", [element[rule.entry_value] for element in elements])}


def within(rule: TableRule, entries: dict[Any, Any]) -> Any:
    if rule.entry_as == "map":
        return ("M", entries)
    if rule.entry_as == "list":
        elements = list(entries.values())
        for text in reversed(rule.entry_order):
            name, _, direction = text.partition(" ")
            elements.sort(key=lambda element: element[1][name][1], reverse=direction == "desc")
        return ("L", elements)
    return ("SS" if rule.entry_as == "string-set" else "NS", frozenset(entries))


def seen(rule: TableRule, table: Table, row: Row) -> tuple[Table, Row] | None:
    """The columns as the rule makes them; None if its filter leaves the row out. NoPlace if an expression fails."""
    values = dict(zip(table.names, row, strict=True))
    used = " ".join([*rule.columns.values(), rule.filter, *rule.mask])
    for name, value in values.items():
        too_large = isinstance(value, int) and not -(2**63) <= value < 2**63
        ends = isinstance(value, str) and "\0" in value
        if (too_large or ends) and re.search(rf"\b{name}\b", used) and name_is_read(rule, name):
            raise NoPlace
    columns = list(table.columns)
    made = {name: computed(text, values) for name, text in rule.columns.items()}
    made |= {name: masked(mask, values[name]) for name, mask in rule.mask.items()}
    if rule.filter and not computed(rule.filter, values):
        return None
    for name in made:
        column = Column(name, "computed")
        if name in values:
            columns[table.names.index(name)] = column
        else:
            columns.append(column)
    values |= made
    return Table(table.schema, table.name, tuple(columns), table.primary_key), tuple(values.values())


def name_is_read(rule: TableRule, name: str) -> bool:
    return rule.mask.get(name) != "null" or any(name in text for text in [*rule.columns.values(), rule.filter])


def masked(mask: str, value: Value) -> Value:
    if value is None or mask == "null":
        return None
    content = value if isinstance(value, bytes) else (repr(value) if isinstance(value, float) else str(value)).encode()
    return hashlib.sha256(content).hexdigest()


def computed(text: str, values: dict[str, Value]) -> Value:
    """The few expressions that the strategies draw, in Python."""
    if match := re.fullmatch(r"substr\((\w+), 1, 1\)", text):
        value = values[match[1]]
        return None if value is None else str(value)[:1]
    if match := re.fullmatch(r"coalesce\((\w+), 'none'\)", text):
        value = values[match[1]]
        return "none" if value is None else value
    if match := re.fullmatch(r"abs\((\w+)\) % 3", text):
        value = values[match[1]]
        if value == -(2**63):
            raise NoPlace  # SQLite has no such integer
        return None if value is None else abs(int(value)) % 3
    if match := re.fullmatch(r"(\w+) IS NOT '(.*)'", text):
        return int(values[match[1]] != match[2])
    raise AssertionError(text)


def place_of(rule: TableRule, table: Table, row: Row) -> Place | None:
    """The item's key as text and, in a group, what tells the entry from others; None if the filter leaves it out."""
    found = seen(rule, table, row)
    if found is None:
        return None
    table, row = found
    key = json.dumps([str(value) for value in key_of(rule, table, row).values()])
    if rule.shape != "group":
        return (key,)
    if rule.entry_rows:
        ordering(rule, table, row)
    elif rule.entry_as == "list":
        return key, ordering(rule, table, row)
    elif rule.entry_as == "string-set":
        return key, rendered("${" + rule.entry_value + "}", table, row, in_key=True)
    elif rule.entry_as == "number-set":
        value = row[table.names.index(rule.entry_value)]
        if value is None:
            raise NoPlace
        return key, number(value, NoPlace)
    name = rendered(rule.entry_name, table, row, in_key=True)
    frame = {rule.partition_key.name, *([rule.sort_key.name] if rule.sort_key else []), *rule.attributes}
    if not name or (name in frame and rule.entry_as == "attribute"):
        raise NoPlace
    return key, name


def ordering(rule: TableRule, table: Table, row: Row) -> Place:
    names = [text.partition(" ")[0] for text in rule.entry_order]
    try:
        found = tuple(attribute(rule, name, table.column(name).kind, row[table.index(name)]) for name in names)
    except NoValue:
        raise NoPlace from None
    if ("NULL", True) in found:
        raise NoPlace
    return found


def key_of(rule: TableRule, table: Table, row: Row) -> dict[str, Any]:
    keys = [rule.partition_key] + ([rule.sort_key] if rule.sort_key else [])
    found: dict[str, Any] = {}
    for key in keys:
        if key.type == "S":
            text = rendered(key.value, table, row, in_key=True)
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
    found: dict[str, Any] = {}
    for name, template in rule.attributes.items():
        assert isinstance(template, str)  # trees are not drawn
        try:
            found[name] = ("S", rendered(template, table, row))
        except Unfit:
            raise NoValue from None
        except NoPlace:
            if rule.nulls != "omit":
                found[name] = ("NULL", True)
    return found


def record(rule: TableRule, table: Table, row: Row) -> dict[str, Any]:
    key = key_of(rule, table, row)
    item = {**key, **added(rule, table, row)}
    carried = {}
    for column, value in zip(table.columns, row, strict=True):
        name = rule.rename.get(column.name, column.name)
        in_key = name in key and rule.shape == "record"
        if column.name in rule.exclude or in_key or (value is None and rule.nulls == "omit"):
            continue
        carried[name] = attribute(rule, column.name, column.kind, value)
    return {**item, **carried} if rule.shape == "record" else {**item, rule.document: ("M", carried)}


def entry(rule: TableRule, table: Table, row: Row) -> Any:
    if rule.entry_as.endswith("-set"):
        rule = replace(rule, types={rule.entry_value: rule.entry_as[0].upper()})
        if not rule.entry_rows:
            return True
    if rule.entry_rows and rule.entry_as == "list":
        names = {rule.entry_value, *(each.split()[0] for each in rule.entry_order)}
        columns = [(table.column(name), row[table.index(name)]) for name in sorted(names)]
        return ("M", {one.name: attribute(rule, one.name, one.kind, value) for one, value in columns})
    if rule.entry_value:
        kind = table.column(rule.entry_value).kind
        return attribute(rule, rule.entry_value, kind, row[table.names.index(rule.entry_value)])
    keys = rule.partition_key.value + (rule.sort_key.value if rule.sort_key else "") + rule.entry_name
    return (
        "M",
        {
            rule.rename.get(column.name, column.name): attribute(rule, column.name, column.kind, value)
            for column, value in zip(table.columns, row, strict=True)
            if column.name not in rule.exclude
            and (not said_in(column.name, keys) or column.name in [each.split()[0] for each in rule.entry_order])
            and not (value is None and rule.nulls == "omit")
        },
    )


def attribute(rule: TableRule, name: str, kind: str, value: Value) -> Any:
    if value is None:
        return ("NULL", True)
    if name in rule.codes:
        if value not in rule.codes[name]:
            raise NoValue
        code = rule.codes[name][str(value)]
        return (
            ("BOOL", code)
            if isinstance(code, bool)
            else ("N", Fraction(code))
            if isinstance(code, int)
            else ("S", code)
        )
    if kind == "computed":
        kind = "binary" if isinstance(value, bytes) else "text" if isinstance(value, str) else "double"
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
                assert isinstance(operation, Update)
                self._update(key, operation)

    def _update(self, key: str, update: Update) -> None:
        assert not update.set.keys() & (update.key.keys() | set(update.remove))
        if update.inside:
            self._update_inside(key, update, update.inside)
            return
        assert not update.frame & set(update.remove)
        if not update.set and key not in self.items:
            return
        item = self.items.setdefault(key, dict(update.key))
        item.update(update.set)
        for name in update.remove:
            item.pop(name, None)
        if item.keys() <= update.frame:
            del self.items[key]

    def _update_inside(self, key: str, update: Update, inside: Inside) -> None:
        assert not inside.set.keys() & set(inside.remove)
        assert not update.remove
        assert update.frame.issuperset(update.set)
        if not inside.set and key not in self.items:
            return
        item = self.items.setdefault(key, dict(update.key))
        if inside.set:
            item.update(update.set)
        entries = self._entries(item, inside)
        entries.update(inside.set)
        for name in inside.remove:
            entries.pop(name, None)
        item.pop(inside.name, None)
        if inside.gathered:
            item.pop(inside.gathered.name, None)
            item |= {inside.gathered.name: made} if (made := gathered(entries, inside.gathered)) else {}
        if entries:
            content: Any = {"M": entries, "L": in_order(entries.values(), inside.order)}.get(inside.kind, list(entries))
            item[inside.name] = {inside.kind: content}
        if item.keys() <= update.frame:
            del self.items[key]

    def _entries(self, item: Item, inside: Inside) -> dict[str, Any]:
        if inside.name not in item:
            return {}
        content = item[inside.name][inside.kind]
        if inside.kind == "M":
            return dict(content)
        if inside.kind == "L":
            return {identity_of(element, inside.order): element for element in content}
        return dict.fromkeys(content)

    def plain(self) -> dict[str, Any]:
        return {key: plain_item(item) for key, item in self.items.items()}


def plain_item(item: Item) -> dict[str, Any]:
    return {name: plain_value(value) for name, value in item.items()}


def plain_value(value: dict[str, Any]) -> Any:
    [(kind, content)] = value.items()
    if kind == "M":
        return ("M", plain_item(content))
    if kind == "L":
        return ("L", [plain_value(each) for each in content])
    if kind in ("SS", "NS"):
        assert len(set(content)) == len(content)
        return (kind, frozenset(map(Fraction, content)) if kind == "NS" else frozenset(content))
    if kind == "N":
        return ("N", Fraction(content))
    return (kind, base64.b64decode(content) if kind == "B" else content)


def key_text(key: Item) -> str:
    return json.dumps([str(plain_value(value)) for value in key.values()])

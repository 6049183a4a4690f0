"""Two mappings whose keys could meet: a row of each that would, and the smallest change after which none can."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import islice, product
from typing import NamedTuple

from whimbrel.errors import MappingError
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.disjoint import apart, common_texts
from whimbrel.mapping.forms import shown
from whimbrel.mapping.templates import parse
from whimbrel.mapping.values import values_of_text
from whimbrel.records import AttributeValue, Column, Item, Row, Value

_TEXTS, _PAIRS = 12, 60  # that are tried
_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32}


class Pair(NamedTuple):
    """The key columns of a row of each, and the key that both of these rows have."""

    one: dict[str, Value]
    other: dict[str, Value]
    key: Item


class OtherTemplate(NamedTuple):
    """Another template for a key of one of the mappings."""

    source: str
    key: str
    value: str


def may_meet(one: TableMapping, other: TableMapping) -> bool:
    """Whether a row of each could have the same key, as far as the templates and the kinds of their columns tell."""
    if one.target != other.target:
        return False
    pairs = zip(one.design.keys, other.design.keys, strict=False)
    columns, others = one.design.columns, other.design.columns
    return not any(apart(a.template, columns, b.template, others) for a, b in pairs if a.type == b.type == "S")


def meeting(one: TableMapping, other: TableMapping) -> str:
    """What two mappings of one target are told whose keys ``may_meet``."""
    return (
        f"target {one.target!r}: a row of {one.source} and one of {other.source} could have the same key, and "
        f"overwrite each other{_as_with(pair_of(one, other), one, other)}: {_advice(smallest_change(one, other))}, or, "
        f'if they are meant to be one item, write item = "shared" in both'
    )


def _as_with(pair: Pair | None, one: TableMapping, other: TableMapping) -> str:
    if pair is None:
        return ""
    key = ", ".join(f"{name} = {shown(*value.values())}" for name, value in pair.key.items())
    mine, theirs = (_words(each.source, values) for each, values in ((one, pair.one), (other, pair.other)))
    return f", as {mine} and {theirs}: both have {key}"


def _words(source: str, values: dict[str, Value]) -> str:
    listed = ", ".join(f"{name} = {shown(value)}" for name, value in values.items())
    return f"that of {source} with {listed}" if listed else f"any of {source}"


def _advice(changes: list[OtherTemplate]) -> str:
    if not changes:
        return "give both a key of type 'S' that begins with a text of its own, as 'ORDER#${id}'"
    return "write " + " and ".join(f"value = {each.value!r} for key {each.key!r} of {each.source}" for each in changes)


def pair_of(one: TableMapping, other: TableMapping) -> Pair | None:
    """Two rows that have one key, by the mappings themselves; None where a short search finds none."""
    texts = [list(islice(_contents(one, other, number), _TEXTS)) for number in range(len(one.design.keys))]
    for contents in islice(product(*texts), _PAIRS):
        pairs = zip(one.key_attributes, contents, strict=True)
        key: dict[str, AttributeValue] = {
            name: {"N": text} if kind == "N" else {"S": text} for (name, kind), text in pairs
        }
        mine, theirs = _columns_of(one, key), _columns_of(other, key)
        if mine is not None and theirs is not None:
            return Pair(mine, theirs, key)
    return None


def _contents(one: TableMapping, other: TableMapping, number: int) -> Iterator[str]:
    a, b = one.design.keys[number], other.design.keys[number]
    if a.type != b.type or a.type == "B":
        return iter(())
    if a.type == "N":
        return iter(("1", "0"))
    return common_texts(a.template, one.design.columns, b.template, other.design.columns)


def _columns_of(mapping: TableMapping, key: Item) -> dict[str, Value] | None:
    """The columns that make the key of a row, if one can have it."""
    if not mapping.invertible:
        return None
    try:
        places = mapping.source_keys(key)
    except MappingError:
        return None
    for place in places[:_TEXTS]:
        values = dict(zip(mapping.lookup_columns, place, strict=True))
        row: Row = tuple(values.get(name) for name in mapping.table.names)
        fits = all(_may_hold(mapping.table.column(name), value) for name, value in values.items())
        if fits and mapping.item_key(row) == key:
            return values
    return None


def _may_hold(column: Column, value: Value) -> bool:
    """Whether the server would take the value, as far as its type says."""
    word = column.type_name.lower().partition("(")[0].partition(" ")[0]
    if isinstance(value, int):
        bits = _BITS.get(word, 64)
        least = 0 if column.unsigned else -(1 << (bits - 1))
        return least <= value < least + (1 << bits)
    if column.kind in ("enum", "set"):
        return values_of_text(column, str(value)) != ()
    if column.kind == "text" and word in ("char", "varchar"):
        return len(str(value)) <= column.length
    if column.kind in ("date", "datetime", "timestamp"):
        return _is_time(str(value), least="1971" if column.kind == "timestamp" else "1000")
    return True


def _is_time(text: str, least: str) -> bool:
    """In the calendar; a TIMESTAMP has no years after 2037."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return least <= text and (least == "1000" or text < "2038")


def smallest_change(one: TableMapping, other: TableMapping) -> list[OtherTemplate]:
    """Tried by the proof itself; empty if the keys have no texts that could be told apart. A sort key is changed rather
    than a partition key, by which items are together.
    """
    for number in reversed(range(len(one.design.keys))):
        a, b = one.design.keys[number], other.design.keys[number]
        if not a.type == b.type == "S":
            continue
        for mine, theirs in _candidates(a.template.text, _word(one), b.template.text, _word(other)):
            first, second = parse(mine, one.design.table.names), parse(theirs, other.design.table.names)
            if apart(first, one.design.columns, second, other.design.columns):
                changes = OtherTemplate(one.source, a.name, mine), OtherTemplate(other.source, b.name, theirs)
                return [each for each, key in zip(changes, (a, b), strict=True) if each.value != key.template.text]
    return []


def _candidates(one: str, word: str, other: str, another: str) -> Iterator[tuple[str, str]]:
    """One of the two with a text of its own, behind where they begin alike, or before; or both."""
    another = another if another != word else f"{another}_2"
    behind = [(f"{one}#{word}", other), (one, f"{other}#{another}")]
    before = [(f"{word}#{one}", other), (one, f"{another}#{other}")]
    alike = one[:1] == other[:1] and not one.startswith("${")
    yield from (*behind, *before) if alike else (*before, *behind)
    yield f"{word}#{one}", f"{another}#{other}"


def _word(mapping: TableMapping) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", mapping.table.name.upper()).strip("_") or "ROW"

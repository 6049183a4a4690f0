"""The keys that a project owns in a table which others write to as well: those that its rules could make.

No two projects may own one key. What one owns is said to the others in its mark: each key's template, with the columns
that it is made of, so that the proof is that of two tables in one project (``disjoint``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from whimbrel.mapping.attributes import Key
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.disjoint import apart, pattern_of
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.templates import Literal, Template
from whimbrel.records import Column, Item


class Owned(NamedTuple):
    """``patterns``: of each rule, by its key attributes, what their texts match; numbers and bytes are left out."""

    patterns: tuple[tuple[tuple[str, str], ...], ...]

    def has(self, item: Item) -> bool:
        """Whether the item's key is one that a rule could make."""
        return any(all(_matches(pattern, item[name]["S"]) for name, pattern in rule) for rule in self.patterns)


def owned_by(mappings: Sequence[TableMapping]) -> Owned:
    """What the mappings of one target own."""
    return Owned(
        tuple(
            tuple(
                (key.name, pattern_of(key.template, each.design.columns)) for key in each.design.keys if key.type == "S"
            )
            for each in mappings
        )
    )


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def keys_said(mapping: TableMapping) -> str:
    """The mapping's keys, for others."""
    return orjson.dumps([_said(key, mapping.design.columns) for key in mapping.design.keys]).decode()


def _said(key: Key, columns: dict[str, Column]) -> dict[str, Any]:
    parts = [part._asdict() for part in key.template.parts]
    used = {name: asdict(column) for name, column in _lasting(columns).items() if name in key.template.columns}
    return {"name": key.name, "type": key.type, "parts": parts, "columns": used}


def may_meet_said(mapping: TableMapping, said: str) -> bool:
    """Whether a key of the mapping could be one that others said. Raises ValueError for what cannot be read."""
    try:
        others = [_read(each) for each in orjson.loads(said)]
    except (KeyError, TypeError) as error:
        raise ValueError(str(error)) from None
    pairs = zip(mapping.design.keys, others, strict=True)
    return not any(
        apart(key.template, _lasting(mapping.design.columns), template, columns)
        for key, (kind, template, columns) in pairs
        if key.type == kind == "S"
    )


def _lasting(columns: Mapping[str, Column]) -> dict[str, Column]:
    """As no ALTER changes them: nobody proves again, between two projects, what a new member or a longer text means."""
    return {
        name: replace(column, members=(), length=0) if column.kind in ("enum", "set", "text") else column
        for name, column in columns.items()
    }


def _read(said: dict[str, Any]) -> tuple[str, Template, dict[str, Column]]:
    parts = tuple(Literal(**part) if "text" in part else Reference(**part) for part in said["parts"])
    columns = {
        name: Column(**fields | {"members": tuple(fields["members"])}) for name, fields in said["columns"].items()
    }
    return said["type"], Template("", parts), columns

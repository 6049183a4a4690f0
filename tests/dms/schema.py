"""Tables as a case writes them: {"shop.orders": {"columns": {"id": "int", "note": "text null"}, "key": ["id"]}}."""

from __future__ import annotations

import re
from typing import Any

from whimbrel.dms.select import SourceObject
from whimbrel.errors import UnsupportedSource
from whimbrel.records import Column, Row, Table

KINDS = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint"), "int"),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), "text"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "binary"),
}


def column(name: str, words: str) -> Column:
    nullable = words.endswith(" null")
    type_name = words.removesuffix(" null")
    match = re.match(r"(\w+)(?:\((.*)\))?( unsigned)?", type_name)
    assert match, words
    base, inside = match[1], match[2] or ""
    kind = KINDS.get(base, base)
    sizes = [int(size) for size in inside.split(",")] if re.fullmatch(r"[\d,]+", inside) else []
    return Column(
        name,
        kind,
        nullable=nullable,
        unsigned=bool(match[3]),
        length=sizes[0] if sizes and kind in ("text", "binary") else 65_535 if kind in ("text", "binary") else 0,
        precision=sizes[0] if sizes and kind == "decimal" else 0,
        scale=sizes[-1] if sizes and kind in ("decimal", "datetime", "timestamp", "time") else 0,
        members=tuple(member.strip("'") for member in inside.split(",")) if kind in ("enum", "set") else (),
        type_name=type_name,
    )


class Schema:
    """What the live schema gives to ``translate``."""

    def __init__(self, tables: dict[str, Any]) -> None:
        self._tables = tables

    @property
    def found(self) -> list[SourceObject]:
        names = [(*name.split("."), facts) for name, facts in self._tables.items()]
        return [SourceObject(schema, name, is_view=bool(facts.get("view"))) for schema, name, facts in names]

    def read(self, schema: str, name: str) -> Table:
        facts = self._tables[f"{schema}.{name}"]
        if not facts["key"]:
            raise UnsupportedSource("has no primary key", place=f"{schema}.{name}", hint="Add one")
        columns = tuple(column(each, words) for each, words in facts["columns"].items())
        return Table(schema, name, columns, tuple(facts["key"]))

    def rows(self, source: str) -> list[Row]:
        facts = self._tables[source]
        return [tuple(map(_value, row)) for row in facts.get("rows", ())]

    def changes(self, source: str) -> list[tuple[Row | None, Row | None]]:
        return [
            (before and tuple(map(_value, before)), after and tuple(map(_value, after)))
            for before, after in self._tables[source].get("changes", ())
        ]


def _value(value: Any) -> Any:
    """Bytes are written {"hex": "00ff"}."""
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value

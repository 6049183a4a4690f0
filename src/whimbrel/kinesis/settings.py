"""What the function works by, as the sender says it: the rules, and the tables that they are compiled for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import orjson

from whimbrel.changelog.record import read_table, table_line
from whimbrel.durable import is_sound
from whimbrel.errors import LogCorrupt
from whimbrel.project import ConditionRule, IndexKey, IndexRule, KeyRule, Store, TableRule, TtlRule
from whimbrel.records import Table

FORMAT = 1


class SourceTable(NamedTuple):
    """One source table. ``first`` is what it was when the migration began, ``now`` when the sender began, ``known`` are
    the columns that any version of it has had.
    """

    rule: TableRule
    first: Table
    now: Table
    known: tuple[str, ...]


class FunctionSettings(NamedTuple):
    """``began`` is when the migration did, in seconds since the epoch; ``concurrency`` how many calls of one invocation
    may be under way at once; ``max_write_units`` the cap of all of them together, a second, 0 for none;
    ``answers`` what the sender's SQLite makes of the probes of ``mapping.dialect``; ``store`` is where changes are that
    no record takes (kept.py), None if there are none.
    """

    began: float
    concurrency: int
    sources: tuple[SourceTable, ...]
    max_write_units: float = 0.0
    answers: Mapping[str, str] = {}  # never changed
    store: Store | None = None


def settings_to_json(settings: FunctionSettings) -> bytes:
    """Equal settings give equal bytes."""
    sources = [
        {
            "rule": asdict(source.rule),
            "first": table_line(source.first).decode(),
            "now": table_line(source.now).decode(),
            "known": sorted(source.known),
        }
        for source in settings.sources
    ]
    store = settings.store and [settings.store.bucket, settings.store.prefix]  # each reaches it in its own way
    fields = {"format": FORMAT, **settings._asdict(), "sources": sources, "store": store}
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def settings_from_json(data: bytes) -> FunctionSettings:
    """Raises LogCorrupt for what this version does not know."""
    fields = orjson.loads(data)
    if fields.get("format") != FORMAT:
        message = f"the settings have format {fields.get('format')!r}; this version reads format {FORMAT}"
        raise LogCorrupt(message, place="table of marks", hint="Deploy the function of the sender's version.")
    sources = tuple(
        SourceTable(
            _rule(source["rule"]),
            table_from_line(source["first"].encode()),
            table_from_line(source["now"].encode()),
            tuple(source["known"]),
        )
        for source in fields["sources"]
    )
    units = fields.get("max_write_units", 0.0)  # a sender of an earlier version refused a cap
    answers, store = fields.get("answers", {}), fields.get("store")
    return FunctionSettings(
        fields["began"], fields["concurrency"], sources, units, answers, Store(*store) if store else None
    )


def table_from_line(line: bytes) -> Table:
    """Raises LogCorrupt."""
    if not is_sound(line.rstrip(b"\n")):
        raise LogCorrupt("a table's definition does not match its checksum", place="table of marks", hint=_RESTORE)
    return read_table(orjson.loads(line))


_RESTORE = "Run `whimbrel migrate` again: it writes it again."


def _rule(fields: Mapping[str, Any]) -> TableRule:
    """The inverse of ``asdict``: what is nested, and tuples that became lists."""
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    found["partition_key"] = KeyRule(**fields["partition_key"])
    found["sort_key"] = KeyRule(**fields["sort_key"]) if fields["sort_key"] else None
    found["condition"] = ConditionRule(**fields["condition"]) if fields["condition"] else None
    found["ttl"] = TtlRule(**fields["ttl"]) if fields.get("ttl") else None
    found["indexes"] = tuple(map(_index, fields["indexes"]))
    return TableRule(**found)


def _index(fields: Mapping[str, Any]) -> IndexRule:
    sort, projection = fields["sort_key"], fields["projection"]
    return IndexRule(
        fields["name"],
        IndexKey(**fields["partition_key"]),
        IndexKey(**sort) if sort else None,
        fields["local"],
        projection if isinstance(projection, str) else tuple(projection),
    )

"""Names in the warehouse: those of the source in lower case, unless the project file gives others.

Engines fold names in different ways: DuckDB takes ``A`` and ``a`` for one name, Redshift makes both ``a``, and in
PostgreSQL whoever writes a query would have to quote them. Every statement of ours quotes all names, so reserved words
are names like others. What would meet another name, or be cut off, is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from whimbrel.errors import UnsupportedSource
from whimbrel.project import Silo
from whimbrel.records import Table

LONGEST = 63  # bytes: PostgreSQL cuts a longer name off
OF_THE_ENGINE = {
    "duckdb": frozenset({"rowid"}),
    "redshift": frozenset({"oid", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}),
    "postgres": frozenset({"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "oid"}),
}
# What history and soft deletes add to a table.
ADDED = frozenset({"valid_from", "valid_to", "deleted_at"})


def table_name(silo: Silo, table: str) -> str:
    return silo.names.get(table, table.lower())


def column_name(silo: Silo, table: str, column: str) -> str:
    return silo.names.get(f"{table}.{column}", column.lower())


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def name_faults(engine: str, silo: Silo, tables: Iterable[Table]) -> Iterator[UnsupportedSource]:
    """What keeps the names of ``tables`` and of their columns from being names in the warehouse."""
    found = list(tables)
    yield from _faults(silo, {table.name: (table_name(silo, table.name), "") for table in found}, frozenset())
    for table in found:
        named = {name: (column_name(silo, table.name, name), f"{table.name}.") for name in table.names}
        yield from _faults(silo, named, OF_THE_ENGINE[engine] | (ADDED if silo.keeps else frozenset()))


def _faults(silo: Silo, named: dict[str, tuple[str, str]], taken: frozenset[str]) -> Iterator[UnsupportedSource]:
    seen: dict[str, str] = {}
    for source, (name, before) in named.items():
        reason = ""
        if not name or "\0" in name:
            reason = "an empty name, or one with a NUL character, cannot be a name in the warehouse"
        elif len(name.encode()) > LONGEST:
            reason = f"the name has {len(name.encode())} bytes, and a name in the warehouse {LONGEST} at most"
        elif name.casefold() in taken:
            reason = f"the engine has {name!r} for itself"
        elif (other := seen.setdefault(name.casefold(), source)) != source:
            reason = f"in the warehouse, where case makes no difference, it has the same name as {before}{other}"
        if reason:
            said = f'Give it another one: names = {{ "{before}{source}" = "…" }} in its [[silo]].'
            yield UnsupportedSource(reason, place=f"{silo.name}: {before}{source}", hint=said)

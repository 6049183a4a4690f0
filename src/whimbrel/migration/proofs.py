"""What was proved of the captured tables at the start, proved again at each statement that alters one of them.

A statement is judged by its text first: the server shows a table only as it is now, which may be after a later
statement that undid this one, while rows written between the two were bound by no key. What the text leaves open is
read off the server.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Protocol

from whimbrel.errors import BEGIN_AGAIN, MappingError, SchemaDrift, UnsupportedSource
from whimbrel.migration.history import Name
from whimbrel.mysql.binlog.alterations import Alteration
from whimbrel.mysql.connect import Mysql, connect, server_info
from whimbrel.mysql.preflight import binlogs_cascades, table_faults
from whimbrel.mysql.schema import facts_of, named_unique_keys
from whimbrel.project import Source
from whimbrel.records import Position, Table

_BEGIN_AGAIN = BEGIN_AGAIN.capitalize()


class CapturedTables(Protocol):
    """Says what becomes of captured tables that are altered.

    ``follow``: of a table that is ``table`` from now on; ``replaced`` are columns whose values are others than before.
    Raises SchemaDrift where that is not decided, MappingError. ``doubts``: why its rows might not be told apart where
    they go, if only ``keys`` tell them apart at the source.
    """

    def follow(self, table: Table, replaced: Collection[str]) -> None: ...
    def doubts(self, table: Table, keys: Iterable[tuple[str, ...]]) -> Iterator[str]: ...


class Proofs:
    """Knows the keys of each captured table at the place in the log where the capture stands."""

    def __init__(self, source: Source, tables: CapturedTables) -> None:
        self._source = source
        self._tables = tables
        self._keys: dict[Name, dict[str, tuple[str, ...]]] = {}

    def learn(self, connection: Mysql, tables: Mapping[Name, Table]) -> None:
        """Read the keys of ``tables``, unless they are known. They may be those of later in the log than where the
        capture stands: what a statement before that drops is then seen as dropped all the same.
        """
        new = [name for name in tables if name not in self._keys]
        for name, facts in zip(new, facts_of(connection, new), strict=True):
            self._keys[name] = named_unique_keys(connection, tables[name], facts)

    def prove(self, table: Table, at: Position, sql: str, found: Alteration) -> None:
        """After ``sql``, which ends at ``at`` and made ``table`` what it is. Raises UnsupportedSource, SchemaDrift,
        MappingError, SourceUnreachable.
        """
        place = f"{table.full_name} at {at}"
        said = sql[:200]
        with closing(connect(self._source)) as connection:
            info = server_info(connection)
            if found.cascades and not binlogs_cascades(connection, info):
                raise UnsupportedSource(
                    f"a foreign key with {found.cascades[0]} was added: such changes are not in the binlog: {said}",
                    place=place,
                    hint=f"Define the key with RESTRICT, and begin again. {_BEGIN_AGAIN}.",
                )
            keys = self._keys_after(connection, table, found)
            self._still_told_apart(table, keys, place, said)
            self._keys[table.schema, table.name] = keys
            for fault in table_faults(connection, info, [table]):
                raise fault.error

    def _keys_after(self, connection: Mysql, table: Table, found: Alteration) -> dict[str, tuple[str, ...]]:
        present = named_unique_keys(connection, table)
        touched = {name.lower() for name in found.replaced | found.modified}
        dropped = {name.lower() for name in found.dropped_keys}
        kept = {
            index: columns
            for index, columns in self._keys[table.schema, table.name].items()
            if index.lower() not in dropped
            and (columns in present.values() or not touched.intersection(name.lower() for name in columns))
        }
        added = {tuple(name.lower() for name in columns) for columns in found.added_keys}
        new = {index: columns for index, columns in present.items() if tuple(name.lower() for name in columns) in added}
        return kept | new

    def _still_told_apart(self, table: Table, keys: Mapping[str, tuple[str, ...]], place: str, said: str) -> None:
        if table.primary_key not in keys.values():
            raise SchemaDrift(
                f"the key that tells its rows apart ({', '.join(table.primary_key)}) was dropped: {said}",
                place=place,
                hint=f"{_BEGIN_AGAIN}: rows written since may not be told apart by it.",
            )
        for doubt in self._tables.doubts(table, keys.values()):
            raise MappingError(
                f"its keys were changed, and {doubt}: {said}",
                place=place,
                hint="Write assert_unique = true if you know that no two rows ever do; else "
                f"{BEGIN_AGAIN}, with a key of the source in that of the target.",
            )

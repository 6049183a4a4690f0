"""What the warehouse itself knows of a silo, in the schema ``whimbrel``: how far it is, which chunks it has, and what
its tables are made of.

A row of it is written in the very transaction whose rows it speaks of. So what it says is true after any crash, and
whoever continues begins with what it says. The number of transactions is part of each one's condition: a second process
that writes the same silo finds that it has moved, and nothing of its transaction is kept.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import orjson

from whimbrel.changelog.record import LogPoint
from whimbrel.errors import StateError, WarehouseTaken
from whimbrel.records import Position
from whimbrel.warehouse.engine import EngineSession
from whimbrel.warehouse.names import quoted
from whimbrel.warehouse.stored import StoredTable, from_json, to_json
from whimbrel.warehouse.types import LONGEST_TEXT

SCHEMA = "whimbrel"
LOADING, FOLLOWING = "loading", "following"
_TABLES = {
    "silo": "name {text}, migration {text}, transactions BIGINT, phase {text}, segment BIGINT, place BIGINT, "
    "changes BIGINT, position {text}, committed FLOAT8, part BIGINT",
    "chunk": "silo {text}, source_table {text}, export {text}, number BIGINT, row_count BIGINT",
    "stored": "silo {text}, source_table {text}, definition {text}, version BIGINT, unfilled {text}",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """How far one silo is. ``migration`` names the state folder that writes it, and ``transactions`` counts what that
    wrote. Everything in the change log before ``point``, ``changes`` of them, is in the warehouse; ``position`` and
    ``committed`` are of the Commit there. ``part``: so many changes of the transaction behind it are there, too.
    """

    migration: str
    transactions: int = 0
    phase: str = LOADING
    point: LogPoint | None = None
    changes: int = 0
    position: Position | None = None
    committed: float = 0.0
    part: int = 0


@dataclass(frozen=True, slots=True)
class KeptTable:
    """A table of the warehouse, and the number of the version of the source's table that it has come to, from 0.

    ``unfilled`` are columns that were added, with the Position from which the source has them: rows that nobody has
    written since then may have values in them that no row event says.
    """

    table: StoredTable
    version: int = 0
    unfilled: Mapping[str, Position] = field(default_factory=dict)


def make_ledger(session: EngineSession) -> None:
    """Repeated without harm."""
    session.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    for name, columns in _TABLES.items():
        session.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.{name} ({columns.format(text=session.text)})")


def has_ledger(session: EngineSession) -> bool:
    return bool(
        session.fetch(
            "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", (SCHEMA, "stored")
        )
    )


def silos_of(session: EngineSession) -> list[str]:
    """All that the warehouse has."""
    return [name for (name,) in session.fetch(f"SELECT name FROM {SCHEMA}.silo ORDER BY name")]


def in_part(session: EngineSession) -> list[str]:
    """The silos of which a transaction of the source is there in part."""
    return [name for (name,) in session.fetch(f"SELECT name FROM {SCHEMA}.silo WHERE part > 0 ORDER BY name")]


class Ledger:
    """The entries of one silo. ``now`` is what was last read or written. Each call but ``read`` is to be made within a
    transaction of ``session``.
    """

    def __init__(self, silo: str) -> None:
        self.silo = silo
        self._now: Entry | None = None

    @property
    def now(self) -> Entry:
        assert self._now is not None, "read or claimed before"
        return self._now

    def read(self, session: EngineSession) -> Entry | None:
        """None where nobody has begun."""
        rows = session.fetch(
            "SELECT migration, transactions, phase, segment, place, changes, position, committed, part "
            f"FROM {SCHEMA}.silo WHERE name = ?",
            (self.silo,),
        )
        if not rows:
            return None
        migration, transactions, phase, segment, place, changes, position, committed, part = rows[0]
        point = None if segment is None else LogPoint(segment, place)
        at = Position(**orjson.loads(position)) if position else None
        self._now = Entry(migration, transactions, phase, point, changes, at, committed, part)
        return self._now

    def claim(self, session: EngineSession, migration: str) -> None:
        """Begin; what is left here of a silo that was dropped goes. Raises WarehouseTaken if the silo's schema has
        tables: they are somebody else's.
        """
        self.prove_free(session)
        for table, column in (("silo", "name"), ("chunk", "silo"), ("stored", "silo")):
            session.execute(f"DELETE FROM {SCHEMA}.{table} WHERE {column} = ?", (self.silo,))
        session.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(self.silo)}")
        session.execute(
            f"INSERT INTO {SCHEMA}.silo VALUES (?, ?, 0, ?, NULL, NULL, 0, NULL, 0, 0)", (self.silo, migration, LOADING)
        )
        self._now = Entry(migration)

    def prove_free(self, session: EngineSession) -> None:
        """Raises WarehouseTaken if the silo's schema has tables."""
        if there := self.tables_there(session):
            raise WarehouseTaken(
                f"the schema has tables that whimbrel did not make: {', '.join(there[:5])}",
                place=self.silo,
                hint="Give the silo another name, or drop that schema.",
            )

    def is_dropped(self, session: EngineSession) -> bool:
        """Whether it had tables, and somebody has dropped all of them, as whoever begins it again does."""
        return bool(self.tables(session)) and not self.tables_there(session)

    def tables_there(self, session: EngineSession) -> list[str]:
        rows = session.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = ? ORDER BY table_name", (self.silo,)
        )
        return [name for (name,) in rows]

    def advance(self, session: EngineSession, entry: Entry | None = None) -> Entry:
        """Note ``entry``, or only that there was one more transaction. Raises WarehouseTaken if another process wrote
        the silo since. What it returns is to be given to ``advanced`` once the transaction is durable.
        """
        fresh = replace(entry or self.now, transactions=self.now.transactions + 1)
        segment, place = fresh.point if fresh.point else (None, None)
        position = orjson.dumps(fresh.position.as_fields()).decode() if fresh.position else None
        changed = session.execute(
            f"UPDATE {SCHEMA}.silo SET transactions = ?, phase = ?, segment = ?, place = ?, changes = ?, position = ?, "
            "committed = ?, part = ? WHERE name = ? AND migration = ? AND transactions = ?",
            (
                *(fresh.transactions, fresh.phase, segment, place, fresh.changes, position, fresh.committed),
                *(fresh.part, self.silo, fresh.migration, self.now.transactions),
            ),
        )
        if changed != 1:
            raise WarehouseTaken(
                "another process has written this silo since this one began",
                place=self.silo,
                hint="Continue with its state folder. A copy of a state folder must not be used beside the first.",
            )
        return fresh

    def advanced(self, entry: Entry) -> None:
        self._now = entry

    # -- chunks of the load --------------------------------------------------------------------------------------------

    def chunks(self, session: EngineSession, source_table: str) -> dict[str, dict[int, int]]:
        """The rows of the chunks that are loaded, by number, by their export's name."""
        rows = session.fetch(
            f"SELECT export, number, row_count FROM {SCHEMA}.chunk WHERE silo = ? AND source_table = ?",
            (self.silo, source_table),
        )
        found: dict[str, dict[int, int]] = {}
        for export, number, count in rows:
            found.setdefault(export, {})[number] = count
        return found

    def add_chunk(self, session: EngineSession, source_table: str, export: str, number: int, rows: int) -> None:
        session.execute(
            f"INSERT INTO {SCHEMA}.chunk VALUES (?, ?, ?, ?, ?)", (self.silo, source_table, export, number, rows)
        )

    def forget_chunks(self, session: EngineSession, source_table: str, export: str | None = None) -> None:
        """Those of ``export``, or all."""
        only, values = (" AND export = ?", (export,)) if export else ("", ())
        session.execute(
            f"DELETE FROM {SCHEMA}.chunk WHERE silo = ? AND source_table = ?{only}", (self.silo, source_table, *values)
        )

    # -- tables --------------------------------------------------------------------------------------------------------

    def tables(self, session: EngineSession) -> dict[tuple[str, str], KeptTable]:
        """By the source's schema and name."""
        rows = session.fetch(f"SELECT definition, version, unfilled FROM {SCHEMA}.stored WHERE silo = ?", (self.silo,))
        found = {}
        for definition, version, unfilled in rows:
            table = from_json(orjson.loads(_unpacked(definition)))
            left = {name: Position(**since) for name, since in orjson.loads(unfilled).items()}
            found[table.source] = KeptTable(table, version, left)
        return found

    def put_table(self, session: EngineSession, kept: KeptTable) -> None:
        name = ".".join(kept.table.source)
        session.execute(f"DELETE FROM {SCHEMA}.stored WHERE silo = ? AND source_table = ?", (self.silo, name))
        left = {column: since.as_fields() for column, since in kept.unfilled.items()}
        values = (_packed(orjson.dumps(to_json(kept.table))), kept.version, orjson.dumps(left).decode())
        session.execute(f"INSERT INTO {SCHEMA}.stored VALUES (?, ?, ?, ?, ?)", (self.silo, name, *values))


def _packed(definition: bytes) -> str:
    """As it is, or compressed where it is longer than a text of Redshift: from some 250 columns on."""
    return definition.decode() if len(definition) <= LONGEST_TEXT else b64encode(zlib.compress(definition)).decode()


def _unpacked(text: str) -> bytes:
    return text.encode() if text.startswith("{") else zlib.decompress(b64decode(text))


def same_migration(entry: Entry, migration: str, place: str) -> None:
    """Raises WarehouseTaken where another state folder began the silo, StateError where this one was lost."""
    if not migration:
        raise StateError(
            "the warehouse has this silo already, and its state folder is empty",
            place=place,
            hint="Put the state folder back, or drop the silo's schema to begin again.",
        )
    if entry.migration != migration:
        raise WarehouseTaken(
            f"it was begun by another state folder ({entry.migration})",
            place=place,
            hint="Continue with that one, or give the silo another name.",
        )

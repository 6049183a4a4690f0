"""What look-ups read: a file of SQLite in the state folder with the rows of every table that looks columns up, and of
the tables that are looked up only the columns that are, each as of one place in the change log.

The file is filled from the export before the first item is loaded, under another name until it is whole and durable.
From then on the applier alone writes it. What it writes since a save is in one transaction: a process that ends leaves
the file as of that save, which says which place in the log that is (``AsOf``).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from whimbrel.durable import sync_folder
from whimbrel.errors import StateError

CACHE_KIB = 32 << 10


class AsOf(NamedTuple):
    """``point`` is the log's (segment, offset), None before the first change; ``applied`` counts the changes before it.
    ``position`` and ``time`` are those of the last Commit before it. ``saved`` is the ``point`` of the save before.
    """

    point: tuple[int, int] | None = None
    applied: int = 0
    position: dict[str, Any] | None = None
    time: float = 0.0
    saved: tuple[int, int] | None = None


class WaitingRows(NamedTuple):
    """Rows of table number ``child`` that wait for what its look-up number ``look`` gives for ``key`` by now: those
    whose own key is after ``after`` (None: all). ``olds``: what it gave before, with which they may have been written.
    """

    child: int
    look: int
    key: bytes
    olds: list[bytes | None]
    after: bytes | None = None


class StoredRow(NamedTuple):
    """``version`` is the number of the table's definition that ``row`` was written with."""

    key: bytes
    version: int
    row: bytes


class JoinStore:
    """``kept`` tables that are looked up, by number, and for each table that looks up how many look-ups it has.

    ``layout`` says what the numbers mean; a file of another layout is refused. Raises StateError.
    """

    def __init__(self, path: Path, kept: int, looks: Sequence[int], layout: Any) -> None:
        self.path = path
        self._kept, self._looks = kept, looks
        self._layout = orjson.dumps(layout, option=orjson.OPT_SORT_KEYS)
        self._new = path.with_suffix(".new")
        self._row = [f"SELECT key, version, row FROM rows_{child} WHERE key = ?" for child in range(len(looks))]
        places = [", ".join("?" * (3 + each)) for each in looks]
        self._put = [f"INSERT OR REPLACE INTO rows_{child} VALUES ({each})" for child, each in enumerate(places)]
        self._connection: sqlite3.Connection | None = None

    # -- as a whole ----------------------------------------------------------------------------------------------------

    def open(self) -> bool:
        """Whether there is a file, which is open then. Raises StateError if it is of something else."""
        if not self.path.exists():
            return False
        with understood(self.path):
            self._connect(self.path, "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")
            same = self._meta("layout") == self._layout
        if not same:
            self.close()
            raise StateError(
                "was made for other look-ups", place=str(self.path), hint="Put back the project file that made it."
            )
        with understood(self.path):
            self._run("BEGIN")
        return True

    @contextmanager
    def filling(self, origin: Any) -> Iterator[None]:
        """A new file, which is there when this ends. ``origin`` says what it is filled from."""
        self.close()
        for each in (self._new, *(Path(f"{self.path}{end}") for end in ("", "-wal", "-shm"))):
            each.unlink(missing_ok=True)
        with understood(self.path):
            self._connect(self._new, "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF")
            self._make()
            self._run("BEGIN")
        yield
        with understood(self.path):
            for number, looks in enumerate(self._looks):
                for look in range(looks):  # when the rows are there: they come in no order of these
                    self._run(f"CREATE INDEX rows_{number}_by_{look} ON rows_{number} (by_{look}, key)")
            self._set_meta("layout", self._layout)
            self._set_meta("origin", orjson.dumps(origin, option=orjson.OPT_SORT_KEYS))
            self._set_meta("as_of", orjson.dumps(tuple(AsOf())))
            self._run("COMMIT")
            self.close()
        try:
            with open(self._new, "rb") as file:
                os.fsync(file.fileno())
            self._new.replace(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise StateError(f"cannot be written: {error.strerror}", place=str(self.path), hint=_DISK) from error

    def is_from(self, origin: Any) -> bool:
        with understood(self.path):
            return self._meta("origin") == orjson.dumps(origin, option=orjson.OPT_SORT_KEYS)

    def as_of(self) -> AsOf:
        with understood(self.path):
            point, applied, position, time, saved = orjson.loads(self._meta("as_of"))
        return AsOf(point and tuple(point), applied, position, time, saved and tuple(saved))

    def waiting(self) -> list[WaitingRows]:
        with understood(self.path):
            found = self._run("SELECT child, look, key, olds, after FROM waiting ORDER BY rowid").fetchall()
        return [
            WaitingRows(child, look, key, [None if old is None else old.encode() for old in orjson.loads(olds)], after)
            for child, look, key, olds, after in found
        ]

    def save(self, now: AsOf, waiting: Iterable[WaitingRows]) -> None:
        """Durable when it returns. Must be called before a Checkpoint is saved that has passed ``now.point``."""
        with understood(self.path):
            self._run("DELETE FROM waiting")
            lines = (
                (one.child, one.look, one.key, orjson.dumps([old and old.decode() for old in one.olds]), one.after)
                for one in waiting
            )
            self._many("INSERT INTO waiting VALUES (?, ?, ?, ?, ?)", lines)
            self._set_meta("as_of", orjson.dumps(tuple(now)))
            self._run("COMMIT")
            self._run("BEGIN")

    def close(self) -> None:
        """What was not saved is as if it had not been."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.rollback()
            self._connection.close()
            self._connection = None

    # -- tables that are looked up -------------------------------------------------------------------------------------
    # Called for each change: the caller is within ``understood``.

    def looked_up(self, number: int, key: bytes) -> bytes | None:
        found = self._run(f"SELECT row FROM kept_{number} WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def keep(self, number: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        self._many(f"INSERT OR REPLACE INTO kept_{number} VALUES (?, ?)", rows)

    def drop(self, number: int, key: bytes) -> None:
        self._run(f"DELETE FROM kept_{number} WHERE key = ?", (key,))

    # -- tables that look up -------------------------------------------------------------------------------------------

    def row(self, child: int, key: bytes) -> StoredRow | None:
        found = self._run(self._row[child], (key,)).fetchone()
        return StoredRow(*found) if found else None

    def put(self, child: int, rows: Iterable[tuple[Any, ...]]) -> None:
        """Each row is (key, version, row, and for each look-up what it looks up by, or None)."""
        self._many(self._put[child], rows)

    def put_one(self, child: int, row: tuple[Any, ...]) -> None:
        self._run(self._put[child], row)

    def remove(self, child: int, key: bytes) -> None:
        self._run(f"DELETE FROM rows_{child} WHERE key = ?", (key,))

    def rows_by(self, child: int, look: int, by: bytes, after: bytes | None, most: int) -> list[StoredRow]:
        """``most`` of the rows that look up ``by``, in the order of their keys, those ``after`` a key."""
        statement = f"SELECT key, version, row FROM rows_{child} WHERE by_{look} = ? AND key > ? ORDER BY key LIMIT ?"
        return [StoredRow(*found) for found in self._run(statement, (by, after or b"", most))]

    def versions(self) -> list[tuple[int, str, bytes]]:
        """The definitions of tables that look up: number, the table's name, and what ``add_version`` was given."""
        return self._run("SELECT number, source, definition FROM versions ORDER BY number").fetchall()

    def add_version(self, source: str, definition: bytes) -> int:
        made = self._run("INSERT INTO versions (source, definition) VALUES (?, ?)", (source, definition))
        return made.lastrowid or 0

    # -- SQLite ------------------------------------------------------------------------------------------------------

    def _connect(self, path: Path, *pragmas: str) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in (*pragmas, f"PRAGMA cache_size = -{CACHE_KIB}", "PRAGMA temp_store = FILE"):
            self._run(pragma)

    def _make(self) -> None:
        self._run("CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL)")
        self._run("CREATE TABLE versions (number INTEGER PRIMARY KEY, source TEXT NOT NULL, definition BLOB NOT NULL)")
        self._run("CREATE TABLE waiting (child INTEGER, look INTEGER, key BLOB, olds BLOB, after BLOB)")
        for number in range(self._kept):
            self._run(f"CREATE TABLE kept_{number} (key BLOB PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID")
        for number, looks in enumerate(self._looks):
            by = "".join(f", by_{look} BLOB" for look in range(looks))
            columns = f"key BLOB PRIMARY KEY, version INTEGER NOT NULL, row BLOB NOT NULL{by}"
            self._run(f"CREATE TABLE rows_{number} ({columns}) WITHOUT ROWID")

    def _run(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        assert self._connection is not None, "it is open"
        return self._connection.execute(statement, values)

    def _many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        assert self._connection is not None, "it is open"
        self._connection.executemany(statement, rows)

    def _meta(self, name: str) -> bytes:
        found = self._run("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise sqlite3.DatabaseError(f"it has no {name}")
        return bytes(found[0])

    def _set_meta(self, name: str, value: bytes) -> None:
        self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


_DISK = "Free disk space, or repair the disk, and run the same command again."
_RESTORE = "Restore the state folder from one copy, or begin again with a new one."


@contextmanager
def understood(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StateError(f"cannot be read or written: {error}", place=str(path), hint=_DISK) from error
    except (sqlite3.Error, orjson.JSONDecodeError, ValueError) as error:
        raise StateError(f"is damaged: {error}", place=str(path), hint=_RESTORE) from error

"""What look-ups read: a file of SQLite in the state folder with the rows of every table that looks columns up, and of
the tables that are looked up only the columns that are, each as of one place in the change log.

The file is filled from the export before the first item is loaded, under another name until it is whole and durable.
From then on the applier alone writes it. What it writes since a save is in one transaction: a process that ends leaves
the file as of that save, which says which place in the log that is (``AsOf``).

Whoever opens the file has read all of it: SQLite looks whether its pages and indexes fit together, and every value has
a checksum with its key (``join_check``). So what a disk made of it is found before anything is joined with it.
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
from whimbrel.migration.join_check import check, plain, summed, summed_row

CACHE_KIB = 32 << 10
FORMAT = 1
AT_ONCE = 1_000  # keys in one statement
ALL = -1  # in place of a look-up: rows wait whatever they look up
_OF_THE_DISK = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
_OF_THE_DISK |= {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM}
_DAMAGES = {sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
MAKE_AGAIN = (
    "Remove it: where no other table decides on the place of an item, it is made again from the source, and all items "
    "that have something looked up are written again. Or restore the whole state folder from one copy."
)


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
    The look-up ``ALL``: of every row of the table nobody knows with what it was written, nor whether it was.
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
        self._layout = orjson.dumps([FORMAT, layout], option=orjson.OPT_SORT_KEYS)
        self._new = path.with_suffix(".new")
        places = [", ".join("?" * (3 + each)) for each in looks]
        self._put = [f"INSERT OR REPLACE INTO rows_{child} VALUES ({each})" for child, each in enumerate(places)]
        self._connection: sqlite3.Connection | None = None

    # -- as a whole ----------------------------------------------------------------------------------------------------

    def open(self) -> bool:
        """Whether there is a file, which is open then, and was read. Raises StateError if it is of something else, or
        not as it was written.
        """
        if not self.path.exists():
            return False
        try:
            with understood(self.path):
                self._connect(self.path, "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")
                ours = self._checked()
                self._run("BEGIN")
            if not ours:
                hint = "Put back the project file and the version of whimbrel that made it."
                raise StateError("was made for other look-ups", place=str(self.path), hint=hint)
        except BaseException:
            self.close()
            raise
        return True

    @contextmanager
    def filling(self, origin: Any, as_of: AsOf, waiting: Sequence[WaitingRows]) -> Iterator[None]:
        """A new file, which is there when this ends. ``origin`` says what it is filled from, ``as_of`` and ``waiting``
        are what it begins with.
        """
        self.close()
        remove_store(self.path)
        with understood(self.path):
            quick = ("page_size = 16384", "journal_mode = OFF", "synchronous = OFF")
            self._connect(self._new, *(f"PRAGMA {each}" for each in quick))
            self._make()
            self._run("BEGIN")
        yield
        with understood(self.path):
            for number, looks in enumerate(self._looks):
                for look in range(looks):  # when the rows are there: they come in no order of these
                    self._run(f"CREATE INDEX rows_{number}_by_{look} ON rows_{number} (by_{look}, key)")
            self._set_meta("layout", self._layout)
            self._set_meta("origin", orjson.dumps(origin, option=orjson.OPT_SORT_KEYS))
            self._note(as_of, waiting)
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
                WaitingRows(child, look, key, _olds(plain(olds, key, after or b"", child, look)), after)
                for child, look, key, olds, after in found
            ]

    def save(self, now: AsOf, waiting: Iterable[WaitingRows]) -> None:
        """Durable when it returns. Must be called before a Checkpoint is saved that has passed ``now.point``."""
        with understood(self.path):
            self._note(now, waiting)
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
        return plain(found[0], key) if found else None

    def all_looked_up(self, number: int, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Key and row of those of ``keys`` that there are."""
        for at in range(0, len(keys), AT_ONCE):
            some = keys[at : at + AT_ONCE]
            among = ", ".join("?" * len(some))
            for key, row in self._run(f"SELECT key, row FROM kept_{number} WHERE key IN ({among})", some):
                yield key, plain(row, key)

    def keep(self, number: int, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Each row is (key, row)."""
        summed_rows = ((key, summed(row, key)) for key, row in rows)
        self._many(f"INSERT OR REPLACE INTO kept_{number} VALUES (?, ?)", summed_rows)

    def drop(self, number: int, key: bytes) -> None:
        self._run(f"DELETE FROM kept_{number} WHERE key = ?", (key,))

    # -- tables that look up -------------------------------------------------------------------------------------------

    def rows_of(self, child: int, keys: Sequence[bytes]) -> Iterator[StoredRow]:
        """Those of ``keys`` that there are."""
        for at in range(0, len(keys), AT_ONCE):
            some = keys[at : at + AT_ONCE]
            among = ", ".join("?" * len(some))
            yield from map(_row, self._run(f"SELECT key, version, row FROM rows_{child} WHERE key IN ({among})", some))

    def put(self, child: int, rows: Iterable[tuple[Any, ...]]) -> None:
        """Each row is (key, version, row, and for each look-up what it looks up by, or None)."""
        self._many(self._put[child], map(_summed, rows))

    def remove(self, child: int, keys: Iterable[bytes]) -> None:
        self._many(f"DELETE FROM rows_{child} WHERE key = ?", ((key,) for key in keys))

    def rows_by(self, child: int, look: int, by: bytes, after: bytes | None, most: int) -> list[StoredRow]:
        """``most`` of the rows that look up ``by``, in the order of their keys, those ``after`` a key."""
        statement = f"SELECT key, version, row FROM rows_{child} WHERE by_{look} = ? AND key > ? ORDER BY key LIMIT ?"
        return [_row(found) for found in self._run(statement, (by, after or b"", most))]

    def rows_after(self, child: int, after: bytes | None, most: int) -> list[StoredRow]:
        """``most`` of all rows, likewise."""
        statement = f"SELECT key, version, row FROM rows_{child} WHERE key > ? ORDER BY key LIMIT ?"
        return [_row(found) for found in self._run(statement, (after or b"", most))]

    def versions(self) -> list[tuple[int, str, bytes]]:
        """The definitions of tables that look up: number, the table's name, and what ``add_version`` was given."""
        found = self._run("SELECT number, source, definition FROM versions ORDER BY number")
        return [(number, source, plain(text, source.encode(), number)) for number, source, text in found]

    def add_version(self, source: str, definition: bytes) -> int:
        number = 1 + int(self._run("SELECT COALESCE(MAX(number), 0) FROM versions").fetchone()[0])
        self._run(
            "INSERT INTO versions VALUES (?, ?, ?)", (number, source, summed(definition, source.encode(), number))
        )
        return number

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

    def _run(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        assert self._connection is not None, "it is open"
        return self._connection.execute(statement, values)

    def _many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        assert self._connection is not None, "it is open"
        self._connection.executemany(statement, rows)

    def _meta(self, name: str) -> bytes:
        found = self._run("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise sqlite3.DatabaseError(f"it has no {name}")
        return plain(found[0], name.encode())

    def _set_meta(self, name: str, value: bytes) -> None:
        self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, summed(value, name.encode())))

    def _note(self, as_of: AsOf, waiting: Iterable[WaitingRows]) -> None:
        self._run("DELETE FROM waiting")
        for child, look, key, olds, after in waiting:
            texts = orjson.dumps([old and old.decode() for old in olds])
            line = (child, look, key, summed(texts, key, after or b"", child, look), after)
            self._run("INSERT INTO waiting VALUES (?, ?, ?, ?, ?)", line)
        self._set_meta("as_of", orjson.dumps(tuple(as_of)))

    def _checked(self) -> bool:
        """Whether it is of this layout; if so, all of it is as it was written. Raises sqlite3.DatabaseError."""
        assert self._connection is not None, "it is open"
        try:
            if self._meta("layout") != self._layout:
                return False
            check(self._connection, self._kept, self._looks)
            self.as_of()
            self.waiting()
            self.versions()
            self._meta("origin")
        except (TypeError, OverflowError, AttributeError) as error:  # a value of another kind than was written
            raise sqlite3.DatabaseError(f"it has {error}") from error
        return True


def remove_store(path: Path) -> None:
    """Durable when it returns. Raises StateError."""
    try:
        for each in (path.with_suffix(".new"), *(Path(f"{path}{end}") for end in ("", "-wal", "-shm"))):
            each.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StateError(f"cannot be removed: {error.strerror}", place=str(path), hint=_DISK) from error


def _summed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    key, version, record, *by = row
    return key, version, summed_row(record, key, version), *by


def _row(found: tuple[bytes, int, bytes]) -> StoredRow:
    key, version, row = found
    return StoredRow(key, version, plain(row, key, version))


def _olds(texts: bytes) -> list[bytes | None]:
    return [None if old is None else old.encode() for old in orjson.loads(texts)]


_DISK = "Free disk space, or repair the disk, and run the same command again."


@contextmanager
def understood(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, ValueError) as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if isinstance(error, sqlite3.OperationalError) and code & 0xFF in _OF_THE_DISK and code not in _DAMAGES:
            raise StateError(f"cannot be read or written: {error}", place=str(path), hint=_DISK) from error
        raise StateError(f"is damaged: {error}", place=str(path), hint=MAKE_AGAIN) from error

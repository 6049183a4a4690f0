"""Whether a file of ``JoinStore`` is as it was written: its checksums, and one reading of all of it.

SQLite sees to its pages, and to what a process that died left of a transaction. What it does not look at is what a disk
made of the values: so each has a checksum with its key. Rows that are not found would be taken for ones that are not
there: so all keys are in order, and an index has exactly what its table has.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from zlib import crc32

_BYTES = 4


def summed(value: bytes, *keys: bytes | int) -> bytes:
    """``value`` with a checksum of it and of ``keys``, under which it is stored."""
    return value + _sum(value, keys).to_bytes(_BYTES, "little")


def summed_row(record: bytes, key: bytes, version: int) -> bytes:
    """As ``summed``, of a row: for each that is written."""
    return record + crc32(record, crc32(key) ^ version).to_bytes(_BYTES, "little")


def plain(stored: bytes, *keys: bytes | int) -> bytes:
    """What was ``summed``. Raises sqlite3.DatabaseError if it does not fit its checksum."""
    value = stored[:-_BYTES]
    if _sum(value, keys) != int.from_bytes(stored[-_BYTES:], "little"):
        raise sqlite3.DatabaseError("a value does not match its checksum")
    return value


def check(connection: sqlite3.Connection, kept: int, looks: Sequence[int]) -> None:
    """Read all that there is of so many tables. Raises sqlite3.DatabaseError, and whatever else damage leads to."""
    [(said,)] = connection.execute("PRAGMA quick_check(1)")
    if said != "ok":
        raise sqlite3.DatabaseError(str(said))
    for number in range(kept):
        _check_kept(connection, number)
    for number, several in enumerate(looks):
        _check_rows(connection, number, several)


def _sum(value: bytes, keys: Sequence[bytes | int]) -> int:
    found = 0
    for key in keys:
        found = crc32(key, found) if isinstance(key, bytes) else found ^ key
    return crc32(value, found)


def _check_kept(connection: sqlite3.Connection, number: int) -> None:
    last = b""
    for key, row in connection.execute(f"SELECT key, row FROM kept_{number} ORDER BY key"):
        plain(row, key)
        if key <= last:
            raise sqlite3.DatabaseError(f"the rows of kept_{number} are not in order")
        last = key


def _check_rows(connection: sqlite3.Connection, number: int, looks: int) -> None:
    """An index has what its table has if the sums of both are the same, in any order."""
    last, sums = b"", [0] * looks
    by = "".join(f", by_{look}" for look in range(looks))
    for key, version, row, *several in connection.execute(
        f"SELECT key, version, row{by} FROM rows_{number} ORDER BY key"
    ):
        plain(row, key, version)
        if key <= last:
            raise sqlite3.DatabaseError(f"the rows of rows_{number} are not in order")
        last = key
        for look, one in enumerate(several):
            if one is not None:
                sums[look] += crc32(one, crc32(key))
    for look in range(looks):
        if _sum_of_index(connection, number, look) != sums[look]:
            raise sqlite3.DatabaseError(f"index rows_{number}_by_{look} is not that of its table")


def _sum_of_index(connection: sqlite3.Connection, number: int, look: int) -> int:
    name, found = f"by_{look}", 0
    statement = (
        f"SELECT {name}, key FROM rows_{number} INDEXED BY rows_{number}_{name} "
        f"WHERE {name} IS NOT NULL ORDER BY {name}, key"
    )
    last = (b"", b"")
    for by, key in connection.execute(statement):
        if (by, key) <= last:
            raise sqlite3.DatabaseError(f"index rows_{number}_{name} is not in order")
        last = by, key
        found += crc32(by, crc32(key))
    return found

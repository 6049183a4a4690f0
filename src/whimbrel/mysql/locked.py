"""A Position under a read lock that no writer waits for longer than a moment, whatever else runs.

Writers queue behind a lock from the moment that it is asked for. FLUSH TABLES WITH READ LOCK waits for every statement
that runs, a long SELECT among them, and where it gives up, MySQL keeps half of it until the session ends. So each try
has a connection of its own, which another ends after LIMIT seconds, whatever it does then; and it is closed in any
case. Should both be cut off from the server, its own limits end the session after a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, NamedTuple

import pymysql

from whimbrel.errors import PrivilegeError, SourceUnreachable, Stopped, WhimbrelError
from whimbrel.mysql.connect import Mysql, connect, mysql_position, place_of, quoted, rows_as_dicts, translate
from whimbrel.project import Source
from whimbrel.records import Position, Table

LIMIT = 0.2  # seconds from asking to the end; leaves a third of the 300 ms that a write may wait to the server's answer
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)  # seconds between the tries of all ways

_ACCESS_DENIED = {1044, 1045, 1142, 1227}


class Lock(NamedTuple):
    """``held_ms``: the longest time from asking for a lock to its release, over all tries."""

    position: Position
    name: str
    held_ms: float


class _Try(NamedTuple):
    position: Position | None
    held_ms: float
    denied: str = ""


def position_under_lock(source: Source, tables: list[Table], wait: Callable[[float], object]) -> Lock:
    """MySQL's Position under a global read lock, or under one of the captured tables alone.

    Raises PrivilegeError when the account may take neither, SourceUnreachable when every try took too long, Stopped.
    """
    names = ", ".join(f"{quoted(table.schema)}.{quoted(table.name)} READ" for table in tables)
    ways = {"FLUSH TABLES WITH READ LOCK": "", "LOCK TABLES": names}
    longest = 0.0
    for pause in (*PAUSES, 0.0):
        for name, rest in list(ways.items()):
            done = _try(source, f"{name} {rest}".strip())
            longest = max(longest, done.held_ms)
            if done.position:
                return Lock(done.position, name, longest)
            if done.denied:
                del ways[name]
                if not ways:
                    raise _denied(source, done.denied)
        if wait(pause):
            raise Stopped("the start was not fixed yet")
    raise SourceUnreachable(
        f"no read lock within {LIMIT * 1000:.0f} ms, in {len(PAUSES) + 1} tries; writers waited for at most "
        f"{longest:.0f} ms. {_busy(source)}",
        place=place_of(source),
        hint="End what runs long, or GRANT SELECT ON performance_schema.* so that no lock is needed; then start again.",
    )


def _try(source: Source, statement: str) -> _Try:
    with closing(connect(source)) as ender, closing(connect(source, read_timeout=2)) as holder:
        # Should nobody end it: the wait ends after a second, and so does an idle session with its locks.
        rows_as_dicts(holder, "SET SESSION lock_wait_timeout = 1, wait_timeout = 1")
        number = rows_as_dicts(holder, "SELECT CONNECTION_ID() AS number")[0]["number"]
        limit = threading.Timer(LIMIT, _end, (ender, number))
        began = time.perf_counter()
        limit.start()
        position, denied = None, ""
        try:
            holder.query(statement)
            position = mysql_position(holder)
            with suppress(pymysql.err.Error):  # ended just now: the lock has gone too
                holder.query("UNLOCK TABLES")
        except (pymysql.err.Error, WhimbrelError) as error:
            denied = _unless_ended(error, source)
        finally:
            held = (time.perf_counter() - began) * 1000
            limit.cancel()
            limit.join()
    return _Try(position, held, denied)


def _end(ender: Mysql, number: int) -> None:
    with suppress(pymysql.err.Error, OSError):  # gone already, or unreachable: see the session's own limits
        ender.query(f"KILL CONNECTION {number}")


def _unless_ended(error: Any, source: Source) -> str:
    """The server's words if it denies the lock, "" if the try took too long; raises any other error."""
    code = error.args[0] if error.args else 0
    if code in _ACCESS_DENIED or isinstance(error, PrivilegeError):
        return str(error.args[-1])
    failure = translate(error, place_of(source))
    if isinstance(failure, SourceUnreachable):
        return ""
    raise failure from error


def _denied(source: Source, said: str) -> PrivilegeError:
    return PrivilegeError(
        f"cannot acquire the read lock needed to establish the start position: {said}",
        place=place_of(source),
        hint="GRANT RELOAD ON *.*, or GRANT LOCK TABLES, SELECT on the captured schema, to this account.",
    )


def _busy(source: Source) -> str:
    """What has been running longest, as far as this account may see it."""
    with closing(connect(source)) as connection:
        rows = rows_as_dicts(connection, "SHOW FULL PROCESSLIST")
    others = [
        row
        for row in rows
        if row["Info"] and "PROCESSLIST" not in row["Info"] and not str(row["Command"]).startswith("Binlog Dump")
    ]
    if not others:
        return "This account may not see what keeps it waiting (PROCESS)."
    row = max(others, key=lambda row: int(row["Time"] or 0))
    return f"Longest running: session {row['Id']} of {row['User']}, for {row['Time']} s: {str(row['Info'])[:100]}"

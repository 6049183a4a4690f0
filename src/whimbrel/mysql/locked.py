"""A Position under a read lock on the captured tables, for which no writer waits longer than a moment.

Writers queue behind a lock from the moment that it is asked for, and it is asked for behind every transaction that has
written to the tables. So each try has a connection of its own, which another ends after LIMIT seconds, whatever it does
then; and it is closed in any case. Should both be cut off from the server, its own limits end the session after a
second.

FLUSH TABLES WITH READ LOCK is never asked for: behind a long SELECT it holds up all writes, and even when it is ended
MySQL lets nobody open the tables of that SELECT again until it is through.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from typing import Any, NamedTuple

import pymysql

from whimbrel.errors import PrivilegeError, SourceUnreachable, Stopped, WhimbrelError
from whimbrel.mysql.connect import Mysql, connect, mysql_position, place_of, quoted, rows_as_dicts, translate
from whimbrel.project import Source
from whimbrel.records import Position, Table
from whimbrel.threads import Timer

LIMIT = 0.2  # seconds from asking to the end; leaves a third of the 300 ms that a write may wait to the server's answer
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0)  # seconds between the tries


class Lock(NamedTuple):
    """``held_ms``: the longest time from asking for the lock to its release, over all tries."""

    position: Position
    held_ms: float


class _Try(NamedTuple):
    position: Position | None
    held_ms: float


def position_under_lock(source: Source, tables: list[Table], wait: Callable[[float], object]) -> Lock:
    """MySQL's Position under a read lock of ``tables``: no transaction that wrote to them is in flight.

    Raises PrivilegeError when the account may not take it, SourceUnreachable when every try took too long, Stopped.
    """
    statement = "LOCK TABLES " + ", ".join(f"{quoted(table.schema)}.{quoted(table.name)} READ" for table in tables)
    longest = 0.0
    for pause in (*PAUSES, 0.0):
        done = _try(source, statement)
        longest = max(longest, done.held_ms)
        if done.position:
            return Lock(done.position, longest)
        if wait(pause):
            raise Stopped("the start was not fixed yet")
    raise SourceUnreachable(
        f"could not acquire a read lock after {len(PAUSES) + 1} attempts of {LIMIT * 1000:.0f} ms; writers waited for "
        f"at most {longest:.0f} ms. {busy(source)}",
        place=place_of(source),
        hint=f"End the transactions that write to the captured tables, or {_GRANT}; then start again.",
    )


_GRANT = "GRANT SELECT ON performance_schema.* to this account, so that no lock is needed"


def _try(source: Source, statement: str) -> _Try:
    with closing(connect(source)) as ender, closing(connect(source, read_timeout=2)) as holder:
        # Should nobody end it: the wait ends after a second, and so does an idle session with its locks.
        rows_as_dicts(holder, "SET SESSION lock_wait_timeout = 1, wait_timeout = 1")
        number = rows_as_dicts(holder, "SELECT CONNECTION_ID() AS number")[0]["number"]
        limit = Timer(LIMIT, partial(end_session, ender, number))
        began = time.perf_counter()
        limit.start()
        position = None
        try:
            holder.query(statement)
            position = mysql_position(holder)
            with suppress(pymysql.err.Error):  # ended just now: the lock has gone too
                holder.query("UNLOCK TABLES")
        except (pymysql.err.Error, WhimbrelError) as error:
            cannot = "cannot acquire the read lock needed to establish the start position"
            unless_ended(error, source, cannot, f"{_GRANT}; or GRANT LOCK TABLES, SELECT on the captured schema.")
        finally:
            held = (time.perf_counter() - began) * 1000
            limit.cancel()
            limit.join()
    return _Try(position, held)


def end_session(ender: Mysql, number: int) -> None:
    """By another connection."""
    with suppress(pymysql.err.Error, OSError):  # gone already, or unreachable: see the session's own limits
        ender.query(f"KILL CONNECTION {number}")


def unless_ended(error: Any, source: Source, cannot: str, hint: str) -> None:
    """Raise ``error``, unless the try took too long. ``cannot`` and ``hint`` are for a missing privilege."""
    failure = translate(error, place_of(source))
    if isinstance(failure, PrivilegeError):
        raise PrivilegeError(f"{cannot}: {failure.message}", place=place_of(source), hint=hint) from error
    if not isinstance(failure, SourceUnreachable):
        raise failure from error


def busy(source: Source) -> str:
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

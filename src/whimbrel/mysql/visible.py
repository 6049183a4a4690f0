"""The start: a Position with nothing in flight below it, where capture may begin.

A transaction is in the binlog before the storage engine shows it to readers, and it may stay between the two for as
long as a slow disk or a semi-synchronous replica takes. A Position that is merely read off the server can therefore
lie *behind* a transaction that a snapshot opened afterwards does not see yet: it would be neither in the snapshot nor
in the log. So the start is a Position all of whose past is proved to be visible, and no writer waits for the proof
where the server can give it:

- MariaDB says which Position a consistent snapshot shows. The engine's view and the Position are taken under one mutex,
  which a commit holds too while it becomes visible. XA COMMIT alone may be in the binlog a moment before that; while it
  is, XA RECOVER still lists it.
- MySQL lists the sessions within a commit: each holds the COMMIT metadata lock from before its transaction is in the
  binlog until after the engine shows it. When everything that held it after a Position was read has released it, all
  that lies before the Position is visible. GTIDs count as executed before the lock is released.
- Where MySQL does not show them (no SELECT on performance_schema, or it is switched off), ``locked`` asks for a lock
  on the captured tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple, TypeAlias

from whimbrel.errors import PrivilegeError, SchemaDrift, SourceError, SourceUnreachable, Stopped, UnsupportedSource
from whimbrel.mysql.connect import Mysql, binlog_status, connect, mysql_position, place_of, rows_as_dicts, server_info
from whimbrel.mysql.locked import position_under_lock
from whimbrel.project import Source
from whimbrel.records import Position, Table

Wait: TypeAlias = "Callable[[float], object]"  # seconds; true if the run is to stop

PATIENCE = 60.0  # seconds until what is within a commit must be through
_COMMITTING = (
    "SELECT OBJECT_TYPE AS kind, OWNER_THREAD_ID AS thread, OWNER_EVENT_ID AS event "
    "FROM performance_schema.metadata_locks WHERE LOCK_STATUS = 'GRANTED' AND ("
    "(OBJECT_TYPE = 'COMMIT' AND LOCK_TYPE = 'INTENTION_EXCLUSIVE') OR "
    "(OBJECT_SCHEMA = 'performance_schema' AND OBJECT_NAME = 'metadata_locks'))"
)
_LOST = "SHOW GLOBAL STATUS LIKE 'Performance_schema_metadata_lock_lost'"


class Start(NamedTuple):
    """``way``: how it was found, in words. ``held_ms``: the longest time for which writers may have waited for us."""

    position: Position
    way: str
    held_ms: float = 0.0


def fixed_start(source: Source, tables: list[Table], wait: Wait) -> Start:
    """The source's Position, all of whose past is visible to whoever reads from now on.

    Raises Stopped, PrivilegeError, UnsupportedSource, and SourceUnreachable when it cannot be proved for now.
    """
    with closing(connect(source)) as connection:
        if server_info(connection).flavor == "mariadb":
            return Start(_of_snapshot(connection, wait), "from a consistent snapshot, without a lock")
        if sees_commits(connection):
            return Start(_after_commits(connection, wait), "by the commits under way, without a lock")
    lock = position_under_lock(source, tables, wait)
    return Start(lock.position, "under a read lock", lock.held_ms)


def until_visible(source: Source, tables: list[Table], position: Position, wait: Wait) -> None:
    """Return when everything up to ``position``, which was read from the binlog, is visible to later reads. Raises as
    ``fixed_start``.
    """
    for pause in _pauses():
        if fixed_start(source, tables, wait).position.at_or_after(position):
            return
        _pause(wait, pause)
    raise SourceUnreachable(
        f"does not show what its binlog has up to {position}, within {PATIENCE:g} s",
        place=place_of(source),
        hint="Find out what holds up its commits (SHOW PROCESSLIST; a semi-synchronous replica?), then run it again.",
    )


def _of_snapshot(connection: Mysql, wait: Wait) -> Position:
    for pause in _pauses():
        position = _snapshot_position(connection)
        prepared = rows_as_dicts(connection, "XA RECOVER")
        if not prepared:
            return position
        _pause(wait, pause)
    names = ", ".join(str(row["data"]) for row in prepared[:3])
    raise SourceUnreachable(
        f"prepared XA transactions may be neither before the start nor after it: {names}",
        place=connection.host,
        hint="Commit them or roll them back (XA RECOVER lists them), then start again.",
    )


def _snapshot_position(connection: Mysql) -> Position:
    rows_as_dicts(connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    try:
        status = rows_as_dicts(connection, "SHOW STATUS LIKE 'Binlog_snapshot_%'")
    finally:
        rows_as_dicts(connection, "COMMIT")
    found = {row["Variable_name"].lower(): row["Value"] for row in status}
    file, offset = found.get("binlog_snapshot_file", ""), int(found.get("binlog_snapshot_position", 0))
    if not file:
        raise UnsupportedSource("the server writes no binlog", place="log_bin", hint="Start it with --log-bin")
    gtid = rows_as_dicts(connection, "SELECT BINLOG_GTID_POS(%s, %s) AS gtid", (file, offset))[0]["gtid"]
    if gtid is None:
        raise SourceUnreachable(
            f"the server has no {file}:{offset} any more", place=connection.host, hint="Start again."
        )
    return Position(file, offset, gtid)


def sees_commits(connection: Mysql) -> bool:
    """Whether MySQL shows this account which sessions are within a commit, and all of them."""
    try:
        return _committing(connection) is not None
    except (PrivilegeError, SchemaDrift, SourceError) as error:
        if isinstance(error, SourceUnreachable):
            raise
        return False


def _after_commits(connection: Mysql, wait: Wait) -> Position:
    """The order matters: the Position, then who is within a commit, then the GTIDs when these are through."""
    reached = binlog_status(connection)
    first = under_way = _committing(connection)
    for pause in _pauses():
        if first is None or under_way is None:
            break
        under_way &= first
        if not under_way:
            return Position(reached["File"], int(reached["Position"]), mysql_position(connection).gtid)
        _pause(wait, pause)
        under_way = _committing(connection)
    raise SourceUnreachable(
        f"{len(under_way or ())} transactions did not finish their commit within {PATIENCE:g} s",
        place=connection.host,
        hint="Find out what holds them up (SHOW PROCESSLIST; a semi-synchronous replica?), then start again.",
    )


def _committing(connection: Mysql) -> set[tuple[int, int]] | None:
    """(thread, event) of all within a commit; None if the server may not show all of them.

    It shows them if it shows the lock that this very query takes, and has never lost track of one.
    """
    rows = rows_as_dicts(connection, _COMMITTING)
    lost = rows_as_dicts(connection, _LOST)
    if not lost or int(lost[0]["Value"]) or all(row["kind"] == "COMMIT" for row in rows):
        return None
    return {(row["thread"], row["event"]) for row in rows if row["kind"] == "COMMIT"}


def _pauses() -> Iterator[float]:
    """Growing, PATIENCE seconds of them."""
    spent = 0.0
    for number in itertools.count():
        pause = min(0.01 * 1.5**number, 2.0)
        spent += pause
        if spent > PATIENCE:
            return
        yield pause


def _pause(wait: Wait, seconds: float) -> None:
    if wait(seconds):
        raise Stopped("the start was not fixed yet")

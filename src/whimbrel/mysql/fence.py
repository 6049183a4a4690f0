"""A Position with nothing in flight below it: where capture may begin.

A transaction is in the binlog before the storage engine shows it to readers, and it may stay between the two for as
long as a slow disk or a semi-synchronous replica takes. A Position that is merely read off the server can therefore
lie *behind* a transaction that a snapshot opened afterwards does not see yet: it would be neither in the snapshot nor
in the log. A read lock waits until every such transaction is through, so the Position read under the lock has all of
its past visible.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pymysql

from whimbrel.errors import PrivilegeError, SourceUnreachable
from whimbrel.mysql.connect import Mysql, current_position, translate
from whimbrel.records import Position, Table

LOCK_WAIT_SECONDS = 2  # writers queue behind a waiting lock, so it waits briefly and tries again
TRIES = 30

_ACCESS_DENIED = {1044, 1045, 1142, 1227}
_LOCK_WAIT_TIMEOUT = {1205}


def fenced_position(
    connection: Mysql,
    tables: list[Table],
    wait: Callable[[float], object] = time.sleep,
    under: Callable[[], object] = lambda: None,
) -> Position:
    """The source's Position, read under a read lock that is let go at once. ``under`` is called while it is held: no
    table is altered there.

    Raises PrivilegeError when the account may take neither lock, SourceUnreachable when a long transaction keeps it
    waiting.
    """
    ways = ["FLUSH TABLES WITH READ LOCK", "LOCK TABLES " + ", ".join(f"{_quoted(table)} READ" for table in tables)]
    for _ in range(TRIES):
        try:
            return _position_under(connection, ways[0], under)
        except pymysql.err.MySQLError as error:
            code = error.args[0] if error.args else 0
            if code in _ACCESS_DENIED and len(ways) > 1:
                ways.pop(0)
            elif code in _ACCESS_DENIED:
                raise PrivilegeError(
                    f"this account may not fix the start of the capture: {error.args[-1]}",
                    place=connection.host,
                    hint="GRANT RELOAD ON *.* or GRANT LOCK TABLES, SELECT on the captured schema to it.",
                ) from None
            elif code in _LOCK_WAIT_TIMEOUT:
                wait(1.0)
            else:
                raise translate(error, connection.host) from error
    raise SourceUnreachable(
        f"no read lock within {TRIES} tries of {LOCK_WAIT_SECONDS} s: a long transaction holds the captured tables",
        place=connection.host,
        hint="End it (SHOW PROCESSLIST), or start again when it is through.",
    )


def _position_under(connection: Mysql, lock: str, under: Callable[[], object]) -> Position:
    with connection.cursor() as cursor:
        cursor.execute(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}")
        cursor.execute(lock)
        try:
            under()
            return current_position(connection)
        finally:
            cursor.execute("UNLOCK TABLES")


def _quoted(table: Table) -> str:
    return ".".join("`" + name.replace("`", "``") + "`" for name in (table.schema, table.name))

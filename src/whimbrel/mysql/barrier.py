"""The barrier: all tables of a cutover locked for writing by one statement of one session, for a moment.

Writers queue behind the lock from the moment that it is asked for, and it is asked for behind every transaction that
has used the tables. So another connection ends the session after LIMIT seconds, the tries have growing pauses between
them, and they have an end. A lock that is granted is held for ``hold`` seconds at most: an idle session, or one whose
client is gone, is ended by the server itself.

What holds while the session has the lock: no transaction that wrote to the tables is open, also no prepared one (the
session is in ``autocommit = 0`` with ``innodb_table_locks = 1``, so InnoDB is asked as well), and no DDL gets at the
tables. CREATE TRIGGER, COMMIT and reading keep the lock; START TRANSACTION and BEGIN would release it without a word.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from typing import Any, NamedTuple, TypeVar

import pymysql

from whimbrel.errors import (
    FenceBroken,
    HandoverError,
    PrivilegeError,
    SourceUnreachable,
    Stopped,
    TablesBusy,
    WhimbrelError,
)
from whimbrel.mysql.client import SourceConnection
from whimbrel.mysql.connect import (
    Mysql,
    connect,
    current_position,
    place_of,
    quoted,
    rows_as_dicts,
    server_info,
    translate,
)
from whimbrel.mysql.errors import Code, code_of
from whimbrel.mysql.holders import holders
from whimbrel.mysql.locked import end_session, unless_ended
from whimbrel.project import Source
from whimbrel.records import Position
from whimbrel.threads import Timer

Name = tuple[str, str]  # schema and table
Tell = Callable[[str], object]
Wait = Callable[[float], object]  # seconds; true if the work is to stop
T = TypeVar("T")

LIMIT = 0.25  # seconds from asking for the lock until writers go on
PATIENCE = 60.0  # seconds, over all tries and the pauses between them
TOLD_AFTER, TOLD_EVERY = 2.0, 15.0  # seconds, until it is said who keeps the lock away, and again


@dataclass(slots=True)
class Barrier:
    """The session that holds the lock. ``asked`` and ``granted`` are by ``time.monotonic()``; ``waited_ms`` is the
    longest time for which writers waited in the tries that did not get the lock.
    """

    session: SourceConnection
    asked: float
    granted: float
    waited_ms: float = field(default=0.0)

    def position(self) -> Position:
        """The end of the binlog. Every transaction that wrote to the tables lies before it."""
        return current_position(self.session)

    def execute(self, statement: str, parameters: tuple[Any, ...] = ()) -> int:
        """As ``execute``, in this session."""
        return execute(self.session, statement, parameters)

    def rows(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        return rows_as_dicts(self.session, statement, parameters)

    def server(self) -> str:
        """The identity of the server that holds the lock."""
        return server_info(self.session).server_uuid

    def prepared(self) -> list[str]:
        """The XA transactions that are prepared on the server."""
        return prepared_transactions(self.session)

    def release(self) -> None:
        """Let writers go on. Raises SourceUnreachable if the session, and the lock with it, was gone already."""
        self.execute("COMMIT")  # first: InnoDB's own locks are the transaction's
        self.execute("UNLOCK TABLES")


class Pauses(NamedTuple):
    """Between two tries, in seconds: each is twice as long as the one before."""

    first: float
    longest: float


GENTLE = Pauses(0.25, 8.0)  # while an application writes: it waits with each try


class MayNot(NamedTuple):
    """What the account may not do, and the grant that it takes."""

    what: str
    hint: str


_MAY_NOT_LOCK = MayNot(
    "may not lock the tables", "GRANT LOCK TABLES, SELECT, TRIGGER on the schema of the tables to this account."
)


@contextmanager
def barrier(
    source: Source,
    tables: Sequence[Name],
    wait: Wait,
    *,
    hold: float,
    patience: float = PATIENCE,
    read: Collection[Name] = (),
    pauses: Pauses = GENTLE,
    tell: Tell | None = None,
) -> Iterator[Barrier]:
    """The lock of all ``tables``, until the end of the block at the latest. Those in ``read`` cannot be written to
    anyway, and the server would not lock them for writing; a read lock keeps that so. ``tell`` hears who keeps the lock
    away, while it is waited for.

    Raises TablesBusy when no try got it within ``patience`` seconds, PrivilegeError, Stopped, and the errors of
    ``connect``.
    """
    names = ", ".join(
        f"{quoted(schema)}.{quoted(name)} {'READ' if (schema, name) in read else 'WRITE'}" for schema, name in tables
    )
    longest = 0.0

    def attempt() -> Barrier | None:
        nonlocal longest
        held, waited = _try(source, f"LOCK TABLES {names}", hold, _MAY_NOT_LOCK)
        longest = max(longest, waited)
        return held

    held = patiently(attempt, source, wait, patience, tables, pauses, tell)
    held.waited_ms = longest
    with closing(held.session):  # whatever happens: the lock ends with its session
        _refuse_pooled(held, tables[0])
        yield held
        with suppress(WhimbrelError, pymysql.err.Error):
            held.release()


def _refuse_pooled(held: Barrier, table: Name) -> None:
    """The lock must be this very session's. Under LOCK TABLES a table cannot be read by a name that was not locked."""
    probe = f"SELECT 1 FROM {quoted(table[0])}.{quoted(table[1])} AS whimbrel_probe LIMIT 0"
    try:
        with held.session.cursor() as cursor:
            cursor.execute(probe)
    except pymysql.err.Error as error:
        if code_of(error) == Code.TABLE_NOT_LOCKED:
            return
        if code_of(error) != Code.LOCK_WAIT_TIMEOUT:  # by the lock that we asked for
            raise translate(error, "LOCK TABLES") from error
    raise FenceBroken(
        "the lock was granted to another session than the one that answers: a proxy in between pools sessions",
        place="LOCK TABLES",
        hint="Name the server itself in [source] url, or a proxy that keeps a connection on one session.",
    )


def prepared_transactions(connection: SourceConnection) -> list[str]:
    """XA RECOVER: those that no session has, too. Raises PrivilegeError where the account may not ask."""
    try:
        names = [row["data"] for row in rows_as_dicts(connection, "XA RECOVER")]
    except SourceUnreachable:
        raise
    except WhimbrelError as error:
        user = rows_as_dicts(connection, "SELECT CURRENT_USER() AS user")[0]["user"]
        raise PrivilegeError(
            f"may not ask for prepared XA transactions: {error.message}",
            place=f"user {user}",
            hint="GRANT XA_RECOVER_ADMIN ON *.* to this account.",
        ) from error
    return [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names]


def refuse_prepared(held: Barrier) -> None:
    """A prepared transaction may belong to any table, and commits whenever somebody says so."""
    if names := held.prepared():
        raise FenceBroken(
            f"prepared XA transactions are open: {', '.join(names[:3])}",
            place="XA RECOVER",
            hint="Commit them or roll them back, then start again.",
        )


def patiently(
    attempt: Callable[[], T | None],
    source: Source,
    wait: Wait,
    patience: float,
    tables: Sequence[Name] = (),
    pauses: Pauses = GENTLE,
    tell: Tell | None = None,
) -> T:
    """What ``attempt`` gives, once it gives something. Raises TablesBusy after ``patience`` seconds, Stopped."""
    began, longest, told = time.monotonic(), 0.0, 0.0
    for number in itertools.count():
        tried = time.monotonic()
        if (found := attempt()) is not None:
            return found
        now = time.monotonic()
        longest = max(longest, (now - tried) * 1000)
        pause = min(pauses.first * 2**number, pauses.longest)
        if now + pause - began > patience:
            break
        if tell and now - max(began, told) > (TOLD_EVERY if told else TOLD_AFTER):
            told = now
            tell(f"The tables are not locked yet, after {now - began:.0f} s. {holders(source, tables)}")
        if wait(pause):
            raise Stopped("the tables were not locked yet")
    raise TablesBusy(
        f"could not lock the tables within {patience:g} seconds ({number + 1} attempts of {LIMIT * 1000:.0f} ms); "
        f"writers waited for at most {longest:.0f} ms at a time. {holders(source, tables)}",
        place=place_of(source),
        hint="End the transaction that uses them, then run the same command again.",
    )


def executed_within_limit(source: Source, statement: str, may_not: MayNot) -> float | None:
    """Execute what waits for others as a lock does, in one try: how long it took, in seconds; None if it took longer
    than LIMIT, and then nobody knows whether it was executed. Raises PrivilegeError, and the errors of ``connect``.
    """
    held, _ = _try(source, statement, LIMIT, may_not)
    if held is None:
        return None
    held.session.close()
    return held.granted - held.asked


def _try(source: Source, statement: str, hold: float, may_not: MayNot) -> tuple[Barrier | None, float]:
    """The lock, or None and the milliseconds for which writers waited."""
    asked = time.monotonic()
    with closing(connect(source)) as ender:
        session = connect(source, ender)
        try:
            number = _prepare(session, hold)
            limit = Timer(LIMIT, partial(end_session, ender, number))
            asked = time.monotonic()
            limit.start()
            try:
                session.query(statement)
                granted = time.monotonic()
            finally:
                limit.cancel()
                limit.join()
            execute(session, "DO 0")  # it was not ended at the very moment that the lock was granted
            return Barrier(session, asked, granted), 0.0
        except BaseException as error:
            session.close()
            if not isinstance(error, (pymysql.err.Error, WhimbrelError, OSError)):
                raise
            unless_ended(error, source, *may_not)
            return None, (time.monotonic() - asked) * 1000


def _prepare(session: SourceConnection, hold: float) -> int:
    """Should nobody end it: the wait ends after a second, and so does a session that is idle for too long. Returns the
    session's number.
    """
    execute(session, "SET SESSION lock_wait_timeout = 1, innodb_lock_wait_timeout = 1")
    execute(session, f"SET SESSION wait_timeout = {ceil(hold) + 1}")
    execute(session, "SET SESSION autocommit = 0, innodb_table_locks = 1")
    [row] = rows_as_dicts(
        session, "SELECT CONNECTION_ID() AS number, @@SESSION.autocommit AS auto, @@SESSION.innodb_table_locks AS asks"
    )
    if (int(row["auto"]), int(row["asks"])) != (0, 1):
        raise HandoverError("the session does not ask InnoDB for table locks", place="innodb_table_locks")
    return int(row["number"])


def execute(session: Mysql, statement: str, parameters: tuple[Any, ...] = ()) -> int:
    """How many rows were changed. Raises the errors of ``translate``."""
    try:
        with session.cursor() as cursor:
            return int(cursor.execute(statement, parameters or None))
    except pymysql.err.Error as error:
        raise translate(error, statement.split(" WHERE ")[0][:80]) from error

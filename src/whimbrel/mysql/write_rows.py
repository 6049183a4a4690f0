"""Changes of rows written into the source, each exactly once: rows and places in one transaction.

A batch is written as few statements. If the server cannot hold one of its rows, it is rolled back and written item by
item, each behind a savepoint: what is refused is handed to ``on_refused``, which makes it durable *before* the places
pass it. A transaction that a deadlock, a lock's time limit or a lost connection ended is begun again; the places, read
under its own locks, say what of it has been committed.

A row is found by its primary key: UPDATE, else INSERT. ON DUPLICATE KEY UPDATE, which would change whatever row any
unique index finds, is only for tables without another one. A row that stands in the way of another is put aside, see
``kept_rows``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pymysql

from whimbrel.errors import SourceUnreachable, Stopped
from whimbrel.mysql.bulk_rows import BulkRows
from whimbrel.mysql.connect import Mysql, connect_to_write, place_of, translate
from whimbrel.mysql.errors import REFUSED_ROW, Code, code_of
from whimbrel.mysql.kept_rows import KeptRow, KeptRows, is_guarded, whole_rows
from whimbrel.mysql.reverse_tables import (
    NOWHERE,
    Lane,
    Place,
    pass_gate,
    places_for_update,
    sign,
    write_places,
)
from whimbrel.mysql.row_statements import (
    Destination,
    Unwritable,
    at_key,
    delete,
    delete_rows,
    guarded,
    insert,
    meets_unique,
    update,
)
from whimbrel.mysql.touched_items import add_items
from whimbrel.project import Source
from whimbrel.records import Row, RowChange, Value

_TRIES = 8  # of one row, between rows that come and go under other transactions
_FORMER_AT_ONCE = 100  # rows read in one statement
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 5.0  # seconds, between tries of a transaction


class ItemChange(NamedTuple):
    """What one record of the stream does to rows. ``key`` is the item's ``key_id``; ``refused``: it cannot be read
    back, and why.
    """

    lane: Lane
    sequence: int
    target: str
    key: bytes
    changes: Sequence[RowChange]
    refused: str = ""


class Refusal(NamedTuple):
    item: ItemChange
    reason: str


OnRefused = Callable[[list[Refusal]], None]


class RowWriter:
    """One connection, for one thread. ``aside`` is how many rows it put aside."""

    def __init__(
        self,
        source: Source,
        epoch: int,
        destinations: Mapping[str, Destination],
        some_kept: threading.Event,
        wait: Callable[[float], object],
    ) -> None:
        """``source`` is the reverse stream's account, and its database has our tables; ``destinations`` are by the
        table's full name; ``some_kept`` is that of all writers, see KeptRows; ``wait`` waits so many seconds, and is
        true if the work is to stop.
        """
        self._source, self._epoch, self._some_kept, self._wait = source, epoch, some_kept, wait
        self._destinations = destinations
        self._connection: Mysql | None = None
        self._kept: KeptRows
        self._settled = b""  # the place of the row aside that was looked at last
        self._former: set[tuple[str, bytes]] = set()  # items that the transaction took a row from, or looked for one
        self.aside = 0

    def write(self, items: Sequence[ItemChange], places: Mapping[Lane, Place], on_refused: OnRefused) -> None:
        """All of ``items``, in order, and the ``places`` that they lead to.

        Raises Stopped, and what is wrong with the server or the account as ``connect.translate`` has it.
        """
        pause, one_by_one = _FIRST_PAUSE, False
        while True:
            try:
                self._transaction(items, places, on_refused, one_by_one=one_by_one)
            except Unwritable:
                self._roll_back()
                one_by_one = True
            except SourceUnreachable as error:
                self._roll_back()
                if self._wait(pause):
                    raise Stopped("asked to stop before the rows were written", hint=f"Last: {error}") from error
                pause = min(2 * pause, _LONGEST_PAUSE)
            except BaseException:
                self.close()
                raise
            else:
                return

    def settle_aside(self) -> int:
        """Bring back the rows that are in nobody's way any more; how many are left."""
        self._each_aside(self._bring_back)
        return self._kept.count_aside()

    def let_go_aside(self, is_gone: Callable[[str, Mapping[str, Value]], bool]) -> None:
        """Let go of the rows aside that no item has any more: ``is_gone`` is asked with the table and the whole row."""

        def let_go(kept: KeptRow) -> None:
            if is_gone(kept.table, kept.values):
                to = self._destinations[kept.table]
                self._kept.let_go(to.table, _key(to, kept.values))

        self._each_aside(let_go)

    def settle_some_patiently(self) -> int:
        """As ``settle_aside``, but only the next ones, as applications wait for their locks; after the last ones come
        the first ones again. A lock that is held, or a connection that is lost, is left to the next time.
        """
        try:
            self._settled = self._some_aside(self._settled, self._bring_back)
            self.aside = self._kept.count_aside()
        except SourceUnreachable:
            self._roll_back()
        return self.aside

    def _each_aside(self, use: Callable[[KeptRow], None]) -> None:
        after = self._some_aside(b"", use)
        while after:
            after = self._some_aside(after, use)

    def _some_aside(self, after: bytes, use: Callable[[KeptRow], None]) -> bytes:
        """One transaction, with the next rows behind the place ``after``. The place of the last one; b"" at the end."""
        connection = self._begun()
        pass_gate(connection, self._source.database, self._epoch)
        some = self._kept.aside(after)
        for kept in some:
            use(kept)
        if self._former:
            add_items(connection, self._source.database, self._epoch, self._former)
        self._execute(connection, "COMMIT")
        return some[-1].place if some else b""

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(Exception):
                self._connection.close()
            self._connection = None

    # -- one transaction ---------------------------------------------------------------------------------------------

    def _transaction(
        self, items: Sequence[ItemChange], places: Mapping[Lane, Place], on_refused: OnRefused, *, one_by_one: bool
    ) -> None:
        connection, schema = self._begun(), self._source.database
        pass_gate(connection, schema, self._epoch)
        found = places_for_update(connection, schema, self._epoch, places) if places else {}
        fresh = [item for item in items if item.sequence > found.get(item.lane, NOWHERE).sequence]
        refused = [Refusal(item, item.refused) for item in fresh if item.refused]
        readable = [item for item in fresh if not item.refused]
        if one_by_one:
            refused += [refusal for item in readable if (refusal := self._write_one(connection, item))]
        else:
            self._write_all(connection, readable)
        if fresh:
            add_items(connection, schema, self._epoch, {(item.target, item.key) for item in fresh} | self._former)
        ahead = {lane: max(place, found.get(lane, NOWHERE)) for lane, place in places.items()}
        if ahead:
            write_places(connection, schema, self._epoch, ahead)
        elif fresh:
            sign(connection, schema, self._epoch)
        if refused:
            on_refused(refused)  # durable before the places pass them
        self._execute(connection, "COMMIT")

    def _write_one(self, connection: Mysql, item: ItemChange) -> Refusal | None:
        self._execute(connection, "SAVEPOINT whimbrel")
        try:
            self._write_all(connection, [item])
        except Unwritable as reason:
            self._execute(connection, "ROLLBACK TO SAVEPOINT whimbrel")
            return Refusal(item, str(reason))
        return None

    def _write_all(self, connection: Mysql, items: Sequence[ItemChange]) -> None:
        left_out = self._look_at_former(connection, items)
        bulk = BulkRows(self._kept, lambda statement: self._execute(connection, statement), self._put)
        for item in items:
            for change in item.changes:
                to = self._destinations[change.table.full_name]
                if (to.table.full_name, change.key) in left_out:
                    if change.values is not None:
                        raise Unwritable(_left_out(to, change.key))
                elif to.bulk:
                    bulk.add(to, change)
                elif change.values is None:
                    self._delete(to, change)
                else:
                    self._put(to, change)
        bulk.flush()

    def _look_at_former(self, connection: Mysql, items: Sequence[ItemChange]) -> set[tuple[str, Row]]:
        """Before the first row is written: notes the items whose rows are about to be written or deleted, though nobody
        has changed them. Whatever becomes of their rows, a rollback looks at them. Returns, by table and primary key,
        the rows that the filter leaves out.
        """
        left_out = set[tuple[str, Row]]()
        keys: dict[str, dict[Row, Destination]] = {}
        for change in (each for item in items for each in item.changes):
            to = self._destinations[change.table.full_name]
            if to.moves or to.filtered:
                keys.setdefault(to.table.full_name, {})[change.key] = to
        for several in keys.values():
            listed = list(several)
            for start in range(0, len(listed), _FORMER_AT_ONCE):
                part = listed[start : start + _FORMER_AT_ONCE]
                to = several[part[0]]
                condition = " OR ".join(f"({at_key(to.table, key)})" for key in part)
                rows = whole_rows(connection, to.table, condition)
                self._touch(to, rows)
                left_out |= {(to.table.full_name, _key(to, row)) for row in rows if to.leaves_out(row)}
        return left_out

    def _touch(self, to: Destination, rows: Iterable[Mapping[str, Value]]) -> None:
        self._former.update(item for row in rows if (item := to.item_of(row)))

    # -- one row -----------------------------------------------------------------------------------------------------

    def _put(self, to: Destination, change: RowChange) -> None:
        reason = ""
        for _ in range(_TRIES):
            try:
                if self._run(update(to, change)):
                    return
                self._insert(to, change)
            except _Duplicate as error:
                reason = str(error)
                self._make_way(to, change, reason)
            else:
                return
        raise Unwritable(f"another row is in the way each time: {reason}")

    def _insert(self, to: Destination, change: RowChange) -> None:
        """With what was kept of a row of this key, in the columns that the item does not say."""
        assert change.values is not None
        said: dict[str, Value] = dict(zip(change.columns, change.values, strict=True))
        kept = self._kept.find(to.table, [change.key]).get(change.key)
        if kept is not None:
            said = {column.name: kept.values[column.name] for column in to.unmapped(change.columns)} | said
        self._run(insert(to, said))
        if kept is not None:
            self._kept.remove(to.table, change.key)

    def _make_way(self, to: Destination, change: RowChange, reason: str) -> None:
        assert change.values is not None
        said: dict[str, Value] = dict(zip(change.columns, change.values, strict=True))
        meeting = meets_unique(to, said)
        if meeting is None:
            raise Unwritable(f"another row is in the way, by an index of expressions or prefixes: {reason}")
        condition = f"({meeting}) AND NOT ({at_key(to.table, change.key)})"
        taken = self._kept.keep(to, condition, aside=True)
        if left_out := [row for row in taken if to.leaves_out(row)]:
            raise Unwritable(f"{_left_out(to, _key(to, left_out[0]))}: {reason}")
        self._touch(to, taken)
        self.aside += len(taken)
        if taken:
            self._run(delete_rows(to, taken))

    def _delete(self, to: Destination, change: RowChange) -> None:
        condition = guarded(to.table, [change])
        kept = self._kept.find(to.table, [change.key]).get(change.key)
        if kept is not None and kept.aside and is_guarded(kept.values, change):
            self._kept.let_go(to.table, change.key)
        if not to.unmapped(change.columns):
            self._run(delete(to, [change]))
        elif found := self._kept.keep(to, condition, aside=False):
            self._run(delete_rows(to, found))

    def _bring_back(self, kept: KeptRow) -> None:
        """Unless it is still in somebody's way."""
        to = self._destinations.get(kept.table)
        if to is None:
            return
        said = {name: value for name, value in kept.values.items() if name not in to.filled.generated}
        try:
            self._run(insert(to, said))
        except (Unwritable, _Duplicate):
            return
        self._kept.remove(to.table, _key(to, kept.values))
        self._touch(to, [kept.values])

    # -- statements --------------------------------------------------------------------------------------------------

    def _begun(self) -> Mysql:
        """The connection, with a transaction begun."""
        if self._connection is None:
            connection = connect_to_write(self._source)
            self._kept = KeptRows(connection, self._source.database, self._epoch, self._some_kept)
            self._connection = connection
        self._former = set()
        self._execute(self._connection, "START TRANSACTION")
        return self._connection

    def _roll_back(self) -> None:
        """Whatever has become of the connection."""
        try:
            if self._connection is not None:
                self._execute(self._connection, "ROLLBACK")
        except Exception:
            self.close()

    def _run(self, statement: str) -> int:
        assert self._connection is not None
        return self._execute(self._connection, statement)

    def _execute(self, connection: Mysql, statement: str) -> int:
        """How many rows were found. What the server changes in a row to be able to hold it, it says by a warning."""
        try:
            with connection.cursor() as cursor:
                found: int = cursor.execute(statement)
                if warnings := getattr(cursor, "warning_count", 0):
                    cursor.execute("SHOW WARNINGS")
                    _judge(cursor.fetchall(), warnings)
                return found
        except pymysql.err.Error as error:
            code = code_of(error)
            if code == Code.DUP_ENTRY:
                raise _Duplicate(str(error.args[1])) from error
            if code in REFUSED_ROW:
                raise Unwritable(str(error.args[1])) from error
            raise translate(error, place_of(self._source)) from error


def _judge(shown: Sequence[Sequence[Any]], count: int) -> None:
    """Raises Unwritable for a warning that may be of a value: MySQL lets nobody but an administrator ask for all."""
    for _, code, text in shown:
        if code != Code.WARN_DEPRECATED_SYNTAX:
            raise Unwritable(str(text))
    if len(shown) < count:
        raise Unwritable(f"the server has {count} warnings of it, and shows {len(shown)}: see max_error_count")


def _key(to: Destination, row: Mapping[str, Value]) -> Row:
    return tuple(row[name] for name in to.table.primary_key)


def _left_out(to: Destination, key: Row) -> str:
    return f"row {key} of {to.table.full_name} is in the way, which the table's filter leaves out of all items"


class _Duplicate(Unwritable):
    """Another row has the same value in a unique index."""

"""The list of items that a rollback compares with their rows: those that the reverse stream had a change of, and those
that it took a row from. It is written in the transactions of the rows.

An item that is as its rows say may leave the list while applications still write. It is taken in hand first, which is
off the list, and read then: a change that is committed after that puts it on the list again (spec/reverse.pml). What is
in hand has the negative of the epoch, so it is not lost when a command is killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import orjson

from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts, translated
from whimbrel.mysql.reverse_tables import ITEMS, pass_gate, short
from whimbrel.records import Item


class Touched(NamedTuple):
    """``place`` is short for ``key_id``, the item's ``item.key_id``."""

    place: bytes
    key_id: bytes

    @property
    def key(self) -> Item:
        key: Item = orjson.loads(self.key_id)
        return key


def add_items(connection: Mysql, schema: str, epoch: int, items: Iterable[tuple[str, bytes]]) -> None:
    """Note the items, each a target table and ``item.key_id``, in the transaction that writes their rows."""
    # In the order of the primary key, as all who lock several of them do.
    _insert(connection, schema, epoch, sorted((target, short(key), key) for target, key in items))


def count_items(connection: Mysql, schema: str, epoch: int) -> int:
    """How many are on the list."""
    statement = f"SELECT COUNT(*) AS n FROM {_name(schema)} WHERE epoch = %s"
    return int(rows_as_dicts(connection, statement, (epoch,))[0]["n"])


def listed_items(connection: Mysql, schema: str, epoch: int, target: str, at_once: int) -> Iterator[list[Touched]]:
    """The list of ``target``, ``at_once`` at a time. What is put on it meanwhile may be missed."""
    after = b""
    while True:
        where = f"WHERE epoch = %s AND target = %s AND place > %s ORDER BY place LIMIT {at_once}"
        statement = f"SELECT place, item_key FROM {_name(schema)} {where}"
        rows = rows_as_dicts(connection, statement, (epoch, target, after))
        if not rows:
            return
        after = rows[-1]["place"]
        yield [Touched(row["place"], row["item_key"]) for row in rows]


def take_in_hand(
    connection: Mysql, schema: str, epoch: int, target: str, items: Sequence[Touched], *, alone: bool
) -> None:
    """Off the list, durably. On return every transaction that had one of ``items`` on the list is committed, and its
    rows can be read. ``alone``, where a row may move between items: then all transactions that began before are over.
    One that found no row before an item had it could take it from the item, and not know. Raises StateError where the
    gate is closed, SourceUnreachable with nothing changed.
    """
    with _transaction(connection, schema, epoch, alone=alone):
        _insert(connection, schema, -epoch, [(target, *each) for each in items])
        _delete(connection, schema, epoch, target, items)


def put_back(
    connection: Mysql, schema: str, epoch: int, target: str, items: Sequence[Touched], in_hand: Sequence[Touched]
) -> None:
    """Those of ``in_hand`` that are not as their rows say go on the list again, the others are done with. Raises as
    ``take_in_hand`` does.
    """
    with _transaction(connection, schema, epoch):
        if items:
            _insert(connection, schema, epoch, [(target, *each) for each in items])
        _delete(connection, schema, -epoch, target, in_hand)


def put_all_back(connection: Mysql, schema: str, epoch: int) -> None:
    """What a command that was cut off had in hand is on the list again."""
    name = _name(schema)
    left = f"SELECT target, place, item_key FROM {name} WHERE epoch = %s ORDER BY target, place LIMIT 1000"
    while rows := rows_as_dicts(connection, left, (-epoch,)):
        for target in {str(row["target"]) for row in rows}:
            some = [Touched(row["place"], row["item_key"]) for row in rows if row["target"] == target]
            put_back(connection, schema, epoch, target, some, some)


@contextmanager
def _transaction(connection: Mysql, schema: str, epoch: int, *, alone: bool = False) -> Iterator[None]:
    with translated(_name(schema)):
        connection.begin()
    try:
        pass_gate(connection, schema, epoch, alone=alone)
        yield
        with translated(_name(schema)):
            connection.commit()
    except BaseException:
        with translated(_name(schema)):
            connection.rollback()
        raise


def _insert(connection: Mysql, schema: str, epoch: int, values: Sequence[tuple[str, bytes, bytes]]) -> None:
    listed = ", ".join(["(%s, %s, %s, %s)"] * len(values))
    with translated(_name(schema)), connection.cursor() as cursor:
        statement = f"INSERT IGNORE INTO {_name(schema)} VALUES {listed}"
        cursor.execute(statement, tuple(each for value in values for each in (epoch, *value)))


def _delete(connection: Mysql, schema: str, epoch: int, target: str, items: Sequence[Touched]) -> None:
    # Each by the whole primary key, so that nobody else's row is locked, or waited for.
    listed = " OR ".join(["(epoch = %s AND target = %s AND place = %s)"] * len(items))
    with translated(_name(schema)), connection.cursor() as cursor:
        statement = f"DELETE FROM {_name(schema)} WHERE {listed}"
        cursor.execute(statement, tuple(each for item in items for each in (epoch, target, item.place)))


def _name(schema: str) -> str:
    return f"{quoted(schema)}.{quoted(ITEMS)}"

"""The tables that a reverse stream keeps in the source's database: its places, the items that it touched, and rows that
it deleted or had to put aside. They are written in the transactions of the rows that they speak of.

Everything belongs to an epoch, the number of a cutover. `finish` and a rollback remove an epoch's rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

import orjson

from whimbrel.errors import PrivilegeError, StateError
from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts, translated
from whimbrel.records import Item

PLACES, ITEMS, ROWS = "whimbrel_reverse", "whimbrel_reverse_items", "whimbrel_reverse_rows"
MOST_ITEMS = 1_000_000  # touched items that are looked at one by one: more are "all"

_TABLES = {
    PLACES: "epoch BIGINT NOT NULL, stream VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, "
    "shard VARCHAR(128) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, lane SMALLINT NOT NULL, "
    "sequence VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, ended TINYINT NOT NULL, "
    "PRIMARY KEY (epoch, stream, shard, lane)",
    ITEMS: "epoch BIGINT NOT NULL, target VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, "
    "place BINARY(16) NOT NULL, item_key BLOB NOT NULL, PRIMARY KEY (epoch, target, place)",
    ROWS: "epoch BIGINT NOT NULL, place BINARY(16) NOT NULL, aside TINYINT NOT NULL, saved LONGBLOB NOT NULL, "
    "PRIMARY KEY (epoch, place), KEY (epoch, aside)",
}


class Lane(NamedTuple):
    """One of a shard's lanes: a place of its own, for the items whose keys fall into it."""

    stream: str
    shard: str
    lane: int


class Place(NamedTuple):
    """``sequence``: all of the lane's records up to this number are in the rows. ``ended``: and there are no more."""

    sequence: int
    ended: bool = False


NOWHERE = Place(-1)


def make_tables(connection: Mysql, schema: str) -> None:
    """Make what is not there yet. Raises PrivilegeError with the grant that it takes."""
    for name, columns in _TABLES.items():
        statement = f"CREATE TABLE IF NOT EXISTS {quoted(schema)}.{quoted(name)} ({columns}) ENGINE=InnoDB"
        try:
            with translated(f"{schema}.{name}"), connection.cursor() as cursor:
                cursor.execute(statement)
        except PrivilegeError as error:
            grant = f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON {quoted(schema)}.* TO the account"
            raise PrivilegeError(error.message, place=error.place, hint=grant) from error


def forget(connection: Mysql, schema: str, epoch: int) -> None:
    """Remove what an epoch's reverse stream kept: the way back is given up, or was taken."""
    for name in _TABLES:
        with translated(f"{schema}.{name}"), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {quoted(schema)}.{quoted(name)} WHERE epoch = %s", (epoch,))


# --- places ---------------------------------------------------------------------------------------------------------


def read_places(connection: Mysql, schema: str, epoch: int) -> dict[Lane, Place]:
    """All places of the epoch."""
    statement = f"SELECT stream, shard, lane, sequence, ended FROM {quoted(schema)}.{quoted(PLACES)} WHERE epoch = %s"
    return _places(rows_as_dicts(connection, statement, (epoch,)))


def places_for_update(connection: Mysql, schema: str, epoch: int, lanes: Iterable[Lane]) -> dict[Lane, Place]:
    """The places of ``lanes``, locked until the transaction ends."""
    wanted = [each for lane in lanes for each in (epoch, *lane)]
    # Each by the whole primary key, so that no other lane's row is locked, or waited for.
    listed = " OR ".join(["(epoch = %s AND stream = %s AND shard = %s AND lane = %s)"] * (len(wanted) // 4))
    table = f"{quoted(schema)}.{quoted(PLACES)}"
    statement = f"SELECT stream, shard, lane, sequence, ended FROM {table} WHERE {listed} FOR UPDATE"
    return _places(rows_as_dicts(connection, statement, tuple(wanted)))


def write_places(connection: Mysql, schema: str, epoch: int, places: Mapping[Lane, Place]) -> None:
    """In the transaction of the rows; read back and compared before it is committed."""
    values = [(epoch, *lane, str(place.sequence), int(place.ended)) for lane, place in places.items()]
    listed = ", ".join(["(%s, %s, %s, %s, %s, %s)"] * len(values))
    statement = f"REPLACE INTO {quoted(schema)}.{quoted(PLACES)} VALUES {listed}"
    with translated(f"{schema}.{PLACES}"), connection.cursor() as cursor:
        cursor.execute(statement, tuple(each for row in values for each in row))
    if places_for_update(connection, schema, epoch, places) != dict(places):
        hint = "Something else writes to this table, or changes what is written: see triggers, proxies and sql_mode."
        raise StateError("the places read back are not those written", place=f"{schema}.{PLACES}", hint=hint)


def _places(rows: list[dict[str, object]]) -> dict[Lane, Place]:
    return {
        Lane(str(row["stream"]), str(row["shard"]), int(str(row["lane"]))): Place(
            int(str(row["sequence"])), bool(row["ended"])
        )
        for row in rows
    }


# --- touched items --------------------------------------------------------------------------------------------------


def add_items(connection: Mysql, schema: str, epoch: int, items: Iterable[tuple[str, bytes]]) -> None:
    """Note the items, each a target table and ``item.key_id``, that the transaction's rows are of."""
    values = [(epoch, target, short(key), key) for target, key in items]
    listed = ", ".join(["(%s, %s, %s, %s)"] * len(values))
    with translated(f"{schema}.{ITEMS}"), connection.cursor() as cursor:
        statement = f"INSERT IGNORE INTO {quoted(schema)}.{quoted(ITEMS)} VALUES {listed}"
        cursor.execute(statement, tuple(each for row in values for each in row))


def read_items(connection: Mysql, schema: str, epoch: int, target: str) -> list[Item] | None:
    """The keys of the items of ``target`` that the epoch's reverse stream touched; None if they are too many."""
    table = f"{quoted(schema)}.{quoted(ITEMS)}"
    of_target = f"FROM {table} WHERE epoch = %s AND target = %s"
    [counted] = rows_as_dicts(connection, f"SELECT COUNT(*) AS n {of_target}", (epoch, target))
    if counted["n"] > MOST_ITEMS:
        return None
    rows = rows_as_dicts(connection, f"SELECT item_key {of_target}", (epoch, target))
    return [orjson.loads(row["item_key"]) for row in rows]


def short(identity: bytes) -> bytes:
    return blake2b(identity, digest_size=16).digest()

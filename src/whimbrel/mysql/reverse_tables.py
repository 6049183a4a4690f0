"""The tables that a reverse stream keeps in the source's database: its places, the items that it touched, and rows that
it deleted or had to put aside. They are written in the transactions of the rows that they speak of.

Everything belongs to an epoch, the number of a cutover. `finish` and a rollback remove an epoch's rows. For those with
the number's negative see ``touched_items``.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import NamedTuple

from whimbrel.errors import PrivilegeError, StateError
from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts, translated

PLACES, ITEMS, ROWS = "whimbrel_reverse", "whimbrel_reverse_items", "whimbrel_reverse_rows"
LANES = 8  # of each shard; fixed for the life of a cutover

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
    """All of the lane's records up to this number are in the rows; ``ended``: and there are no more. ``text`` is the
    number as the stream writes it, perhaps with zeros before it: it is asked for by that.
    """

    sequence: int
    ended: bool = False
    text: str = ""


NOWHERE = Place(-1, text="-1")


def place_at(text: str, *, ended: bool = False) -> Place:
    return Place(int(text), ended, text)


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


def forget(connection: Mysql, schema: str, epoch: int) -> set[str]:
    """Remove what an epoch's reverse stream kept: the way back is given up, or was taken. The tables that are there."""
    standing = _standing(connection, schema)
    for name in standing:
        with translated(f"{schema}.{name}"), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {quoted(schema)}.{quoted(name)} WHERE epoch IN (%s, %s)", (epoch, -epoch))
    return standing


# --- the gate -------------------------------------------------------------------------------------------------------
# A process that slept must not write when the application writes to the source again. So each transaction holds a row
# in common with all others, shared; who closes the gate waits for those under way, and no later one passes.

_GATE = Lane("", "", -1)
_SIGN = Lane("", "", -2)


def open_gate(connection: Mysql, schema: str, epoch: int) -> None:
    """Begin the epoch, or continue it: with the same number of lanes, or items would change their lane.

    Raises StateError where it was closed, or has another number of lanes.
    """
    with translated(f"{schema}.{PLACES}"), connection.cursor() as cursor:
        statement = f"INSERT IGNORE INTO {quoted(schema)}.{quoted(PLACES)} VALUES (%s, %s, %s, %s, %s, 0)"
        cursor.execute(statement, (epoch, *_GATE, str(LANES)))
    pass_gate(connection, schema, epoch)


def pass_gate(connection: Mysql, schema: str, epoch: int, *, alone: bool = False) -> None:
    """To be called first in each transaction. ``alone``: when all that passed before have ended, and until this one
    ends nobody else passes. Raises StateError.
    """
    lock = "FOR UPDATE" if alone else "LOCK IN SHARE MODE"
    where = f"WHERE epoch = %s AND stream = '' AND shard = '' AND lane = -1 {lock}"
    statement = f"SELECT sequence, ended FROM {quoted(schema)}.{quoted(PLACES)} {where}"
    rows = rows_as_dicts(connection, statement, (epoch,))
    place = f"{schema}.{PLACES}"
    if not rows or rows[0]["ended"]:
        hint = "Another command has ended it: see `whimbrel status`."
        raise StateError("the reverse stream is closed", place=place, hint=hint)
    if int(rows[0]["sequence"]) != LANES:
        raise StateError(
            f"was begun with {rows[0]['sequence']} lanes, and this version has {LANES}",
            place=place,
            hint="Continue with the version of whimbrel that made the cutover.",
        )


def close_gate(connection: Mysql, schema: str, epoch: int) -> None:
    """On return no transaction of the epoch's reverse stream is under way, and none will be."""
    with translated(f"{schema}.{PLACES}"), connection.cursor() as cursor:
        where = "WHERE epoch = %s AND stream = '' AND shard = '' AND lane = -1"
        cursor.execute(f"UPDATE {quoted(schema)}.{quoted(PLACES)} SET ended = 1 {where}", (epoch,))


# --- places ---------------------------------------------------------------------------------------------------------


def read_places(connection: Mysql, schema: str, epoch: int) -> dict[Lane, Place]:
    """All places of the epoch."""
    statement = f"SELECT stream, shard, lane, sequence, ended FROM {quoted(schema)}.{quoted(PLACES)} WHERE epoch = %s"
    found = _places(rows_as_dicts(connection, statement, (epoch,)))
    return {lane: place for lane, place in found.items() if lane not in (_GATE, _SIGN)}


def sign(connection: Mysql, schema: str, epoch: int) -> None:
    """For a transaction that moves no place: by a row event of this table, who reads the binlog knows it for ours."""
    with translated(f"{schema}.{PLACES}"), connection.cursor() as cursor:
        statement = f"REPLACE INTO {quoted(schema)}.{quoted(PLACES)} VALUES (%s, %s, %s, %s, %s, 0)"
        cursor.execute(statement, (epoch, *_SIGN, str(secrets.randbits(64))))


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
    values = [(epoch, *lane, place.text or str(place.sequence), int(place.ended)) for lane, place in places.items()]
    listed = ", ".join(["(%s, %s, %s, %s, %s, %s)"] * len(values))
    statement = f"REPLACE INTO {quoted(schema)}.{quoted(PLACES)} VALUES {listed}"
    with translated(f"{schema}.{PLACES}"), connection.cursor() as cursor:
        cursor.execute(statement, tuple(each for row in values for each in row))
    if places_for_update(connection, schema, epoch, places) != dict(places):
        hint = "Something else writes to this table, or changes what is written: see triggers, proxies and sql_mode."
        raise StateError("the places read back are not those written", place=f"{schema}.{PLACES}", hint=hint)


def _places(rows: list[dict[str, object]]) -> dict[Lane, Place]:
    return {
        Lane(str(row["stream"]), str(row["shard"]), int(str(row["lane"]))): place_at(
            str(row["sequence"]), ended=bool(row["ended"])
        )
        for row in rows
    }


def short(identity: bytes) -> bytes:
    return blake2b(identity, digest_size=16).digest()


# --- the end --------------------------------------------------------------------------------------------------------


def reopen_gate(connection: Mysql, schema: str, epoch: int) -> None:
    """For the one who coordinates, where the return that closed the gate did not come to pass."""
    if PLACES in _standing(connection, schema):
        with translated(f"{schema}.{PLACES}"), connection.cursor() as cursor:
            where = "WHERE epoch = %s AND stream = '' AND shard = '' AND lane = -1"
            cursor.execute(f"UPDATE {quoted(schema)}.{quoted(PLACES)} SET ended = 0 {where}", (epoch,))


def remove_tables(connection: Mysql, schema: str, epoch: int) -> bool:
    """Forget the epoch, and remove each table that is empty then; whether there was one."""
    standing = forget(connection, schema, epoch)
    for name in standing:
        if not rows_as_dicts(connection, f"SELECT 1 FROM {quoted(schema)}.{quoted(name)} LIMIT 1"):
            rows_as_dicts(connection, f"DROP TABLE {quoted(schema)}.{quoted(name)}")
    return bool(standing)


def _standing(connection: Mysql, schema: str) -> set[str]:
    found = "SELECT TABLE_NAME AS name FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"
    return {str(row["name"]) for row in rows_as_dicts(connection, found, (schema,))} & _TABLES.keys()

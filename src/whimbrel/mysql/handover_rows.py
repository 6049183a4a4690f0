"""The coordinator's rows in the source: table ``whimbrel_handover``, a row for each table that is handed over.

A row says who coordinates (``holder``, ``epoch``) and how far it is (``step``). Whoever takes over does it with a
higher epoch; every statement that changes a row names the epoch and the holder that it must have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts

TABLE = "whimbrel_handover"
Execute = Callable[[str, tuple[Any, ...]], int]  # gives the number of rows that were changed


class HandoverRow(NamedTuple):
    """``source`` is the full name of a table. ``place`` says where the holder works, for people."""

    source: str
    epoch: int
    step: str
    holder: str
    place: str


def make_rows(connection: Mysql, schema: str, sources: Sequence[str], step: str) -> None:
    """The table, and a row of epoch 0 for each of ``sources`` that has none."""
    rows_as_dicts(
        connection,
        f"CREATE TABLE IF NOT EXISTS {_table(schema)} (source VARCHAR(140) COLLATE utf8mb4_bin NOT NULL PRIMARY KEY, "
        "epoch BIGINT NOT NULL, step VARCHAR(16) NOT NULL, holder VARCHAR(64) NOT NULL, place TEXT NOT NULL, "
        "changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) "
        "ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin",
    )
    for source in sources:
        rows_as_dicts(
            connection,
            f"INSERT IGNORE INTO {_table(schema)} (source, epoch, step, holder, place) VALUES (%s, 0, %s, '', '')",
            (source, step),
        )


def read_rows(connection: Mysql, schema: str, sources: Sequence[str], *, lock: bool = False) -> list[HandoverRow]:
    """The rows of ``sources``; with ``lock`` nobody else changes them until the transaction ends."""
    found = rows_as_dicts(
        connection,
        f"SELECT source, epoch, step, holder, place FROM {_table(schema)} WHERE source IN ({_places(sources)}) "
        f"ORDER BY source{' FOR UPDATE' if lock else ''}",
        tuple(sources),
    )
    return [HandoverRow(row["source"], int(row["epoch"]), row["step"], row["holder"], row["place"]) for row in found]


def highest_epoch(connection: Mysql, schema: str) -> int:
    """Of all projects that have rows; no row changes until the transaction ends."""
    [row] = rows_as_dicts(connection, f"SELECT COALESCE(MAX(epoch), 0) AS epoch FROM {_table(schema)} FOR UPDATE")
    return int(row["epoch"])


def change_rows(execute: Execute, schema: str, sources: Sequence[str], was: HandoverRow, now: HandoverRow) -> bool:
    """Give all rows of ``sources`` what ``now`` has, if each has what ``was`` has. False if one has not: then the
    caller rolls back.
    """
    changed = execute(
        f"UPDATE {_table(schema)} SET epoch = %s, step = %s, holder = %s, place = %s "
        f"WHERE source IN ({_places(sources)}) AND epoch = %s AND step = %s AND holder = %s",
        (now.epoch, now.step, now.holder, now.place, *sources, was.epoch, was.step, was.holder),
    )
    return changed == len(sources)


def has_table(connection: Mysql, schema: str) -> bool:
    found = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    return bool(rows_as_dicts(connection, found, (schema, TABLE)))


def remove_rows(connection: Mysql, schema: str, sources: Sequence[str]) -> None:
    """The rows of ``sources``, and the table with the last ones."""
    rows_as_dicts(connection, f"DELETE FROM {_table(schema)} WHERE source IN ({_places(sources)})", tuple(sources))
    if not rows_as_dicts(connection, f"SELECT 1 FROM {_table(schema)} LIMIT 1"):
        rows_as_dicts(connection, f"DROP TABLE {_table(schema)}")


def _table(schema: str) -> str:
    return f"{quoted(schema)}.{TABLE}"


def _places(sources: Sequence[str]) -> str:
    return ", ".join(["%s"] * len(sources))

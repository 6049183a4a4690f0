"""The table ``whimbrel_revoked`` in the source: what a fence took away, as the GRANTs that give it back.

For people. whimbrel goes by its state folder; who has lost that, and whimbrel with it, reads them here.
"""

from __future__ import annotations

from collections.abc import Sequence

from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts

TABLE = "whimbrel_revoked"


def note_revoked(connection: Mysql, schema: str, epoch: int, grants: Sequence[str]) -> None:
    """Durable on return, in a session that commits by itself."""
    rows_as_dicts(
        connection,
        f"CREATE TABLE IF NOT EXISTS {quoted(schema)}.{TABLE} (epoch BIGINT NOT NULL, number INT NOT NULL, "
        "give_back TEXT NOT NULL, PRIMARY KEY (epoch, number)) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4",
    )
    for number, grant in enumerate(grants):
        rows_as_dicts(connection, f"REPLACE INTO {quoted(schema)}.{TABLE} VALUES (%s, %s, %s)", (epoch, number, grant))


def remove_revoked(connection: Mysql, schema: str, epoch: int) -> None:
    """And the table with the last row. Harmless where there is none."""
    there = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    if not rows_as_dicts(connection, there, (schema, TABLE)):
        return
    rows_as_dicts(connection, f"DELETE FROM {quoted(schema)}.{TABLE} WHERE epoch = %s", (epoch,))
    if not rows_as_dicts(connection, f"SELECT 1 FROM {quoted(schema)}.{TABLE} LIMIT 1"):
        rows_as_dicts(connection, f"DROP TABLE {quoted(schema)}.{TABLE}")

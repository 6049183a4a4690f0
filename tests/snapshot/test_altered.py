"""A table that is altered between two chunks."""

from __future__ import annotations

import dataclasses

import pytest

from tests.snapshot.conftest import Shop
from whimbrel.errors import SchemaDrift
from whimbrel.snapshot_files import ExportFile


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("ALTER TABLE t MODIFY a VARCHAR(20) CHARACTER SET latin1", "was altered while its rows were read: a"),
        ("ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a", "was altered while its rows were read: a, b"),
        ("ALTER TABLE t DROP a", "Unknown column"),
    ],
)
def test_rows_that_were_read_by_other_columns_do_not_count(shop: Shop, sql: str, says: str) -> None:
    shop.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20), b VARCHAR(30)) CHARACTER SET utf8mb4",
        "INSERT INTO t VALUES (1, 'é', 'b'), (2, 'é', 'b'), (3, 'é', 'b'), (4, 'é', 'b')",
    )

    def alter(file: ExportFile) -> None:
        if file.chunk.number == 1:
            shop.execute(sql)

    one = dataclasses.replace(shop.source, connections=1, chunk_rows=2)
    with pytest.raises(SchemaDrift, match=says):
        shop.export(shop.table(), source=one, on_chunk=alter)
    assert [file.name for file in shop.files()] == ["chunk-00000001.jsonl.zst"]


def test_a_column_more_does_no_harm(shop: Shop) -> None:
    shop.execute("CREATE TABLE t (id INT PRIMARY KEY, a INT)", "INSERT INTO t VALUES (1, 10), (2, 20), (3, 30)")
    one = dataclasses.replace(shop.source, connections=1, chunk_rows=2)

    def alter(file: ExportFile) -> None:
        if file.chunk.number == 1:
            shop.execute("ALTER TABLE t ADD c INT AFTER id")

    shop.export(shop.table(), source=one, on_chunk=alter)
    assert shop.rows() == [(1, 10), (2, 20), (3, 30)]

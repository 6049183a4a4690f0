"""A text has room in Redshift for all bytes that its column can have in UTF-8; a CAST there cuts off what is longer."""

from __future__ import annotations

import pytest

from whimbrel.errors import UnsupportedSource
from whimbrel.records import Column
from whimbrel.warehouse.redshift import _texts
from whimbrel.warehouse.stored import StoredColumn, StoredTable
from whimbrel.warehouse.types import sql_of

KEY = StoredColumn("id", Column("id", "int", type_name="int(11)"), "int", "INTEGER")


@pytest.mark.parametrize(
    ("kind", "length", "charset", "size"),
    [
        ("varchar(20)", 20, "utf8mb4", 80),
        ("varchar(20)", 20, "latin1", 80),
        ("char(3)", 3, "utf8mb4", 64),
        ("tinytext", 255, "utf8mb4", 1020),
        ("tinytext", 255, "latin1", 1020),
        ("tinytext", 127, "ucs2", 508),
        ("text", 65535, "cp1252", 65535),
        ("longtext", 2**32 - 1, "utf8mb4", 65535),
    ],
)
def test_a_text_has_room_for_what_its_column_can_have(kind: str, length: int, charset: str, size: int) -> None:
    column = Column("a", "text", length=length, charset=charset, type_name=kind)
    assert sql_of("redshift", "text", column) == f"VARCHAR({size})"


@pytest.mark.parametrize("fits", [True, False])
def test_a_text_that_a_cast_would_cut_off_is_refused_with_its_row(fits: bool) -> None:
    text = StoredColumn("a", Column("a", "text", type_name="varchar(16)", length=16), "text", "VARCHAR(64)")
    table = StoredTable("shop", "t", ("d", "t"), (KEY, text), ("id",))
    value = "\u20ac" * (21 if fits else 22)
    if fits:
        assert _texts(table, table.columns, 1, [value], [(7, value)]) == [value]
        return
    with pytest.raises(UnsupportedSource, match=r"row \{'id': 7\}: column 'a': it has 66 bytes, .* 64 at most"):
        _texts(table, table.columns, 1, [value], [(7, value)])

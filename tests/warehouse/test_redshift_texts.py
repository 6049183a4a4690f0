"""A CAST of Redshift cuts off what is longer than its type: so such a text does not get there."""

from __future__ import annotations

import pytest

from whimbrel.errors import UnsupportedSource
from whimbrel.records import Column
from whimbrel.warehouse.redshift import _texts
from whimbrel.warehouse.stored import StoredColumn, StoredTable

KEY = StoredColumn("id", Column("id", "int", type_name="int(11)"), "int", "INTEGER")


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

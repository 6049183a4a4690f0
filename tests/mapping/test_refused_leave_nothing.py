"""A row that is refused is forgotten with the rows beside it: no traceback keeps all of them until garbage is looked
for, which happens seldom while a command works.
"""

from __future__ import annotations

import gc

import pytest

from whimbrel.mapping.design import compile_mapping
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Table

TABLE = Table("shop", "t", tuple(Column(name, "text", False, charset="utf8mb4") for name in "abc"), ("a", "b"))


@pytest.mark.parametrize("into", ["", "entries"])
@pytest.mark.parametrize("shape", ["record", "group"])
def test_what_is_refused_leads_back_to_nothing(shape: str, into: str) -> None:
    group = (
        {"entry_name": "${b}", "entry_into": into, "entry_as": "map" if into else "attribute"}
        if shape == "group"
        else {}
    )
    rule = TableRule("shop.t", "items", shape, KeyRule("pk", "${a}"), types={"c": "N"}, assert_unique=True, **group)  # type: ignore[arg-type]
    mapping = compile_mapping(rule, TABLE)
    rows = [(f"a{n}", "b", "1" if n % 2 else "one") for n in range(10)]
    gc.collect()
    gc.disable()
    try:
        puts, faults = mapping.put_items(rows)
        counts = len(puts), len(faults)
        del puts, faults
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert counts == (5, 5)

"""GTID sets, against sets of numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.errors import PositionLost
from whimbrel.mysql.binlog.gtid import MariaDBGtids, MySQLGtids

UUIDS = ["3e11fa47-71ca-11e1-9e33-c80aa9429562", "00000000-71ca-11e1-9e33-c80aa9429562"]
gtids = st.tuples(st.sampled_from(UUIDS), st.sampled_from(["", "a_tag", "b"]), st.integers(1, 40))
sets = st.lists(gtids, max_size=60)


def members(text: str) -> set[tuple[str, str, int]]:
    found = set()
    for source in filter(None, text.split(",")):
        uuid, *parts = source.split(":")
        tag = ""
        for part in parts:
            if part[0].isdigit():
                first, _, last = part.partition("-")
                found |= {(uuid, tag, n) for n in range(int(first), int(last or first) + 1)}
            else:
                tag = part
    return found


def made(transactions: list[tuple[str, str, int]]) -> MySQLGtids:
    made = MySQLGtids()
    for transaction in transactions:
        made.add(*transaction)
    return made


@given(sets, sets)
def test_mysql_sets(some: list[tuple[str, str, int]], other: list[tuple[str, str, int]]) -> None:
    gtids = made(some)
    assert members(str(gtids)) == set(some)
    assert str(MySQLGtids(str(gtids))) == str(gtids)
    assert str(MySQLGtids.decode(gtids.encode())) == str(gtids)
    assert members(str(gtids.without(made(other)))) == set(some) - set(other)
    assert bool(gtids) == bool(some)


def test_text_as_the_server_writes_it() -> None:
    text = f"{UUIDS[1]}:1-3:5,{UUIDS[0]}:7:a_tag:1-2:9:b:4"
    assert str(MySQLGtids(text.upper().replace(",", ",\n"))) == text.lower()


@pytest.mark.parametrize("text", ["0-1-5", "nonsense", f"{UUIDS[0]}"])
def test_mysql_refuses_other_text(text: str) -> None:
    with pytest.raises(PositionLost, match="not a GTID set of MySQL"):
        MySQLGtids(text)


def test_mariadb_sets() -> None:
    gtids = MariaDBGtids("1-5-7, 0-1-100")
    assert str(gtids) == "0-1-100,1-5-7"
    gtids.add(0, 3, 101)
    assert str(gtids) == "0-3-101,1-5-7"
    assert gtids.ahead_of(MariaDBGtids("0-1-100,1-5-7"))
    assert not gtids.ahead_of(MariaDBGtids("0-9-101,1-5-7,2-1-1"))
    with pytest.raises(PositionLost, match="not a GTID of MariaDB"):
        MariaDBGtids(UUIDS[0] + ":1-5")

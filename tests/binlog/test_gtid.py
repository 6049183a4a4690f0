"""GTID sets, against sets of numbers."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.errors import PositionLost
from whimbrel.mysql.binlog.gtid import MariaDBGtids, MySQLGtids

UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"
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


def test_what_another_set_does_not_have_of_one_source() -> None:
    """Every set of five numbers against every other."""
    every = [[n for n in range(1, 6) if bits >> n & 1] for bits in range(0, 64, 2)]
    gtids = {str(some): made([(UUIDS[0], "", n) for n in some]) for some in every}
    for some in every:
        for other in every:
            rest = gtids[str(some)].without(gtids[str(other)])
            assert str(rest) == str(gtids[str([n for n in some if n not in other])])


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


# In bytes


def test_a_set_of_mysql_in_bytes() -> None:
    """Gtid_set::encode, by hand: without tags, and with them."""
    uuid = bytes.fromhex(UUID_TEXT.replace("-", ""))
    plain = struct.pack("<Q", 1) + uuid + struct.pack("<QQQQQ", 2, 1, 4, 7, 8)
    assert MySQLGtids(f"{UUID_TEXT}:1-3:7").encode() == plain
    assert str(MySQLGtids.decode(plain)) == f"{UUID_TEXT}:1-3:7"
    tagged = struct.pack("<Q", 1 << 56 | 2 << 8 | 1)
    tagged += uuid + b"\0" + struct.pack("<QQQ", 1, 1, 4) + uuid + b"\6tag" + struct.pack("<QQQ", 1, 9, 10)
    assert MySQLGtids(f"{UUID_TEXT}:1-3:tag:9").encode() == tagged
    assert str(MySQLGtids.decode(tagged)) == f"{UUID_TEXT}:1-3:tag:9"
    assert MySQLGtids().encode() == bytes(8)
    assert not MySQLGtids.decode(bytes(8))


@pytest.mark.parametrize("number", range(1, 16))
def test_one_more_transaction(number: int) -> None:
    """Wherever it falls between the intervals."""
    gtids = MySQLGtids(f"{UUID_TEXT}:3-5:7:10-12")
    gtids.add(UUID_TEXT, "", number)
    have = {3, 4, 5, 7, 10, 11, 12, number}
    parts = str(gtids).removeprefix(UUID_TEXT + ":").split(":")
    bounds = [[int(part) for part in each.split("-")] for each in parts]
    assert {n for low, *high in bounds for n in range(low, (high or [low])[0] + 1)} == have
    assert all(later[0] > earlier[-1] + 1 for earlier, later in pairwise(bounds))


def test_one_more_range() -> None:
    """Every one, wherever it begins and ends among the intervals."""
    base = {3, 4, 5, 7, 10, 11, 12}
    for first in range(1, 15):
        for last in range(first, 15):
            gtids = MySQLGtids(f"{UUID_TEXT}:3-5:7:10-12,{UUID_TEXT}:{first}-{last}")
            have = base | set(range(first, last + 1))
            assert members(str(gtids)) == {(UUID_TEXT, "", number) for number in have}
            assert str(gtids).count(":") == sum(number - 1 not in have for number in have)


def test_the_text_follows_what_is_added() -> None:
    gtids = MySQLGtids(f"{UUID_TEXT}:1")
    assert str(gtids) == f"{UUID_TEXT}:1"
    gtids.add(UUID_TEXT, "", 2)
    assert str(gtids) == f"{UUID_TEXT}:1-2"
    gtids.add(UUID_TEXT, "", 9)
    assert str(gtids) == f"{UUID_TEXT}:1-2:9"
    gtids.add_range(UUID_TEXT, "", 3, 8)
    assert str(gtids) == f"{UUID_TEXT}:1-9"
    gtids = MySQLGtids(f"{UUID_TEXT}:1-2")
    gtids.add(UUID_TEXT, "b", 2)
    gtids.add("0" * 8 + UUID_TEXT[8:], "", 9)
    assert str(gtids) == f"{UUID_TEXT}:1-2:b:2" or str(gtids).startswith("00000000")
    assert str(MySQLGtids(f"{UUID_TEXT}:_t:4")) == f"{UUID_TEXT}:_t:4"


def test_sets_of_mariadb_in_bytes_and_words() -> None:
    """Gtid_list_log_event: a count, then domain, server, sequence."""
    body = struct.pack("<I", 2) + struct.pack("<IIQ", 1, 5, 2**40) + struct.pack("<IIQ", 0, 1, 9)
    assert str(MariaDBGtids.decode(body)) == f"0-1-9,1-5-{2**40}"
    large = struct.pack("<I", 0xF0000001) + struct.pack("<IIQ", 2**32 - 1, 2**31, 2**63) + bytes(range(20))
    assert str(MariaDBGtids.decode(large)) == f"{2**32 - 1}-{2**31}-{2**63}"  # flags before the count; more behind it
    one = MariaDBGtids("0-1-9")
    assert str(one) == "0-1-9"
    one.add(0, 2, 10)
    assert str(one) == "0-2-10"
    one.add(3, 2, 4)
    assert str(one) == "0-2-10,3-2-4"
    assert bool(one)
    assert not MariaDBGtids()
    assert str(MariaDBGtids()) == ""
    for ahead, behind in (("0-1-9", "0-1-8"), ("0-1-9,1-1-1", "0-1-9"), ("0-1-1", "")):
        assert MariaDBGtids(ahead).ahead_of(MariaDBGtids(behind))
        assert not MariaDBGtids(behind).ahead_of(MariaDBGtids(ahead))
        assert not MariaDBGtids(ahead).ahead_of(MariaDBGtids(ahead))
    for text in ("0-1", "a-b-c", "0-1-2-3"):
        with pytest.raises(PositionLost, match="not a GTID of MariaDB"):
            MariaDBGtids(text)

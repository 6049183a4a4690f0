"""Character sets: Python's decoding against the server's own, for every code of one and two bytes."""

from __future__ import annotations

import itertools

import pytest

from tests.conftest import SOURCES
from tests.snapshot.conftest import Shop
from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.charsets import PYTHON_NAMES, collation_charsets, python_codec

UNICODE = {"ucs2", "utf16", "utf16le", "utf32", "utf8", "utf8mb3", "utf8mb4"}
TWO_BYTES = {"big5", "gb2312", "gbk", "gb18030", "euckr", "sjis", "cp932", "ujis", "eucjpms"}
THREE_BYTES = {"ujis", "eucjpms"}

# The servers have the same tables; gb18030 is MySQL's alone.
ONCE = {("mysql", "gb18030"), *(("mariadb", charset) for charset in PYTHON_NAMES)}


@pytest.mark.parametrize(
    ("source_server", "charset"),
    [
        pytest.param(server, charset, marks=[pytest.mark.slow] if (server, charset) not in ONCE else [])
        for charset in sorted(set(PYTHON_NAMES) - UNICODE)
        for server in SOURCES
    ],
    indirect=["source_server"],
)
def test_decoding_is_the_servers(shop: Shop, charset: str) -> None:
    if not shop.execute(f"SELECT 1 FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME = '{charset}'"):
        pytest.skip(f"{shop.server.name} has no {charset}")
    codes = [bytes([code]) for code in range(256)]
    if charset in TWO_BYTES:
        codes += [bytes(pair) for pair in itertools.product(range(0x81, 0xFF), range(0x40, 0xFF))]
    if charset in THREE_BYTES:
        codes += [bytes([0x8F, *pair]) for pair in itertools.product(range(0xA1, 0xFF), range(0xA1, 0xFF))]
    shop.execute(
        f"CREATE TABLE t (b VARBINARY(3) PRIMARY KEY, v VARCHAR(3) CHARACTER SET {charset})",
        "INSERT IGNORE INTO t VALUES " + ",".join(f"(x'{code.hex()}', _binary x'{code.hex()}')" for code in codes),
    )
    stored = shop.execute("SELECT b, CONVERT(v USING utf8mb4) FROM t WHERE CAST(v AS BINARY) = b")
    codec, different, compared = python_codec(charset), set(), 0
    for code, theirs in stored:
        try:
            ours = codec.decode(code)
        except UnicodeDecodeError:
            # What the server has no character for, or one for private use, is refused by name.
            refused = "?" in theirs or "\ufffd" in theirs or any("\ue000" <= c <= "\uf8ff" for c in theirs)
            assert refused, f"{code.hex()} is {theirs!r}"
            continue
        compared += 1
        if ours != theirs:
            different.add(code.hex())
    assert different == set()
    assert compared >= 127


def test_none_is_left_out(shop: Shop) -> None:
    names = {name for (name,) in shop.execute("SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS")}
    assert names - {"binary"} - set(PYTHON_NAMES) == set()


def test_another_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedSource, match=r"shop\.t\.v: character set klingon cannot be decoded exactly"):
        python_codec("klingon", "shop.t.v")


@pytest.mark.parametrize("charset", sorted(set(PYTHON_NAMES)))
def test_encoding_is_the_inverse(charset: str) -> None:
    codec = python_codec(charset)
    for text in ("", "a b", "Z1"):
        assert codec.decode(codec.encode(text)) == text


@pytest.mark.parametrize(
    ("charset", "bad"),
    [("utf8mb4", b"\xff"), ("ascii", b"\x80"), ("hebrew", b"\xa1"), ("utf16", b"\xd8\0"), ("gbk", b"\x81")],
)
def test_what_is_not_valid_is_never_replaced(charset: str, bad: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        python_codec(charset).decode(bad)


def test_collation_ids(shop: Shop) -> None:
    charsets = collation_charsets(shop.connection)
    assert {8: "latin1", 45: "utf8mb4", 63: "binary", 33: "utf8mb3"}.items() <= charsets.items()
    if shop.server.flavor == "mysql":
        assert charsets[255] == "utf8mb4"

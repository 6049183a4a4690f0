"""Values as the decoders read them: known bytes of every type, and how JSON, addresses, dates and times are printed."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest

from tests.binlog.test_decoders import nothing_is_remembered  # noqa: F401
from whimbrel.errors import SchemaDrift, UndecodableEvent
from whimbrel.mysql.binlog import temporal
from whimbrel.mysql.binlog.compressed import uncompress_column
from whimbrel.mysql.binlog.decoders import make_decoder
from whimbrel.mysql.binlog.events import TableMap
from whimbrel.mysql.binlog.json import double_text, json_text
from whimbrel.mysql.binlog.mariadb import inet6_text
from whimbrel.records import Change, Column, Position, Row, Table

AT = Position("bin.000001", 4)


def rows(kind: int, metadata: int, column: Column, *values: bytes | None) -> list[Any]:
    """What an insert of these values gives. A value is the bytes of it; None is NULL."""
    table = Table("shop", "t", (column,), ("id",))
    table_map = TableMap(1, "shop", "t", bytes([kind]), (metadata,), (True,))
    decoder = make_decoder(table_map, table, {}, mariadb=True)
    data = b"".join(b"\1" if value is None else b"\0" + value for value in values)
    changes = decoder.insert(data, 0, len(data), table, AT)
    assert all(change.before is None and change.position == AT for change in changes)
    return [change.after[0] for change in changes if change.after]


@pytest.mark.parametrize(
    ("kind", "metadata", "column", "data", "value"),
    [
        (1, 0, Column("c", "int"), b"\xff", -1),
        (1, 0, Column("c", "int", unsigned=True), b"\xff", 255),
        (9, 0, Column("c", "int"), b"\0\0\x80", -(2**23)),
        (9, 0, Column("c", "int", unsigned=True), b"\1\0\x80", 2**23 + 1),
        (13, 0, Column("c", "year"), b"\0", 0),
        (13, 0, Column("c", "year"), b"\xff", 2155),
        (14, 0, Column("c", "date"), (2020 << 9 | 2 << 5 | 29).to_bytes(3, "little"), "2020-02-29"),
        (10, 0, Column("c", "date"), bytes(3), "0000-00-00"),
        (15, 255, Column("c", "binary"), b"\3abc", b"abc"),
        (15, 256, Column("c", "binary"), b"\3\0abc", b"abc"),
        (253, 255, Column("c", "text", charset="utf8mb4"), b"\2\xc3\xa9", "é"),
        (253, 256, Column("c", "text", charset="latin1"), b"\1\0\xe9", "é"),
        (254, 0xFE00 | 255, Column("c", "binary", length=255), b"\1x", b"x" + bytes(254)),
        # A CHAR of more than 255 bytes hides two bits of its length in the type.
        (254, (0xFE ^ (0x300 >> 4)) << 8 | 0xFC, Column("c", "text", charset="utf8mb4"), b"\2\0xy", "xy"),
        (252, 1, Column("c", "binary"), b"\1x", b"x"),
        (252, 2, Column("c", "binary"), b"\1\0x", b"x"),
        (252, 3, Column("c", "binary"), b"\1\0\0x", b"x"),
        (252, 4, Column("c", "binary"), b"\1\0\0\0x", b"x"),
        (242, 4, Column("c", "binary"), b"\4\0\0\0wxyz", b"wxyz"),
        (247, 1, Column("c", "enum", members=("a", "b")), b"\2", "b"),
        (247, 2, Column("c", "enum", members=tuple(f"m{n}" for n in range(300))), b"\x2c\1", "m299"),
        (248, 1, Column("c", "set", members=("a", "b", "c")), b"\5", "a,c"),
        (140, 1, Column("c", "text", charset="utf8mb4"), b"\2\0x", "x"),
        (140, 2, Column("c", "binary"), b"\2\0\0x", b"x"),
        (141, 300, Column("c", "binary"), b"\2\0\0x", b"x"),
        (141, 255, Column("c", "text", charset="latin1"), b"\2\0\xe9", "é"),
        (16, 1 << 8 | 1, Column("c", "bit", precision=9), b"\1\xff", 511),
        (16, 1 << 8, Column("c", "bit", precision=8), b"\xfe", 254),
    ],
)
def test_bytes_of_one_value(kind: int, metadata: int, column: Column, data: bytes, value: object) -> None:
    found = rows(kind, metadata, column, data, None, data)
    assert [repr(each) for each in found] == [repr(value), "None", repr(value)]


def test_a_decoder_of_many_columns() -> None:
    """From 251 on the count of columns takes three bytes; the bitmaps' last bits are set or not."""
    for count in (7, 8, 9, 250, 251, 300):
        table = Table("shop", "t", tuple(Column(f"c{i}", "int") for i in range(count)), ("c0",))
        table_map = TableMap(1, "shop", "t", b"\1" * count, (0,) * count, (False,) * count)
        decoder = make_decoder(table_map, table, {}, mariadb=True)
        size = (count + 7) // 8
        head = bytes([count]) if count < 251 else b"\xfc" + struct.pack("<H", count)
        exact = ((1 << count) - 1).to_bytes(size, "little")
        assert set(decoder.heads) == {head + b"\xff" * size, head + exact}
        assert set(decoder.update_heads) == {head + b"\xff" * 2 * size, head + 2 * exact}
        row: Row = tuple(i % 100 for i in range(count))
        image = bytes(size) + bytes(row)  # type: ignore[arg-type]
        assert decoder.insert(image, 0, len(image), table, AT) == [Change(table, None, row, AT)]
        assert decoder.delete(image * 2, 0, len(image) * 2, table, AT) == [Change(table, row, None, AT)] * 2
        assert decoder.update(image * 2, 0, len(image) * 2, table, AT) == [Change(table, row, row, AT)]
        with pytest.raises(UndecodableEvent, match=f"its rows end at byte {len(image)}, the event at {len(image) - 1}"):
            decoder.insert(image, 0, len(image) - 1, table, AT)


def test_columns_that_mariadb_hides() -> None:
    """They are read and left; they are eight bytes each, behind all others, and as many as the server says."""
    table = Table("shop", "t", (Column("id", "int"),), ("id",))

    def made(types: bytes, names: bytes = b"", *, hidden: int = 1, mariadb: bool = True) -> list[Row | None]:
        table_map = TableMap(
            1, "shop", "t", types, (0,) * len(types), (False,) * len(types), {4: names} if names else {}
        )
        decoder = make_decoder(table_map, table, {}, mariadb=mariadb, hidden=lambda: hidden)
        data = bytes(1) + b"\7\0\0\0" + bytes(8) * (len(types) - 1)
        return [change.after for change in decoder.insert(data, 0, len(data), table, AT)]

    name = b"\x02id"
    first, second = b"\x0dDB_ROW_HASH_1", b"\x0dDB_ROW_HASH_2"
    assert made(b"\3\x08") == [(7,)]
    assert made(b"\3\x08\x08", hidden=2) == [(7,)]
    assert made(b"\3\x08", name + first, hidden=0) == [(7,)]
    assert made(b"\3\x08\x08", name + first + second, hidden=0) == [(7,)]
    for refused in (
        lambda: made(b"\3\x08", hidden=0),
        lambda: made(b"\3\x08", hidden=2),
        lambda: made(b"\3\x08", mariadb=False),
        lambda: made(b"\3\3"),
        lambda: made(b"\3\x08\3", hidden=2),
        lambda: made(b"\3\x08", name + second),
        lambda: made(b"\3\x08\x08", name + first + first, hidden=2),
    ):
        with pytest.raises(SchemaDrift):
            refused()


def test_compressed_columns() -> None:
    plain = b"whimbrel " * 50
    for size in (1, 2, 3):
        packed = zlib.compress(plain)
        raw = zlib.compressobj(wbits=-15)
        bare = raw.compress(plain) + raw.flush()
        if len(plain) < 1 << 8 * size:
            assert uncompress_column(bytes([0x80 | size]) + len(plain).to_bytes(size, "big") + packed) == plain
            assert uncompress_column(bytes([0x88 | size]) + len(plain).to_bytes(size, "big") + bare) == plain
        with pytest.raises(UndecodableEvent, match="another length"):
            uncompress_column(bytes([0x80 | size]) + (1).to_bytes(size, "big") + packed)
    packed, said = zlib.compress(plain), len(plain)
    for data, size in (
        (packed, said + 1),
        (packed[:-1], said),
        (packed[:-4], said),
    ):  # a part of it, or of its checksum
        with pytest.raises(UndecodableEvent, match="a compressed column has another length"):
            uncompress_column(b"\x82" + size.to_bytes(2, "big") + data)
    assert uncompress_column(b"") == b""
    assert uncompress_column(b"\0") == b""
    assert uncompress_column(b"\0x\0") == b"x\0"
    with pytest.raises(UndecodableEvent, match="unknown method: 0x12"):
        uncompress_column(b"\x12x")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "null"),
        (b"\x04\0", "null"),
        (b"\x04\1", "true"),
        (b"\x04\2", "false"),
        (b"\x05\xff\xff", "-1"),
        (b"\x06\xff\xff", "65535"),
        (b"\x07\xff\xff\xff\xff", "-1"),
        (b"\x08\xff\xff\xff\xff", "4294967295"),
        (b"\x09" + b"\xff" * 8, "-1"),
        (b"\x0a" + b"\xff" * 8, "18446744073709551615"),
        (b"\x0b" + struct.pack("<d", 1.5), "1.5"),
        (b'\x0c\x03a"b', '"a\\"b"'),
        (b"\x0c\x80\x01" + b"x" * 128, '"' + "x" * 128 + '"'),
        (b"\x0c\x80\x80\x01" + b"x" * 16384, '"' + "x" * 16384 + '"'),
        (b"\x0f\xf6\x04\x04\x02\x8c\x32", "12.50"),
        (b"\x0f\xfc\x02\0\xff", '"base64:type252:AP8="'),
    ],
)
def test_json_of_one_value(data: bytes, text: str) -> None:
    assert json_text(data) == text


def test_long_base64_is_broken_into_lines() -> None:
    lines = json_text(b"\x0f\xfc\x78" + bytes(120)).strip('"').removeprefix("base64:type252:").split("\\n")
    assert [len(line) for line in lines] == [76, 76, 8]


def test_json_of_more_entries_than_a_small_document_can_have() -> None:
    count = 70_000
    entries = b"".join(b"\x05" + struct.pack("<hh", n % 100 - 50, 0) for n in range(count))
    text = json_text(b"\x03" + struct.pack("<II", count, 8 + len(entries)) + entries)
    assert text == f"[{', '.join(str(n % 100 - 50) for n in range(count))}]"


def test_json_that_ends_too_early_is_refused() -> None:
    for data in (b"\x05\xff", b"\x63", b"\x04\x07", b"\x02\x01\0", b"\x00\x01\0\x20\0\x0b\0\x01\0"):
        with pytest.raises(UndecodableEvent, match="JSON document that cannot be read"):
            json_text(data)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.0"), (-0.0, "-0.0"), (1.0, "1.0"), (-1.5, "-1.5"), (0.1 + 0.2, "0.30000000000000004"),
        (1e14, "100000000000000.0"), (1e15, "1e15"), (123456789012345.6, "123456789012345.6"), (1e22, "1e22"),
        (1.25e15, "1.25e15"), (1234567890123456.0, "1.234567890123456e15"), (999999999999999.9, "999999999999999.9"),
        (1e-5, "0.00001"), (1e-14, "0.00000000000001"), (1e-15, "0.000000000000001"), (1e-16, "1e-16"),
        (1.5e-15, "0.0000000000000015"), (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e308"),
        (-2.5e-20, "-2.5e-20"), (100.0, "100.0"), (120.0, "120.0"), (0.5, "0.5"), (10.25, "10.25"),
    ],
)  # fmt: skip
def test_doubles_as_json_prints_them(number: float, text: str) -> None:
    assert double_text(number) == text


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((1, 2, 3, 4, 5, 6, 7, 8), "1:2:3:4:5:6:7:8"),
        ((1, 2, 3, 4, 5, 6, 7, 0), "1:2:3:4:5:6:7::"),
        ((0, 2, 3, 4, 5, 6, 7, 8), "::2:3:4:5:6:7:8"),
        ((1, 0, 0, 4, 0, 0, 0, 8), "1:0:0:4::8"),
        ((1, 0, 0, 4, 5, 0, 0, 8), "1::4:5:0:0:8"),
        ((0, 0, 0, 0, 0, 0xFFFF, 0x102, 0x304), "::ffff:1.2.3.4"),
        ((0, 0, 0, 0, 0, 0, 0x102, 0x304), "::1.2.3.4"),
        ((0, 0, 0, 0, 0, 1, 0x102, 0x304), "::1:102:304"),
        ((0, 0, 0, 0, 0, 0, 0, 1), "::1"),
        ((0, 0, 0, 0, 0, 0, 0, 0), "::"),
    ],
)
def test_addresses_as_mariadb_prints_them(words: tuple[int, ...], text: str) -> None:
    assert inet6_text(struct.pack(">8H", *words)) == text


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (0, "00:00:00.000000"),
        (1, "00:00:00.000001"),
        (-1, "-00:00:00.000001"),
        ((101 << 12 | 1 << 6 | 2) << 24 | 500_000, "101:01:02.500000"),
        (-((838 << 12 | 59 << 6 | 59) << 24), "-838:59:59.000000"),
    ],
)
def test_times_in_json(packed: int, text: str) -> None:
    assert temporal.packed_time_text(packed) == text


@pytest.mark.parametrize(
    ("date", "text"),
    [
        ((2020, 2, 29), "2020-02-29"),
        ((0, 0, 0), "0000-00-00"),
        ((9999, 12, 31), "9999-12-31"),
        ((7, 0, 5), "0007-00-05"),
    ],
)
def test_dates(date: tuple[int, int, int], text: str) -> None:
    year, month, day = date
    assert temporal.date_text((year * 13 + month) << 5 | day) == text
    assert [temporal.date_text((year * 13 + month) << 5 | day) for _ in range(2)] == [text] * 2


def test_moments() -> None:
    assert temporal.seconds_text(0) == "0000-00-00 00:00:00"
    assert temporal.seconds_text(1) == "1970-01-01 00:00:01"
    assert temporal.seconds_text(2**31 - 1) == "2038-01-19 03:14:07"
    assert temporal.seconds_text(2**32 - 1) == "2106-02-07 06:28:15"
    assert temporal.seconds_text(86_399) == "1970-01-01 23:59:59"

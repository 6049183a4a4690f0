"""Events in bytes made by the servers' own descriptions of them, also the forms that a recording seldom has."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from whimbrel.errors import SchemaDrift, UndecodableEvent
from whimbrel.mysql.binlog import events as ev
from whimbrel.mysql.binlog.metadata import check_metadata, column_names
from whimbrel.records import Column, Table

HEAD = bytes(19)


# Integers


@given(st.integers(0, 2**64 - 1))
def test_lengths_of_the_client_protocol(number: int) -> None:
    """dev.mysql.com: Protocol::LengthEncodedInteger."""
    if number < 251:
        data = bytes([number])
    else:
        sizes = ((0xFC, 2), (0xFD, 3), (0xFE, 8))
        mark, size = next((mark, size) for mark, size in sizes if number < 256**size)
        data = bytes([mark]) + number.to_bytes(size, "little")
    assert ev.length_encoded(b"?" + data + b"?", 1) == (number, 1 + len(data))
    with pytest.raises(KeyError):
        ev.length_encoded(b"\xfb", 0)  # a NULL


def varint(number: int) -> bytes:
    """mysql::serialization: as many trailing ones as there are more bytes."""
    for more in range(8):
        if number < 1 << 7 * (more + 1):
            return (number << (more + 1) | (1 << more) - 1).to_bytes(more + 1, "little")
    return b"\xff" + number.to_bytes(8, "little")


UUID = bytes(range(16))
UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"


@given(st.text(st.sampled_from("abc_"), max_size=32), st.integers(1, 2**62), st.integers(0, 2**55 - 1), st.booleans())
def test_gtids_with_a_tag(tag: str, number: int, microseconds: int, more: bool) -> None:
    fields = varint(0) + varint(1)
    fields += varint(1) + b"".join(varint(byte) for byte in UUID)
    fields += varint(2) + varint(number << 1)
    fields += varint(3) + varint(len(tag)) + tag.encode()
    fields += varint(4) + varint(77)
    fields += varint(6) + varint(microseconds)
    fields += varint(7) + varint(3) if more else b""
    event = HEAD + varint(2) + varint(len(fields)) + varint(0) + fields
    assert ev.parse_tagged_gtid(event) == (UUID_TEXT, tag, number, microseconds / 1e6)


def tagged(*fields: bytes) -> bytes:
    body = b"".join(fields)
    return HEAD + varint(2) + varint(len(body)) + varint(0) + body


UUID_FIELD, NUMBER_FIELD = varint(1) + b"".join(map(varint, UUID)), varint(2) + varint(5 << 1)


def test_a_gtid_with_a_tag_has_at_least_its_uuid_and_its_number() -> None:
    assert ev.parse_tagged_gtid(tagged(UUID_FIELD, NUMBER_FIELD)) == (UUID_TEXT, "", 5, 0.0)
    for fields in ([UUID_FIELD], [NUMBER_FIELD], [], [UUID_FIELD, varint(2) + varint(0)]):
        with pytest.raises(UndecodableEvent, match="a GTID without its uuid or its number"):
            ev.parse_tagged_gtid(tagged(*fields))


@given(st.integers(1, 2**63 - 1), st.integers(0, 2**55 - 1), st.booleans())
def test_gtids_without_a_tag(number: int, microseconds: int, differing: bool) -> None:
    """The highest bit of the time says that another one, of the first server, follows."""
    time = microseconds | (differing << 55)
    event = HEAD + b"\1" + UUID + struct.pack("<Q", number) + b"\2" + bytes(16) + time.to_bytes(7, "little")
    event += (1).to_bytes(7, "little") if differing else b""
    assert ev.parse_gtid(event) == (UUID_TEXT, number, microseconds / 1e6)
    assert ev.parse_gtid(event[:61]) == (UUID_TEXT, number, 0.0)
    assert ev.parse_gtid(event[:67]) == (UUID_TEXT, number, 0.0)


@pytest.mark.parametrize("standalone", [False, True])
@pytest.mark.parametrize("group_commit", [False, True])
@pytest.mark.parametrize("prepared", [0, 0x40, 0x80])
@pytest.mark.parametrize(("extra", "without_effect"), [(None, False), (0, False), (2, True), (4, False), (8, True)])
def test_gtids_of_mariadb(
    standalone: bool, group_commit: bool, prepared: int, extra: int | None, without_effect: bool
) -> None:
    """Gtid_log_event: what its flags announce stands between them and the extra flags."""
    flags = standalone | group_commit << 1 | prepared
    body = struct.pack("<QIB", 2**40 + 7, 3, flags)
    body += struct.pack("<Q", 0xFFFF) if group_commit else bytes(6)
    if prepared:
        body = body[:13] + (struct.pack("<Q", 0xFFFF) if group_commit else b"")
        body += struct.pack("<IBB", 0x0E0E, 2, 3) + b"ab" + b"cde"
    if not standalone and not group_commit and not prepared:
        body = body[:13] + bytes(6)
    elif not group_commit and not prepared:
        body = body[:13]
    body += b"" if extra is None else bytes([extra])
    event = struct.pack("<IBIIIH", 1, 162, 21, 0, 0, 0) + body
    assert ev.parse_mariadb_gtid(event) == ((3, 21, 2**40 + 7), standalone, standalone and without_effect)


# Statements


def query(sql: bytes, schema: bytes, status: bytes) -> bytes:
    return HEAD + struct.pack("<IIBHH", 1, 0, len(schema), 0, len(status)) + status + schema + b"\0" + sql


FLAGS2, SQL_MODE = b"\0" + b"\1\2\3\4", b"\1" + struct.pack("<Q", 1 << 20 | 4)
CATALOG, AUTO_INCREMENT = b"\6\3std", b"\3" + struct.pack("<HH", 1, 1)
CHARSET = b"\4" + struct.pack("<HHH", 300, 45, 45)
LATER = b"\x05\x03UTC\0\x07\1\0"


@pytest.mark.parametrize("before", [b"", FLAGS2, CATALOG, AUTO_INCREMENT, FLAGS2 + CATALOG + AUTO_INCREMENT])
@pytest.mark.parametrize("sql_mode", [b"", SQL_MODE])
@pytest.mark.parametrize("charset", [b"", CHARSET])
def test_what_a_session_was_like(before: bytes, sql_mode: bytes, charset: bytes) -> None:
    mode, collation = (1 << 20 | 4 if sql_mode else 0), (300 if charset else 0)
    for status in (before + sql_mode + charset + LATER, sql_mode + before + charset + LATER):
        found = ev.parse_query(query(b"DROP TABLE \xff", "größe".encode(), status))
        assert found == ("größe", b"DROP TABLE \xff", collation, mode)


def test_the_name_of_a_schema_that_is_not_utf8_is_another_name() -> None:
    assert ev.parse_query(query(b"\xff", b"a\xff", b"")) == ("a\ufffd", b"\xff", 0, 0)


def test_what_is_not_known_of_a_session_ends_the_search() -> None:
    """Whatever stands behind it."""
    assert ev.parse_query(query(b"x", b"s", b"\x63" + CHARSET + SQL_MODE)) == ("s", b"x", 0, 0)
    assert ev.parse_query(query(b"x", b"s", SQL_MODE + b"\x63" + CHARSET)) == ("s", b"x", 0, 1 << 20 | 4)


@pytest.mark.parametrize("schema", [b"", b"s", b"x" * 64])
@pytest.mark.parametrize("status", [b"", FLAGS2 + SQL_MODE + CHARSET, b"\6\xfa" + b"y" * 250 + b"\6\xfa" + b"y" * 250])
def test_begin_is_nothing_but_begin(schema: bytes, status: bytes) -> None:
    assert ev.is_begin(query(b"BEGIN", schema, status))
    for sql in (b"BEGIN ", b"begin", b"XBEGIN", b"DROP TABLE `\0BEGIN", b"COMMIT"):
        assert not ev.is_begin(query(sql, schema, status))


# Files


def test_the_format_of_a_file() -> None:
    sizes = bytearray(170)
    sizes[ev.QUERY - 1], sizes[ev.TABLE_MAP - 1], sizes[ev.WRITE_V2 - 1] = 13, 8, 10
    good = HEAD + struct.pack("<H", 4) + b"8.4.3".ljust(50, b"\0") + bytes(4) + b"\x13" + bytes(sizes)
    ev.check_format(good)
    assert ev.writer_version(good) == "8.4.3"
    assert ev.writer_version(good[:21] + b"11.8.3-MariaDB-log".ljust(50, b"\0") + good[71:]) == "11.8.3-MariaDB-log"
    assert ev.writer_version(good[:21] + b"\xff" * 50 + b"more" + good[75:]) == "\ufffd" * 50
    for place in (19, 20, 75, 75 + ev.QUERY, 75 + ev.TABLE_MAP, 75 + ev.WRITE_V2):
        damaged = bytearray(good)
        damaged[place] ^= 1
        with pytest.raises(UndecodableEvent, match="a binlog format of another kind"):
            ev.check_format(bytes(damaged))


def test_whether_a_file_has_checksums() -> None:
    assert ev.checksum_length(b"xxx\0crc4") == 0
    assert ev.checksum_length(b"xxx\1crc4") == 4
    with pytest.raises(UndecodableEvent, match="unknown checksum algorithm: 7"):
        ev.checksum_length(b"xxx\7crc4")


def test_rotation_and_heartbeats() -> None:
    assert ev.parse_rotate(HEAD + struct.pack("<Q", 2**40) + b"bin.000007") == ("bin.000007", 2**40)
    fields = b"\1\x0abin.000007" + b"\2\x09\xfe" + struct.pack("<Q", 2**33)
    assert ev.parse_heartbeat_v2(HEAD + fields + b"\0rest") == ("bin.000007", 2**33)
    assert ev.parse_heartbeat_v2(HEAD + b"\x63\2??" + fields) == ("bin.000007", 2**33)
    assert ev.parse_heartbeat_v2(HEAD + b"\2\1\x07") == ("", 7)
    assert ev.parse_heartbeat_v2(HEAD + b"\0" + fields) == ("", 0)
    assert ev.parse_heartbeat_v2(HEAD) == ("", 0)


# Table maps


def table_map(types: bytes, metadata: bytes, nulls: bytes, optional: bytes = b"", *, schema: bytes = b"shop") -> bytes:
    count = bytes([len(types)]) if len(types) < 251 else b"\xfc" + struct.pack("<H", len(types))
    head = HEAD + (77).to_bytes(6, "little") + b"\1\0" + bytes([len(schema)]) + schema + b"\0\x06things\0"
    return head + count + types + bytes([len(metadata)]) + metadata + nulls + optional


def test_a_table_map() -> None:
    types = bytes([3, 15, 246, 254, 252, 18, 16])
    metadata = b"\x2c\x01" + b"\x0a\x02" + b"\xf7\x01" + b"\x02" + b"\x06" + b"\x05\x01"
    optional = b"\1\2\x80\0" + b"\4\xfc\x03\0abc"
    event = table_map(types, metadata, b"\x2a", optional)
    assert ev.table_name(event) == ("shop", "things")
    found = ev.parse_table_map(event)
    assert (found.table_id, found.schema, found.name, found.types) == (77, "shop", "things", types)
    assert found.metadata == (0, 300, 0x0A02, 0xF701, 2, 6, 0x105)
    assert found.nullable == (False, True, False, True, False, True, False)
    assert found.optional == {1: b"\x80\0", 4: b"abc"}
    assert ev.parse_table_map(table_map(types, metadata, b"\x2a")).optional == {}
    with pytest.raises(UndecodableEvent, match=r"column metadata of shop\.things does not fit"):
        ev.parse_table_map(table_map(types, metadata + b"\0", b"\x2a"))


def test_a_table_map_of_many_columns() -> None:
    eight = ev.parse_table_map(table_map(b"\3" * 8, b"", b"\xaa", b"\1\1\x80"))
    assert (eight.nullable, eight.optional) == ((False, True) * 4, {1: b"\x80"})
    found = ev.parse_table_map(table_map(b"\3" * 300, b"", b"\xff" * 37 + b"\x07"))
    assert (len(found.types), found.nullable) == (300, (True,) * 299 + (False,))


def check(types: bytes, columns: list[Column], optional: dict[int, bytes], *, mariadb: bool = False) -> None:
    metadata = tuple(0xF701 if kind == 254 else 0 for kind in types)
    found = ev.TableMap(1, "shop", "t", types, metadata, (True,) * len(types), optional)
    table = Table("shop", "t", tuple(columns), ("a",))
    check_metadata(found, table, {8: "latin1", 45: "utf8mb4", 63: "binary", 300: "latin2", 33: "utf8"}, mariadb=mariadb)


def test_signs_of_more_than_eight_numbers() -> None:
    for unsigned in ((0, 8), (7,), (1, 6), ()):
        columns = [Column(f"c{n}", "int", unsigned=n in unsigned) for n in range(9)]
        bits = sum(1 << 15 - n for n in unsigned)
        check(b"\3" * 9, columns, {1: bits.to_bytes(2, "big")})
        check(b"\3" * 9, columns, {1: (bits | 0x40).to_bytes(2, "big")})  # behind the last column
        for n in range(9):
            with pytest.raises(Exception, match=rf"^shop\.t\.c{n}: is unsigned: {n not in unsigned} in its rows"):
                check(b"\3" * 9, columns, {1: (bits ^ 1 << 15 - n).to_bytes(2, "big")})


def test_the_names_of_columns_where_a_table_map_has_them() -> None:
    names = {4: b"\1a\3\xc3\xa4b"}
    assert column_names(ev.TableMap(1, "shop", "t", b"\3\3", (0, 0), (True, True), names)) == ["a", "äb"]
    assert column_names(ev.TableMap(1, "shop", "t", b"\3\3", (0, 0), (True, True), {1: b"\0"})) == []


def test_names_and_signs_of_some_columns_only_are_refused() -> None:
    columns = [Column("a", "int"), Column("b", "int")]
    check(b"\3\3", columns, {4: b"\1a\1b"})
    for optional in ({4: b"\1a"}, {4: b"\1a\1b\1c"}, {4: b""}):
        with pytest.raises(ValueError, match=r"shorter|longer"):
            check(b"\3\3", columns, optional)


def test_character_sets_by_default_and_one_by_one() -> None:
    latin1, utf8mb4, binary = (
        Column("a", "text", charset="latin1"),
        Column("b", "text", charset="utf8mb4"),
        Column("c", "binary"),
    )
    number, latin2 = Column("n", "int"), Column("d", "text", charset="latin2")
    types, columns = b"\x0f\3\x0f\xfc\x0f", [latin1, number, utf8mb4, binary, latin2]
    good = [{3: b"\x08\x2d\x3f\xfc\x2c\x01"}, {2: b"\x08\1\x2d\2\x3f\3\xfc\x2c\x01"}]
    for optional in good:
        check(types, columns, optional)
    for optional in (
        {3: b"\x2d\x2d\x3f\xfc\x2c\x01"},
        {3: b"\x08\x2d\x08\xfc\x2c\x01"},
        {3: b"\x08\x2d\x3f\x08"},
        {2: b"\x08\1\x2d\2\x3f"},
        {2: b"\x08"},
        {2: b"\x08\1\x2d\2\x3f\3\x08"},
    ):
        with pytest.raises(Exception, match=r"^shop\.t\.[abcd]: has the character set '\w*' in its rows"):
            check(types, columns, optional)
    for collations in (b"\x08\x2d\x3f", b"\x08\x2d\x3f\xfc\x2c\x01\x08", b"\x08"):
        with pytest.raises(ValueError, match=r"shorter|longer"):
            check(types, columns, {3: collations})
    with pytest.raises(ValueError, match=r"shorter|longer"):
        check(types, columns, {2: b"\x08\1\x2d\2\x3f\3"})
    check(types, columns, {3: b"\x08\x07\x3f\xfc\x2c\x01"})  # collation 7 is not known here
    check(b"\x0f", [Column("a", "text", charset="utf8mb3")], {2: b"\x21"})


@pytest.mark.parametrize(("kind", "field", "type_code"), [("enum", 6, b"\xf7"), ("set", 5, b"\xf8")])
def test_members_of_enums_and_sets(kind: str, field: int, type_code: bytes) -> None:
    """In the column's own character set, one column after the other."""
    one = Column("a", kind, members=("x", "é"), charset="latin1")
    other = Column("b", kind, members=("é",), charset="utf8mb4")
    columns, types = [one, Column("n", "int"), other], type_code + b"\3" + type_code
    check(types, columns, {field: b"\2\1x\1\xe9\1\2\xc3\xa9"})
    for wrong, place in ((b"\2\1x\1e\1\2\xc3\xa9", "a"), (b"\1\1x\1\2\xc3\xa9", "a"), (b"\2\1x\1\xe9\1\1\xe9", "b")):
        with pytest.raises(SchemaDrift, match=rf"^shop\.t\.{place}: has the members"):
            check(types, columns, {field: wrong})


def test_geometry_has_a_character_set_in_mariadb_alone() -> None:
    columns = [Column("g", "geometry"), Column("t", "text", charset="latin1")]
    check(b"\xff\x0f", columns, {3: b"\x3f\x08"}, mariadb=True)
    check(b"\xff\x0f", columns, {3: b"\x08"}, mariadb=False)


# Compressed events


def compressed(plain: bytes, size: int = 2) -> bytes:
    return bytes([0x80 | size]) + len(plain).to_bytes(size, "big") + zlib.compress(plain)


def test_what_mariadb_compresses() -> None:
    plain = b"rows" * 300
    for size in (2, 3, 4):
        assert ev.uncompress(compressed(plain, size)) == plain
    with pytest.raises(UndecodableEvent, match=r"^a compressed event has another length than it says"):
        ev.uncompress(b"\x82\0\1" + zlib.compress(plain))
    with pytest.raises(UndecodableEvent, match=r"unknown algorithm: 0x1$"):
        ev.uncompress(b"\x01" + compressed(b"few", 1)[1:])
    for head in (0x02, 0x92, 0xC2):
        with pytest.raises(UndecodableEvent, match="unknown algorithm"):
            ev.uncompress(bytes([head]) + compressed(plain)[1:])


def inner(kind: int, size: int) -> bytes:
    return struct.pack("<IBIIIH", 1, kind, 1, 19 + size, 0x0A0B0C0D, 0x8001) + bytes([kind]) * size


def payload(body: bytes, *, algorithm: int | None, said: int | None = None, more: bytes = b"") -> bytes:
    size = len(body) if said is None else said
    fields = more + b"\1\x03\xfc" + struct.pack("<H", size)
    fields += (
        b""
        if algorithm is None
        else bytes([2, 1 if algorithm < 251 else 3])
        + (bytes([algorithm]) if algorithm < 251 else b"\xfc" + struct.pack("<H", algorithm))
    )
    return HEAD + fields + b"\0" + body


EVENTS = [inner(kind, size) for kind, size in ((19, 30), (30, 0), (30, 5000), (16, 8))]


def test_the_events_of_a_payload() -> None:
    plain = b"".join(EVENTS)
    packed = zstandard.ZstdCompressor().compress(plain)
    half = len(plain) // 2
    frames = zstandard.ZstdCompressor().compress(plain[:half]) + zstandard.ZstdCompressor().compress(plain[half:])
    for event in (
        payload(packed, algorithm=0),
        payload(frames, algorithm=0),
        payload(packed, algorithm=0, more=b"\3\xfc\x02\0??"),
        payload(plain, algorithm=255),
        payload(plain, algorithm=None),
    ):
        assert list(ev.payload_events(event)) == EVENTS
    assert list(ev.payload_events(payload(zstandard.ZstdCompressor().compress(b""), algorithm=0))) == []


def test_a_payload_that_is_not_whole() -> None:
    plain = b"".join(EVENTS)
    packed = zstandard.ZstdCompressor().compress(plain)
    for event, words in (
        (payload(packed, algorithm=0, said=len(packed) + 1), "said"),
        (payload(packed, algorithm=7), "algorithm 7"),
        (payload(b"nonsense", algorithm=0), "zstd cannot read"),
        (payload(plain[:-1], algorithm=255), "ends within an event"),
        (payload(plain[: len(EVENTS[0]) + 5], algorithm=255), "ends within an event"),
        (payload(plain + struct.pack("<IBIIIH", 1, 2, 1, 18, 0, 0), algorithm=255), "an event of 18 bytes"),
    ):
        with pytest.raises(UndecodableEvent, match=words):
            list(ev.payload_events(event))


def test_events_in_pieces_of_any_size() -> None:
    plain = b"".join(EVENTS)

    def pieces(size: int) -> Iterator[bytes]:
        return (plain[at : at + size] for at in range(0, len(plain), size))

    for size in (1, 2, 18, 19, 20, 49, 50, 4096):
        assert list(ev._split(pieces(size))) == EVENTS
    small = [inner(30, 81)] * 40  # of which a piece has several whole ones and a part of another
    plain = b"".join(small)
    for size in (99, 119, 120, 250, 301, 350, 1000):
        assert list(ev._split(pieces(size))) == small

"""Formats in templates: their texts, which are in tables' keys and so never change; what they refuse; the way back."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.errors import MappingError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.disjoint import apart
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.inverse import inverse_of
from whimbrel.mapping.items_back import ItemInverse
from whimbrel.mapping.templates import Literal, parse
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Filled, Position, Row, Table, Value

COLUMNS = {
    "id": Column("id", "int"),
    "n": Column("n", "int", unsigned=True),
    "y": Column("y", "year"),
    "flag": Column("flag", "bit"),
    "price": Column("price", "decimal", precision=10, scale=2),
    "name": Column("name", "text", nullable=True),
    "size": Column("size", "enum", members=("small", "Large")),
    "day": Column("day", "date"),
    "at": Column("at", "datetime"),
    "at3": Column("at3", "datetime", scale=3),
    "at6": Column("at6", "timestamp", scale=6),
    "u": Column("u", "uuid"),
    "key": Column("key", "binary", length=16, type_name="binary(16)"),
    "blob": Column("blob", "binary"),
    "real": Column("real", "double"),
    "doc": Column("doc", "json"),
}
UUID = "123e4567-e89b-12d3-a456-426655440000"


def text_of(template: str, **values: Value) -> str:
    """As the generated code makes it, of a row with these values."""
    names = tuple(values)
    table = Table("shop", "t", tuple(COLUMNS[name] for name in names), names)
    rule = TableRule("t", "ttt", "record", KeyRule("p", template), assert_unique=True)
    puts, faults = compile_mapping(rule, table).put_items([tuple(values.values())])
    if faults:
        raise LookupError(faults[0].reason)
    return str(puts[0].key["p"]["S"])


@pytest.mark.parametrize(
    ("template", "value", "text"),
    [
        ("${id:010d}", 7, "0000000007"),
        ("${id:01d}", 0, "0"),
        ("${n:020d}", 2**64 - 1, "18446744073709551615"),
        ("${y:06d}", 2026, "002026"),
        ("${flag:03d}", 5, "005"),
        ("${id%16}", 35, "3"),
        ("${id%16}", -7, "9"),  # never below 0
        ("${n%7}", 2**64 - 1, "1"),
        ("${id:bucket16}", 1, "3"),
        ("${id:bucket16}", 12345, "10"),
        ("${name:bucket256}", "Zoë", "152"),
        ("${key:bucket256}", bytes(16), "255"),
        ("${name:lower}", "STRASSE Ä", "strasse Ä"),
        ("${name:upper}", "straße é", "STRAßE é"),
        ("${size:upper}", "Large", "LARGE"),
        ("${u:upper}", UUID, UUID.upper()),
        ("${day:%Y-%m}", "2026-01-31", "2026-01"),
        ("${day:%d.%m.%Y}", "2026-00-00", "00.00.2026"),
        ("${at:%Y%m%dT%H%M%SZ}", "2026-01-31 12:34:56", "20260131T123456Z"),
        ("${at3:%H:%M:%S.%f}", "2026-01-31 12:34:56.789", "12:34:56.789000"),
        ("${at6:%Y-%m-%d}", "2026-01-31 12:34:56.789012", "2026-01-31"),
        ("${day:epoch}", "1970-01-02", "0000086400"),
        ("${at:epoch_ms}", "2001-09-09 01:46:40", "1000000000000"),
        ("${at6:epoch_us}", "1970-01-01 00:00:00.000001", "0000000000000001"),
        ("${at:reversed}", "2001-09-09 01:46:40", "8999999999"),
        ("${at3:reversed_ms}", "2001-09-09 01:46:40.001", "8999999999998"),
        ("${at6:reversed_us}", "2001-09-09 01:46:40.000001", "8999999999999998"),
        ("${key:uuid}", uuid.UUID(UUID).bytes, UUID),
        ("${key:uuid_swapped}", bytes.fromhex("12d3e89b123e4567a456426655440000"), UUID),
        ("${name:-none}", None, "none"),
        ("${name:upper:-none}", None, "none"),
        ("${name:-none}", "some", "some"),
    ],
)
def test_the_text_of_a_format(template: str, value: Value, text: str) -> None:
    name = parse(template).columns[0]
    assert text_of(template, **{name: value}) == text


@pytest.mark.parametrize(
    ("template", "value", "reason"),
    [
        ("${id:010d}", 10**10, "column 'id' is 10000000000, which the format 010d cannot carry: 0 to 10 digits"),
        ("${id:010d}", -1, "column 'id' is -1, which the format 010d cannot carry"),
        ("${at:epoch}", "1969-12-31 23:59:59", "does not fit into 10 digits: it takes 1970 to 2286"),
        ("${at:reversed}", "2286-11-20 17:46:40", "does not fit into 10 digits"),
        ("${at:reversed_ms}", "0000-00-00 00:00:00", "which is not a calendar date"),
        ("${name:-none}", "none", "column 'name' is 'none', which stands for NULL there: another row could have it"),
        ("${name}", None, "needs column 'name', which is NULL"),
        ("${key:uuid}", b"short", "which is not a UUID of 16 bytes"),
    ],
)
def test_what_a_format_cannot_carry_is_a_dead_letter_by_name(template: str, value: Value, reason: str) -> None:
    name = parse(template).columns[0]
    with pytest.raises(LookupError) as refused:
        text_of(template, **{name: value})
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("${id:10d}", "has the format '10d', which is not known"),
        ("${day:%Y:-%m}", "has a '%' in the text for NULL, which begins at the first ':-'"),
        ("${id:00d}", "which is not known"),
        ("${id:}", "column 'id:'"),
        ("${day:%Y-%q}", "which is not known"),
        ("${day:%Y %}", "which is not known"),
        ("${name:010d}", "it takes integers"),
        ("${price:010d}", "it takes integers"),
        ("${id:039d}", "a number has 38 digits at most"),
        ("${name%16}", "it takes integers; use bucket"),
        ("${id%0}", "which is not known"),
        ("${id%65537}", "at most 65536"),
        ("${real:bucket4}", "it has no text that is the same everywhere: not double"),
        ("${doc:bucket4}", "not json"),
        ("${id:lower}", "it takes text"),
        ("${id:%Y}", "it takes date, datetime, timestamp"),
        ("${day:%H}", "a date has no hours"),
        ("${at3:reversed}", "it would lose some of the 3 digits after the second"),
        ("${at6:epoch_ms}", "it would lose some of the 6 digits"),
        ("${blob:uuid}", "it takes BINARY(16)"),
        ("${u:uuid}", "it takes BINARY(16)"),
        ("${name:-}", "has an empty text for NULL"),
        ("${blob}", "binary has no text"),
        ("${nowhere:010d}", "column 'nowhere', which shop.t does not have"),
    ],
)
def test_a_format_that_does_not_fit_is_refused_beforehand(template: str, reason: str) -> None:
    table = Table("shop", "t", tuple(COLUMNS.values()), ("id",))
    with pytest.raises(MappingError) as refused:
        compile_mapping(TableRule("t", "ttt", "record", KeyRule("p", f"${{id}}/{template}")), table)
    assert reason in str(refused.value)


def test_a_column_of_that_very_name_is_meant() -> None:
    assert parse("${a:010d}${b%4}", ("a:010d", "b%4")).parts == (Reference("a:010d"), Reference("b%4"))
    assert parse("${a:b:010d}", ("a", "a:b")).parts == (Reference("a:b", "010d"),)
    assert parse("${a%5%16}x", ("a%5",)).parts == (Reference("a%5", "%16"), Literal("x"))
    assert parse("${a:010d:-none}", ("a",)).parts == (Reference("a", "010d", "none"),)


# --- two rows never share a key -------------------------------------------------------------------------------------


def mapping_of(names: str, partition: str, sort: str = "", key: str = "", **settings: Any) -> TableMapping:
    columns = tuple(COLUMNS[name] for name in names.split())
    primary_key = tuple(key.split()) or tuple(one.name for one in columns)
    rule = TableRule(
        "t",
        "ttt",
        settings.pop("shape", "record"),
        KeyRule("p", partition),
        KeyRule("s", sort) if sort else None,
        **settings,
    )
    return compile_mapping(rule, Table("shop", "t", columns, primary_key))


@pytest.mark.parametrize(
    ("names", "partition", "sort", "doubtful"),
    [
        ("id", "${id:010d}", "", False),
        ("id n", "${id:010d}${n:010d}", "", False),
        ("id", "${id%16}", "", True),
        ("id", "B${id%16}", "${id}", False),
        ("name", "${name:lower}", "", True),
        ("name", "${name:lower}", "${name}", False),
        ("u", "${u:upper}", "", False),
        ("day", "${day:%Y-%m}", "", True),
        ("day", "${day:%d%m%Y}", "", False),
        ("at3", "${at3:%Y%m%d%H%M%S}", "", True),
        ("at3", "${at3:%Y%m%d%H%M%S%f}", "", False),
        ("at3 id", "${at3:reversed_ms}${id}", "", False),
        ("name id", "${name:-none}#${id}", "", False),
        ("key", "${key:uuid}", "", False),
        ("key n", "${key:bucket8}", "${n}", True),
        ("id n", "${id%16}${n}", "${id}", True),  # 1 and 12, 11 and 2
        ("id n", "${id%16}.${n}", "${id}", False),
    ],
)
def test_the_proof_that_keys_cannot_meet_knows_the_formats(
    names: str, partition: str, sort: str, doubtful: bool
) -> None:
    assert bool(mapping_of(names, partition, sort).doubts()) is doubtful


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("${id:010d}", "${id:011d}", True),
        ("${id:010d}", "${n}", False),
        ("ORDER#${id:010d}", "ORDER#${id:010d}#ITEM#${n}", True),
        ("${day:%Y-%m}", "${day:%Y/%m}", True),
        ("${day:%Y-%m}", "${day}", True),
        ("${at:reversed}", "${at3:reversed_ms}", True),
        ("${id%16}", "${name}", False),
        ("${id%16}", "x${id%16}", True),
        ("A${name:lower}", "B${name:lower}", True),
        ("${id:-none}", "none", False),
        ("${id:010d:-none}", "${n}x", True),
        ("${key:uuid}", "${day}", True),
        ("${key:uuid}", "${u}", False),
    ],
)
def test_templates_of_two_tables_are_told_apart_by_their_formats(one: str, other: str, expected: bool) -> None:
    left, right = parse(one, COLUMNS), parse(other, COLUMNS)
    assert apart(left, COLUMNS, right, COLUMNS) is expected
    assert apart(right, COLUMNS, left, COLUMNS) is expected


def test_a_group_is_found_by_its_key() -> None:
    settings = {"shape": "group", "key": "id", "entry_name": "${id}"}
    with pytest.raises(MappingError, match="the item's key does not tell 'day'"):
        mapping_of("id day", "${day:%Y-%m}", **settings)
    assert mapping_of("id day", "${day:%Y%m%d}", **settings).invertible


def test_a_column_that_a_lossy_format_is_of_is_carried_too() -> None:
    mapping = mapping_of("id name n", "${id}", key="id n", shape="group", entry_name="${n}#${name:lower}")
    [put], _ = mapping.put_items([(1, "Ann", 2)])
    assert put.item["2#ann"] == {"M": {"name": {"S": "Ann"}}}


# --- order ----------------------------------------------------------------------------------------------------------

MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2286, 11, 20, 17, 46, 39))


@given(st.integers(0, 10**10 - 1), st.integers(0, 10**10 - 1))
def test_padded_numbers_sort_as_numbers(one: int, other: int) -> None:
    assert (text_of("${id:010d}", id=one) < text_of("${id:010d}", id=other)) is (one < other)


@settings(max_examples=50, deadline=None)
@given(MOMENTS, MOMENTS)
def test_reversed_times_sort_from_the_newest(one: datetime, other: datetime) -> None:
    earlier, later = (text_of("${at6:reversed_us}", at6=f"{each:%Y-%m-%d %H:%M:%S.%f}") for each in (one, other))
    assert (earlier > later) is (one < other)
    exact = one.replace(tzinfo=UTC)
    whole = int(exact.timestamp()) * 10**6 + exact.microsecond if exact.microsecond == 0 else None
    assert whole is None or int(earlier) == 10**16 - 1 - whole


# --- the way back ---------------------------------------------------------------------------------------------------

TELLING = {
    "id": ["${id:020d}", "${id}/${id%16}"],
    "day": ["${day:%d.%m.%Y}", "${day:epoch}", "${day:reversed}"],
    "at3": ["${at3:%Y%m%d %H:%M:%S.%f}", "${at3:epoch_ms}", "${at3:reversed_ms}", "${at3:reversed_us}"],
    "at6": ["${at6:reversed_us}"],
    "u": ["${u:upper}", "${u:lower}"],
    "key": ["${key:uuid}", "${key:uuid_swapped}"],
    "name": ["${name:-none}", "${name:-x}/${name:bucket4:-0}"],
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": st.integers(0, 2**63 - 1),
    "day": MOMENTS.map(lambda at: f"{at:%Y-%m-%d}"),
    "at3": MOMENTS.map(lambda at: f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"),
    "at6": MOMENTS.map(lambda at: f"{at:%Y-%m-%d %H:%M:%S.%f}"),
    "u": st.uuids().map(str),
    "key": st.binary(min_size=16, max_size=16),
    "name": st.sampled_from([None, "a", "None", "b/", "é"]),
}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_row_comes_back_from_the_text_of_its_key(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(TELLING)), min_size=1, max_size=3, unique=True))
    template = "#".join(data.draw(st.sampled_from(TELLING[name])) for name in names)
    mapping = mapping_of(" ".join(names), template, assert_unique=True, exclude=tuple(names))
    row = tuple(data.draw(VALUES[name]) for name in names)
    [put], _ = mapping.put_items([row])
    assert mapping.source_keys(put.key) == [row]
    inverse = inverse_of(mapping, Filled())
    assert not inverse.obstacles
    rows, reasons = ItemInverse([inverse]).rows(put.item)
    assert not reasons
    assert [change.key for change in rows.values()] == [row]


def test_a_key_that_the_format_would_not_have_made_is_no_row_s() -> None:
    mapping = mapping_of("id", "${id:04d}/${id%3}")
    assert mapping.source_keys({"p": {"S": "0007/1"}}) == [(7,)]
    for text in ("0007/2", "7/1", "00007/1", "-007/1", "0007/"):
        assert mapping.source_keys({"p": {"S": text}}) == []
    assert mapping_of("u", "${u:upper}").source_keys({"p": {"S": UUID}}) == []
    assert mapping_of("at", "${at:reversed}").source_keys({"p": {"S": "99999999"}}) == []


def test_rows_are_found_by_what_the_key_tells_of_them() -> None:
    mapping = mapping_of("id at", "DAY#${at:%Y-%m-%d}#${id%4}", "${id:08d}", key="id")
    assert (mapping.group_columns, mapping.lookup_columns, mapping.invertible) == (("at", "id"), ("id",), True)
    assert mapping.source_keys({"p": {"S": "DAY#2026-01-31#3"}, "s": {"S": "00000007"}}) == [(7,)]


def test_a_row_that_moves_by_its_format_leaves_its_old_item() -> None:
    mapping = mapping_of("id at", "${at:%Y-%m-%d}", "${id:08d}", key="id")
    before: Row = (7, "2026-01-31 12:00:00")
    for after, operations in [("2026-01-31 13:00:00", ["Put"]), ("2026-02-01 12:00:00", ["Delete", "Put"])]:
        change = Change(mapping.table, before, (7, after), Position("bin.1", 4))
        assert sorted(type(each).__name__ for each in mapping.fold([change])[0]) == operations


def test_what_a_format_loses_is_an_obstacle_of_the_way_back() -> None:
    mapping = mapping_of("id at", "${at:%Y-%m-%d}", "${id:08d}", key="id", exclude=("at",))
    [found] = inverse_of(mapping, Filled()).obstacles
    assert (found.column, found.reason) == ("at", "excluded, and it makes the item's key")
    assert not inverse_of(mapping_of("id at", "${at:%Y-%m-%d}", "${id:08d}", key="id"), Filled()).obstacles


def computed(template: str, expression: str, *row: Value) -> tuple[str, list[str]]:
    """The text of a template over the computed column ``c`` of a row (id, name, real, blob), or why there is none."""
    table = Table("shop", "t", tuple(COLUMNS[name] for name in ("id", "name", "real", "blob")), ("id",))
    rule = TableRule("t", "ttt", "record", KeyRule("p", template), columns={"c": expression}, assert_unique=True)
    puts, faults = compile_mapping(rule, table).put_items([row])
    return puts[0].key["p"]["S"] if puts else "", [fault.reason for fault in faults]


def test_a_format_takes_a_computed_value_as_the_column_kind_that_it_is() -> None:
    assert computed("${id}#${c:upper}", "name || '-' || real", 1, "a", 0.1, b"") == ("1#A-0.1", [])
    assert computed("${id}#${c:lower}", "real", 1, "a", 1e22, b"") == ("1#1e+22", [])
    assert computed("${id}#${c:03d}", "id + 1", 1, "a", 0.1, b"") == ("1#002", [])


@pytest.mark.parametrize(
    ("template", "expression", "reason"),
    [
        ("${id}#${c:03d}", "name", "column 'c' is 'a', and its format takes an integer"),
        ("${id}#${c:03d}", "real", "column 'c' is 1.0, and its format takes an integer"),
        ("${id}#${c}", "blob", "a computed column is binary, which has no text"),
    ],
)
def test_a_computed_value_that_a_template_cannot_have_is_a_dead_letter(
    template: str, expression: str, reason: str
) -> None:
    assert computed(template, expression, 1, "a", 1.0, b"\0") == ("", [reason])


@pytest.mark.parametrize(
    ("template", "good", "value", "others"),
    [
        ("${key:uuid}", UUID, uuid.UUID(UUID).bytes, ["no", UUID.upper(), UUID.replace("-", ""), UUID[:-1]]),
        ("${day:%Y%m%d.%Y}", "20260102.2026", "2026-01-02", ["20260102.2027", "20260102.202", "20260102_2026"]),
        ("${at3:%Y-%m-%d %H%M%S%f}", "2026-01-02 030405678000", "2026-01-02 03:04:05.678", ["2026-01-02 030405678001"]),
    ],
)
def test_a_text_that_no_row_has_is_nobodys_key(template: str, good: str, value: Value, others: list[str]) -> None:
    (column,) = parse(template).columns
    table = Table("shop", "t", (COLUMNS[column],), (column,))
    mapping = compile_mapping(TableRule("t", "ttt", "record", KeyRule("p", template), assert_unique=True), table)
    assert keys_of(mapping, good) == [(value,)]
    assert [text for text in others if keys_of(mapping, text)] == []


def keys_of(mapping: TableMapping, text: str) -> list[Row]:
    """None where the text cannot be one of the template's."""
    try:
        return list(mapping.source_keys({"p": {"S": text}}))
    except MappingError:
        return []


def test_a_text_for_null_may_be_as_long_as_the_format_or_not() -> None:
    columns = {"day": COLUMNS["day"]}
    alike, other = parse("${day:%Y%m%d:-00000000}"), parse("${day:%Y%m%d:-none}")
    assert apart(alike, columns, parse("#${day:%Y%m%d}"), columns)
    assert not apart(alike, columns, parse("${day:%Y%m%d}"), columns)
    assert not apart(other, columns, parse("${day:%Y%m%d}"), columns)

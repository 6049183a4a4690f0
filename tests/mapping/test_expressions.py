"""Expressions: what they give, what is refused before any row, and which rows become dead letters."""

from __future__ import annotations

import gc
import hashlib
import sqlite3
import threading
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from whimbrel.errors import MappingError
from whimbrel.mapping.design import compile_mapping
from whimbrel.mapping.expressions import Expressions
from whimbrel.mapping.forms import Refused
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Position, Row, Table

TABLE = Table(
    "shop",
    "things",
    (
        Column("id", "int", nullable=False),
        Column("total", "decimal", precision=20, scale=2),
        Column("name", "text"),
        Column("ratio", "double"),
        Column("placed", "datetime"),
        Column("token", "binary"),
        Column('odd "name', "text"),
    ),
    ("id",),
)
ROW: Row = (7, "12.50", "Bob", 1.5, "2026-01-02 03:04:05.600", b"\x01\xff", None)
RULE = TableRule("shop.things", "things", "record", KeyRule("pk", "${id}"), exclude=TABLE.names)


def given(row: Row = ROW, **changes: Any) -> tuple[dict[str, Any] | None, list[str]]:
    puts, faults = compile_mapping(replace(RULE, **changes), TABLE).put_items([row])
    return (puts[0].item if puts else None), [fault.reason for fault in faults]


def made(expression: str, row: Row = ROW) -> Any:
    item, reasons = given(row, columns={"x": expression})
    assert not reasons
    assert item is not None
    return item["x"]


def refused(**changes: Any) -> str:
    with pytest.raises(MappingError) as caught:
        compile_mapping(replace(RULE, **changes), TABLE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("upper(name) || '-' || id", {"S": "BOB-7"}),
        ("id * 2", {"N": "14"}),
        ("id / 2", {"N": "3"}),
        ("id > 5 AND name LIKE 'b%'", {"N": "1"}),
        ("CASE WHEN total IS NULL THEN 'free' ELSE 'paid' END", {"S": "paid"}),
        ("CAST(total AS REAL) * 2", {"N": "25"}),
        ("decimal_add(total, '0.1')", {"S": "12.6"}),
        ("decimal_mul(total, '99999999999999999999')", {"S": "1249999999999999999987.5"}),
        ("decimal_cmp(total, 13)", {"N": "-1"}),
        ("hash_sha256(name)", {"S": hashlib.sha256(b"Bob").hexdigest()}),
        ("hex(token)", {"S": "01FF"}),
        ("token", {"B": "Af8="}),
        ("digits_mask(placed)", {"S": "####-##-## ##:##:##.###"}),
        ("digits_mask('a1', '*')", {"S": "a*"}),
        ("digits_mask('٣۴๕1½')", {"S": "####½"}),
        ("strftime('%Y', placed)", {"S": "2026"}),
        ("date(placed, '+1 day')", {"S": "2026-01-03"}),
        ("ratio", {"N": "1.5"}),
        ('"odd ""name"', {"NULL": True}),
        ("NULLIF(id, 7)", {"NULL": True}),
        ("NAME", {"S": "Bob"}),
        ("json_extract('{\"a\": [1, 2]}', '$.a[1]')", {"N": "2"}),
    ],
)
def test_what_an_expression_gives(expression: str, value: Any) -> None:
    assert made(expression) == value


HANDED_ON = [
    "coalesce(total, '0')",
    "(ifnull(total, '0'))",
    "CASE WHEN id > 5 THEN total ELSE '0' END",
    "CASE WHEN id < 5 THEN '1' WHEN id > 5 THEN (total) END",
    "CASE id WHEN 7 THEN CASE WHEN name = 'Bob' THEN total END ELSE total END",
    "iif(id = 7, total, '0')",
    "coalesce(NULL, CASE WHEN 1 THEN iif(1, total, total) END)",
]


@pytest.mark.parametrize("expression", HANDED_ON)
def test_a_decimal_is_handed_on_with_every_digit(expression: str) -> None:
    """As a number or a text, whichever is said; which of them is not guessed."""
    long = (7, "123456789012345678.10", *ROW[2:])
    for kind in ("N", "S"):
        item, reasons = given(long, columns={"x": expression}, types={"x": kind})
        assert not reasons
        assert item is not None
        number = item["x"][kind]
        assert number == "123456789012345678.10" if kind == "S" else Decimal(number) == Decimal("123456789012345678.1")
    assert "say whether it is a number or a string" in refused(columns={"x": expression})
    assert "uses 'total', a DECIMAL" in refused(filter=expression)
    assert made(f"decimal_add({expression}, '1')")["S"] == "13.5"
    assert made(f"CAST({expression} AS TEXT)")["S"].startswith("12.5")


@pytest.mark.parametrize("expression", ["total", "(total)", '"total"', "TOTAL", "((`total`))"])
def test_a_decimal_under_another_name_stays_one(expression: str) -> None:
    assert Decimal(made(expression)["N"]) == Decimal("12.5")
    assert given((7, None, *ROW[2:]), columns={"x": expression})[0]["x"] == {"NULL": True}


def test_the_same_text_gets_the_same_random_digits() -> None:
    one = made("digits_randomize(name || '-4111')")["S"]
    assert one == made("digits_randomize(name || '-4111')")["S"]
    assert made("digits_randomize('٣')")["S"] in "0123456789"
    assert one != "Bob-4111"
    assert len(one) == 8
    assert one.startswith("Bob-")


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("total * 2", "uses 'total', a DECIMAL, which SQLite would round"),
        ("total > 100", "uses 'total', a DECIMAL"),
        ("coalesce(total, '0') + 1", "uses 'total', a DECIMAL"),
        ("CASE WHEN total THEN 1 END", "uses 'total', a DECIMAL"),
        ("CASE total WHEN 1 THEN 1 END", "uses 'total', a DECIMAL"),
        ("CASE WHEN id THEN total ELSE '0' END > 5", "uses 'total', a DECIMAL"),
        ("iif(total, 1, 2)", "uses 'total', a DECIMAL"),
        ("max(total, '1')", "uses 'total', a DECIMAL"),
        ("nullif(total, 0)", "uses 'total', a DECIMAL"),
        ("-(total)", "uses 'total', a DECIMAL"),
        ("NOT (total)", "uses 'total', a DECIMAL"),
        ("id IN (total)", "uses 'total', a DECIMAL"),
        ("total COLLATE nocase", "uses 'total', a DECIMAL"),
        ("CAST(coalesce(total, '0') AS INTEGER)", "uses 'total', a DECIMAL"),
        ("total || ''", "uses 'total', a DECIMAL"),
        ("printf('%.2f', total)", "uses 'total', a DECIMAL"),
        ("random()", "uses random, which gives another value each time"),
        ("current_timestamp", "uses current_timestamp, which gives another value each time"),
        ("date('now')", "the present gives another value each time"),
        ("date()", "the present gives another value each time"),
        ("time(placed, 'localtime')", "depend on this machine's time zone"),
        ('"nme"', "names column 'nme', which shop.things does not have; the nearest is 'name'"),
        ("nme", "no such column: nme"),
        ("foo(1)", "no such function: foo"),
        ("load_extension('x')", "not authorized to use function: load_extension"),
        ("(SELECT 1)", "an expression sees its own row only"),
        ("count(*)", "not authorized to use function: count"),
        ("$name", "has '$'"),
        ("?1", "has '?'"),
        ("id; id", "has ';'"),
        ("id -- x", "has a comment"),
        ("id), (id", "is not one expression"),
        ("id, id", "row value misused"),
        ("", "is empty"),
        ("name || 'x", "unrecognized token"),
    ],
)
def test_what_is_refused_before_any_row(expression: str, reason: str) -> None:
    assert reason in refused(columns={"x": expression})
    if expression:
        assert reason in refused(filter=expression)


@pytest.mark.parametrize(
    ("row", "expression", "reason"),
    [
        ((2**63, *ROW[1:]), "id + 1", "column 'id' is 9223372036854775808, beyond the 64 bits"),
        ((2**62, *ROW[1:]), "id * 4", "beyond 2^53 SQLite rounds"),
        ((-(2**63), *ROW[1:]), "abs(id)", "the expression of 'x': integer overflow"),
        ((7, "1.00", "a\0b", *ROW[3:]), "upper(name)", "column 'name' has a NUL character"),
        ((7, "1.00", "\ud800", *ROW[3:]), "upper(name)", "surrogates not allowed"),
        ((7, "1.00", "abc", *ROW[3:]), "decimal_add(name, 1)", "decimal_add: 'abc' is not a decimal number"),
        ((7, "1.00", "now", *ROW[3:]), "date(name)", "the present gives another value each time"),
    ],
)
def test_a_row_that_an_expression_fails_on_is_a_dead_letter(row: Row, expression: str, reason: str) -> None:
    item, reasons = given(row, columns={"x": expression})
    assert item is None
    assert reason in reasons[0]
    _, faults = compile_mapping(replace(RULE, columns={"x": expression}), TABLE).fold(
        [Change(TABLE, None, row, Position("bin.1", 4))]
    )
    assert [fault.source_key for fault in faults] == [{"id": row[0]}]


def test_a_computed_attribute_may_be_binary() -> None:
    binary: dict[str, Any] = {"types": {"x": "B"}}
    assert given(columns={"x": "token"}, **binary)[0] == {"pk": {"S": "7"}, "x": {"B": "Af8="}}
    assert given(columns={"x": "name"}, **binary)[0] == {"pk": {"S": "7"}, "x": {"B": "Qm9i"}}
    item, reasons = given(columns={"x": "id"}, **binary)
    assert item is None
    assert reasons == ["column 'x' is 7, and its type is B: only text and binary are"]


def test_what_is_not_there_is_compared_with_nothing() -> None:
    nothing = (7, None, *ROW[2:])
    assert made("decimal_cmp(total, '1')", nothing) == {"NULL": True}
    assert made("decimal_add('1', total)", nothing) == {"NULL": True}
    assert made("decimal_cmp(total, '12.5')") == {"N": "0"}
    assert "binary has no text" in given(columns={"x": "digits_randomize(token)"})[1][0]


def test_a_filter_keeps_what_is_true() -> None:
    for condition, kept in (("id > 5", True), ("id > 9", False), ("name", False), ("NULL", False), ("ratio", True)):
        item, reasons = given(filter=condition)
        assert (item is not None, reasons) == (kept, []), condition


def test_masks_take_the_columns_place_everywhere() -> None:
    rule: dict[str, Any] = {"exclude": (), "mask": {"name": "hash", "placed": "digits", "ratio": "null"}}
    item, _ = given(**rule, attributes={"seen": "${name}"})
    assert item is not None
    assert item["name"] == item["seen"] == {"S": hashlib.sha256(b"Bob").hexdigest()}
    assert item["placed"] == {"S": "####-##-## ##:##:##.###"}
    assert item["ratio"] == {"NULL": True}


def test_a_mask_that_has_nothing_to_mask_is_refused() -> None:
    assert "has no text whose digits could be masked" in refused(mask={"token": "digits"})
    assert "mask names column 'nme'" in refused(mask={"nme": "hash"})
    assert "is masked and computed" in refused(mask={"name": "hash"}, columns={"name": "upper(name)"})
    assert "differs from the source's 'name' by case only" in refused(columns={"Name": "id"})


def test_a_decimal_cast_to_an_integer_must_be_one_of_64_bits() -> None:
    """SQLite would make it the greatest that there is."""
    columns = {"x": "CAST(total AS INTEGER) % 100"}
    assert made(columns["x"], (7, "-9223372036854775808.99", *ROW[2:])) == {"N": "-8"}
    for total in ("9223372036854775808.00", "-9223372036854775809.00"):
        item, [reason] = given((7, total, *ROW[2:]), columns=columns)
        assert item is None
        assert f"column 'total' is {total}, beyond the 64 bits of an integer" in reason
        assert made("CAST(total AS TEXT)", (7, total, *ROW[2:])) == {"S": total}


def test_a_decimal_is_cast_to_what_does_not_round_unsaid() -> None:
    for kind in ("DECIMAL", "NUMERIC", "DECIMAL(20, 2)"):
        assert "a DECIMAL, which SQLite would round" in refused(columns={"x": f"CAST(total AS {kind})"})


def test_threads_have_a_sqlite_each() -> None:
    mapping = compile_mapping(replace(RULE, columns={"x": "id + 1"}), TABLE)
    found: list[int] = []

    def run() -> None:
        for number in range(200):
            [put], _ = mapping.put_items([(number, *ROW[1:])])
            found.append(int(put.item["x"]["N"]) - number)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 800


def test_the_sqlite_of_each_thread_is_closed_when_nobody_has_the_expressions() -> None:
    """Also after one that failed, whose error would keep it."""
    opened: list[sqlite3.Connection] = []

    def use() -> None:
        expressions = Expressions(TABLE, {"x": "change_time()", "y": "decimal_add(name, 1)"}, "", [])
        thread = threading.Thread(target=lambda: note(expressions))
        thread.start()
        thread.join()
        note(expressions)
        with pytest.raises(Refused, match="decimal_add"):
            expressions.evaluate(ROW)

    def note(expressions: Expressions) -> None:
        sqlite = expressions._sqlite()
        opened.extend((sqlite.connection, sqlite.times))

    use()
    gc.collect()
    assert len(opened) == 4
    for each in opened:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            each.execute("SELECT 1")

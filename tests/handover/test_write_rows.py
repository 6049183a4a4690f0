"""Rows written back into real servers: every type exactly, each change once, rows that stand in each other's way."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from demo.servers import SqlServer
from tests.handover.back import LANE, Back, at, record
from tests.snapshot.test_values import VALUES
from whimbrel.errors import UnsupportedSource
from whimbrel.mysql.connect import connect_to_write
from whimbrel.mysql.reverse_tables import Lane
from whimbrel.mysql.touched_items import listed_items
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Item


def test_every_type_goes_to_items_and_back(source_server: SqlServer, database: str) -> None:
    cases = [(kind, values) for kind, values, flavor in VALUES if flavor in ("", source_server.flavor)]
    cases = [(kind, values) for kind, values in cases if "(65,30)" not in kind]  # more digits than N has
    cases = [(kind, [each for each in values if in_reach(each[1])]) for kind, values in cases]
    # The value of an ENUM that is none of its names: no strict session writes it.
    cases = [(kind, [each for each in values if kind[:4] != "ENUM" or each[1]]) for kind, values in cases]
    columns = ", ".join(f"c{i} {kind}" for i, (kind, _) in enumerate(cases))
    statements = [f"CREATE TABLE t (id INT PRIMARY KEY, {columns}) CHARACTER SET utf8mb4 ROW_FORMAT=DYNAMIC"]
    for number in range(max(len(values) for _, values in cases)):
        here = [values[number][0] if number < len(values) else "NULL" for _, values in cases]
        names = ", ".join(f"c{i}" for i in range(len(cases)))
        statements.append(f"INSERT INTO t (id, {names}) VALUES ({number}, {', '.join(here)})")
    source_server.execute("SET NAMES utf8mb4", "SET sql_mode = ''", *statements, database=database)
    back = Back(source_server, database, record(database))
    before, items = back.rows(), back.items()
    back.execute("DELETE FROM t")
    back.write(*[back.change(None, item) for item in items.values()])
    assert not back.refused
    assert back.rows() == before
    back.write(*[back.change(item, {**item, "c0": {"N": "1"}}) for item in items.values()])
    assert [row[2:] for row in back.rows()] == [row[2:] for row in before]


def in_reach(value: Any) -> bool:
    """Of a number of DynamoDB, and of one statement."""
    if isinstance(value, float):
        return not value or 1e-130 <= abs(value) < 1e126
    return not isinstance(value, str | bytes) or len(value) < 100_000


@pytest.fixture
def people(source_server: SqlServer, database: str) -> Back:
    source_server.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, mail VARCHAR(20) UNIQUE, name VARCHAR(5), secret INT DEFAULT 7)",
        "INSERT INTO t VALUES (1, 'a', 'Ann', 11), (2, 'b', 'Bob', 12)",
        database=database,
    )
    return Back(source_server, database, record(database, exclude=("secret",)))


def person(number: int, mail: str, name: str) -> Item:
    return {"id": {"N": str(number)}, "mail": {"S": mail}, "name": {"S": name}}


ANN, BOB = person(1, "a", "Ann"), person(2, "b", "Bob")


def test_each_change_is_written_once(people: Back) -> None:
    changes = [people.change(ANN, person(1, "a", "Eve")), people.change(None, person(3, "c", "Cid"))]
    people.write(*changes)
    people.execute("UPDATE t SET name = 'Zoe' WHERE id = 1")  # what a change that came twice would undo
    people.write(*changes, people.change(BOB, None), writer=people.new_writer())
    assert people.rows() == [(1, "a", "Zoe", 11), (3, "c", "Cid", 7)]
    assert people.place() == at(3)
    with connect_to_write(people.source) as connection:
        [touched] = listed_items(connection, people.database, 1, "target", 10)
    assert sorted(each.key["id"]["N"] for each in touched) == ["1", "2", "3"]


def test_a_row_that_the_table_cannot_hold_is_refused_and_the_others_are_written(people: Back) -> None:
    long = people.change(ANN, person(1, "a", "much too long"))
    people.write(long, people.change(BOB, person(2, "b", "Bea")))
    assert people.rows() == [(1, "a", "Ann", 11), (2, "b", "Bea", 12)]
    [refusal] = people.refused
    assert refusal.item is long
    assert "Data too long" in refusal.reason
    assert people.place() == at(2)


def test_blanks_that_the_server_would_drop_are_refused(people: Back) -> None:
    """VARCHAR(5) takes five characters and any blanks behind them, which it drops with a mere note."""
    people.write(people.change(ANN, person(1, "a", "Ann     ")))
    assert "truncated" in people.refused[0].reason
    assert people.rows()[0] == (1, "a", "Ann", 11)


def test_two_rows_swap_their_unique_values(people: Back) -> None:
    one, other = people.change(ANN, person(1, "b", "Ann")), people.change(BOB, person(2, "a", "Bob"))
    people.write(one)
    assert people.rows() == [(1, "b", "Ann", 11)]  # Bob is aside
    people.write(other)
    assert people.rows() == [(1, "b", "Ann", 11), (2, "a", "Bob", 12)]
    assert not people.refused
    assert people.writer.settle_aside() == 0


def test_a_value_that_is_taken_back_before_its_owner_is_seen_again(people: Back) -> None:
    """Ann takes b for a moment, long before Bob: his row was right, and no change of his will come."""
    people.write(people.change(ANN, person(1, "b", "Ann")))
    assert people.writer.settle_aside() == 1
    people.write(people.change(person(1, "b", "Ann"), ANN))
    assert people.writer.settle_aside() == 0
    assert people.rows() == [(1, "a", "Ann", 11), (2, "b", "Bob", 12)]


def test_a_row_that_is_deleted_while_it_is_aside_stays_away(people: Back) -> None:
    people.write(people.change(ANN, person(1, "b", "Ann")), people.change(BOB, None))
    assert people.writer.settle_aside() == 0
    assert people.rows() == [(1, "b", "Ann", 11)]


@pytest.fixture
def numbers(people: Back, monkeypatch: pytest.MonkeyPatch) -> range:
    """Of many more people than are looked at in one transaction."""
    monkeypatch.setattr("whimbrel.mysql.kept_rows._AT_ONCE", 3)
    many = range(10, 30)
    people.execute("INSERT INTO t VALUES " + ", ".join(f"({n}, 'm{n}', 'x', {n})" for n in many))
    return many


def test_however_many_rows_are_aside_each_one_comes_back_or_is_let_go(people: Back, numbers: range) -> None:
    """Ann takes the values of all others, one after the other, and one in three of their items is gone."""
    before = set(people.rows())
    versions = [ANN, *(person(1, f"m{n}", "Ann") for n in numbers), ANN]
    people.write(*[people.change(old, new) for old, new in pairwise(versions)])
    assert len(people.rows()) == 2
    people.writer.let_go_aside(lambda _, row: row["id"] in range(10, 30, 3))
    assert people.writer.settle_aside() == 0
    assert set(people.rows()) == {row for row in before if row[0] not in range(10, 30, 3)}


def test_rows_aside_are_looked_at_in_turn_while_some_stay_in_the_way(people: Back, numbers: range) -> None:
    """Others took the values of some rows for good. Those of the rest are free again."""
    takers = [people.change(None, person(n + 100, f"m{n}", "new")) for n in numbers]
    people.write(*takers)
    people.write(*[people.change(person(n + 100, f"m{n}", "new"), None) for n in numbers if n % 2])
    left = [people.writer.settle_some_patiently() for _ in range(8)]
    assert left[0] > left[-1] == 10
    assert {row[0] for row in people.rows() if row[0] in numbers} == {n for n in numbers if n % 2}


def test_a_deleted_row_that_comes_again_has_what_no_item_carries(people: Back) -> None:
    people.write(people.change(ANN, None))
    people.write(people.change(None, person(1, "a", "Ann")), writer=people.new_writer())
    assert people.rows() == [(1, "a", "Ann", 11), (2, "b", "Bob", 12)]


def test_keys_that_a_collation_takes_for_equal_are_two_rows(source_server: SqlServer, database: str) -> None:
    """The server holds one of them: the other is aside, and neither has overwritten the other."""
    source_server.execute("CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, n INT)", database=database)
    back = Back(source_server, database, record(database, kind="S"))
    back.write(back.change(None, {"id": {"S": "a"}, "n": {"N": "1"}}))
    back.write(back.change(None, {"id": {"S": "A"}, "n": {"N": "2"}}))
    assert back.rows() == [("A", 2)]
    assert back.writer.settle_aside() == 1


# --- groups: a row has an item, and may move to another ---------------------------------------------------------------


@pytest.fixture
def lines(source_server: SqlServer, database: str) -> Back:
    source_server.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, order_id INT NOT NULL, n INT, memo INT)",
        "INSERT INTO t VALUES (1, 1, 10, 100), (2, 1, 20, 200)",
        database=database,
    )
    rule = TableRule(
        f"{database}.t",
        "target",
        "group",
        KeyRule("pk", "ORDER#${order_id}"),
        entry_name="${id}",
        entry_as="map",
        entry_into="lines",
        exclude=("memo",),
    )
    return Back(source_server, database, rule)


def order(number: int, **lines: int) -> Item:
    entries = {name[1:]: {"M": {"n": {"N": str(n)}}} for name, n in lines.items()}
    return {"pk": {"S": f"ORDER#{number}"}, **({"lines": {"M": entries}} if entries else {})}


@pytest.mark.parametrize("order_of_changes", [(0, 1), (1, 0)])
@pytest.mark.parametrize("together", [True, False])
def test_a_row_moves_between_items_whichever_comes_first(
    lines: Back, order_of_changes: tuple[int, int], together: bool
) -> None:
    left = lines.change(order(1, _1=10, _2=20), order(1, _2=20))
    entered = lines.change(None, order(2, _1=11))
    both = [(left, entered)[which]._replace(sequence=n + 1) for n, which in enumerate(order_of_changes)]
    if together:
        lines.write(*both)
    else:
        for each in both:
            lines.write(each)
    assert lines.rows() == [(1, 2, 11, 100), (2, 1, 20, 200)]


def test_many_rows_at_once(lines: Back) -> None:
    everything = {f"_{n}": n for n in range(3, 700)}
    lines.write(lines.change(order(1, _1=10, _2=20), order(1, **everything)))
    assert [row[:3] for row in sorted(lines.rows())] == [(n, 1, n) for n in range(3, 700)]
    lines.write(lines.change(order(1, **everything), None))
    assert lines.rows() == []


# --- sessions and places ----------------------------------------------------------------------------------------------


def test_a_place_never_goes_back(people: Back) -> None:
    people.write(people.change(ANN, ANN)._replace(sequence=10))
    people.write(people.change(ANN, ANN)._replace(sequence=9))
    assert people.place() == at(10)
    other = Lane("stream", "shard", 1)
    people.writer.write([], {LANE: at(10, ended=True), other: at(-1, ended=True)}, people.refused.extend)
    assert people.place() == at(10, ended=True)


def test_a_connection_that_is_killed_in_a_transaction_is_begun_again(people: Back) -> None:
    seen = []

    def killed(refused: Any) -> None:
        seen.append(refused)
        if len(seen) == 1:
            mine = "SELECT id FROM information_schema.PROCESSLIST WHERE user = 'reverse' AND id <> CONNECTION_ID()"
            for (number,) in people.execute(mine):
                people.execute(f"KILL {number}")

    changes = [people.change(None, person(3, "c", "Cid")), people.change(ANN, person(1, "a", "much too long"))]
    people.writer.write(changes, {LANE: at(2)}, killed)
    assert len(seen) == 2
    assert people.rows() == [(1, "a", "Ann", 11), (2, "b", "Bob", 12), (3, "c", "Cid", 7)]


def test_a_session_that_cannot_be_set_is_refused(people: Back, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.mysql.settings.WRITING", {"innodb_lock_wait_timeout": 2**40})
    with pytest.raises(UnsupportedSource, match="innodb_lock_wait_timeout"):
        connect_to_write(people.source)


# --- what the server fills by itself, and attributes that are not columns ---------------------------------------------


def test_generated_columns_are_left_and_those_that_update_themselves_are_set(
    source_server: SqlServer, database: str
) -> None:
    source_server.execute(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, n INT, twice INT AS (n * 2) STORED, "
        "at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) ON UPDATE CURRENT_TIMESTAMP(3))",
        "INSERT INTO t (id, n, at) VALUES (1, 5, '2026-01-01 00:00:00')",
        database=database,
    )
    back = Back(source_server, database, record(database))
    [item] = back.items().values()
    back.write(back.change(item, item | {"n": {"N": "6"}}))
    back.write(back.change(None, {**item, "id": {"N": "0"}, "twice": {"N": "99"}}))  # as an application may leave it
    assert not back.refused
    moment = back.rows()[0][3]
    assert back.rows() == [(0, 5, 10, moment), (1, 6, 12, moment)]


def test_new_attributes_are_kept_in_a_json_column(source_server: SqlServer, database: str) -> None:
    source_server.execute("CREATE TABLE t (id INT PRIMARY KEY, n INT, extra JSON)", database=database)
    back = Back(source_server, database, record(database, exclude=("extra",)), "json:extra")
    plain: Item = {"id": {"N": "1"}, "n": {"N": "1"}}
    more = plain | {"colour": {"S": "röd"}, "size": {"M": {"x": {"N": "1.50"}}}}
    back.write(back.change(None, more))
    assert json.loads(str(back.rows()[0][2])) == {"colour": {"S": "röd"}, "size": {"M": {"x": {"N": "1.50"}}}}
    back.write(back.change(more, plain))
    assert back.rows() == [(1, 1, None)]
    assert not back.refused


def test_rows_of_a_table_without_a_primary_key_are_found_by_the_unique_one(
    source_server: SqlServer, database: str
) -> None:
    source_server.execute(
        "CREATE TABLE t (id INT NOT NULL UNIQUE, `a ``b` VARCHAR(9), n INT)",
        "INSERT INTO t VALUES (1, 'x', 1)",
        database=database,
    )
    back = Back(source_server, database, record(database))
    [item] = back.items().values()
    back.write(back.change(item, item | {"n": {"N": "2"}}), back.change(None, {**item, "id": {"N": "2"}}))
    assert back.rows() == [(1, "x", 2), (2, "x", 1)]
    back.write(back.change(item, None))
    assert back.rows() == [(2, "x", 1)]

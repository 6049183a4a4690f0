"""A DynamoDB table as a silo beside one of MariaDB: whole, then what changed, joined in one statement."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner

from demo.servers import MariaDB, Ministack
from tests.conftest import unique
from tests.warehouse.places import Place
from whimbrel.cli.main import main
from whimbrel.errors import RequestRefused, UnsupportedSource
from whimbrel.lake.manifest import Field, Manifest
from whimbrel.notes import NAME
from whimbrel.project import ItemSilo
from whimbrel.warehouse.items import stored_items

TARGET = '[target]\nendpoint = "{}"\nregion = "us-east-1"\n'


def made(ministack: Ministack, table: str) -> Any:
    """A client, once the table is there."""
    client = ministack.client()
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "N"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


def test_a_table_of_dynamodb_beside_one_of_mariadb(place: Place, mariadb: MariaDB, ministack: Ministack) -> None:
    table = unique("profile")
    client = made(ministack, table)
    for number in range(1, 31):
        client.put_item(TableName=table, Item=item(number))
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE ticket (id INT PRIMARY KEY, holder INT)",
        "INSERT INTO ticket SELECT seq, 1 + seq % 30 FROM seq_1_to_90",
        database=database,
    )
    place.add("ticketing", mariadb, database)
    place.silos.append(f'[[silo]]\nname = "customers"\ndynamodb = ["{table}"]\n' + TARGET.format(ministack.endpoint))
    place.write()
    place.converge()
    name = f'customers."{table}"'
    assert place.rows(f"SELECT COUNT(*) FROM {name}") == [(30,)]
    [row] = place.rows(f'SELECT id, "name", balance, active, data, address, tags FROM {name} WHERE id = 7')
    number, said, balance, active, data, address, tags = row
    assert (number, said, Decimal(balance), active, bytes(data)) == (7, "Person 7", Decimal("7.25"), True, b"\x00\x07")
    assert as_json(address) == {"city": "Town 1"}
    assert as_json(tags) == ["a", "b"]
    joined = f"SELECT p.name, COUNT(*) FROM ticketing.ticket t JOIN {name} p ON p.id = t.holder GROUP BY p.name"
    assert sorted(place.rows(joined)) == sorted((f"Person {n}", 3) for n in range(1, 31))
    assert place.verify().equal

    place.execute("CREATE SCHEMA others", f"CREATE VIEW others.names AS SELECT name FROM {name}")
    client.put_item(TableName=table, Item=item(31))
    client.delete_item(TableName=table, Key={"id": {"N": "1"}})
    client.put_item(TableName=table, Item={**item(2), "name": {"S": "Somebody else"}})
    place.converge()
    assert place.rows(f"SELECT COUNT(*), MIN(id), MAX(id) FROM {name}") == [(30, 2, 31)]
    assert place.rows(f"SELECT name FROM {name} WHERE id = 2") == [("Somebody else",)]
    assert place.rows("SELECT COUNT(*) FROM others.names WHERE name = 'Somebody else'") == [(1,)]
    assert place.verify().equal
    place.execute(f"UPDATE {name} SET name = 'wrong' WHERE id = 3")
    assert not place.verify().equal


@pytest.mark.slow
def test_what_check_sees_of_a_table_and_one_without_items(
    make_place: Callable[[str], Place], mariadb: MariaDB, ministack: Ministack, caplog: pytest.LogCaptureFixture
) -> None:
    """A table that has no items yet stops nobody, and comes with its first one."""
    place, table, database = make_place("duckdb"), unique("later"), mariadb.new_database()
    mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", database=database)
    place.add("shop", mariadb, database)
    place.silos.append(f'[[silo]]\nname = "customers"\ndynamodb = ["{table}"]\n' + TARGET.format(ministack.endpoint))
    place.write()
    for ask in (place.check, place.converge):
        with pytest.raises(RequestRefused, match=f"^customers: {table}: ResourceNotFoundException"):
            ask()
    client = made(ministack, table)
    with caplog.at_level(logging.WARNING, NAME):
        place.check()
        place.converge()
    assert f"customers: {table}: there are no items, so the columns are not known" in caplog.messages
    assert place.rows("SELECT COUNT(*) FROM shop.t") == [(1,)]
    client.put_item(TableName=table, Item=item(1))
    client.put_item(TableName=table, Item={**item(2), "name": {"S": "two"}})
    place.converge()
    assert place.plan().silos["customers"][0].columns["name"] == "VARCHAR"
    assert place.rows(f'SELECT COUNT(*) FROM customers."{table}"') == [(2,)]
    caplog.clear()
    client.put_item(TableName=table, Item={**item(2), "name": {"N": "2"}})
    place.converge()
    assert place.verify().equal
    said = f"customers: {table}: items that are not in the data set: 1. The first: "
    assert len([each for each in caplog.messages if each.startswith(said)]) == 2  # converge's, and verify's
    found = CliRunner().invoke(main, ["status", "-p", str(place.project)])
    assert "customers: phase apply, written as of 20" in found.output
    assert f"dynamodb.{table}: 1 rows exported" in found.output


@pytest.mark.slow
def test_tables_that_somebody_dropped_come_again(place: Place, mariadb: MariaDB, ministack: Ministack) -> None:
    """One of them, or the schema with all; and every lost row is a difference before that."""
    tables = [unique("a"), unique("b")]
    for table in tables:
        made(ministack, table).put_item(TableName=table, Item=item(1))
    place.silos.append(
        f'[[silo]]\nname = "customers"\ndynamodb = {json.dumps(tables)}\n' + TARGET.format(ministack.endpoint)
    )
    place.write()
    place.converge()
    for gone in (f'DROP TABLE customers."{tables[0]}"', "DROP SCHEMA customers CASCADE"):
        place.execute(gone)
        place.converge()
        assert [place.rows(f'SELECT COUNT(*) FROM customers."{table}"') for table in tables] == [[(1,)], [(1,)]]
        assert place.verify().equal


@pytest.mark.parametrize(("engine", "name"), [("duckdb", "rowid"), ("postgres", "Xmin"), ("redshift", "ctid")])
def test_an_attribute_that_the_engine_has_for_itself_is_refused_by_name(engine: str, name: str) -> None:
    schema = (Field("id", "int64"), Field(name, "string"))
    manifest = Manifest("1", "profile", "profile", "", "", schema, (), 0, key=("id",))
    with pytest.raises(UnsupportedSource, match=f"the engine has '{name.lower()}' for itself"):
        stored_items(engine, ItemSilo("customers", ("profile",)), "profile", manifest)


def item(number: int) -> dict[str, object]:
    return {
        "id": {"N": str(number)},
        "name": {"S": f"Person {number}"},
        "balance": {"N": f"{number}.25"},
        "active": {"BOOL": number % 2 == 1},
        "data": {"B": bytes([0, number])},
        "address": {"M": {"city": {"S": f"Town {number % 3}"}}},
        "tags": {"L": [{"S": "a"}, {"S": "b"}]},
    }


def as_json(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value

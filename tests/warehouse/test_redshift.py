"""Redshift, by a stand-in (redshift_stand_in.py says what that cannot show): the load and changes come by COPY from S3,
and sqlglot reads every statement in Redshift's dialect.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import pytest
from botocore.client import BaseClient

import whimbrel
from demo.servers import MariaDB, Ministack, MySQL, PostgreSQL
from tests.aws.calls import S3_ACTIONS
from tests.conftest import unique
from tests.warehouse.places import Place, assert_same
from tests.warehouse.redshift_data_stand_in import DataApi
from tests.warehouse.redshift_stand_in import FUNCTIONS, RedshiftStandIn, assert_read_by_sqlglot, s3_of
from whimbrel.aws.policies import documents, policies
from whimbrel.errors import UnsupportedSource, UserError, WarehouseError
from whimbrel.project import load_project
from whimbrel.records import Column
from whimbrel.warehouse.types import sql_of

TABLE = """CREATE TABLE t (id INT, k VARCHAR(10), n BIGINT UNSIGNED, d DECIMAL(12,3), f DOUBLE, day DATE,
  at TIMESTAMP(3) NULL, t TIME(2), data VARBINARY(10), j LONGTEXT, PRIMARY KEY (id, k))"""
ROWS = """INSERT INTO t SELECT seq, CONCAT('k\\t', seq), 18446744073709551615 - seq, seq / 3, 1 / seq, '2026-01-31',
  '2026-01-31 12:00:00.5', '-100:00:00.25', x'00ff', IF(seq % 2, '{"a": 1}', NULL) FROM seq_1_to_120"""


class RedshiftPlace(Place):
    data_api: DataApi


@pytest.fixture
def redshift(
    tmp_path: Path,
    postgres: PostgreSQL,
    ministack: Ministack,
    monkeypatch: pytest.MonkeyPatch,
) -> RedshiftPlace:
    place = RedshiftPlace("postgres", tmp_path, postgres)
    place.engine = "redshift"
    s3, bucket = s3_of(ministack), unique("stage")
    s3.create_bucket(Bucket=bucket)
    place.more = f'stage = "s3://{bucket}/rows"\nstage_endpoint = "{ministack.endpoint}"\n'
    place.more += 'role = "arn:aws:iam::123456789012:role/redshift-copy"\n'
    place.execute(FUNCTIONS)

    def connected(*_: Any) -> RedshiftStandIn:
        return RedshiftStandIn(postgres, place.database, s3, cursor_factory=psycopg.ClientCursor)

    monkeypatch.setattr("whimbrel.warehouse.redshift.connected", connected)
    monkeypatch.setattr(RedshiftStandIn, "heard", [])
    place.data_api = DataApi(connected)
    monkeypatch.setattr("whimbrel.warehouse.redshift_data.open_service", place.data_api.client)
    return place


def reached_by(place: RedshiftPlace, way: str) -> None:
    """The project file as whoever uses a connection, or the Data API, writes it."""
    by_data_api = f"redshift-data://analytics/{place.database}"
    text = place.project.read_text().replace("postgresql://", "redshift://")
    if way == "data api":
        text = re.sub(r'url = "redshift://.*"', f'url = "{by_data_api}"', text).replace('tls = "off"\n', "", 1)
    place.project.write_text(text)


@pytest.mark.parametrize("way", ["connection", "data api"])
def test_load_changes_and_proof_by_copy_from_s3(
    redshift: RedshiftPlace, mariadb: MariaDB, ministack: Ministack, way: str
) -> None:
    database = mariadb.new_database()
    mariadb.execute("SET SESSION time_zone = '+00:00'", TABLE, ROWS, database=database)
    redshift.add("shop", mariadb, database)
    reached_by(redshift, way)
    redshift.converge()
    mariadb.execute(
        "UPDATE t SET id = id + 1000 WHERE id < 10",
        "DELETE FROM t WHERE id BETWEEN 20 AND 30",
        "UPDATE t SET d = -d, data = x'', j = NULL WHERE id = 50",
        "ALTER TABLE t ADD more INT NOT NULL DEFAULT 4",
        database=database,
    )
    redshift.converge()
    assert_same(redshift, "shop.t", mariadb, database, "t", "id, k, n, d, f, day, at, data, j, more")
    assert redshift.verify().equal
    with redshift.environment():
        asked = whimbrel.query_warehouse("SELECT COUNT(*) AS n FROM shop.t", project=redshift.project)
        with pytest.raises(UserError, match="read-only"):
            whimbrel.query_warehouse("DELETE FROM shop.t", project=redshift.project)
    assert asked.to_pylist() == [{"n": 109}]
    heard = RedshiftStandIn.heard
    assert_read_by_sqlglot(heard)
    assert any("SORTKEY" in sql for sql in heard)
    assert not any(re.match("TRUNCATE", sql, re.IGNORECASE) for sql in heard)  # it commits
    bucket = redshift.more.split("s3://")[1].split("/")[0]
    assert "Contents" not in s3_of(ministack).list_objects_v2(Bucket=bucket)  # nothing is left on the stage


def test_json_is_super_and_compared_by_what_it_says(redshift: RedshiftPlace, mysql: MySQL) -> None:
    """The stand-in's JSONB keeps the value alone, as SUPER does: with other blanks, and keys in another order."""
    database = mysql.new_database()
    rows = ('{"bb": 1.0, "a": [1e2, "x", null]}', '"text"', "[]", "12.50")
    mysql.execute(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, j JSON)",
        *(f"INSERT INTO t (j) VALUES ('{row}')" for row in rows),
        "INSERT INTO t (j) VALUES (NULL)",
        database=database,
    )
    redshift.add("shop", mysql, database)
    reached_by(redshift, "connection")
    redshift.converge()
    assert redshift.rows("SELECT j ->> 'bb', CAST(j AS TEXT) FROM shop.t WHERE id = 1")[0][0] == "1.0"
    assert redshift.rows("SELECT COUNT(*) FROM shop.t WHERE j IS NULL") == [(1,)]
    assert redshift.verify().equal
    redshift.execute("UPDATE shop.t SET j = '[1]' WHERE id = 3")
    [table] = redshift.verify().tables
    assert table.counts == {"changed": 1}
    mysql.execute("INSERT INTO t (j) VALUES ('null')", database=database)
    with pytest.raises(UnsupportedSource, match=r"row \{'id': 6\}: column 'j': .* JSON value null from NULL"):
        redshift.converge()


def test_keys_that_differ_in_spaces_at_their_end_are_of_different_rows(
    redshift: RedshiftPlace, mariadb: MariaDB
) -> None:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE t (k VARCHAR(10) COLLATE utf8mb4_nopad_bin PRIMARY KEY, v INT)",
        "INSERT INTO t VALUES ('a', 1), ('a ', 2), ('a  ', 3)",
        database=database,
    )
    redshift.add("shop", mariadb, database)
    reached_by(redshift, "connection")
    redshift.converge()
    assert redshift.rows("SELECT COUNT(*) FROM shop.t WHERE k = CAST('a' AS VARCHAR)") == [(3,)]
    mariadb.execute(
        "UPDATE t SET v = 10 WHERE k = 'a'",
        *(f"INSERT INTO t VALUES ('{key}', 0)" for key in ("b", "c", " a")),
        database=database,
    )
    redshift.converge()
    assert_same(redshift, "shop.t", mariadb, database, "t", "k, v")


def test_every_text_has_room_in_utf8() -> None:
    """The stand-in counts characters, and Redshift bytes: a CAST to fewer cuts the text off without a word."""
    tiny = Column("a", "text", length=255, charset="latin1", type_name="tinytext")
    short = Column("a", "text", length=100, charset="utf8mb4", type_name="varchar(100)")
    assert sql_of("redshift", "text", tiny) == "VARCHAR(1020)"
    assert sql_of("redshift", "text", short) == "VARCHAR(400)"
    assert sql_of("redshift", "bytes", short) == "VARBYTE(400)"
    assert sql_of("redshift", "bytes", Column("a", "binary", length=100, type_name="varbinary(100)")) == "VARBYTE(100)"
    assert sql_of("redshift", "text", Column("a", "text")) == "VARCHAR(65535)"  # an attribute of DynamoDB


@pytest.mark.slow
def test_a_table_of_many_columns_is_kept_in_the_ledger(redshift: RedshiftPlace, mariadb: MariaDB) -> None:
    database = mariadb.new_database()
    columns = ", ".join(f"column_number_{number} INT" for number in range(400))
    mariadb.execute(
        f"CREATE TABLE t (id INT PRIMARY KEY, {columns})", "INSERT INTO t (id) VALUES (1)", database=database
    )
    redshift.add("shop", mariadb, database)
    reached_by(redshift, "connection")
    redshift.converge()
    mariadb.execute("UPDATE t SET column_number_399 = 5", database=database)
    redshift.converge()
    assert redshift.rows("SELECT id, column_number_399 FROM shop.t") == [(1, 5)]


def test_a_table_of_dynamodb(redshift: RedshiftPlace, mariadb: MariaDB, ministack: Ministack) -> None:
    table, client, database = unique("profile"), ministack.client(), mariadb.new_database()
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for key, active in (("a", True), ("a ", False)):
        item = {"id": {"S": key}, "words": {"S": 300 * "é"}, "active": {"BOOL": active}, "tags": {"L": [{"S": "x"}]}}
        client.put_item(TableName=table, Item=item)
    mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY)", database=database)
    redshift.add("shop", mariadb, database)
    redshift.silos.append(
        f'[[silo]]\nname = "customers"\ndynamodb = ["{table}"]\n'
        f'[target]\nendpoint = "{ministack.endpoint}"\nregion = "us-east-1"\n'
        f'[[report]]\nname = "asked"\nsql = \'SELECT active FROM customers."{table}"\'\n'
    )
    redshift.more += 'page = "reports.html"\n'
    redshift.write()
    reached_by(redshift, "connection")
    redshift.converge()
    found = redshift.rows(f'SELECT id, words, active, CAST(tags AS TEXT) FROM customers."{table}" ORDER BY active')
    assert found == [("a ", 300 * "é", False, '["x"]'), ("a", 300 * "é", True, '["x"]')]
    page = (redshift.folder / "reports.html").read_text()
    assert page.count("<td>true</td>") == page.count("<td>false</td>") == 1
    assert not any('CAST("active" AS VARCHAR)' in sql for sql in RedshiftStandIn.heard)  # Redshift has no such CAST
    assert redshift.verify().equal


def test_the_data_api_runs_a_statement_once_and_loses_nothing_with_a_session(
    redshift: RedshiftPlace, mariadb: MariaDB
) -> None:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT)",
        "INSERT INTO t SELECT seq, seq FROM seq_1_to_60",
        database=database,
    )
    redshift.add("shop", mariadb, database)
    reached_by(redshift, "data api")
    redshift.data_api.lose = 5
    redshift.converge()
    assert redshift.data_api.lose == 0
    redshift.data_api.forget()
    mariadb.execute("UPDATE t SET v = v + 1 WHERE id > 30", "DELETE FROM t WHERE id = 1", database=database)
    redshift.converge()
    assert_same(redshift, "shop.t", mariadb, database, "t", "id, v")
    redshift.data_api.commits, redshift.data_api.in_the_way = 0, {2}  # the first one is of the ledger's tables
    mariadb.execute("UPDATE t SET v = 7", database=database)
    redshift.converge()
    assert redshift.data_api.commits > 2
    assert_same(redshift, "shop.t", mariadb, database, "t", "id, v")
    assert not redshift.data_api.sessions, "each was ended"


def test_a_data_api_that_keeps_no_transaction_is_refused(redshift: RedshiftPlace, mariadb: MariaDB) -> None:
    database = mariadb.new_database()
    mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY)", database=database)
    redshift.add("shop", mariadb, database)
    reached_by(redshift, "data api")
    redshift.data_api.commits_each = True
    with pytest.raises(WarehouseError, match="did not roll back"):
        redshift.converge()
    assert redshift.rows("SELECT 1 FROM information_schema.schemata WHERE schema_name IN ('shop', 'whimbrel')") == []


def test_every_call_is_allowed_and_every_right_is_used(redshift: RedshiftPlace, mariadb: MariaDB) -> None:
    """What no call shows: the Data API signs in, in the name of whoever asks; a put whose answer was lost is read."""
    database = mariadb.new_database()
    mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", database=database)
    redshift.add("shop", mariadb, database)
    reached_by(redshift, "data api")
    made = set[tuple[str, str]]()
    asked = BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(client: Any, operation: str, request: dict[str, Any]) -> Any:
        if client.meta.service_model.service_name == "s3":
            keys = [each["Key"] for each in request.get("Delete", {}).get("Objects", [request])]
            made.update((f"s3:{S3_ACTIONS.get(operation, operation)}", key.split("/")[0]) for key in keys)
        else:
            made.add((f"redshift-data:{operation}", ""))
        return asked(client, operation, request)

    with patch.object(BaseClient, "_make_api_call", note):
        redshift.converge()
        read_by_copy = {each for each in made if each[0] == "s3:GetObject"}  # the stand-in's own
        made -= read_by_copy
        assert read_by_copy == {("s3:GetObject", "rows")}
    granted = policies(load_project(redshift.project))
    rights = {
        (action, resource.partition("${StageBucket}/")[2].removesuffix("/*"))
        for each in granted["converge"]
        for action in each.actions
        for resource in each.resources
    }
    assert made <= rights
    assert rights - made == {("redshift-serverless:GetCredentials", ""), ("s3:GetObject", "rows")}
    assert {action for each in granted["copy"] for action in each.actions} == {"s3:GetObject", "s3:ListBucket"}
    assert granted.keys() == {"converge", "copy"}


@pytest.mark.parametrize("native", [False, True])
def test_the_task_may_export_the_tables_of_dynamodb(tmp_path: Path, native: bool) -> None:
    """It runs alone, so all that a silo of DynamoDB tables asks is in its one role; and no migration is meant."""
    file = tmp_path / "whimbrel.toml"
    lake = '[lake]\nfolder = "s3://lakes/x"\nexport = "native"\n' if native else ""
    file.write_text(
        f'{lake}[warehouse]\nengine = "redshift"\nurl = "redshift-data://w/d"\nstage = "s3://stage/rows"\n'
        'role = "arn:aws:iam::111122223333:role/copy"\n[[silo]]\nname = "customers"\ndynamodb = ["profile"]\n'
    )
    granted = policies(load_project(file))
    assert granted.keys() == {"converge", "copy", "export"} | ({"convert", "query"} if native else set())
    rights = {action: each.resources for each in granted["converge"] for action in each.actions}
    asked = "dynamodb:ExportTableToPointInTime" if native else "dynamodb:Scan"
    assert [each.partition(":table/")[2] for each in rights[asked]] == ["profile"]
    assert ("s3:PutObjectAcl" in rights) == native
    for document in documents("converge", granted["converge"]):
        names = [statement["Sid"] for statement in document["Statement"]]
        assert len(set(names)) == len(names)

"""What ends a stream: places that are gone, images that are not whole, statements, and tables that were altered."""

from __future__ import annotations

import dataclasses

import pytest

from demo.servers import MySQL
from tests.binlog.conftest import Source, commits, images
from tests.binlog.test_stream import IMAGES, THREE
from whimbrel.errors import (
    PartialImage,
    PositionLost,
    SchemaDrift,
    StatementChange,
    WhimbrelError,
)
from whimbrel.mysql.binlog import session
from whimbrel.mysql.binlog.stream import Output
from whimbrel.records import Commit, Position, Table


def test_unknown_file(source: Source, table: Table) -> None:
    with pytest.raises(PositionLost, match=r"asked for bin\.999999:4, the server has bin\.0.*no file bin\.999999"):
        source.read(Position("bin.999999", 4), table)


def test_offset_beyond_the_file(source: Source, table: Table) -> None:
    now = source.position()
    with pytest.raises(PositionLost, match=rf"asked for {now.file}:99999999 .*ends at"):
        source.read(now._replace(offset=99_999_999), table)


def test_purged(source: Source, table: Table, use_gtid: bool) -> None:
    start = source.position()
    source.execute(THREE[0], "FLUSH BINARY LOGS", THREE[1], "FLUSH BINARY LOGS")
    source.purge_to(source.position().file)
    with pytest.raises(
        PositionLost, match=f"asked for {start.file}:{start.offset}.* the server has {source.position().file}"
    ):
        source.read(start, table, use_gtid=use_gtid)


def test_gtids_that_the_server_never_had(
    source: Source, table: Table, use_gtid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LATE", 0.1)
    gtid = "0-1-999999999" if source.flavor == "mariadb" else "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
    start = source.position()
    with pytest.raises(PositionLost, match="never had"):
        source.read(
            start._replace(gtid=f"{start.gtid},{gtid}" if source.flavor == "mysql" else gtid), table, use_gtid=use_gtid
        )


def test_an_offset_within_an_event(source: Source, table: Table) -> None:
    start = source.position()
    source.execute(*THREE)
    with pytest.raises(WhimbrelError):
        source.read(start._replace(offset=start.offset + 7), table)


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_partial_image(source: Source, image: str) -> None:
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, a TEXT, n INT)", "INSERT INTO t VALUES (1, 'x', 1)")
    table, start = source.table(), source.position()
    source.execute(f"SET SESSION binlog_row_image = {image}", "UPDATE t SET n = 2")
    with pytest.raises(PartialImage, match=rf"{table.full_name} at .*without all columns.*binlog_row_image=FULL"):
        source.read(start, table)


def test_partial_json(mysql: MySQL) -> None:
    source = Source(mysql, mysql.new_database())
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, j JSON)", 'INSERT INTO t VALUES (1, \'{"a": 1, "b": "long"}\')')
    table, start = source.table(), source.position()
    source.execute("SET SESSION binlog_row_value_options = PARTIAL_JSON", "UPDATE t SET j = JSON_SET(j, '$.a', 2)")
    with pytest.raises(PartialImage, match="partial update of JSON"):
        source.read(start, table)


def test_statement_format(source: Source, table: Table) -> None:
    start = source.position()
    source.execute("SET SESSION binlog_format = STATEMENT", THREE[0])
    with pytest.raises(StatementChange, match=r"INSERT INTO t VALUES.*binlog_format=ROW"):
        source.read(start, table)


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("TRUNCATE TABLE t", StatementChange),
        ("ALTER TABLE t ADD c INT", SchemaDrift),
        ("DROP TABLE t", SchemaDrift),
        ("RENAME TABLE t TO t2", SchemaDrift),
        ("ALTER TABLE t RENAME t2", SchemaDrift),
    ],
)
def test_ddl_on_a_captured_table(source: Source, table: Table, sql: str, error: type[WhimbrelError]) -> None:
    start = source.position()
    source.execute(THREE[0], sql)
    with source.stream(start, table) as stream:
        outputs: list[Output] = []
        with pytest.raises(error, match=sql.replace(" t", " .?t.?")):
            outputs.extend(stream)
    assert [type(output) for output in outputs][:2] == [list, Commit]


def test_other_ddl_does_no_harm(source: Source, table: Table) -> None:
    start = source.position()
    source.execute(
        "CREATE TABLE u (id INT PRIMARY KEY, r INT)",
        "ALTER TABLE u ADD FOREIGN KEY (r) REFERENCES t (id)",
        "CREATE INDEX i ON t (n)",
        "CREATE VIEW v AS SELECT * FROM t",
        "ANALYZE TABLE t",
        "CREATE TEMPORARY TABLE tt (a INT)",
        "DROP TABLE u",
        "CREATE TABLE copied (PRIMARY KEY (id)) SELECT * FROM t",
        *THREE,
    )
    outputs = source.read(start, table)
    assert images([c for output in outputs if isinstance(output, list) for c in output]) == IMAGES
    assert commits(outputs)[-1].position == source.position()


def test_table_that_is_not_what_it_was(source: Source, table: Table) -> None:
    start = source.position()
    source.execute(*THREE)
    wrong_type = dataclasses.replace(table.columns[1], kind="int", type_name="int")
    wrong = [
        dataclasses.replace(table, columns=table.columns[:-1]),
        dataclasses.replace(table, columns=(table.columns[0], wrong_type, table.columns[2])),
    ]
    for other in wrong:
        with pytest.raises(SchemaDrift, match=table.full_name):
            source.read(start, other)


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"name": "other"}, "is named a"),
        ({"charset": "latin1"}, "character set 'utf8mb4'"),
    ],
)
def test_full_metadata_is_held_against_the_table(source: Source, known: dict[str, str], says: str) -> None:
    source.execute("SET GLOBAL binlog_row_metadata = FULL", "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9), n INT)")
    table, start = source.table(), source.position()
    source.execute(THREE[0])
    source.execute("SET GLOBAL binlog_row_metadata = DEFAULT")
    assert images(source.changes(start, table)) == IMAGES[:2]
    column = dataclasses.replace(table.columns[1], **known)  # type: ignore[arg-type]
    with pytest.raises(SchemaDrift, match=says):
        source.read(start, dataclasses.replace(table, columns=(table.columns[0], column, table.columns[2])))
    signed = dataclasses.replace(table.columns[2], unsigned=True)
    with pytest.raises(SchemaDrift, match="is unsigned: False"):
        source.read(start, dataclasses.replace(table, columns=(*table.columns[:2], signed)))

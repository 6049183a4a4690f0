"""The SQL box of the console: it reads the data sets, whatever a statement tries, within a time and a memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests.lake.helper import compact, write_lines
from tests.lake.test_sql import run
from whimbrel.api.looking import first_rows
from whimbrel.errors import UserError
from whimbrel.lake.confined import Bounds
from whimbrel.lake.confined import first_rows as limited
from whimbrel.lake.queries_only import FUNCTIONS
from whimbrel.lake.sql import Database, open_database
from whimbrel.project import load_project

SECRET = "TOPSECRET"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the data set "people", and beside its lake a file that is none of its business."""
    place = tmp_path_factory.mktemp("confined")
    (place / "whimbrel.toml").write_text('[target]\nendpoint = "http://127.0.0.1:1"\n')
    lines = [compact({"Item": {"id": {"N": str(number)}, "name": {"S": f"n{number}"}}}) for number in range(600)]
    write_lines(place / "people.json.gz", lines, packed=True)
    assert run(place / "whimbrel.toml", "convert", "people", "--from", str(place / "people.json.gz")).exit_code == 0
    for kind in ("csv", "json", "txt"):
        (place / f"secret.{kind}").write_text(f'{{"s": "{SECRET}"}}\n' if kind == "json" else f"s\n{SECRET}\n")
    duckdb.sql(f"SELECT '{SECRET}' AS s").write_parquet(str(place / "secret.parquet"))
    lake = next(each for each in (place / "lake").rglob("*.parquet")).parent
    (lake / "link.csv").symlink_to(place / "secret.csv")
    return place


@pytest.fixture(scope="module")
def confined(folder: Path) -> Iterator[Database]:
    with open_database(load_project(folder / "whimbrel.toml")) as database:
        database.confine(256 << 20)
        yield database


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything that lies there: its time of change and content."""
    return {str(each): (each.stat().st_mtime_ns, each.read_bytes()) for each in folder.rglob("*") if each.is_file()}


WRITES = (
    "COPY people TO '{lake}/out.csv'",
    "COPY (SELECT 1) TO '{out}'",
    "SELECT 1; COPY people TO '{lake}/out.csv'; SELECT 2",
    "SELECT 1;COPY people TO '{lake}/out.csv'",
    "EXPLAIN ANALYZE COPY people TO '{lake}/out.csv'",
    "/* SELECT */ COPY people TO '{lake}/out.csv'",
    "WITH x AS MATERIALIZED (COPY people TO '{lake}/out.csv') SELECT 1",
    "SELECT * FROM (WITH x AS (COPY people TO '{lake}/out.csv') SELECT 1)",
    "SELECT * FROM people WHERE id IN (WITH x AS (COPY people TO '{lake}/out.csv') SELECT 1)",
    "DESCRIBE WITH x AS (COPY people TO '{lake}/out.csv') SELECT 1",
    "SELECT 1 UNION ALL (WITH x AS (COPY people TO '{lake}/out.csv') SELECT 1)",
    "WITH x AS (INSERT INTO people VALUES (1, 'x') RETURNING id) SELECT * FROM x",
    "WITH x AS (SELECT 1) INSERT INTO people SELECT * FROM x",
    "WITH x AS (DELETE FROM people RETURNING id) FROM x",
    "EXPORT DATABASE '{lake}/everything'",
    "SELECT 1; EXPORT DATABASE '{lake}/everything'; SELECT 1",
    "CREATE TABLE t (a INT)",
    "SELECT 1; CREATE VIEW people2 AS SELECT 1; SELECT 2",
    "CREATE EXTERNAL TABLE t (a int) LOCATION 's3://x/y/'",
    "(CREATE EXTERNAL TABLE t (a int) LOCATION 's3://x/y/')",
    "MSCK REPAIR TABLE people",
    "DROP VIEW people",
    "ATTACH '{out}'",
    "SELECT 1; ATTACH '{lake}/new.db' AS d; SELECT 1",
    "FROM enable_logging(storage='file', storage_config={{'path': '{out}'}})",
    "FROM copy_database('memory', 'x')",
)
READS = (
    "FROM '{secret}.csv'",
    "FROM '{lake}/../../../../../secret.csv'",
    "FROM '{lake}/link.csv'",
    "FROM read_text('{secret}.txt')",
    "FROM read_blob('{secret}.*')",
    "FROM read_csv(['{secret}.csv'])",
    "FROM parquet_scan('{secret}.parquet')",
    "FROM glob('{secret}.*')",
    "FROM query('FROM read_text(''{secret}.txt'')')",
    "FROM query_table('{secret}.csv')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{secret}.txt'')'))",
    "SELECT * FROM people, LATERAL (FROM read_text('{secret}.txt'))",
    "SELECT (SELECT content FROM read_text('{secret}.txt'))",
    "SUMMARIZE FROM read_text('{secret}.txt')",
    "SELECT $$;$$ FROM read_text('{secret}.txt')",
    "FROM read_csv('http://127.0.0.1:1/secret.csv')",
    "FROM 's3://bucket/secret.parquet'",
    "FROM read_duckdb('{secret}.db')",
    "FROM sniff_csv('{secret}.csv')",
    "FROM pandas_scan(1)",
    "SELECT getenv('SECRET')",
    "FROM secret_in_python",
    "IMPORT DATABASE '{lake}'",
)
SETTINGS = (
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SELECT 1; SET lock_configuration = false; SELECT 1",
    "RESET allowed_directories",
    "PRAGMA enable_profiling",
    "CALL pragma_version()",
    "SELECT 1; USE temp; SELECT 1",
    "PREPARE p AS SELECT 1",
    "BEGIN",
    "CHECKPOINT",
    "EXPLAIN SELECT 1",
    "",
    ";",
    "-- SELECT 1",
)


def test_no_statement_reads_or_writes_another_file(
    folder: Path, confined: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    before, secret_in_python = files(folder), duckdb.sql(f"SELECT '{SECRET}'").to_arrow_table()
    lake = next(each for each in (folder / "lake").rglob("link.csv")).parent
    for pattern in WRITES + READS + SETTINGS:
        statement = pattern.format(lake=lake, out=tmp_path / "out", secret=folder / "secret")
        with pytest.raises(UserError) as error:
            print(pattern, confined.first_rows(statement, 10))
        assert SECRET not in str(error.value)
    assert list(tmp_path.iterdir()) == []
    assert files(folder) == before
    assert confined.first_rows("SELECT count(*) FROM people", 10)[1] == ((600,),)
    assert len(secret_in_python) == 1


def test_every_table_function_of_duckdb_is_refused_but_those_without_files(folder: Path, confined: Database) -> None:
    """So are those of a later version, which nobody has looked at."""
    names = {name for (name,) in duckdb.sql("SELECT DISTINCT function_name FROM duckdb_functions()").fetchall()}
    assert {"read_csv", "glob", "query"} < names
    tried = 0
    for name in names - FUNCTIONS:
        if not name.isidentifier():
            continue
        words = f"the table function {name.lower()} is not answered|Parser Error|Table with name"
        with pytest.raises(UserError, match=words):
            confined.first_rows(f"SELECT * FROM {name}('{folder}/secret.csv')", 10)
        tried += 1
    assert tried > 500


@pytest.mark.slow
def test_no_function_of_a_value_reads_a_file(folder: Path, confined: Database) -> None:
    names = {name for (name,) in duckdb.sql("SELECT DISTINCT function_name FROM duckdb_functions()").fetchall()}
    for name in sorted(names - {"sleep_ms", "error"}):
        try:
            found = confined.first_rows(f"SELECT \"{name}\"('{folder}/secret.txt')", 10)
        except UserError:
            continue
        assert SECRET not in str(found), name


@pytest.mark.parametrize(
    ("statement", "columns", "row"),
    [
        ("SELECT id, name FROM people ORDER BY id", ("id", "name"), None),
        ("FROM people ORDER BY ALL LIMIT 1", ("id", "name"), (0, "n0")),
        ("SELECT count(*) AS n FROM people; -- all", ("n",), (600,)),
        ("/* a; b */ SELECT ';' AS a -- c", ("a",), (";",)),
        ("SHOW TABLES;", ("name",), ("people",)),
        ("DESCRIBE people", None, None),
        ("SUMMARIZE people", None, None),
        ("WITH x AS (SELECT 1 AS a) SELECT a, a FROM x UNION ALL SELECT 2, 3", ("a", "a"), (1, 1)),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT max(n) FROM r",
            None,
            (5,),
        ),
        ("VALUES (TRUE, NULL, 1.5::DOUBLE, 1.50::DECIMAL(9,2))", None, (True, None, 1.5, "1.50")),
        ("SELECT TIMESTAMPTZ '2026-11-30 12:00:00+00' AT TIME ZONE 'UTC'", None, ("2026-11-30 12:00:00",)),
        ("SELECT 'a\\x00'::BLOB, [1, 2], {'k': 1}, 170141183460469231731687303715884105727", None, None),
        ("SELECT sum(1) OVER (ORDER BY id) FROM people LIMIT 1", None, ("1",)),
        ("SELECT * FROM range(3) AS r(n) JOIN generate_series(2, 5) AS g(n) USING (n)", ("n",), (2,)),
        ("SELECT * FROM people p, unnest([1, 2]) AS u(x) WHERE p.id = 7 ORDER BY x", None, None),
        ("SELECT DATE_DIFF('day', DATE '2026-11-01', DATE '2026-11-30')", None, (29,)),
    ],
)
def test_what_only_reads_is_answered(
    confined: Database, statement: str, columns: tuple[str, ...] | None, row: tuple[object, ...] | None
) -> None:
    names, rows, _ = confined.first_rows(statement, 10)
    assert columns is None or names == columns
    assert row is None or rows[0] == row
    plain = (str, int, float, bool, type(None))
    assert all(isinstance(value, plain) for row in rows for value in row)


def test_what_is_long_is_cut(confined: Database) -> None:
    _, rows, more = confined.first_rows("SELECT repeat('x', 50000), range FROM range(5000)", 500)
    assert len(rows) == 398, "rows end when there are some millions of characters"
    assert more
    assert rows[0][0] == "x" * 10_000 + " … (50000 characters)"
    assert len(confined.first_rows("FROM range(500)", 500)[1]) == 500
    assert confined.first_rows("FROM range(500)", 500)[2] is False
    assert confined.first_rows("FROM range(501)", 500)[2] is True


def test_it_is_answered_in_another_process(folder: Path) -> None:
    found = first_rows(folder / "whimbrel.toml", "SELECT id, name FROM people ORDER BY id", most=2)
    assert found == (("id", "name"), ((0, "n0"), (1, "n1")), True)
    with pytest.raises(UserError, match="nothing"):
        first_rows(folder / "whimbrel.toml", "SELECT * FROM nothing")


TOO_MUCH = {
    "memory": ("SELECT list_sort(range(3000000000))", 60.0),
    "time": ("SELECT count(*) FROM range(100000000000) a, range(1000000) b", 0.5),
    "memory for text": ("SELECT string_agg(repeat('x', 1000000), '') FROM range(5000)", 60.0),
    "what does not hear that it should end": ("SELECT lpad('x', 2000000000, 'y')", 0.5),
    "sleep": ("SELECT sleep_ms(600000)", 0.5),
}


@pytest.mark.parametrize(
    "name", [name if name in ("memory", "time") else pytest.param(name, marks=pytest.mark.slow) for name in TOO_MUCH]
)
def test_time_and_memory_are_bounded(folder: Path, name: str) -> None:
    statement, seconds = TOO_MUCH[name]
    began = time.monotonic()
    with pytest.raises(UserError, match="it took more than"):
        limited(load_project(folder / "whimbrel.toml"), statement, Bounds(10, seconds), threading.Event())
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_a_query_that_is_stopped_ends(folder: Path) -> None:
    stop, began = threading.Event(), time.monotonic()
    threading.Timer(2.0, stop.set).start()
    with pytest.raises(UserError):
        first_rows(folder / "whimbrel.toml", TOO_MUCH["time"][0], stop=stop)
    assert time.monotonic() - began < 20

"""Rows that DuckDB is given as lines of JSON: what it makes of them is what was given, whichever way they come."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import without_coverage
from whimbrel.errors import UnsupportedSource, WarehouseError, WarehouseUnreachable
from whimbrel.records import Column, Row, Table
from whimbrel.warehouse import duckdb_file, duckdb_rows
from whimbrel.warehouse.duckdb_file import DuckDBFile, DuckDBSession
from whimbrel.warehouse.put import added_by_load
from whimbrel.warehouse.stored import StoredColumn, StoredTable

COLUMNS = (
    StoredColumn("id", Column("id", "int", type_name="bigint unsigned", unsigned=True), "int", "UBIGINT"),
    StoredColumn("words", Column("words", "text", type_name="longtext"), "text", "VARCHAR"),
    StoredColumn("data", Column("data", "binary", type_name="blob"), "bytes", "BLOB"),
    StoredColumn("as_bytes", Column("as_bytes", "text", type_name="text"), "bytes", "BLOB"),
    StoredColumn("number", Column("number", "double"), "double", "DOUBLE"),
    StoredColumn("as_text", Column("as_text", "double"), "text", "VARCHAR"),
    StoredColumn("day", Column("day", "date"), "date", "DATE"),
    StoredColumn("perhaps", Column("perhaps", "date"), "date", "DATE", nulls=True),
)
STORED = StoredTable("s", "t", ("db", "t"), COLUMNS, ("id",))
texts = st.text(st.characters(codec="utf-8"), max_size=20)
days = st.dates().map(str)
rows = st.tuples(
    st.integers(0, 2**64 - 1),
    st.none() | texts,
    st.none() | st.binary(max_size=20),
    st.none() | texts.filter(lambda text: text != ""),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    st.none() | days,
    st.none() | days | st.sampled_from(["0000-00-00", "2020-02-31", "0000-01-01"]),
)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[DuckDBSession]:
    with DuckDBFile(tmp_path / "w.duckdb", tmp_path / "spill").session() as opened:
        opened.execute('CREATE SCHEMA "s"')
        yield opened


def as_stored(row: Row) -> Row:
    perhaps = None if row[7] in ("0000-00-00", "2020-02-31", "0000-01-01") else row[7]
    as_bytes = None if row[3] is None else row[3].encode()
    as_text = None if row[5] is None else repr(row[5])
    return (*row[:3], as_bytes, row[4], as_text, row[6], perhaps)


@pytest.mark.parametrize("longest", [duckdb_rows.LONGEST_LINE, 0], ids=["lines", "lists"])
def test_every_row_is_there_as_it_was(session: DuckDBSession, monkeypatch: pytest.MonkeyPatch, longest: int) -> None:
    """Also where all lines are too long to be read as JSON."""
    monkeypatch.setattr(duckdb_rows, "LONGEST_LINE", longest)

    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(rows, min_size=1, max_size=250, unique_by=lambda row: row[0]))
    def check(given_rows: list[Row]) -> None:
        session.execute(f"DROP TABLE IF EXISTS {STORED.quoted}")
        session.create(STORED)
        assert session.insert(STORED, given_rows) == len(given_rows)
        found = [row for some in session.read(STORED) for row in some]
        assert sorted(map(repr, found)) == sorted(map(repr, map(as_stored, given_rows)))
        keys: list[Row] = [(row[0],) for row in given_rows[::2]]
        assert len([row for some in session.read(STORED, keys) for row in some]) == len(keys)
        assert session.delete(STORED, keys) == len(keys)

    check()


@pytest.mark.parametrize("day", ["0000-00-00", "0000-01-01", "2020-02-31"])
def test_the_row_with_a_day_of_no_calendar_is_named(session: DuckDBSession, day: str) -> None:
    session.create(STORED)
    bad = (7, None, None, None, None, None, day, None)
    with pytest.raises(UnsupportedSource, match=r"row \{'id': 7\}: column 'day'"):
        session.insert(STORED, [(6, *bad[1:6], "2020-01-01", None), bad])


def test_lines_of_a_file_are_taken_without_their_values(session: DuckDBSession) -> None:
    """Columns by name: one that the file does not have is NULL. What a line has besides rows is refused."""
    table = StoredTable("s", "t", ("db", "t"), COLUMNS[:3], ("id",), keeps="history")
    session.create(table)
    version = Table("db", "t", (COLUMNS[2].source, COLUMNS[0].source), ("id",))
    lines = [orjson.dumps([["AP8=", 1], [None, 2]]), orjson.dumps([["", 2**64 - 1]])]
    assert session.load(table, version, lines, added_by_load(table, 1.5)) == 3
    assert session.fetch(f"SELECT id, words, data, CAST(valid_from AS VARCHAR) FROM {table.quoted} ORDER BY id") == [
        (1, None, b"\0\xff", "1970-01-01 00:00:01.5+00"),
        (2, None, None, "1970-01-01 00:00:01.5+00"),
        (2**64 - 1, None, b"", "1970-01-01 00:00:01.5+00"),
    ]
    with pytest.raises(WarehouseError):
        session.load(table, version, [b'{"rows": 3}'], added_by_load(table, 1.5))


LARGE = """
import sys
from pathlib import Path
from tests.warehouse.test_duckdb_rows import COLUMNS, STORED
from whimbrel.warehouse.duckdb_file import DuckDBFile
from whimbrel.warehouse.stored import StoredTable
folder = Path(sys.argv[1])
with DuckDBFile(folder / "w.duckdb", folder / "spill").session() as session:
    session.execute('CREATE SCHEMA "s"')
    session.create(STORED)
    row = (1, "x" * (60 << 20), b"", None, None, None, None, None)
    with session.transaction():
        assert session.insert(STORED, [row]) == 1
    [[found]] = session.read(STORED)
assert len(found[1]) == 60 << 20
"""


@pytest.mark.slow
def test_a_row_of_sixty_megabytes_fits_into_the_memory_that_duckdb_has(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LARGE, str(tmp_path)]
    done = subprocess.run(command, env=without_coverage(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_file_that_this_process_lets_go_at_the_moment_is_waited_for(tmp_path: Path) -> None:
    """DuckDB refuses it in three ways, one of them while another thread closes it."""
    engine, stop = DuckDBFile(tmp_path / "w.duckdb", tmp_path / "spill"), threading.Event()
    with engine.session() as session:
        session.execute("CREATE TABLE t (a INTEGER)")

    def read() -> None:
        while not stop.wait(0.005):
            with suppress(duckdb.Error):
                duckdb.connect(str(tmp_path / "w.duckdb"), read_only=True).close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(10):
            with engine.session() as session:
                session.execute("INSERT INTO t VALUES (?)", (number,))
    finally:
        stop.set()
        reader.join()
    with engine.session() as session:
        assert session.fetch("SELECT COUNT(*) FROM t") == [(10,)]


def test_a_damaged_file_is_not_taken_for_one_that_is_in_use(tmp_path: Path) -> None:
    """DuckDB speaks of a block then, and a folder may have such a name: whoever waits for a lock would wait on."""
    folder = tmp_path / "lock"
    folder.mkdir()
    engine = DuckDBFile(folder / "w.duckdb", tmp_path / "spill")
    with engine.session() as session:
        session.execute("CREATE TABLE t (a INTEGER)")
    content = bytearray((folder / "w.duckdb").read_bytes())
    content[4096 + 8] ^= 1  # of a block whose checksum is looked at
    for damaged in (bytes(content), b"something else" * 1_000):
        (folder / "w.duckdb").write_bytes(damaged)
        with pytest.raises(WarehouseError, match="Restore the file and the state folder") as found, engine.session():
            pass
        assert not isinstance(found.value, WarehouseUnreachable)


def test_who_has_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_file, "WAITS", 0.1)
    file = tmp_path / "w.duckdb"
    holds = f"import duckdb, sys; held = duckdb.connect({str(file)!r}); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holds]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=without_coverage(), **pipes) as holder:  # type: ignore[call-overload]
        assert holder.stdout.readline() == b"held\n"
        said = rf"another program has the file open: .*PID {holder.pid}"
        with pytest.raises(WarehouseUnreachable, match=said), DuckDBFile(file, tmp_path / "spill").session():
            pass
        holder.stdin.close()

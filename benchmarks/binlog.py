"""CPU time per row event: whimbrel's binlog reader beside mysql-replication, on the same events of one real MariaDB.

``python -m benchmarks.binlog [--json]``. Each reader reads the whole history in a process of its own, several times:
the figures are medians of process CPU time (user and system), in microseconds a row.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from demo.servers import MariaDB
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect, current_position
from whimbrel.mysql.schema import read_table
from whimbrel.project import Source
from whimbrel.records import Position

RUNS = 5
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


def measure() -> dict[str, Any]:
    """Microseconds a row for each reader and kind of history, how many times less whimbrel's is, and what was read."""
    figures: dict[str, Any] = {"single_rows": SINGLE, "many_rows": MANY, "runs": RUNS}
    with MariaDB() as server:
        for history, statements in (
            ("single", [FILL_ONE_BY_ONE]),
            ("many", [FILL_MANY.format(first=n + 1, last=n + 20_000) for n in range(0, MANY, 20_000)]),
        ):
            with recorded(server, statements) as (database, start, end):
                rows = SINGLE if history == "single" else MANY
                for reader, runs in (("whimbrel", RUNS), ("mysql_replication", 3)):
                    seconds = statistics.median(_in_a_process(reader, server, database, start, end, rows, runs))
                    figures[f"{reader}_{history}_us"] = round(seconds / rows * 1e6, 2)
                theirs, ours = figures[f"mysql_replication_{history}_us"], figures[f"whimbrel_{history}_us"]
                figures[f"times_less_{history}"] = round(theirs / ours, 1)
    return figures


@contextmanager
def recorded(server: MariaDB, statements: list[str]) -> Iterator[tuple[str, Position, Position]]:
    database = server.new_database()
    server.execute(TABLE, database=database)
    with server.connect() as connection:
        start = current_position(connection)
        server.execute(*statements, database=database)
        yield database, start, current_position(connection)


def _in_a_process(
    reader: str, server: MariaDB, database: str, start: Position, end: Position, rows: int, runs: int
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
    read = {"whimbrel": read_with_whimbrel, "mysql_replication": read_with_mysql_replication}[job["reader"]]
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


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time per row event, beside mysql-replication")
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_one(json.load(sys.stdin))))
        return
    figures = measure()
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{'binlog, µs of CPU a row':<28}{'whimbrel':>10}{'mysql-replication':>20}{'times less':>12}")
    for history, name in (("single", "one row a transaction"), ("many", "20,000 rows a transaction")):
        ours, theirs = figures[f"whimbrel_{history}_us"], figures[f"mysql_replication_{history}_us"]
        print(f"{name:<28}{ours:>10}{theirs:>20}{figures[f'times_less_{history}']:>12}")


if __name__ == "__main__":
    main()

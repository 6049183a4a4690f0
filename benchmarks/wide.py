"""A row of 50 columns of mixed types, from the binlog to the item: whimbrel beside mysql-replication with boto3's own
serializer, on the same events of one real MariaDB.

``python -m benchmarks.wide [--json] [--rows N] [--rounds N]``. Each reads the whole history in a process of its own,
in turn: medians of process CPU time, in microseconds a row. ``decode`` ends with the rows, ``decode and map`` with
items as DynamoDB takes them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from demo.servers import MariaDB
from whimbrel.mapping.design import compile_mapping
from whimbrel.mysql.binlog.stream import BinlogStream
from whimbrel.mysql.connect import connect, current_position
from whimbrel.mysql.schema import read_table
from whimbrel.project import KeyRule, Source, TableRule
from whimbrel.records import Position

# Types and what row number ``seq`` has in them; every seventh value of a column that may have one is NULL.
COLUMNS = [
    *((f"{size}INT", "CAST(seq % 100 AS SIGNED) - 50") for size in ("TINY", "SMALL", "MEDIUM", "", "BIG")),
    *((f"{size}INT UNSIGNED", "seq % 250") for size in ("TINY", "SMALL", "MEDIUM", "", "BIG")),
    *((f"DECIMAL({digits})", "seq * 1.25") for digits in ("8,2", "12,0", "18,6", "38,10")),
    *(("FLOAT", "seq / 8"), ("DOUBLE", "seq / 3"), ("DOUBLE", "seq * -1e10"), ("YEAR", "1970 + seq % 80")),
    *[("DATE", "'2020-01-01' + INTERVAL seq % 3000 DAY")] * 3,
    *((f"DATETIME{digits}", "'2020-01-01' + INTERVAL seq * 1234567 MICROSECOND") for digits in ("", "(3)", "(6)")),
    *[("TIMESTAMP(6) NULL", "'2020-01-01' + INTERVAL seq * 7654321 MICROSECOND")] * 2,
    *((f"TIME{digits}", "SEC_TO_TIME(seq % 80000)") for digits in ("", "(3)")),
    *[("CHAR(12)", "CONCAT('code', seq % 1000)")] * 3,
    *[("VARCHAR(60)", "CONCAT('a name of some length, ', seq)")] * 8,
    *[("TEXT", "REPEAT(CONCAT('text ', seq % 10, ' '), 12)")] * 2,
    *[("ENUM('new', 'paid', 'sent', 'gone')", "1 + seq % 4")] * 2,
    ("SET('gift', 'fragile', 'express')", "seq % 8"),
    *[("BINARY(16)", "UNHEX(MD5(seq))")] * 2,
    *[("VARBINARY(40)", "UNHEX(MD5(seq))")] * 2,
    ("BLOB", "REPEAT(UNHEX(MD5(seq)), 8)"),
]
NAMES = ["id", *(f"c{number}" for number in range(1, len(COLUMNS) + 1))]
RULE = TableRule("bench.wide", "wide", "record", KeyRule("id", "${id}", "N"))


def measure(rows: int, rounds: int) -> dict[str, Any]:
    """Microseconds of CPU a row by contestant and work, and how many times less ours is."""
    seconds: dict[str, list[float]] = {}
    with MariaDB(options=["--binlog-row-metadata=FULL"]) as server:
        database, start, end = recorded(server, rows)
        source = server.source(database)
        job = {"source": [source.host, source.port, source.user, source.password, database], "rows": rows}
        job |= {"start": start, "end": end}
        for _ in range(rounds):
            for reader in READERS:
                for work in ("decode", "decode and map"):
                    spent = _in_a_process(job | {"reader": reader, "map": work != "decode"})
                    seconds.setdefault(f"{reader}, {work}", []).append(spent)
    figures: dict[str, Any] = {name: round(statistics.median(each) / rows * 1e6, 2) for name, each in seconds.items()}
    for work in ("decode", "decode and map"):
        figures[f"times less, {work}"] = round(figures[f"mysql-replication, {work}"] / figures[f"whimbrel, {work}"], 1)
    return figures | {"rows": rows, "columns": len(NAMES)}


def recorded(server: MariaDB, rows: int) -> tuple[str, Position, Position]:
    database = server.new_database()
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in zip(NAMES[1:], COLUMNS, strict=True))
    values = ", ".join(f"IF(seq % 7 = {number} % 7, NULL, {value})" for number, (_, value) in enumerate(COLUMNS))
    server.execute(f"CREATE TABLE wide (id BIGINT UNSIGNED PRIMARY KEY, {columns})", database=database)
    with server.connect() as connection:
        start = current_position(connection)
        for first in range(1, rows, 500):
            server.execute(
                f"INSERT INTO wide SELECT seq, {values} FROM seq_{first}_to_{first + 499}", database=database
            )
        return database, start, current_position(connection)


def _in_a_process(job: dict[str, Any]) -> float:
    command = [sys.executable, "-m", "benchmarks.wide", "--one"]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=True)
    return float(done.stdout)


def _one(job: dict[str, Any]) -> float:
    host, port, user, password, database = job["source"]
    source = Source(host=host, port=port, user=user, password=password, database=database)
    rows, spent = READERS[job["reader"]](source, Position(*job["start"]), Position(*job["end"]), job["map"])
    if rows != job["rows"]:
        raise SystemExit(f"{job['reader']} gave {rows} rows of {job['rows']}")
    return spent


def with_whimbrel(source: Source, start: Position, end: Position, mapped: bool) -> tuple[int, float]:
    connection = connect(source)
    table = read_table(connection, source.database, "wide")
    mapping = compile_mapping(RULE, table)
    stream = BinlogStream(connection, start, {(table.schema, table.name): table}, server_id=0, use_gtid=False)
    rows, begin = 0, time.process_time()
    for output in stream:
        if type(output) is list:
            rows += len(mapping.fold(output)[0]) if mapped else len(output)
        elif output.position.offset >= end.offset:  # type: ignore[union-attr]
            break  # all of it is in one file
    spent = time.process_time() - begin
    stream.close()
    return rows, spent


def with_mysql_replication(source: Source, start: Position, end: Position, mapped: bool) -> tuple[int, float]:
    from boto3.dynamodb.types import TypeSerializer
    from pymysqlreplication import BinLogStreamReader
    from pymysqlreplication.row_event import WriteRowsEvent

    serialize = TypeSerializer().serialize
    stream = BinLogStreamReader(
        connection_settings={"host": source.host, "port": source.port, "user": source.user, "passwd": source.password},
        server_id=4711,
        resume_stream=True,
        log_file=start.file,
        log_pos=start.offset,
        end_log_pos=end.offset,
        only_events=[WriteRowsEvent],
        only_schemas=[source.database],
    )
    rows, begin = 0, time.process_time()
    for event in stream:
        for row in event.rows:
            rows += 1
            if mapped:
                {name: serialize(plain(value)) for name, value in row["values"].items()}
    spent = time.process_time() - begin
    stream.close()
    return rows, spent


def plain(value: Any) -> Any:
    """What boto3 cannot take, in the plainest way."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return ",".join(sorted(value)) if isinstance(value, set) else value


READERS = {"whimbrel": with_whimbrel, "mysql-replication": with_mysql_replication}


def table(figures: dict[str, Any]) -> str:
    head = f"{figures['columns']} columns, µs of CPU a row"
    lines = [f"{head:<31}{'whimbrel':>10}{'mysql-replication':>20}{'times less':>12}"]
    for work in ("decode", "decode and map"):
        ours, theirs = figures[f"whimbrel, {work}"], figures[f"mysql-replication, {work}"]
        lines.append(f"{work:<31}{ours:>10}{theirs:>20}{figures[f'times less, {work}']:>12}")
    return "\n".join([*lines, "mapping on the other side: boto3's TypeSerializer, a value at a time"])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--rows", type=int, default=10_000, help="a multiple of 500")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(_one(json.load(sys.stdin)))
        return
    figures = measure(options.rows, options.rounds)
    print(json.dumps(figures) if options.json else table(figures))


if __name__ == "__main__":
    main()

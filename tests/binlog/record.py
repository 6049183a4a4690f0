"""Make the recordings again, from the servers that are installed: ``python -m tests.binlog.record [NAME...]``.

Needed when a server is added, or when the lists of statements here or in test_types.py are longer.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.servers import MariaDB, MariaDB118, MySQL, SqlServer
from tests.binlog.conftest import TABLE, Source
from tests.binlog.recorded import FOLDER, Recording, Step, save
from tests.binlog.replay import Tap, split
from tests.binlog.test_stream import THREE
from tests.binlog.test_types import columns_for
from whimbrel.records import Row, Table

SERVERS: dict[str, type[SqlServer]] = {"mariadb": MariaDB, "mariadb-11.8": MariaDB118, "mysql": MySQL}
JSON = [
    "CAST(12.50 AS JSON)", "CAST(-0.000001 AS JSON)", "CAST(CAST(9 AS DECIMAL(65,30)) AS JSON)",
    "CAST(DATE '2020-02-29' AS JSON)", "CAST(TIMESTAMP '2020-02-29 01:02:03.45' AS JSON)", "CAST(1e300 AS JSON)",
    "CAST(TIME '-838:59:59' AS JSON)", "CAST(TIME '-00:00:00.000001' AS JSON)", "CAST(b'1010' AS JSON)",
    "CAST(TIME '101:01:01.5' AS JSON)", "CAST(x'00ff' AS JSON)", "JSON_ARRAY(REPEAT(x'41', 100))",
    "CAST(ST_GeomFromText('POINT(1 2)') AS JSON)", "CAST(TRUE AS JSON)", "CAST(FALSE AS JSON)", "CAST('null' AS JSON)",
    "JSON_OBJECT('a', REPEAT('x', 70000), 'b', JSON_ARRAY(1, -70000, 70000, 3000000000, NULL, TRUE, FALSE, 'é'))",
    "JSON_ARRAY(65535, 65536, -32768, -32769, 4294967295, 4294967296, 18446744073709551615, -9223372036854775808)",
    "JSON_ARRAY(32767, 32768, 2147483647, 2147483648, -2147483648, -2147483649, 9223372036854775807, 0, -1)",
    "JSON_OBJECT('', 1, 'bb', 2, 'a', JSON_OBJECT('c', JSON_OBJECT()))", "CAST('[]' AS JSON)", "CAST('{}' AS JSON)",
    "CAST('\"\\\\u0000\\\\u001f\\\\u007f\\\\b\\\\f\\\\/\\\\n\\\\r\\\\t\\\\\"\\\\\\\\é😀\"' AS JSON)",
    "CAST(CAST(2020 AS YEAR) AS JSON)", "JSON_ARRAY(JSON_ARRAY(REPEAT('y', 70000)), 1.5, -0.0, 1e-15, 1e15, 123456.75)",
    "JSON_ARRAY(REPEAT('z', 127), REPEAT('z', 128), REPEAT('z', 16383), REPEAT('z', 16384))",
    "JSON_ARRAY(1e14, 1e16, 1.25e-14, 1.25e-15, 1.25e-16, 12345678901234567890.5, 5e-324, 1.7976931348623157e308)",
]  # fmt: skip
WORK = [
    "INSERT INTO t VALUES (1, 'x', 1), (2, 'y', NULL), (3, NULL, -3)",
    "UPDATE t SET n = 7 WHERE id < 3",
    "DELETE FROM t WHERE id = 1",
    "BEGIN; INSERT INTO t VALUES (4, 'in one', 4); SAVEPOINT s; INSERT INTO u VALUES (1), (2); DELETE FROM u; COMMIT",
    "BEGIN; INSERT INTO u VALUES (2); INSERT INTO other VALUES (1); UPDATE t SET id = 40 WHERE id = 4; COMMIT",
    "INSERT INTO other VALUES (2)",
    "BEGIN; INSERT INTO t VALUES (9, 'never', 1); ROLLBACK",
    "FLUSH BINARY LOGS",
    "INSERT INTO t VALUES (5, REPEAT('é', 200), 2147483647)",
    "CREATE TABLE v (id INT PRIMARY KEY)",
    "DROP TABLE v",
    "CREATE VIEW w AS SELECT * FROM t",
    "CREATE INDEX i ON t (n)",
    "ALTER TABLE t ADD c SMALLINT NOT NULL DEFAULT 12",
    "INSERT INTO t VALUES (6, 'six', 6, -6)",
    "ALTER TABLE t DROP n, MODIFY a VARCHAR(400)",
    "UPDATE t SET a = CONCAT(COALESCE(a, ''), '!')",
    "XA START 'one'; INSERT INTO u VALUES (3); XA END 'one'; XA COMMIT 'one' ONE PHASE",
    "XA START 'a', 'b', 3; INSERT INTO other VALUES (3); XA END 'a', 'b', 3; XA PREPARE 'a', 'b', 3",
    "XA COMMIT 'a', 'b', 3",
    "FLUSH BINARY LOGS",
    "DELETE FROM t",
]
COMPRESSED = {
    "mariadb": [
        "SET GLOBAL log_bin_compress = 1, GLOBAL log_bin_compress_min_len = 10",
        "INSERT INTO t SELECT seq, REPEAT('x', 200), seq, 1 FROM seq_1_to_60",
        "UPDATE t SET n = n + 1 WHERE id > 30",
        "CREATE TABLE z (a INT) COMMENT 'a comment that is longer than what is not compressed'",
        "DELETE FROM t WHERE id > 10",
        "SET GLOBAL log_bin_compress = DEFAULT, GLOBAL log_bin_compress_min_len = DEFAULT",
    ],
    "mysql": [
        "SET SESSION binlog_transaction_compression = ON",
        "INSERT INTO t VALUES " + ", ".join(f"({n}, REPEAT(SHA2({n}, 256), 4), {n}, 1)" for n in range(60)),
        "BEGIN; UPDATE t SET n = n + 1 WHERE id > 30; INSERT INTO u VALUES (77), (78); COMMIT",
        "DELETE FROM t WHERE id > 10",
        "SET SESSION binlog_transaction_compression = OFF",
        "SET gtid_next = 'AUTOMATIC:my_tag'",
        "INSERT INTO u VALUES (79)",
        "UPDATE t SET n = 0",
        "SET gtid_next = 'AUTOMATIC'",
        "INSERT INTO u VALUES (80)",
    ],
}


def types(source: Source, metadata: str) -> Recording:
    """A NOT NULL and a nullable column of each type: inserted, updated and deleted."""
    kinds = columns_for(source.flavor)
    a = ", ".join(f"a{i} {kind.replace(' NULL', '')} NOT NULL" for i, (kind, _) in enumerate(kinds))
    b = ", ".join(f"b{i} {kind}" for i, (kind, _) in enumerate(kinds))
    source.execute(
        "SET SESSION explicit_defaults_for_timestamp = 1",
        f"CREATE TABLE t (id INT PRIMARY KEY, {a}, {b}) CHARACTER SET utf8mb4 ROW_FORMAT = DYNAMIC",
        "CREATE TABLE j (id INT AUTO_INCREMENT PRIMARY KEY, j JSON)",
    )
    plain = [[value for value in values if value != "NULL"] for _, values in kinds]
    statements = []
    for n in range(max(map(len, plain)) + 1):
        here = [values[n % len(values)] for values in plain]
        if n != 1:  # one row with long values is enough
            here = [re.sub(r"REPEAT\((.*), (\d{3})\d+\)", r"REPEAT(\1, \2)", value) for value in here]
        nulls = ["NULL"] * len(kinds) if n == 0 else ["NULL" if (n + i) % 5 == 0 else v for i, v in enumerate(here)]
        statements.append(f"INSERT IGNORE INTO t VALUES ({n}, {', '.join(here + nulls)})")
    reset = ", ".join(f"b{i} = NULL" for i in range(len(kinds)))
    statements += [f"UPDATE t SET {reset} WHERE id = 1", "DELETE FROM t WHERE id = 1"]
    if source.flavor == "mysql":
        statements += [f"INSERT INTO j (j) VALUES ({expression})" for expression in JSON]
    least = "NO_LOG" if source.flavor == "mariadb" else "MINIMAL"
    try:
        source.execute(f"SET GLOBAL binlog_row_metadata = {least if metadata == 'least' else metadata}")
        return record(source, ["t", "j"], statements)
    finally:
        source.execute("SET GLOBAL binlog_row_metadata = DEFAULT")


def history(source: Source, *, use_gtid: bool) -> Recording:
    source.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(300), n INT)",
        "CREATE TABLE u (id INT PRIMARY KEY)",
        "CREATE TABLE other (id INT PRIMARY KEY)",
    )
    return record(source, ["t", "u"], WORK, use_gtid=use_gtid)


def odd(source: Source) -> Recording:
    """Of MariaDB only: times in the formats before 5.6, and a column that it keeps for itself."""
    kinds = [f"{kind}({digits})" for kind in ("TIME", "DATETIME", "TIMESTAMP") for digits in range(7)]
    try:
        source.execute(
            "SET GLOBAL mysql56_temporal_format = OFF",
            "SET SESSION explicit_defaults_for_timestamp = 1",
            f"CREATE TABLE t (id INT PRIMARY KEY, {', '.join(f'c{i} {kind} NULL' for i, kind in enumerate(kinds))})",
        )
    finally:
        source.execute("SET GLOBAL mysql56_temporal_format = ON")
    source.execute("CREATE TABLE u (id INT PRIMARY KEY, url TEXT, UNIQUE (url))")
    rows = [
        ("'-838:59:59.999999'", "'9999-12-31 23:59:59.999999'", "'2037-12-31 1:2:3.123456'"),
        ("'-0:0:0.999999'", "'0000-00-00'", "0"),
        ("'838:59:59.999999'", "'2020-02-00 01:02:03.000001'", "'1970-01-01 00:00:01'"),
        ("'00:00:00'", "'0001-01-01'", "'2001-09-09 01:46:40.000009'"),
        ("'12:34:56.789'", "'2026-11-29 12:34:56.789'", "'2026-11-29 23:59:59.999999'"),
        ("NULL", "NULL", "NULL"),
    ]
    statements = [
        f"INSERT INTO t VALUES ({n}, {', '.join(v for v in row for _ in range(7))})" for n, row in enumerate(rows)
    ]
    statements += ["INSERT INTO u VALUES (1, 'a'), (2, NULL)", "UPDATE u SET url = 'b' WHERE id = 2", "DELETE FROM u"]
    return record(source, ["t", "u"], statements)


def three(source: Source) -> Recording:
    """What test_bytes.py takes apart."""
    source.execute(TABLE)
    return record(source, ["t"], THREE)


def compressed(source: Source) -> Recording:
    source.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(300), n INT, m INT)", "CREATE TABLE u (id INT PRIMARY KEY)"
    )
    return record(source, ["t", "u"], COMPRESSED[source.flavor], use_gtid=source.flavor == "mysql")


def record(source: Source, names: list[str], statements: list[str], *, use_gtid: bool = False) -> Recording:
    """One session carries the statements out; after each, others ask where the binlog ends and what the tables hold.

    The first column of each table is its key.
    """
    known = {name: source.table(name) for name in names}
    held: dict[str, dict[Any, Row]] = {name: {} for name in names}
    tables, start, steps = dict(known), source.position(), []
    with source.server.connect(source.database, autocommit=True) as connection, connection.cursor() as cursor:
        for sql in ("SET NAMES utf8mb4", "SET sql_mode = ''", "SET time_zone = '+00:00'"):
            cursor.execute(sql)
        for sql in statements:
            for part in sql.split("; ") if sql.startswith(("BEGIN", "XA")) else [sql]:
                cursor.execute(part)
            if sql.startswith("FLUSH"):
                time.sleep(0.5)  # MariaDB writes an event of its own into a new file, when it finds the time
            now = {name: source.table(name) for name in names}
            altered = {name: table for name, table in now.items() if table != known[name]}
            rows = {name: {row[0]: row for row in source.rows(table)} for name, table in now.items()}
            changed = {
                name: [rows[name][key] for key in rows[name] if repr(rows[name][key]) != repr(held[name].get(key))]
                for name in names
            }
            gone = {name: [key for key in held[name] if key not in rows[name]] for name in names}
            known, held = now, rows
            steps.append(Step(sql if len(sql) < 200 else sql[:200] + "…", source.position(), changed, gone, altered))
    return _received(source, tables, start, steps, use_gtid=use_gtid)


def _received(
    source: Source, tables: dict[str, Table], start: object, steps: list[Step], *, use_gtid: bool
) -> Recording:
    altered = iter([table for step in steps for table in step.tables.values()])
    hooks = {"redefine": lambda *_: next(altered), "server_id": 1, "use_gtid": use_gtid, "hidden": lambda table: 1}
    with source.stream(start, *tables.values(), **hooks) as stream:  # type: ignore[arg-type]
        tap = Tap(stream._packets._socket)
        stream._packets._socket = tap  # type: ignore[assignment]
        for output in stream:
            if not isinstance(output, list) and output.position.at_or_after(steps[-1].position):
                break
        stream._packets._socket = tap.wrapped
        packets = list(split(b"".join(tap.received)))[1:]  # the first answers COM_REGISTER_SLAVE
        return Recording(stream._session, start, use_gtid, tables, steps, packets, b"".join(tap.sent))  # type: ignore[arg-type]


def main() -> None:
    what: dict[str, Callable[[Source], Recording]] = {
        "types-least": lambda source: types(source, "least"),
        "types-full": lambda source: types(source, "FULL"),
        "history-file": lambda source: history(source, use_gtid=False),
        "history-gtid": lambda source: history(source, use_gtid=True),
        "compressed": compressed,
        "three": three,
        "odd": odd,
    }
    for server_name, kind in SERVERS.items():
        with tempfile.TemporaryDirectory() as folder, kind(Path(folder) / kind.name).start() as server:
            for name, make in what.items():
                if (not sys.argv[1:] or name in sys.argv[1:]) and (name != "odd" or server.flavor == "mariadb"):
                    save(f"{server_name}-{name}", make(Source(server, server.new_database())))
                    print(f"{server_name}-{name}", (FOLDER / f"{server_name}-{name}.json.zst").stat().st_size)


if __name__ == "__main__":
    main()

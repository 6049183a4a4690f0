"""``check`` of a table of a million rows on one real MariaDB: seconds, and the queries that it takes.

``python -m benchmarks.check [--json] [--rows N]``. The server's own slow log, with a limit of 0 seconds, says what was
asked and how many rows each query looked at: one that looked at half of the table or more went over the whole of it.
Three mappings of the same rows: an item a row, under a key that two rows might share; an item an order with its lines;
an item a product, which no index helps with.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from demo.servers import MariaDB, Ministack
from whimbrel.checks.run import CheckLimits, Report, check
from whimbrel.project import KeyRule, Project, TableRule

TABLE = """CREATE TABLE purchase (customerid VARCHAR(20) COLLATE utf8mb4_general_ci, orderid VARCHAR(20),
    productid VARCHAR(20), quantity INT, price DECIMAL(12, 2), note VARCHAR(60), bought DATETIME(3),
    PRIMARY KEY (customerid, orderid, productid))"""
FILL = """INSERT INTO purchase SELECT CONCAT('customer', seq DIV 12), CONCAT('order', seq DIV 4),
    CONCAT('product', seq MOD 4, '-', seq * 7 MOD 500), seq MOD 9, seq / 8, CONCAT('note ', seq), NOW(3)
    FROM seq_{first}_to_{last}"""
LINES = 100_000  # inserted at once


@dataclass
class Result:
    """``whole`` queries went over the whole table, ``small`` ones did not. ``slowest`` in seconds."""

    mapping: str
    seconds: float
    whole: int
    small: int
    slowest: float
    findings: str


def rules(source: str) -> dict[str, TableRule]:
    return {
        "an item a row": TableRule(
            source, "rows", "record", KeyRule("pk", "${customerid}|${orderid}"), KeyRule("productid", "${productid}")
        ),
        "an item an order": TableRule(
            source,
            "orders",
            "group",
            KeyRule("customerid", "${customerid}"),
            KeyRule("orderid", "${orderid}"),
            entry_name="${productid}",
        ),
        "an item a product": TableRule(
            source, "products", "group", KeyRule("productid", "${productid}"), entry_name="${customerid}#${orderid}"
        ),
    }


def measure(rows: int) -> list[Result]:
    with tempfile.TemporaryDirectory() as name, Ministack() as endpoint:
        log = Path(name, "slow.log")
        Path(name).chmod(0o777)
        with MariaDB(options=["--innodb-buffer-pool-size=512M", f"--slow-query-log-file={log}"]) as server:
            database = server.new_database()
            server.execute(TABLE, database=database)
            for first in range(1, rows, LINES):
                server.execute(FILL.format(first=first, last=first + LINES - 1), database=database)
            server.execute("ANALYZE TABLE purchase", database=database)
            server.execute("SET GLOBAL long_query_time = 0", "SET GLOBAL slow_query_log = ON")
            results = []
            for mapping, rule in rules(f"{database}.purchase").items():
                log.write_text("") if log.exists() else None
                project = Project(
                    Path(name, "p"), Path(name, "state"), server.source(database), endpoint.target(), (rule,)
                )
                begin = time.perf_counter()
                report = check(project, CheckLimits(), None)
                seconds = time.perf_counter() - begin
                results.append(summed(mapping, seconds, log.read_text(), rows, report))
            return results


def summed(mapping: str, seconds: float, log: str, rows: int, report: Report) -> Result:
    queries = [
        (float(spent), int(examined))
        for spent, examined, statement in re.findall(
            r"# Query_time: ([\d.]+).*?Rows_examined: (\d+)\n(.*?)(?=^# User@Host|\Z)", log, re.DOTALL | re.MULTILINE
        )
        if "`purchase`" in statement
    ]
    whole = [spent for spent, examined in queries if examined >= rows / 2]
    found = ", ".join(sorted({each.code for each in report.findings if each.severity != "info"})) or "nothing"
    return Result(mapping, seconds, len(whole), len(queries) - len(whole), max(whole, default=0.0), found)


def table(results: list[Result], rows: int) -> str:
    head = f"check of {rows:,} rows, s"
    lines = [f"{head:<28}{'in all':>8}{'queries over the table':>24}{'the slowest':>13}{'small ones':>12}"]
    for each in results:
        figures = f"{each.seconds:>8.1f}{each.whole:>24}{each.slowest:>13.1f}{each.small:>12}"
        lines.append(f"{each.mapping:<28}{figures}   found: {each.findings}")
    lines.append(f"each in under a minute: {'yes' if all(each.seconds < 60 for each in results) else 'NO'}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--rows", type=int, default=1_000_000, help=f"a multiple of {LINES:,}")
    options = parser.parse_args()
    results = measure(options.rows)
    print(json.dumps([asdict(each) for each in results]) if options.json else table(results, options.rows))


if __name__ == "__main__":
    main()

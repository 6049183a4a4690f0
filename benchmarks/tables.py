"""Hundreds of tables with few rows each: what one more table costs a command, and the memory that all of them take.

``python -m benchmarks.tables [--json] [--tables N] [--source mariadb|mysql]``. Each command is a process of its own,
and its CPU time has its start in it; both servers run on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from demo.servers import Dynalite, MariaDB, MySQL, SqlServer

ROWS = 10  # of each table
COMMANDS = {
    "check": ("check",),
    "snapshot": ("snapshot",),
    "load": ("load",),
    "apply": ("migrate", "--until-caught-up"),
    "verify": ("verify",),
    "status": ("status",),
}


@dataclass
class Result:
    command: str
    cpu_ms: float  # a table
    wall_ms: float
    peak_mb: int  # of any command so far


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--source", choices=("mariadb", "mysql"), default="mariadb")
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    results = measured(MariaDB if options.source == "mariadb" else MySQL, options.tables)
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results, options.tables))


def measured(kind: type[SqlServer], tables: int) -> list[Result]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with kind(folder / "source") as server, Dynalite(folder / "target") as endpoint:
            database = server.new_database()
            make_tables(server, database, tables)
            project = folder / "whimbrel.toml"
            project.write_text(project_text(server, database, endpoint.endpoint, tables), encoding="utf-8")
            os.environ["WHIMBREL_SOURCE_PASSWORD"] = server.password
            return [run(command, project, tables) for command in COMMANDS]


def make_tables(server: SqlServer, database: str, tables: int) -> None:
    values = ", ".join(f"({number}, 'name {number}', {number})" for number in range(ROWS))
    for number in range(tables):
        server.execute(
            f"CREATE TABLE t{number} (id INT PRIMARY KEY, name VARCHAR(40), count INT)",
            f"INSERT INTO t{number} VALUES {values}",
            database=database,
        )


def project_text(server: SqlServer, database: str, endpoint: str, tables: int) -> str:
    head = f'[source]\nurl = "{server.url(database)}"\n[target]\nendpoint = "{endpoint}"\nregion = "us-east-1"\n'
    rule = 'shape = "record"\npartition_key = { name = "id" }\n'
    return head + "".join(
        f'[[table]]\nsource = "t{number}"\ntarget = "target{number}"\n{rule}' for number in range(tables)
    )


def run(command: str, project: Path, tables: int) -> Result:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    arguments = [sys.executable, "-m", "whimbrel", *COMMANDS[command], "--project", str(project)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Result(command, round(cpu / tables * 1e3, 2), round(wall / tables * 1e3, 2), after.ru_maxrss // 1024)


def table(results: list[Result], tables: int) -> str:
    lines = [f"{f'{tables} tables of {ROWS} rows':<26}{'CPU ms a table':>16}{'wall ms a table':>17}{'peak MB':>9}"]
    lines += [f"{each.command:<26}{each.cpu_ms:>16}{each.wall_ms:>17}{each.peak_mb:>9}" for each in results]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

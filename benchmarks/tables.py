"""Hundreds of tables with few rows each: what one more table costs a command, and the memory that all of them take.

``python -m benchmarks.tables [--json] [--tables N] [--source mariadb|mysql] [--beside SRC]``. Each command is a process
of its own, and what it takes for one table alone is taken off; both servers run on this machine. ``SRC`` is the ``src``
folder of another version, which does the same in the same run, command by command.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.commands import Used, run
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
    version: str
    cpu_ms: float  # of one more table
    wall_ms: float
    peak_mb: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--tables", type=int, default=500)
    parser.add_argument("--source", choices=("mariadb", "mysql"), default="mariadb")
    parser.add_argument("--beside", type=Path, help="the src folder of another version")
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    versions = {"whimbrel": None} | ({"beside": options.beside.absolute()} if options.beside else {})
    results = measured(MariaDB if options.source == "mariadb" else MySQL, options.tables, versions)
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results, options.tables))


def measured(kind: type[SqlServer], tables: int, versions: dict[str, Path | None]) -> list[Result]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with kind(folder / "source") as server, Dynalite(folder / "target") as endpoint:
            os.environ["WHIMBREL_SOURCE_PASSWORD"] = server.password
            alone = all_commands(server, endpoint.endpoint, folder / "alone", 1, versions)
            many = all_commands(server, endpoint.endpoint, folder / "many", tables, versions)
    return [one_more(*each, alone[each], many[each], tables) for each in many]


def all_commands(
    server: SqlServer, endpoint: str, folder: Path, tables: int, versions: dict[str, Path | None]
) -> dict[tuple[str, str], Used]:
    database = server.new_database()
    make_tables(server, database, tables)
    for version in versions:
        project = folder / version / "whimbrel.toml"
        project.parent.mkdir(parents=True)
        text = project_text(server, database, endpoint, tables, target=f"{folder.name}-{version}-")
        project.write_text(text, encoding="utf-8")
    return {
        (command, version): run(COMMANDS[command], folder / version / "whimbrel.toml", code)
        for command in COMMANDS
        for version, code in versions.items()
    }


def one_more(command: str, version: str, alone: Used, many: Used, tables: int) -> Result:
    cpu, wall = ((more - one) / (tables - 1) * 1e3 for one, more in zip(alone[:2], many[:2], strict=True))
    return Result(command, version, round(cpu, 2), round(wall, 2), many.peak_mb)


def make_tables(server: SqlServer, database: str, tables: int) -> None:
    values = ", ".join(f"({number}, 'name {number}', {number})" for number in range(ROWS))
    for number in range(tables):
        server.execute(
            f"CREATE TABLE t{number} (id INT PRIMARY KEY, name VARCHAR(40), count INT)",
            f"INSERT INTO t{number} VALUES {values}",
            database=database,
        )


def project_text(server: SqlServer, database: str, endpoint: str, tables: int, target: str = "target") -> str:
    head = f'[source]\nurl = "{server.url(database)}"\n[target]\nendpoint = "{endpoint}"\nregion = "us-east-1"\n'
    rule = 'shape = "record"\npartition_key = { name = "id" }\n'
    return head + "".join(
        f'[[table]]\nsource = "t{number}"\ntarget = "{target}{number}"\n{rule}' for number in range(tables)
    )


def table(results: list[Result], tables: int) -> str:
    lines = [f"{f'one more of {tables} tables':<32}{'CPU ms':>8}{'wall ms':>9}{'peak MB of all':>16}"]
    lines += [
        f"{each.command:<12}{each.version:<20}{each.cpu_ms:>8}{each.wall_ms:>9}{each.peak_mb:>16}" for each in results
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

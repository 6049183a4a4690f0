"""A migration phase by phase, from MySQL and from MariaDB: each phase is a command, a process of its own. Between load
and capture every row is changed, so that there is something to catch up with.

``python -m benchmarks.migrate [--json] [--rows N] [--rounds N] [--beside SRC]``. Both servers run on this machine; the
time by the clock is mostly that of the one which stands for DynamoDB. ``SRC`` is the ``src`` folder of another
version, which does the same in the same run, command by command.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.commands import Used, run
from benchmarks.scanned import create
from benchmarks.verify import PROJECT, RULES
from demo.servers import Dynalite, MariaDB, MySQL, SqlServer

CHANGE = "changing every row"
PHASES = {
    "snapshot": ("snapshot",),
    "load": ("load",),
    CHANGE: (),
    "capture": ("capture", "--until-caught-up"),
    "apply": ("apply", "--until-caught-up"),
    "verify": ("verify",),
}


@dataclass
class Result:
    """Medians of the rounds; microseconds a row."""

    source: str
    shape: str
    phase: str
    version: str
    cpu_us: float
    wall_us: float
    peak_mb: int


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beside", type=Path, help="the src folder of another version")
    options = parser.parse_args()
    os.environ.update(AWS_ACCESS_KEY_ID="local", AWS_SECRET_ACCESS_KEY="local")
    versions = {"whimbrel": None} | ({"beside": options.beside.absolute()} if options.beside else {})
    results = [each for kind in (MariaDB, MySQL) for each in measured(kind, options.rows, options.rounds, versions)]
    print(json.dumps([asdict(each) for each in results], indent=2) if options.json else table(results, options.rows))


def measured(kind: type[SqlServer], rows: int, rounds: int, versions: dict[str, Path | None]) -> list[Result]:
    seen: dict[tuple[str, str, str], list[Used]] = {}
    with tempfile.TemporaryDirectory() as name, kind(Path(name) / "source") as server:
        os.environ["WHIMBREL_SOURCE_PASSWORD"] = server.password
        for number in range(rounds):
            for shape in RULES:
                with Dynalite(Path(name) / f"target-{shape}-{number}") as endpoint:
                    folder = Path(name) / f"{shape}-{number}"
                    for step, used in one_round(server, endpoint.endpoint, folder, shape, rows, versions).items():
                        seen.setdefault((shape, *step), []).append(used)
    return [Result(server.name, *names, *_medians(used, rows)) for names, used in seen.items()]


def one_round(
    server: SqlServer, endpoint: str, folder: Path, shape: str, rows: int, versions: dict[str, Path | None]
) -> dict[tuple[str, str], Used]:
    database = server.new_database()
    server.execute(*create(rows), database=database)
    for version in versions:
        project = folder / version / "whimbrel.toml"
        project.parent.mkdir(parents=True)
        text = PROJECT.format(url=server.url(database), endpoint=endpoint, database=database) + RULES[shape]
        project.write_text(text.replace('target = "sale"', f'target = "sale-{version}"'), encoding="utf-8")
    seen = {}
    for phase, command in PHASES.items():
        if phase == CHANGE:
            server.execute("UPDATE sale SET quantity = quantity + 1", database=database)
            continue
        for version, code in versions.items():
            seen[phase, version] = run(command, folder / version / "whimbrel.toml", code)
    return seen


def _medians(used: list[Used], rows: int) -> tuple[float, float, int]:
    cpu, wall = (round(statistics.median(values) / rows * 1e6, 1) for values in list(zip(*used, strict=True))[:2])
    return cpu, wall, max(each.peak_mb for each in used)


def table(results: list[Result], rows: int) -> str:
    lines = [f"{f'{rows:,} rows, start of the process and all':<46}{'CPU µs a row':>14}{'wall µs':>9}{'peak MB':>9}"]
    for each in results:
        names = f"{each.source:<9}{each.shape:<8}{each.phase:<12}{each.version:<17}"
        lines.append(f"{names}{each.cpu_us:>14}{each.wall_us:>9}{each.peak_mb:>9}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

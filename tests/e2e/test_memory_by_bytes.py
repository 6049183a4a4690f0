"""Memory is bounded by bytes, not by rows: tables of wide and of long rows, and of large items, take no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from demo.servers import MariaDB, Ministack
from tests.conftest import unique
from tests.e2e.conftest import MakeWork
from tests.e2e.peaks import peak
from tests.e2e.work import WITH_WORKERS, Work

MOST, MORE = 225, 75  # MB: for one process that works, and for each other one
COLUMNS = 200
LONG = 380_000  # bytes
RECORD = 'shape = "record"\npartition_key = { name = "pk", value = "row#${id}" }\nnulls = "omit"\n'
GROUP = """
shape = "group"
partition_key = { name = "owner" }
entry = { name = "${name}", value = "note" }
exclude = ["id"]
"""


class Filled(NamedTuple):
    """A table of so many rows, what maps it, how it is made, and what changes it in one transaction."""

    mapping: str
    rows: int
    create: str
    values: str
    change: str
    at_once: int
    chunk_rows: int = 10_000


# Workers apply however little it is, as much at once as they ever do.
AT_ONCE = """
from whimbrel.migration import apply, apply_crew, load
load.SECONDS_FOR_WORKERS, apply.FIRST_BATCH, apply_crew.LEFT_FOR_ONE = 0.0, apply.LARGEST_BATCH, 0
"""
NAMES = [f"c{number}" for number in range(1, COLUMNS)]
TABLES = {
    "wide": Filled(
        RECORD,
        12_000,
        f"id INT PRIMARY KEY, {', '.join(f'{name} VARCHAR(10) CHARACTER SET ascii' for name in NAMES)}",
        f"seq, {', '.join(f'CONCAT({name!r}, seq)' for name in NAMES)}",
        "c7 = CONCAT(c7, '!')",
        3_000,
    ),
    "long": Filled(
        RECORD,
        400,
        "id INT PRIMARY KEY, body LONGTEXT CHARACTER SET utf8mb4",
        f"seq, REPEAT(CONCAT('text ', seq MOD 10, ' '), {LONG // 7})",
        "body = CONCAT('x', body)",
        10,
    ),
    # Items of 1,000 entries and 320 KB, in chunks that are too heavy to be grouped in memory.
    "large items": Filled(
        GROUP,
        100_000,
        "owner INT, name INT, id INT, note VARCHAR(500), PRIMARY KEY (owner, name)",
        "seq DIV 1000, seq MOD 1000, seq, REPEAT(CONCAT('n', seq MOD 10), 155)",
        "note = CONCAT('x', note) WHERE id <= 3000",
        10_000,
        100_000,
    ),
    "large items, regrouped": Filled(
        GROUP + "assert_unique = true\n",
        100_000,
        "owner INT, name INT, id INT PRIMARY KEY, note VARCHAR(500)",
        "seq MOD 100, seq DIV 100, seq, REPEAT(CONCAT('n', seq MOD 10), 155)",
        "note = CONCAT('x', note) WHERE id <= 3000",
        10_000,
    ),
}


def filled(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack, table: Filled, workers: int = 1) -> Work:
    mapping, settings = f"{table.mapping}\n[run]\nworkers = {workers}", f"chunk_rows = {table.chunk_rows}"
    work = make_work(mariadb, ministack, mapping=mapping, source_settings=settings, table="stored")
    work.write_project()
    work.source.execute(f"CREATE TABLE stored ({table.create})", database=work.database)
    for first in range(1, table.rows, table.at_once):
        work.source.execute(
            f"INSERT INTO stored SELECT {table.values} FROM seq_{first}_to_{first + table.at_once - 1}",
            database=work.database,
        )
    work.source.execute("ANALYZE TABLE stored", database=work.database)
    return work


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", TABLES)
def test_every_command_stays_within_its_memory(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack, name: str
) -> None:
    table = TABLES[name]
    work = filled(make_work, mariadb, ministack, table)

    def change() -> None:
        work.source.execute(f"UPDATE stored SET {table.change}", database=work.database)

    steps: list[tuple[str, ...] | Callable[[], None]] = [
        ("check",),
        ("snapshot",),
        ("load",),
        change,
        ("capture", "--until-caught-up"),
        ("apply", "--until-caught-up"),
        ("refill", "stored"),
        ("export", work.target),
        ("convert", work.target),
        change,
        ("migrate", "--until-caught-up"),
        ("verify",),
        ("export", work.target, "--compare"),
        ("convert", work.target),
        ("retry-dead",),
        ("restore", work.target, "--into", unique("restored")),
    ]
    peaks: dict[str, float] = {}
    for step in steps:
        if callable(step):
            step()
        else:
            command = " ".join(step).replace(work.target, "TABLE")
            taken = peak(work, *step)
            peaks[command] = max(taken, peaks.get(command, 0.0))
            print(name, command, taken)
    work.verify()
    assert all(each < MOST for each in peaks.values()), peaks


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["wide", "large items"])
def test_each_worker_stays_within_its_memory(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack, name: str
) -> None:
    """Four of them: where each takes too much, it shows."""
    table = TABLES[name]
    work = filled(make_work, mariadb, ministack, table._replace(chunk_rows=table.chunk_rows // 10), workers=4)
    work.call("snapshot")
    work.program = ("-c", WITH_WORKERS)
    most = peak(work, "load")
    print(name, most)
    assert MOST < most < MOST + 3 * MORE
    work.call("migrate", "--until-caught-up")
    work.verify()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "change"),
    [("wide", "c7 = CONCAT(c7, '!') WHERE id MOD 60 = "), ("large items", "note = CONCAT('x', note) WHERE owner = ")],
)
def test_each_worker_that_applies_stays_within_its_memory(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack, name: str, change: str
) -> None:
    work = filled(make_work, mariadb, ministack, TABLES[name], workers=4)
    work.mapping += "\nparallel_apply = true\n"
    work.write_project()
    work.call("migrate", "--until-caught-up")
    for number in range(60):
        work.source.execute(f"UPDATE stored SET {change}{number}", database=work.database)
    work.call("capture", "--until-caught-up")
    work.program = ("-c", f"{AT_ONCE}from whimbrel.__main__ import run\nrun()\n")
    most = peak(work, "apply", "--until-caught-up")
    print(name, most)
    assert MOST < most < MOST + 3 * MORE
    work.verify()

"""Memory does not grow with how many dead letters there are, nor with how many tables beyond a little for each."""

from __future__ import annotations

import pytest

from benchmarks.tables import make_tables, project_text
from demo.servers import MariaDB, Ministack
from tests.e2e.conftest import MakeWork
from tests.e2e.peaks import peak
from tests.e2e.test_memory_by_bytes import MOST

LETTERS, LONG = 8_000, 20_000  # each letter with two images of its row: 320 MB of them
OF_TEXT = 'shape = "record"\npartition_key = { name = "pk", value = "row#${id}" }\ntypes = { amount = "N" }\n'
TABLES = 500
OF_ALL_TABLES = 300  # MB


@pytest.mark.slow
def test_dead_letters_are_never_in_memory_together(make_work: MakeWork, mariadb: MariaDB, ministack: Ministack) -> None:
    work = make_work(mariadb, ministack, mapping=OF_TEXT, source_settings="chunk_rows = 10000", table="stored")
    work.mapping += "[run]\nworkers = 1\n"
    work.write_project()
    work.source.execute(
        "CREATE TABLE stored (id INT PRIMARY KEY, amount VARCHAR(20), body MEDIUMTEXT)",
        f"INSERT INTO stored SELECT seq, 'ten', REPEAT('x', {LONG}) FROM seq_1_to_{LETTERS}",
        database=work.database,
    )
    peaks: dict[str, float] = {"load": peak(work, "migrate", "--until-caught-up", code=4)}
    work.source.execute("UPDATE stored SET body = CONCAT(body, 'y')", database=work.database)
    peaks["apply"] = peak(work, "migrate", "--until-caught-up", code=4)
    letters = work.state / "dead.jsonl"
    assert letters.stat().st_size > 2 * LETTERS * LONG
    waived = ("--waive-dead-letters", str(letters))
    for command, code in [
        (("status",), 4),
        (("verify",), 5),
        (("verify", *waived), 0),
        (("check",), 2),
        (("cutover", "--plan", *waived), 2),
        (("migrate", "--until-caught-up"), 4),
        (("retry-dead",), 4),
    ]:
        peaks[" ".join(command[:2])] = peak(work, *command, code=code)
        print(peaks)
    assert all(each < MOST for each in peaks.values()), peaks


@pytest.mark.slow
def test_hundreds_of_tables_take_little_more_than_one(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack
) -> None:
    work = make_work(mariadb, ministack)
    make_tables(work.source, work.database, TABLES)
    text = project_text(work.source, work.database, work.endpoint.endpoint, TABLES)
    (work.folder / "whimbrel.toml").write_text(text)
    peaks: dict[str, float] = {}
    for command in (("check",), ("migrate", "--until-caught-up"), ("verify",), ("status",)):
        peaks[command[0]] = peak(work, *command)
        print(peaks)
    assert all(each < OF_ALL_TABLES for each in peaks.values()), peaks

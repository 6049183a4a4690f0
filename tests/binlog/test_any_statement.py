"""Every statement that can reach the binlog, written in every way, carried out while a migration follows: afterwards
what it holds is what the source has, or it stopped by name. And it does not stop where nothing was done to its tables.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pymysql
import pytest

from demo.servers import SqlServer
from tests.binlog.conftest import Source
from tests.binlog.following import Following
from tests.binlog.mutations import Written, mutated, plainly
from whimbrel.errors import SchemaDrift, StatementChange, UndecodableEvent, WhimbrelError
from whimbrel.mysql.connect import connect
from whimbrel.mysql.schema import read_table

SAMPLES = {"mariadb": 45, "mysql": 30}  # a statement takes MySQL three times as long
CAMPAIGN = int(os.environ.get("WHIMBREL_STATEMENTS", "1500"))
SEED = os.environ.get("WHIMBREL_SEED", "1")
COLUMNS = "(id INT PRIMARY KEY, a VARCHAR(20), n INT)"
ROWS = "VALUES (1, 'a', 10), (2, 'b', 20), (3, 'c', 30)"
AFTERWARDS = ["INSERT IGNORE INTO `{}` (id) VALUES (501)", "UPDATE `{}` SET id = 502 WHERE id = 2"]
BY_NAME = (StatementChange, SchemaDrift, UndecodableEvent)
NOT_VALID = {1064, 1065, 1149, 1231, 1300}


@dataclass(frozen=True)
class Verb:
    """A line of statements/verbs.sql; ``outcome`` of following it: follows, stops, rows or either."""

    outcome: str
    before: tuple[str, ...]
    statement: str


def verbs(flavor: str) -> list[Verb]:
    found: list[Verb] = []
    flavors, outcome, before = "", "", list[str]()
    for line in (Path(__file__).parent / "statements" / "verbs.sql").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"\[([\w ]+): (follows|stops|rows|either)\]", line):
            flavors, outcome = heading[1], heading[2]
        elif line.startswith("+ "):
            before.append(line[2:])
        elif line and not line.startswith("#"):
            if flavor in flavors.split():
                found.append(Verb(outcome, tuple(before), line))
            before = []
    return found


class Field:
    """Where statements are carried out: new databases for each."""

    def __init__(self, server: SqlServer) -> None:
        self.server = server
        self.admin: Any = server.connect()
        self.plain: Any = server.connect()
        self.count = 0

    def sql(self, *statements: str) -> None:
        with self.admin.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def close(self) -> None:
        self.admin.close()
        self.plain.close()

    def carry_out(self, verb: Verb, written: Written, names: dict[str, str]) -> str:
        """What is wrong, or ""."""
        captured = ["t", "p"] if "{p}" in verb.statement else ["t"]
        self._prepare(names, captured)
        try:
            return self._carried_out(verb, written, names, captured)
        finally:
            for database in (names["d"], names["e"]):
                # MariaDB may leave a file of a trigger with an odd text behind: it is another database that is next.
                with contextlib.suppress(pymysql.err.OperationalError):
                    self.sql(f"DROP DATABASE IF EXISTS {database}")

    def _carried_out(self, verb: Verb, written: Written, names: dict[str, str], captured: list[str]) -> str:
        source = Source(self.server, "mysql")  # a database that no statement drops
        with connect(source.source) as connection:
            tables = [read_table(connection, names["d"], names[each]) for each in captured]
        self.sql(*[plainly(each, names).statements[0].decode() for each in verb.before])
        start = source.position()
        following = Following(source, self.plain, tables, start)
        error = self._error(written, names["d"])
        if error in NOT_VALID:
            return ""  # and nothing was carried out
        for each in captured:
            self._write_afterwards(names["d"], each)
        stopped = following.follow(source.position())
        fault = _wrong(stopped, following.differences())
        return fault or ("" if error else _other_outcome(verb, written, stopped))

    def _prepare(self, names: dict[str, str], captured: list[str]) -> None:
        d, e = names["d"], names["e"]
        self.sql(f"CREATE DATABASE {d}", f"CREATE DATABASE {e}", f"USE {d}")
        self.sql(f"CREATE TABLE t {COLUMNS}", f"CREATE TABLE u {COLUMNS}", f"CREATE TABLE {e}.t {COLUMNS}")
        self.sql(f"INSERT INTO t {ROWS}", f"INSERT INTO u {ROWS}", f"INSERT INTO {e}.t {ROWS}")
        if "p" in captured:
            parts = "PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (2), PARTITION p1 VALUES LESS THAN (2000))"
            self.sql(f"CREATE TABLE p {COLUMNS} {parts}", f"INSERT INTO p {ROWS}")

    def _error(self, written: Written, database: str) -> int:
        """The number of the error that the server says; 0 if it carried the statements out."""
        with self.server.connect(database) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET sql_mode = '{written.sql_mode}', binlog_format = {written.binlog_format}")
            cursor.execute(f"SET NAMES {written.charset}")
            try:
                for statement in written.statements:
                    connection.query(statement)
                    while connection._result is not None and connection._result.has_next:  # type: ignore[attr-defined]
                        connection.next_result()
            except pymysql.err.MySQLError as error:
                return int(error.args[0])
            except UnicodeDecodeError:  # rows that it returned, in a character set that the client does not know of
                return 0
        return 0

    def _write_afterwards(self, database: str, table: str) -> None:
        for statement in AFTERWARDS:
            try:
                self.sql(f"USE {database}", statement.format(table))
            except pymysql.err.MySQLError:
                return


def _wrong(stopped: WhimbrelError | None, differences: list[str]) -> str:
    if stopped is not None and not isinstance(stopped, BY_NAME):
        return f"stopped otherwise than by name: {stopped!r}"
    if stopped is None and differences:
        return f"followed, and wrong: {differences}"
    return ""


def _other_outcome(verb: Verb, written: Written, stopped: WhimbrelError | None) -> str:
    wanted = verb.outcome
    if wanted == "rows":
        wanted = "follows" if written.binlog_format == "ROW" else "either"
    if not written.same or wanted == "either" or written.binlog_format != "ROW":
        return ""
    if wanted == "follows" and stopped is not None:
        return f"stopped, and need not have: {stopped}"
    if wanted == "stops" and stopped is None:
        return "followed, and should have stopped"
    return ""


@pytest.fixture
def field(source_server: SqlServer) -> Iterator[Field]:
    one = Field(source_server)
    yield one
    one.close()


def names(seed: object) -> dict[str, str]:
    number = Random(f"names {seed}").getrandbits(40)
    return {"t": "t", "u": "u", "p": "p", "d": f"d{number:x}", "e": f"e{number:x}"}


def try_many(field: Field, wanted: list[tuple[Verb, str]]) -> None:
    """Each with the seed that makes it; all faults at once."""
    mariadb = field.server.flavor == "mariadb"
    faults = []
    for verb, seed in wanted:
        databases = names(seed)
        written = mutated(verb.statement, databases, Random(seed), mariadb=mariadb)
        if fault := field.carry_out(verb, written, databases):
            faults.append(f"{fault}\n    {written}\n    {verb} seed {seed!r}")
    assert not faults, f"{len(faults)} of {len(wanted)}:\n" + "\n".join(faults)


def chosen(flavor: str, count: int, seed: str) -> list[tuple[Verb, str]]:
    known = verbs(flavor)
    seeds = [f"{seed} {number}" for number in range(count)]
    return [(Random(f"verb {each}").choice(known), each) for each in seeds]


def test_a_sample_of_statements(field: Field) -> None:
    flavor = field.server.flavor
    try_many(field, chosen(flavor, SAMPLES[flavor], "sample"))


@pytest.mark.slow
def test_every_verb_as_it_is(field: Field) -> None:
    """All of them are statements that the server takes, and end as the file says."""
    faults = []
    for verb in verbs(field.server.flavor):
        databases = names(verb.statement)
        if fault := field.carry_out(verb, plainly(verb.statement, databases), databases):
            faults.append(f"{fault}: {verb}")
    assert not faults, "\n".join(faults)


@pytest.mark.chaos
@pytest.mark.slow
def test_statements_written_in_every_way(field: Field) -> None:
    """WHIMBREL_STATEMENTS of them (1500), from WHIMBREL_SEED."""
    try_many(field, chosen(field.server.flavor, CAMPAIGN, SEED))

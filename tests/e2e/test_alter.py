"""A table is altered while it is migrated: the orders in which that can happen, on both servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work
from whimbrel import checkpoint

RECORD = 'shape = "record"\npartition_key = { name = "id", type = "N" }\n'
TABLE = "CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(20)) CHARACTER SET utf8mb4"
ROWS = "INSERT INTO t VALUES (1, 10, 'one'), (2, 20, 'two'), (3, 30, 'three')"


# Where the servers do not differ.
ON_ONE = pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)


class Alter:
    """``policy`` is new_columns; other lines of the [[table]] in ``more``."""

    def __init__(self, make: MakeWork, source: SqlServer, endpoint: Ministack) -> None:
        self.work: Work = make(source, endpoint, table="t", mapping=RECORD, source_settings="chunk_rows = 2")
        self.source = source
        self.sql(TABLE, ROWS)

    def sql(self, *statements: str) -> Any:
        return self.source.execute(*statements, database=self.work.database)

    def rule(self, *lines: str) -> None:
        self.work.mapping = "\n".join([RECORD, *lines])
        self.work.write_project()

    def loaded(self) -> None:
        """Everything is in the target, and nobody is at work."""
        self.work.call("migrate", "--until-caught-up")

    def go_on(self) -> None:
        self.work.call("migrate", "--until-caught-up")

    def refused(self, times: int = 1) -> str:
        """``migrate`` ends with an error, however often: what it says."""
        first, *_ = [self.work.call("migrate", "--until-caught-up", code=3) for _ in range(times)]
        assert "Traceback" not in first.output
        return first.output

    def items(self) -> dict[Any, dict[str, Any]]:
        return {key[0]: item for key, item in judge.items(self.work.endpoint, self.work.target, "id").items()}


@pytest.fixture
def alter(make_work: MakeWork, source_server: SqlServer, ministack: Ministack) -> Alter:
    return Alter(make_work, source_server, ministack)


def item(number: int, **values: Any) -> dict[str, Any]:
    return {"id": Decimal(number), **values}


ADD = "ALTER TABLE t ADD c VARCHAR(9) AFTER id"
ADDED = [
    "INSERT INTO t (id, a, b) VALUES (4, 40, 'before')",
    ADD,
    "INSERT INTO t (id, c, a, b) VALUES (5, 'new', 50, 'after')",
    "UPDATE t SET a = 11 WHERE id = 1",
    "DELETE FROM t WHERE id = 2",
]


def expected(*, c: bool) -> dict[Any, dict[str, Any]]:
    """After ADDED: rows written after the ALTER have ``c`` if it is included, those before have not."""
    new: Callable[[Any], dict[str, Any]] = lambda value: {"c": value} if c else {}  # noqa: E731
    return {
        Decimal(1): item(1, a=Decimal(11), b="one", **new(None)),
        Decimal(3): item(3, a=Decimal(30), b="three"),
        Decimal(4): item(4, a=Decimal(40), b="before"),
        Decimal(5): item(5, a=Decimal(50), b="after", **new("new")),
    }


@pytest.mark.parametrize("policy", ["ignore", "include"])
def test_a_new_column_in_the_middle_by_policy(alter: Alter, policy: str) -> None:
    """Captured while it is down: rows before and after the ALTER in one session."""
    alter.rule(f'new_columns = "{policy}"')
    alter.loaded()
    alter.sql(*ADDED)
    alter.go_on()
    assert alter.items() == expected(c=policy == "include")


@pytest.mark.parametrize("line", ['new_columns = "include"', 'exclude = ["c"]'])
def test_a_new_column_stops_and_goes_on_after_an_edit(alter: Alter, line: str) -> None:
    alter.loaded()
    alter.sql(*ADDED)
    said = alter.refused(times=2)
    assert "new column 'c' (varchar(9))" in said
    assert 'new_columns = "ignore" or "include"' in said
    alter.rule(line)
    alter.go_on()
    assert alter.items() == expected(c="include" in line)
    exported = sorted((alter.work.state / "export").rglob("chunk-*"))
    assert len(exported) == 2  # no new snapshot


@ON_ONE
def test_an_alter_while_migrate_runs_stops_it_by_name(alter: Alter) -> None:
    process = alter.work.start("migrate")
    try:
        alter.work.wait_for(alter.work.in_phase("apply"), process)
        alter.sql(*ADDED)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 3, (out, err)
    assert "new column 'c' (varchar(9))" in err
    alter.rule('new_columns = "include"')
    alter.go_on()
    assert alter.items() == expected(c=True)


def test_harmless_alters_do_not_stop_it(alter: Alter) -> None:
    alter.loaded()
    for number, clauses in enumerate(
        [
            "ADD INDEX i (a), COMMENT 'note'",
            "ENGINE=InnoDB",
            "AUTO_INCREMENT = 100",
            "ALTER COLUMN a SET DEFAULT 5",
            "MODIFY a INT NULL DEFAULT 7",
            "MODIFY a BIGINT",
            "MODIFY b VARCHAR(200) COMMENT 'longer'",
            "DROP INDEX i, FORCE",
        ],
        4,
    ):
        alter.sql(f"ALTER TABLE t {clauses}", f"INSERT INTO t VALUES ({number}, {number}, 'x')")
        if clauses.startswith("MODIFY"):  # of the others the text says enough
            alter.go_on()
    alter.go_on()
    alter.work.verify()
    assert len(alter.items()) == 11


@ON_ONE
def test_a_dropped_column_that_the_mapping_does_not_use(alter: Alter) -> None:
    alter.rule('exclude = ["b"]')
    alter.loaded()
    alter.sql("UPDATE t SET a = 1", "ALTER TABLE t DROP b", "INSERT INTO t VALUES (9, 90)")
    alter.go_on()
    alter.work.verify()
    assert alter.items()[9] == item(9, a=Decimal(90))


def test_a_dropped_column_that_the_mapping_uses(alter: Alter) -> None:
    alter.loaded()
    alter.sql("UPDATE t SET a = 1", "ALTER TABLE t DROP b", "INSERT INTO t VALUES (9, 90)")
    assert "column 'b' was dropped or renamed" in alter.refused()
    alter.rule('exclude = ["b"]')
    alter.go_on()
    assert alter.items()[9] == item(9, a=Decimal(90))
    assert {found["a"] for found in alter.items().values()} == {Decimal(1), Decimal(90)}


@ON_ONE
def test_a_dropped_column_of_the_key_cannot_be_left_out(alter: Alter) -> None:
    alter.rule('sort_key = { name = "b" }')
    alter.loaded()
    alter.sql("ALTER TABLE t DROP b")
    alter.rule('sort_key = { name = "b" }', 'exclude = ["b"]')
    assert "the mapping no longer fits: sort key 'b' uses column 'b'" in alter.refused()


@ON_ONE
def test_columns_of_one_type_that_change_their_places(alter: Alter) -> None:
    """Nothing in a row event tells the two orders apart."""
    alter.sql("ALTER TABLE t ADD c INT DEFAULT 7 AFTER a")
    alter.loaded()
    alter.sql(
        "INSERT INTO t VALUES (4, 40, 41, 'before')",
        "ALTER TABLE t MODIFY a INT AFTER c",
        "INSERT INTO t VALUES (5, 51, 50, 'after')",
        "UPDATE t SET a = 11, c = 12 WHERE id = 1",
    )
    alter.go_on()
    alter.work.verify()
    assert alter.items()[5] == item(5, a=Decimal(50), c=Decimal(51), b="after")


@ON_ONE
def test_a_renamed_column(alter: Alter) -> None:
    alter.loaded()
    alter.sql("ALTER TABLE t CHANGE b d VARCHAR(20)", "INSERT INTO t VALUES (9, 90, 'x')")
    said = alter.refused()
    assert "column 'b' was dropped or renamed" in said
    assert "new column 'd'" in said
    alter.sql("ALTER TABLE t RENAME COLUMN d TO b")
    assert alter.refused()  # what was in b then was called d: the ALTER in between is still in the way


@ON_ONE
def test_a_column_that_only_looks_like_the_old_one(alter: Alter) -> None:
    """The table is described as before, and the values are others."""
    alter.loaded()
    alter.sql("ALTER TABLE t DROP a, ADD a INT", "UPDATE t SET a = 5 WHERE id = 1")
    assert "column 'a' has other values than before" in alter.refused()


@ON_ONE
def test_another_type(alter: Alter) -> None:
    alter.loaded()
    alter.sql("ALTER TABLE t MODIFY a TINYINT", "INSERT INTO t VALUES (9, 90, 'x')")
    assert "column 'a' was int" in alter.refused()
    alter.rule('exclude = ["a"]')
    assert "exclude was nothing, is" in alter.refused()  # it is still there: items would differ


@ON_ONE
def test_a_table_that_is_swapped_by_an_online_schema_change(alter: Alter) -> None:
    alter.loaded()
    alter.sql("CREATE TABLE t_new LIKE t", "UPDATE t SET a = 1", "RENAME TABLE t TO t_old, t_new TO t")
    said = alter.refused()
    assert "renamed, or another took its name: RENAME TABLE" in said
    assert "gh-ost" in said


# Several at once, and the server's description newer than the rows


def set_metadata(source: SqlServer, kind: str) -> None:
    value = {"least": "NO_LOG" if source.flavor == "mariadb" else "MINIMAL"}.get(kind, kind)
    source.execute(f"SET GLOBAL binlog_row_metadata = {value}")


@pytest.mark.parametrize("metadata", ["least", "FULL"])
def test_two_alters_with_rows_between_them(alter: Alter, metadata: str) -> None:
    """A column comes and another goes, of the same type: without names in the binlog nobody can tell which is which."""
    alter.rule('new_columns = "include"', 'exclude = ["b"]')
    alter.loaded()
    set_metadata(alter.source, metadata)
    try:
        alter.sql(
            "ALTER TABLE t ADD c VARCHAR(20)",
            "INSERT INTO t VALUES (4, 40, 'b4', 'c4')",
            "ALTER TABLE t DROP b",
            "INSERT INTO t VALUES (5, 50, 'c5')",
        )
    finally:
        set_metadata(alter.source, "DEFAULT")
    if metadata == "least":
        said = alter.refused()
        assert "was altered twice before its changes were read" in said
        assert "binlog_row_metadata = FULL" in said
    else:
        alter.go_on()
        assert alter.items()[4] == item(4, a=Decimal(40), c="c4")
        assert alter.items()[5] == item(5, a=Decimal(50), c="c5")


def test_two_alters_without_rows_between_them(alter: Alter) -> None:
    alter.rule('new_columns = "include"')
    alter.loaded()
    alter.sql(
        "INSERT INTO t VALUES (4, 40, 'b4')",
        "ALTER TABLE t ADD c INT",
        "ALTER TABLE t ADD d INT",
        "INSERT INTO t VALUES (5, 50, 'b5', 1, 2)",
    )
    alter.go_on()
    assert alter.items()[4] == item(4, a=Decimal(40), b="b4")
    assert alter.items()[5] == item(5, a=Decimal(50), b="b5", c=Decimal(1), d=Decimal(2))


# Before the load


@pytest.mark.parametrize("phase", ["capture", "snapshot"])
def test_an_alter_before_the_load(alter: Alter, phase: str) -> None:
    """Whenever the rows are read, and by whatever columns: items are the same."""
    alter.rule('new_columns = "include"')
    alter.work.begin()
    if phase == "snapshot":
        alter.work.call("snapshot")
    alter.sql(*ADDED)
    alter.go_on()
    assert alter.items() == expected(c=True)


def stop_the_snapshot_half_way(work: Work) -> None:
    """As if a crash had come after the first of its two chunks."""
    work.begin()
    work.call("snapshot")
    path = work.state / "checkpoint.json"
    before = checkpoint.load(path)
    name, progress = next(iter(before.tables.items()))
    half = before.with_table(name, replace(progress, chunks_planned=None))
    checkpoint.save(path, replace(half, phase="snapshot"))
    next(iter((work.state / "export").rglob("chunk-00000002*"))).unlink()


@ON_ONE
def test_a_snapshot_goes_on_after_a_column_came(alter: Alter) -> None:
    alter.rule('new_columns = "include"')
    stop_the_snapshot_half_way(alter.work)
    alter.sql(*ADDED)
    alter.go_on()
    assert alter.items() == expected(c=True)


@pytest.mark.parametrize("clauses", ["DROP b", "MODIFY b BLOB"])
def test_chunks_of_two_versions_are_never_mixed(alter: Alter, clauses: str) -> None:
    """What was read of a column that is another now is read again."""
    alter.rule('exclude = ["b"]')
    stop_the_snapshot_half_way(alter.work)
    alter.sql("UPDATE t SET a = 5 WHERE id = 1", f"ALTER TABLE t {clauses}", "UPDATE t SET a = 6 WHERE id = 3")
    alter.go_on()
    assert alter.items() == {Decimal(n): item(n, a=Decimal(a)) for n, a in ((1, 5), (2, 20), (3, 6))}
    alter.work.verify()

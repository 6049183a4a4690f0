"""Sessions owe nothing to the server: whatever its variables are, by SET GLOBAL or init_connect, a migration gives the
right result or says by name why not.

The judge reads the source after the variable is back to what it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pymysql
import pytest
from click.testing import CliRunner

from demo.servers import Ministack, SqlServer
from tests.conftest import unique
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work
from whimbrel.cli.main import main
from whimbrel.mysql import reading

ROWS = 33
COLUMNS = "id, name, old_name, amount, ratio, stamp, noted, span, kind, flags, doc, raw"
RECORD = """
shape = "record"
partition_key = { name = "id", type = "N" }
"""


PARCEL = {"mapping": RECORD, "table": "parcel", "source_settings": "chunk_rows = 10"}


@pytest.fixture
def shop(make_work: MakeWork, source_server: SqlServer, ministack: Ministack) -> Work:
    return filled(make_work(source_server, ministack, **PARCEL))


def filled(work: Work) -> Work:
    work.write_project()
    work.source.execute(
        "CREATE TABLE parcel (id INT PRIMARY KEY, name VARCHAR(40) CHARACTER SET utf8mb4, old_name VARCHAR(40) "
        "CHARACTER SET latin1, amount DECIMAL(12,3), ratio DOUBLE, stamp TIMESTAMP NULL, noted DATETIME(3), "
        "span TIME, kind ENUM('ä', 'b'), flags BIT(12), doc TEXT, raw VARBINARY(20), KEY (name))",
        *(
            "INSERT INTO parcel VALUES "
            f"({n}, 'Zoë 🦜 \\\\ {n}', 'é{n}', {n}.125, {n} / 7e0, '2024-02-{n % 28 + 1} 12:00:00', "
            f"'2024-03-03 04:05:06.{n:03}', '-{n}:00:01', IF({n} % 2, 'ä', 'b'), {n}, REPEAT('text ', {n}), "
            f"x'00ff{n:02}')"
            for n in range(ROWS)
        ),
        database=work.database,
    )
    return work


def expected(shop: Work) -> judge.Expected:
    names = COLUMNS.split(", ")
    values = COLUMNS.replace("flags", "flags + 0").replace("span", "CAST(span AS CHAR)")
    values = values.replace("stamp", "CONCAT(REPLACE(stamp, ' ', 'T'), 'Z')").replace(
        "noted", "REPLACE(noted, ' ', 'T')"
    )
    with shop.source.connect(shop.database) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00', sql_select_limit = DEFAULT")
        cursor.execute(f"SELECT {values} FROM parcel")
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {(row["id"],): {name: plain(value) for name, value in row.items()} for row in rows}


def plain(value: Any) -> Any:
    """One form for both sides: numbers by their value, and times by their text."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return float(value)
    return bytes(value.value) if hasattr(value, "value") else value


def found(shop: Work) -> judge.Expected:
    items = judge.items(shop.endpoint, shop.target, "id")
    return {key: {name: plain(value) for name, value in item.items()} for key, item in items.items()}


@contextlib.contextmanager
def settings(server: SqlServer, variables: dict[str, str], *, init_connect: bool) -> Iterator[None]:
    """Global values, or what init_connect gives every session; as they were at the end. Raises pymysql's error for what
    the server does not take.
    """
    names = ["init_connect"] if init_connect else list(variables)
    with server.connect() as checkpoints, checkpoints.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"@@GLOBAL.{name}" for name in names))
        before = dict(zip(names, cursor.fetchone() or (), strict=True))
        try:
            if init_connect:
                joined = ", ".join(f"SESSION {name} = {value}" for name, value in variables.items())
                cursor.execute("SET GLOBAL init_connect = %s", (f"SET {joined}",))
            else:
                cursor.execute("SET " + ", ".join(f"GLOBAL {name} = {value}" for name, value in variables.items()))
            yield
        finally:
            for name, value in before.items():
                if value == "DEFAULT":
                    cursor.execute(f"SET GLOBAL {name} = DEFAULT")
                else:
                    cursor.execute(f"SET GLOBAL {name} = %s", (value,))


def migrated(shop: Work, variables: dict[str, str], *, init_connect: bool) -> str:
    """ "equal", or the message with which whimbrel refused."""
    writer = shop.source.connect(shop.database)  # before: its session is as it should be
    with writer, settings(shop.source, variables, init_connect=init_connect):
        refusal = ran(shop, "check", "capture --until-caught-up", "snapshot", "load")
        writer.query("UPDATE parcel SET name = 'Änne', amount = amount + 1 WHERE id = 5")
        refusal = refusal or ran(shop, "capture --until-caught-up", "apply --until-caught-up", "verify")
    if refusal:
        return refusal
    wanted, has = expected(shop), found(shop)
    assert len(wanted) == ROWS
    assert wanted == has, judge.differences(wanted, has)
    return "equal"


def ran(shop: Work, *commands: str) -> str:
    """The message of the first command that fails; "" if none does. A failure has a name and a place."""
    for line in commands:
        command, *options = line.split()
        result = CliRunner().invoke(
            main,
            [command, "--project", str(shop.folder / "whimbrel.toml"), *options],
            env={"WHIMBREL_SOURCE_PASSWORD": shop.source.password},
        )
        if result.exit_code == 0:
            continue
        assert isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code in (1, 2, 3), f"{line} ended with {result.exit_code}: {result.output}"
        assert ": " in result.output
        assert "bug" not in result.output
        return f"{line}: {result.output}"
    return ""


# What cuts results off, changes them, or ends sessions: all at once.
HOSTILE = {
    "sql_select_limit": "7",
    "sql_big_selects": "0",
    "max_join_size": "3",
    "completion_type": "'RELEASE'",
    "autocommit": "0",
    "time_zone": "'-09:30'",
    "sql_mode": "'ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH,NO_UNSIGNED_SUBTRACTION'",
    "sql_auto_is_null": "1",
    "sql_safe_updates": "1",
    "sql_quote_show_create": "0",
    "character_set_client": "latin1",
    "character_set_connection": "latin1",
    "character_set_results": "latin1",
    "lc_time_names": "'de_DE'",
    "lc_messages": "'de_DE'",
    "group_concat_max_len": "4",
    "div_precision_increment": "0",
    "max_sort_length": "8",
    "lock_wait_timeout": "1",
    "net_write_timeout": "1",
    "sql_buffer_result": "1",
}
OF_ONE = {
    "mariadb": {
        "tx_isolation": "'READ-UNCOMMITTED'",
        "max_statement_time": "0.001",
        "idle_transaction_timeout": "1",
        "idle_readonly_transaction_timeout": "1",
        "system_versioning_asof": "'2001-01-01 00:00:00'",
        "old_mode": "'NO_PROGRESS_INFO'",
    },
    "mysql": {
        "transaction_isolation": "'READ-UNCOMMITTED'",
        "max_execution_time": "1",
        "default_collation_for_utf8mb4": "utf8mb4_general_ci",
        "show_gipk_in_create_table_and_information_schema": "0",
    },
}


@pytest.mark.parametrize("init_connect", [False, True], ids=["global", "init_connect"])
def test_a_hostile_server_changes_nothing(shop: Work, source_server: SqlServer, init_connect: bool) -> None:
    assert migrated(shop, HOSTILE | OF_ONE[source_server.flavor], init_connect=init_connect) == "equal"


def test_an_init_connect_that_fails_is_named(shop: Work) -> None:
    refusal = migrated(shop, {"no_such_variable": "1"}, init_connect=True)
    assert "init_connect" in refusal


@pytest.mark.parametrize("limit", [1000, 10, 0])
def test_a_select_limit_of_the_server(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack, limit: int
) -> None:
    """Less than a table has rows, less than the server has variables, and none."""
    work = make_work(source_server, ministack, mapping=RECORD, table="parcel")
    source_server.execute(
        "CREATE TABLE parcel (id INT PRIMARY KEY, label VARCHAR(20))",
        "INSERT INTO parcel VALUES " + ", ".join(f"({n}, 'p{n}')" for n in range(3000)),
        database=work.database,
    )
    with settings(source_server, {"sql_select_limit": str(limit)}, init_connect=False):
        for command in ("check", "migrate --until-caught-up", "verify"):
            work.call(*command.split())
    assert len(judge.items(work.endpoint, work.target, "id")) == 3000


def test_verify_counts_by_another_query_than_it_reads_with(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot that is cut off, and whose own count does not notice: the two shared it, so verify found nothing."""
    real = reading.chunk_statement  # type: ignore[attr-defined]
    monkeypatch.setattr(reading, "chunk_statement", lambda *arguments: f"{real(*arguments)} LIMIT 7")

    async def yes(*_: Any) -> bool:
        return True

    monkeypatch.setattr(reading.TableReading, "_ends_with", yes)
    shop.call("migrate", "--until-caught-up")
    refusal = ran(shop, "verify")
    assert f"rows were read, and the source counts {ROWS}" in refusal


# -- every variable ----------------------------------------------------------------------------------------------------

# Not for a server that others use after the test, or that ends the test's own sessions.
NOT_HERE = {"wsrep_on", "sql_log_bin", "sql_log_off", "pseudo_thread_id", "debug", "debug_dbug", "debug_sync"}
# MySQL does not list the values of its enumerations; it takes their numbers.
TEXTS = {
    "time_zone": ["'-03:30'"],
    "lc_time_names": ["'ja_JP'"],
    "lc_messages": ["'fr_FR'"],
    "system_versioning_asof": ["'2001-01-01 00:00:00'"],
    "default_storage_engine": ["MyISAM", "MEMORY"],
    "default_tmp_storage_engine": ["MyISAM"],
    "sql_mode": ["'ANSI,TRADITIONAL'", "'PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES,HIGH_NOT_PRECEDENCE'"],
    "optimizer_switch": ["'index_condition_pushdown=off,mrr=on,mrr_cost_based=off'", "'index_merge=off,semijoin=off'"],
    "block_encryption_mode": ["'aes-256-cbc'"],
    "default_collation_for_utf8mb4": ["utf8mb4_general_ci"],
    "optimizer_trace": ["'enabled=on'"],
    "session_track_system_variables": ["'*'"],
    "default_regex_flags": ["'EXTENDED'"],
}
CHARSETS = ["latin1", "sjis", "utf8mb3"]
COLLATIONS = ["latin1_bin", "utf8mb4_bin"]


def variables(server: SqlServer) -> dict[str, list[str]]:
    """Legal, unusual values, in SQL, of every variable that a session has."""
    if server.flavor == "mariadb":
        rows = server.execute(
            "SELECT LOWER(VARIABLE_NAME), VARIABLE_TYPE, GLOBAL_VALUE, NUMERIC_MIN_VALUE, ENUM_VALUE_LIST "
            "FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_SCOPE = 'SESSION' AND READ_ONLY = 'NO'"
        )
    else:
        rows = server.execute(
            "SELECT m.VARIABLE_NAME, m.DATA_TYPE, g.VARIABLE_VALUE, m.MIN_VALUE, '' "
            "FROM performance_schema.variables_metadata m JOIN performance_schema.global_variables g "
            "USING (VARIABLE_NAME) WHERE m.VARIABLE_SCOPE = 'SESSION'"
        )
    found = {str(row[0]): unusual(*map(str, row)) for row in rows if row[0] not in NOT_HERE}
    return {name: values for name, values in found.items() if values}


def unusual(name: str, kind: str, now: str, least: str, members: str) -> list[str]:
    if name in TEXTS:
        return TEXTS[name]
    if name.startswith(("character_set_", "collation_")):
        return COLLATIONS if name.startswith("collation") else CHARSETS
    kind = kind.lower()
    if kind.startswith("bool"):
        return ["OFF" if now == "ON" else "ON"]
    if any(word in kind for word in ("int", "double", "numeric")):
        return sorted({least, "1", "3"} - {now})
    if members:
        return [f"'{member}'" for member in members.split(",") if member.upper() not in now.upper().split(",")][:4]
    return ["0", "1", "2"] if kind.startswith("enum") else []


def every_case() -> list[tuple[str, int, int]]:
    """By server: the number of the part, of so many."""
    return [(flavor, part, PARTS) for flavor in ("mariadb", "mysql") for part in range(PARTS)]


PARTS = 13  # odd, so that each part has both ways


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("flavor", "part", "of"), every_case())
def test_every_variable_of_a_session(
    request: pytest.FixtureRequest, tmp_path: Path, ministack: Ministack, flavor: str, part: int, of: int
) -> None:
    server: SqlServer = request.getfixturevalue(flavor)
    cases = [
        (name, value, init_connect)
        for name, values in sorted(variables(server).items())
        for value in values
        for init_connect in (False, True)
    ]
    wrong, results = [], {}
    for number, (name, value, init_connect) in enumerate(cases[part::of]):
        folder = tmp_path / str(number)
        folder.mkdir()
        shop = filled(Work(folder, server, server.new_database(), ministack, unique("parcel"), **PARCEL))  # type: ignore[arg-type]
        try:
            results[name, value, init_connect] = migrated(shop, {name: value}, init_connect=init_connect)
        except pymysql.err.Error as error:
            results[name, value, init_connect] = f"the server: {error}"
        except AssertionError as error:
            wrong.append(f"{name} = {value}{' by init_connect' if init_connect else ''}: {error}"[:600])
        server.execute(f"DROP DATABASE `{shop.database}`")
    for case, result in results.items():
        if result != "equal":
            print(case, "->", " ".join(result.split())[:200])
    assert not wrong, "\n".join(wrong)
    assert sum(result == "equal" for result in results.values()) > len(results) / 2

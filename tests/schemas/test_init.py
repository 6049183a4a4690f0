"""A table that init cannot map is named in the file that it writes, with the reason: none goes missing in silence.
What it writes, check takes: also of schemas whose names were chosen to be awkward.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner, Result

from demo.servers import MariaDB, Ministack, SqlServer
from tests.conftest import unique
from whimbrel.cli.main import main


def test_every_table_that_is_left_out_is_named(mariadb: MariaDB, tmp_path: Path) -> None:
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE plain (id INT PRIMARY KEY)",
        "CREATE TABLE keyless (id INT)",
        "CREATE TABLE versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
        "CREATE VIEW a_view AS SELECT 1 AS id",
        "CREATE SEQUENCE a_sequence",
        database=database,
    )
    path = tmp_path / "whimbrel.toml"
    environment = {"WHIMBREL_SOURCE_PASSWORD": mariadb.password}
    result = CliRunner().invoke(main, ["init", mariadb.url(database), "-o", str(path)], env=environment)
    assert result.exit_code == 0, result.output
    assert "1 table, 2 left out (see its end)" in result.output
    written = path.read_text()
    assert f'source = "{database}.plain"' in written
    assert f"# keyless is left out: {database}.keyless: has no primary key" in written
    assert f"# versioned is left out: {database}.versioned: is a system versioned" in written
    assert "a_view" not in written
    assert "a_sequence" not in written


AWKWARD = [
    "CREATE TABLE t (id INT PRIMARY KEY)",
    "CREATE TABLE `Order Lines` (id INT PRIMARY KEY)",
    "CREATE TABLE `Order_Lines` (id INT PRIMARY KEY)",
    "CREATE TABLE `Order/Lines` (id INT PRIMARY KEY)",
    "CREATE TABLE `sélect` (id INT PRIMARY KEY)",
    "CREATE TABLE `select` (`from` INT PRIMARY KEY, `where` INT)",
    "CREATE TABLE `表` (`列` INT PRIMARY KEY, `値` TEXT)",
    "CREATE TABLE `名` (id INT PRIMARY KEY)",
    "CREATE TABLE `a.b` (id INT PRIMARY KEY)",
    "CREATE TABLE `.` (id INT PRIMARY KEY)",
    "CREATE TABLE `..` (id INT PRIMARY KEY)",
    "CREATE TABLE `#x` (id INT PRIMARY KEY)",
    "CREATE TABLE `q\"uo'te` (`a\"b` INT, `c'd` INT, `e\\\\f` INT, PRIMARY KEY (`a\"b`, `c'd`, `e\\\\f`))",
    (
        "CREATE TABLE controls (`a\tb` INT, `c\nd` INT, `e\x7ff` INT, e ENUM('x\n\x01[[table]]', '\x7f'), "
        "PRIMARY KEY (`a\tb`, `c\nd`))"
    ),
    "CREATE TABLE braces (`a{b}` INT PRIMARY KEY)",
    "CREATE TABLE dollars (`$` INT, `${a}` INT, `$$b` INT, PRIMARY KEY (`$`, `$$b`))",
    "CREATE TABLE joined (a INT, b INT, c INT, `b_c` INT, PRIMARY KEY (a, b, c))",
    "CREATE TABLE `x]` (`key = 1` INT PRIMARY KEY, `# no` INT)",
    (
        f"CREATE TABLE {'long' * 16} ({'k' * 64} INT, {'l' * 64} INT, {'m' * 64} INT, {'n' * 64} INT, {'o' * 64} INT, "
        f"PRIMARY KEY ({'k' * 64}, {'l' * 64}, {'m' * 64}, {'n' * 64}, {'o' * 64}))"
    ),
    "CREATE TABLE `PK` (PK INT PRIMARY KEY, `null` INT, `_doc` TEXT)",
    "CREATE TABLE bytes_key (id VARBINARY(20) PRIMARY KEY, v INT)",
    "CREATE TABLE three_bytes (a BINARY(2), b BINARY(2), c BINARY(2), PRIMARY KEY (a, b, c))",
]


@pytest.mark.parametrize("name", ["plain", "with.dot", "with space", "Größe", "a'\"`b", "per%cent/slash?#"])
def test_what_init_writes_check_takes(
    source_server: SqlServer, ministack: Ministack, tmp_path: Path, name: str
) -> None:
    database = f"{source_server.new_database()}_{name}"
    escaped = database.replace("`", "``")
    source_server.execute(f"CREATE DATABASE `{escaped}` CHARACTER SET utf8mb4")
    tables = AWKWARD if name == "plain" else AWKWARD[:3]
    source_server.execute("SET sql_mode = ''", *tables, database=database)
    path = tmp_path / "whimbrel.toml"
    written = run_init(
        source_server, source_server.url("").rstrip("/") + "/" + quote(database, safe=""), path, ministack
    )
    sections = tomllib.loads(written)["table"]
    names = [each["target"] for each in sections]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[A-Za-z0-9_.-]{3,255}", each) for each in names)
    left_out = re.findall(r"^# (.+?) is left out", written, re.M)
    assert len(sections) + len(left_out) == len(tables)
    assert set(left_out) <= {"braces", "three_bytes", "dollars"}
    checked = run(source_server, "check", "--project", str(path))
    assert checked.exit_code == 0, checked.output


def run_init(server: SqlServer, url: str, path: Path, endpoint: Ministack) -> str:
    result = run(server, "init", url, "-o", str(path), "--endpoint", endpoint.endpoint)
    assert result.exit_code == 0, result.output
    return path.read_text()


def run(server: SqlServer, *arguments: str) -> Result:
    result = CliRunner().invoke(main, list(arguments), env={"WHIMBREL_SOURCE_PASSWORD": server.password})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_names_that_the_server_folds(ministack: Ministack, tmp_path: Path) -> None:
    """With lower_case_table_names=1 the server's own spelling is another than the person's, and init's too."""
    with MariaDB(options=("--lower-case-table-names=1",)).start() as server:
        server.execute("CREATE DATABASE ShopLc CHARACTER SET utf8mb4")
        server.execute("CREATE TABLE Orders (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO Orders VALUES (1, 'a')",
                       database="ShopLc")  # fmt: skip
        path = tmp_path / "whimbrel.toml"
        written = run_init(server, server.url("ShopLc"), path, ministack)
        target = unique("folded")
        path.write_text(
            written.replace('"shoplc.orders"', '"Orders"').replace('target = "orders"', f'target = "{target}"')
        )
        assert 'source = "Orders"' in path.read_text()
        for command in (
            ("check",), ("preview", "--table", "Orders"), ("migrate", "--until-caught-up"), ("verify",),
            ("refill", "Orders"), ("retry-dead",),
        ):  # fmt: skip
            result = run(server, *command, "--project", str(path))
            assert result.exit_code == 0, (command, result.output)
        server.execute("INSERT INTO ORDERS VALUES (2, 'b')", database="ShopLc")
        assert run(server, "migrate", "--until-caught-up", "--project", str(path)).exit_code == 0
        found = ministack.client().scan(TableName=target)["Items"]
        assert sorted(each["id"]["N"] for each in found) == ["1", "2"]
        path.write_text(
            path.read_text() + path.read_text()[path.read_text().index("[[table]]") :].replace('"Orders"', '"ORDERS"')
        )
        twice = run(server, "check", "--project", str(path))
        assert twice.exit_code == 2
        assert "2 [[table]] sections mean this one table" in twice.output

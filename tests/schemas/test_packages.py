"""Schemas that nobody here wrote: init, check, and a migration of rows made by column type, judged by plain SELECTs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from click.testing import CliRunner

from demo.servers import MariaDB, Ministack, MySQL, SqlServer
from tests.cases.case import run_script
from tests.e2e.work import Work
from tests.schemas import judge
from tests.schemas.packages import SCRIPTS, Unavailable, schema_script
from tests.schemas.rows import ROWS, TableRows, tables_of
from whimbrel.cli.main import main

QUICK = ("bacula-director-mysql", "gammu-smsd", "pdns-backend-mysql", "roundcube-core")
WIDE = [pytest.param(name, marks=pytest.mark.slow) for name in SCRIPTS if name not in QUICK]


@pytest.mark.parametrize("package", [*QUICK, *WIDE])
def test_a_real_schema_on_mariadb(package: str, mariadb: MariaDB, ministack: Ministack, tmp_path: Path) -> None:
    try_package(package, mariadb, ministack, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("package", SCRIPTS)
def test_a_real_schema_on_mysql(package: str, mysql: MySQL, ministack: Ministack, tmp_path: Path) -> None:
    try_package(package, mysql, ministack, tmp_path)


def test_a_schema_that_was_not_fetched_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHIMBREL_SERVERS", str(tmp_path))
    with pytest.raises(Unavailable, match="opendmarc: its schema was not fetched"):
        schema_script("opendmarc")


def try_package(package: str, server: SqlServer, endpoint: Ministack, folder: Path) -> None:
    try:
        script = schema_script(package)
    except Unavailable as why:
        pytest.skip(str(why))
    work = Migration(package, script, server, endpoint, folder)
    keyless = [table for table in work.tables if not table.key]
    project = work.init()
    for table in keyless:
        assert re.search(rf"^# {re.escape(table.name)} is left out: .*no primary key and no unique key", project, re.M)
    named = {table["source"] for table in tomlkit.parse(project)["table"]}
    assert named == {f"{work.database}.{table.name}" for table in work.tables if table.key}
    assert work.errors() == work.hindrances()
    work.fix()
    assert work.errors() == {}
    work.fill()
    work.call("migrate", "--until-caught-up")
    work.change()
    work.call("migrate", "--until-caught-up")
    assert work.letters() == []
    for table in work.moved:
        expected = judge.expected_items(server, table)
        found = judge.found_items(endpoint, work.target_of(table), table)
        assert found == expected, f"{table.name}: {[each for each in found if each not in expected][:3]}"
    report = json.loads(work.call("verify", "--json").stdout.splitlines()[-1])
    assert report["equal"], [table for table in report["tables"] if not table["equal"]]
    assert min(table["items"] for table in report["tables"]) >= ROWS


class Migration(Work):
    """A schema's way, with the commands as a person gives them."""

    def __init__(self, package: str, script: str, server: SqlServer, endpoint: Ministack, folder: Path) -> None:
        super().__init__(folder, server, server.new_database(package.replace("-", "_")), endpoint, package)
        run_script(server, self.database, for_the_server(script))
        with server.connect(self.database) as connection, connection.cursor() as cursor:
            self.tables = list(tables_of(cursor, self.database))
        self.moved: list[TableRows] = []

    def init(self) -> str:
        """The project file that init writes; then with names of targets that no other test has."""
        path = self.folder / "whimbrel.toml"
        arguments = ["init", self.source.url(self.database), "-o", str(path), "--endpoint", self.endpoint.endpoint]
        result = CliRunner().invoke(main, arguments, env={"WHIMBREL_SOURCE_PASSWORD": self.source.password})
        assert result.exit_code == 0, result.output
        written = path.read_text()
        document = tomlkit.parse(written)
        document["source"].update({"tls": "off", "connections": 1})
        document["target"].update({"region": "us-east-1", "concurrency": 2})
        for table in document["table"]:
            table["target"] = f"{self.database}.{table['target']}"
        path.write_text(tomlkit.dumps(document))
        return written

    def errors(self) -> dict[str, set[str]]:
        """The tables that check finds an error with, by its code."""
        result = CliRunner().invoke(
            main,
            ["check", "--project", str(self.folder / "whimbrel.toml"), "--json"],
            env={"WHIMBREL_SOURCE_PASSWORD": self.source.password},
        )
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        found: dict[str, set[str]] = {}
        for each in json.loads(result.stdout)["findings"]:
            if each["severity"] == "error":
                found.setdefault(each["code"], set()).add(each["place"].removeprefix(f"{self.database}."))
        return found

    def hindrances(self) -> dict[str, set[str]]:
        """What must be an error, from information_schema as the administrator sees it."""
        keyed = {table.name for table in self.tables if table.key}
        engines = self._ask(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE ENGINE != 'InnoDB' AND TABLE_SCHEMA"
        )
        cascades = self._ask(
            "SELECT TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE (DELETE_RULE IN ('CASCADE', "
            "'SET NULL') OR UPDATE_RULE IN ('CASCADE', 'SET NULL')) AND CONSTRAINT_SCHEMA"
        )
        if self.source.flavor == "mysql":  # 9.6 and later have them in the binlog
            cascades = set()
        found = {"engine": engines & keyed, "cascade": cascades & keyed}
        return {code: tables for code, tables in found.items() if tables}

    def fix(self) -> None:
        """As check says: another engine; and tables with cascades are not moved."""
        left_out = self.hindrances().get("cascade", set())
        for name in self.hindrances().get("engine", set()):
            self.source.execute(f"ALTER TABLE `{name}` ENGINE = InnoDB", database=self.database)
        path = self.folder / "whimbrel.toml"
        document: Any = tomlkit.parse(path.read_text())
        for number in reversed(range(len(document["table"]))):
            if document["table"][number]["source"].partition(".")[2] in left_out:
                del document["table"][number]
        path.write_text(tomlkit.dumps(document))
        self.moved = [table for table in self.tables if table.key and table.name not in left_out]

    def fill(self) -> None:
        with self.source.connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0, time_zone = '+00:00'")
            for table in self.tables:
                table.fill(cursor, range(ROWS))

    def change(self) -> None:
        with self.source.connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0, time_zone = '+00:00'")
            for table in self.moved:
                table.change(cursor)

    def target_of(self, table: TableRows) -> str:
        return f"{self.database}.{table.name}"

    def _ask(self, select: str) -> set[str]:
        return {str(row[0]) for row in self.source.execute(f"{select} = '{self.database}'")}


def for_the_server(script: str) -> str:
    """Without what only the mysql client understands, and in the database that is there already."""
    script = re.sub(r"^\s*create\s+database[^;]*;", "", script, flags=re.I | re.M)
    lines, end = [], ";"
    for line in script.splitlines():
        if found := re.match(r"\s*delimiter\s+(\S+)", line, re.I):
            end = found[1]
        elif not re.match(r"\s*(source|use)\s", line, re.I):
            lines.append(line if end == ";" else re.sub(re.escape(end) + r"\s*$", ";", line))
    return re.sub(r";\s*;", ";", "\n".join(lines))

"""What is proposed for the schemas of real applications is what check takes, and the same twice."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import tomlkit
from click.testing import CliRunner

from demo.servers import MariaDB, Ministack, MySQL, SqlServer
from tests.cases.case import run_script
from tests.schemas import company, orders, rentals
from tests.schemas.application import Application
from tests.schemas.packages import SCRIPTS, Unavailable, schema_script
from tests.schemas.test_packages import for_the_server
from whimbrel.cli.main import main

pytest.importorskip("sqlglot", reason="the extra 'lake' is not installed")

STATEMENTS = Path(__file__).parent / "statements"
WRITTEN = ("bacula-director-mysql", "gammu-smsd", "pdns-backend-mysql", "roundcube-core")
WIDE = [name for name in SCRIPTS if name not in WRITTEN]
AT_THE_SOURCE = {"engine", "cascade", "log-bin"}  # what no design can help
Figures = dict[str, float]


@pytest.mark.parametrize("package", [*WRITTEN, *(pytest.param(name, marks=pytest.mark.slow) for name in WIDE)])
def test_of_a_real_schema_on_mariadb(package: str, mariadb: MariaDB, ministack: Ministack, tmp_path: Path) -> None:
    of_package(package, mariadb, ministack, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("package", SCRIPTS)
def test_of_a_real_schema_on_mysql(package: str, mysql: MySQL, ministack: Ministack, tmp_path: Path) -> None:
    of_package(package, mysql, ministack, tmp_path)


@pytest.mark.parametrize("system", [company, orders, rentals], ids=lambda each: each.__name__.rpartition(".")[2])
def test_of_a_system_with_rows(
    system: ModuleType, source_server: SqlServer, ministack: Ministack, tmp_path: Path
) -> None:
    name = system.__name__.rpartition(".")[2]
    database = source_server.new_database(f"design_{name}")
    application = Application(source_server, database, system.SCHEMA.replace("%(cascade)s", ""), system.step)
    application.write(200)
    figures = accepted(source_server, database, ministack, tmp_path, (STATEMENTS / f"{name}.sql").read_text())
    if system is not rentals:
        assert figures["dollars"] < figures["indexed_dollars"], "joins are served by fewer calls"


def of_package(package: str, server: SqlServer, endpoint: Ministack, folder: Path) -> None:
    try:
        script = schema_script(package)
    except Unavailable as why:
        pytest.skip(str(why))
    database = server.new_database(package.replace("-", "_"))
    run_script(server, database, for_the_server(script))
    path = STATEMENTS / f"{package}.sql"
    statements = path.read_text() if path.exists() else usual_statements(server, database)
    accepted(server, database, endpoint, folder, statements)


def accepted(server: SqlServer, database: str, endpoint: Ministack, folder: Path, statements: str) -> Figures:
    (folder / "app.sql").write_text(statements)
    texts, figures = [], Figures()
    for number in (1, 2):
        path = folder / f"{number}.toml"
        arguments = ["design", server.url(database), "--statements", str(folder / "app.sql"), "-o", str(path)]
        arguments += ["--endpoint", endpoint.endpoint, "--json"]
        result = CliRunner().invoke(main, arguments, env={"WHIMBREL_SOURCE_PASSWORD": server.password})
        assert result.exit_code == 0, result.output
        made = json.loads(result.stdout.splitlines()[-1])
        figures = {name: made[name] for name in ("dollars", "indexed_dollars", "plain_dollars")}
        texts.append(path.read_text())
    assert texts[0] == texts[1]
    assert figures["dollars"] <= figures["indexed_dollars"] * (1 + 1e-9)
    assert figures["indexed_dollars"] <= figures["plain_dollars"] * (1 + 1e-9)
    assert all(table["why"] for table in made["tables"])
    errors = errors_of_check(folder / "1.toml", server, database)
    assert errors <= AT_THE_SOURCE, errors
    return figures


def errors_of_check(path: Path, server: SqlServer, database: str) -> set[str]:
    """With the names of tables at the target that no other test has."""
    document = tomlkit.parse(path.read_text())
    document["source"].update({"tls": "off", "connections": 1})
    document["target"].update({"region": "us-east-1"})
    for table in document["table"]:
        table["target"] = f"{database}.{table['target']}"
    path.write_text(tomlkit.dumps(document))
    arguments = ["check", "--project", str(path), "--json", "--statements", str(path.parent / "app.sql")]
    result = CliRunner().invoke(main, arguments, env={"WHIMBREL_SOURCE_PASSWORD": server.password})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return {each["code"] for each in json.loads(result.stdout)["findings"] if each["severity"] == "error"}


def usual_statements(server: SqlServer, database: str) -> str:
    """By each index of each table, and by each foreign key; and some writes."""
    by_index: dict[tuple[str, str], list[str]] = {}
    asked = "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = "
    for table, index, column in server.execute(f"{asked}'{database}' ORDER BY 1, 2, SEQ_IN_INDEX"):
        by_index.setdefault((str(table), str(index)), []).append(str(column))
    lines = []
    for number, ((table, index), columns) in enumerate(by_index.items()):
        where = " AND ".join(f"`{name}` = ?" for name in columns[:2])
        lines.append(f"-- times: {1000 * (number % 7 + 1)}\nSELECT * FROM `{table}` WHERE {where};")
        if index == "PRIMARY":
            lines.append(f"-- times: 400\nINSERT INTO `{table}` (`{columns[0]}`) VALUES (1);")
            lines.append(f"-- times: 300\nDELETE FROM `{table}` WHERE {where};")
    asked = (
        "SELECT TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME "
        "FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA = "
    )
    for child, own, parent, key in server.execute(f"{asked}'{database}' ORDER BY 1, 2, 3"):
        lines.append(
            f"-- times: 2000\nSELECT * FROM `{parent}` p JOIN `{child}` c ON c.`{own}` = p.`{key}` WHERE p.`{key}` = 1;"
        )
    assert not re.search("None", "".join(lines))
    return "\n".join(lines)

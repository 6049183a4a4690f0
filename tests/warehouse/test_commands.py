"""``whimbrel converge`` and what goes with it, as a person types it."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import whimbrel
from demo.servers import MariaDB, PostgreSQL
from tests.warehouse.places import Place
from whimbrel.cli.main import main
from whimbrel.errors import ProjectError, UserError


@pytest.fixture
def shops(place: Place, mariadb: MariaDB) -> Place:
    """Two silos: teams in one, tickets in the other."""
    teams, tickets = mariadb.new_database(), mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE team (id INT PRIMARY KEY, name VARCHAR(20))",
        "INSERT INTO team VALUES (1, 'Curlews'), (2, 'Whimbrels')",
        database=teams,
    )
    mariadb.execute(
        "CREATE TABLE ticket (id INT PRIMARY KEY, team_id INT, price DECIMAL(6,2))",
        "INSERT INTO ticket SELECT seq, 1 + seq % 2, seq FROM seq_1_to_10",
        database=tickets,
    )
    place.add("sports", mariadb, teams)
    place.add("ticketing", mariadb, tickets)
    return place


def call(place: Place, *words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(main, [*words, "-p", str(place.project)], env=place.secrets)
    assert done.exit_code == code, done.output
    return done


JOINED = (
    "SELECT name, SUM(price) AS total FROM sports.team t JOIN ticketing.ticket k ON k.team_id = t.id "
    "GROUP BY name ORDER BY name"
)


def test_the_commands_from_the_check_to_a_joined_answer(shops: Place, tmp_path: Path) -> None:
    assert "Ready." in call(shops, "check").stdout
    plan = call(shops, "converge", "--dry-run").stdout
    assert "into ticketing.ticket, by id" in plan
    assert "price DECIMAL(6, 2)" in plan or "price NUMERIC(6, 2)" in plan
    call(shops, "status", code=3)  # nothing has begun, and the dry run began nothing
    said = call(shops, "converge", "--until-caught-up").stderr
    assert "ticketing: 10 rows loaded" in said
    assert "sports: phase apply" in call(shops, "status").stdout
    assert "Differences: 0" in call(shops, "verify").stdout
    assert json.loads(call(shops, "verify", "--json").stdout.splitlines()[-1])["equal"] is True
    assert "Whimbrels" in call(shops, "query", "--warehouse", JOINED).stdout
    out = tmp_path / "out.csv"
    call(shops, "query", "--warehouse", "-f", "csv", "-o", str(out), JOINED)
    with out.open() as file:
        assert [(row["name"], float(row["total"])) for row in csv.DictReader(file)] == [
            ("Curlews", 30.0),
            ("Whimbrels", 25.0),
        ]
    open_to_others = [
        path for path in shops.folder.rglob("*") if path.lstat().st_mode & 0o077 and path != shops.project
    ]
    assert not open_to_others


def test_a_difference_is_in_the_exit_code(shops: Place) -> None:
    call(shops, "converge", "--until-caught-up")
    shops.execute("DELETE FROM sports.team WHERE id = 2")
    said = call(shops, "verify", code=5).stdout
    assert "1 missing" in said
    assert '"Whimbrels"' in said
    assert stat.S_IMODE((shops.folder / ".whimbrel").stat().st_mode) == 0o700


def test_what_a_query_cannot_do(shops: Place) -> None:
    shops.converge()
    with shops.environment():
        for statement in ("DELETE FROM sports.team", "SELECT nothing FROM nowhere", "DROP SCHEMA sports CASCADE"):
            with pytest.raises(UserError):
                whimbrel.query_warehouse(statement, project=shops.project)
        assert whimbrel.query_warehouse("SELECT COUNT(*) AS n FROM sports.team", project=shops.project)[
            "n"
        ].to_pylist() == [2]


def test_check_says_what_stands_in_the_way(make_place: Callable[[str], Place], mariadb: MariaDB) -> None:
    place = make_place("duckdb")
    database = mariadb.new_database()
    mariadb.execute("CREATE TABLE keyless (a INT)", database=database)
    place.add("shop", mariadb, database)
    assert "has no primary key" in call(place, "check", code=2).stdout
    assert json.loads(call(place, "check", "--json", code=2).stdout)["ready"] is False


def test_a_warehouse_that_cannot_be_written_to_is_named_before_anything_begins(
    make_place: Callable[[str], Place], mariadb: MariaDB, postgres: PostgreSQL
) -> None:
    database = mariadb.new_database()
    mariadb.execute("CREATE TABLE t (a INT PRIMARY KEY)", database=database)
    place = make_place("postgres")
    place.add("shop", mariadb, database)
    with postgres.connect() as connection:
        connection.execute(f"CREATE ROLE reader_{place.database} LOGIN PASSWORD '{postgres.password}'")
    text = place.project.read_text()
    place.project.write_text(
        text.replace(
            "://whimbrel@127.0.0.1:" + str(postgres.port), f"://reader_{place.database}@127.0.0.1:{postgres.port}"
        )
    )
    assert "GRANT CREATE ON DATABASE" in call(place, "check", code=2).stdout
    place.project.write_text(text.replace(place.database, "nowhere"))
    assert "does not exist" in call(place, "check", code=2).stdout
    lake = make_place("duckdb")
    lake.file = lake.folder / "missing" / "w.duckdb"
    lake.add("shop", mariadb, database)
    lake.project.write_text(lake.project.read_text().replace('url = "w.duckdb"', 'url = "missing/w.duckdb"'))
    assert "the folder is not there" in call(lake, "check", code=2).stdout


def test_a_project_without_a_warehouse(tmp_path: Path) -> None:
    project = tmp_path / "whimbrel.toml"
    project.write_text("")
    with pytest.raises(ProjectError, match="there is no"):
        whimbrel.converge(project)
    with pytest.raises(ProjectError, match="there is no"):
        whimbrel.plan_converge(project)

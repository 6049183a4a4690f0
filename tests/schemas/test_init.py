"""A table that init cannot map is named in the file that it writes, with the reason: none goes missing in silence."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from demo.servers import MariaDB
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
    assert "1 tables, 2 left out (see its end)" in result.output
    written = path.read_text()
    assert f'source = "{database}.plain"' in written
    assert f"# keyless is left out: {database}.keyless: has no primary key" in written
    assert f"# versioned is left out: {database}.versioned: is a system versioned" in written
    assert "a_view" not in written
    assert "a_sequence" not in written

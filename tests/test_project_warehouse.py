"""``[warehouse]`` and ``[[silo]]`` of the project file."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.errors import ProjectError
from whimbrel.project import load_project

SILO = '[[silo]]\nname = "a"\nurl = "mysql://u@h/d"\n'
DUCKDB = '[warehouse]\nengine = "duckdb"\nurl = "w.duckdb"\n'
POSTGRES = '[warehouse]\nengine = "postgres"\nurl = "postgresql://u@h:5433/d"\n'


def test_a_project_may_have_nothing_but_silos(tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(DUCKDB + SILO + SILO.replace('"a"', '"b"') + 'tables = ["t"]\nchunk_rows = 5\n')
    found = load_project(file)
    assert found.warehouse is not None
    assert found.warehouse.path == tmp_path / "w.duckdb"
    assert [(each.name, each.tables, each.source.database) for each in found.silos] == [
        ("a", (), "d"),
        ("b", ("t",), "d"),
    ]
    assert found.silos[1].source.chunk_rows == 5


def test_a_server_is_named_by_its_url_and_its_password_by_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHIMBREL_WAREHOUSE_PASSWORD", "secret")
    file = tmp_path / "whimbrel.toml"
    file.write_text(POSTGRES + SILO)
    found = load_project(file).warehouse
    assert found is not None
    assert (found.host, found.port, found.user, found.database, found.password) == ("h", 5433, "u", "d", "secret")
    assert "secret" not in repr(found)


REDSHIFT = """[warehouse]
engine = "redshift"
url = "redshift://u@h/d"
stage = "s3://bucket/prefix"
role = "arn:aws:iam::123456789012:role/copy"
"""


def test_redshift_has_a_stage_and_a_role(tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(REDSHIFT + SILO)
    found = load_project(file).warehouse
    assert found is not None
    assert found.stage is not None
    assert (found.port, found.stage.url, found.role) == (
        5439,
        "s3://bucket/prefix",
        "arn:aws:iam::123456789012:role/copy",
    )


FAULTS = {
    REDSHIFT.replace("s3://bucket/prefix", "s3://") + SILO: "stage: must be s3://BUCKET/PREFIX",
    REDSHIFT.replace("arn:", "") + SILO: "role: must be the ARN",
    POSTGRES + 'stage = "s3://bucket/prefix"\n' + SILO: "has no effect without engine",
    SILO: "silo: needs a [warehouse]",
    DUCKDB: "warehouse: has no [[silo]]",
    DUCKDB + SILO + SILO: "'a' is used in more than one",
    DUCKDB.replace("w.duckdb", "data/A.of.2026.duckdb") + SILO: "DuckDB calls the database 'A', as a schema in it is",
    DUCKDB.replace("w.duckdb", "whimbrel.duckdb") + SILO: "DuckDB calls the database 'whimbrel', as a schema in it",
    DUCKDB + SILO.replace('"a"', '"A b"'): "lower-case letters",
    DUCKDB + SILO.replace('"a"', '"main"'): "for itself",
    DUCKDB + SILO.replace("/d", ""): "names no database",
    DUCKDB + SILO + 'tables = ["a"]\nexclude = ["b"]\n': "exclude: has no effect",
    DUCKDB + SILO + 'new_column = "stop"\n': "did you mean 'new_columns'?",
    DUCKDB + SILO + 'types = { "t.a" = "json" }\n': "must be 'text' or 'bytes'",
    DUCKDB.replace("w.duckdb", "postgresql://x") + SILO: "must be the path of a file",
    DUCKDB + 'tls = "off"\n' + SILO: "has no effect with engine",
    POSTGRES.replace("u@", "u:p@") + SILO: "has a password in it",
    POSTGRES.replace("/d", "/d?sslmode=off") + SILO: "without anything behind",
    POSTGRES.replace("postgresql://", "mysql://") + SILO: "must be postgresql://",
    POSTGRES + 'tls_ca = "x"\n' + SILO: "it needs tls",
    DUCKDB + '[[silo]]\nname = "a"\ndynamodb = ["Orders", "orders"]\n': "differ only in case",
}


@pytest.mark.parametrize("text", FAULTS)
def test_what_is_not_understood_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(text)
    with pytest.raises(ProjectError) as found:
        load_project(file)
    assert FAULTS[text] in str(found.value)

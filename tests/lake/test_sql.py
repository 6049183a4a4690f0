"""SQL over data sets, CSV, and the commands, as a person uses them."""

from __future__ import annotations

import csv
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

import whimbrel
from demo import bank
from demo.servers import Ministack
from tests.lake.helper import change, compact, full, write_export, write_lines
from whimbrel.cli.main import main
from whimbrel.errors import UserError
from whimbrel.lake import duck
from whimbrel.lake.statements import statements
from whimbrel.project import load_project

# As printed in "Analyze data in Amazon DynamoDB using Amazon SageMaker for real-time prediction".
CREATE = r"""CREATE EXTERNAL TABLE datasource (
 age int,
 job string,
 marital string ,
 education string,
 default string,
 housing string,
 loan string,
 contact string,
 month string,
 day_of_week string,
 duration int,
 campaign int,
 pdays int ,
 previous int ,
 poutcome string,
 emp_var_rate double,
 cons_price_idx double,
 cons_conf_idx double,
 euribor3m double,
 nr_employed double,
 y int
)
ROW FORMAT DELIMITED
FIELDS TERMINATED BY ',' ESCAPED BY '\\' LINES TERMINATED BY '\n'
LOCATION 's3://<your bucket name>/<datasource path>/';"""
CORRELATION = """SELECT corr(age,y) AS correlation_age_and_target,
 corr(duration,y) AS correlation_duration_and_target,
 corr(campaign,y) AS correlation_campaign_and_target,
 corr(contact,y) AS correlation_contact_and_target
FROM ( SELECT age , duration , campaign , y ,
 CASE WHEN contact = 'telephone' THEN 1 ELSE 0 END AS contact
 FROM datasource
 ) datasource ;"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with 2,000 calls of the bank as a data set."""
    file = tmp_path / "whimbrel.toml"
    file.write_text('# mine\n[target]\nendpoint = "http://127.0.0.1:1"\n')
    lines = [compact({"Item": bank.item(row)}) for row in bank.rows(2_000, 3)]
    write_lines(tmp_path / "bank.json.gz", lines, packed=True)
    assert run(file, "convert", "bank", "--from", str(tmp_path / "bank.json.gz")).exit_code == 0
    return file


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [arguments[0], "-p", str(project), *arguments[1:]], catch_exceptions=False)


def test_types_are_pinned_and_comments_stay(project: Path) -> None:
    text = project.read_text()
    assert text.startswith("# mine\n[target]\n")
    pinned = load_project(project).lake.datasets[0]
    assert (pinned.table, pinned.columns["age"], pinned.columns["job"]) == ("bank", "int64", "string")
    assert pinned.columns["euribor3m"] == "decimal(18,3)"


def test_a_wrong_pinned_type_is_a_user_error(project: Path) -> None:
    project.write_text(project.read_text().replace('age = "int64"', 'age = "int65"'))
    result = run(project, "convert", "bank", "--from", str(project.parent / "bank.json.gz"))
    assert result.exit_code == 2
    assert "columns.age: 'int65' is not a type" in result.output


def test_refused_items_are_exit_code_4(project: Path) -> None:
    write_lines(project.parent / "more.json", [full(customer_id={"S": "1"}, age={"N": "1.5"})])
    result = run(project, "convert", "bank", "--from", str(project.parent / "more.json"))
    assert result.exit_code == 4
    assert "{'customer_id': {'S': '1'}" in result.output
    assert "1.5 does not fit int64" in result.output


def test_query_in_every_format(project: Path) -> None:
    sql = "SELECT customer_id, euribor3m FROM bank WHERE customer_id IN ('1', '2') ORDER BY 1"
    shown = run(project, "query", sql).output.splitlines()
    assert shown[0].split() == ["customer_id", "euribor3m"]
    assert len(shown) == 4
    found = [json.loads(line) for line in run(project, "query", sql, "-f", "json").output.splitlines()]
    assert [row["customer_id"] for row in found] == ["1", "2"]
    assert run(project, "query", sql, "-f", "csv").output.splitlines()[0] == "customer_id,euribor3m"
    file = project.parent / "rows.parquet"
    assert run(project, "query", sql, "-f", "parquet", "-o", str(file)).exit_code == 0
    assert pq.read_table(file).column("euribor3m").to_pylist() == [Decimal(str(row["euribor3m"])) for row in found]
    table = whimbrel.query(sql, project=project)
    assert table.to_pylist() == pq.read_table(file).to_pylist()


def test_the_query_of_the_post_works_as_printed(project: Path) -> None:
    convert = ("convert", "bank", "--from", str(project.parent / "bank.json.gz"), "--csv", "--label", "y")
    assert run(project, *convert, "--without", "customer_id").exit_code == 0
    assert run(project, "query", CREATE).exit_code == 0
    [found] = [json.loads(line) for line in run(project, "query", CORRELATION, "-f", "json").output.splitlines()]
    rows = list(bank.rows(2_000, 3))
    y = [float(row["y"]) for row in rows]
    assert found["correlation_age_and_target"] == pytest.approx(corr([float(row["age"]) for row in rows], y))
    assert found["correlation_duration_and_target"] == pytest.approx(corr([float(row["duration"]) for row in rows], y))
    contact = [float(row["contact"] == "telephone") for row in rows]
    assert found["correlation_contact_and_target"] == pytest.approx(corr(contact, y))
    assert run(project, "query", CREATE + CORRELATION, "-f", "json").output.splitlines() == [
        json.dumps(found, separators=(",", ":"))
    ]


def corr(xs: list[float], ys: list[float]) -> float:
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    up = sum((x - mx) * (y - my) for x, y in zip(xs, ys, strict=True))
    return float(up / (sum((x - mx) ** 2 for x in xs) * sum((y - my) ** 2 for y in ys)) ** 0.5)


def test_an_external_table_over_the_csv_of_hive(project: Path) -> None:
    """As the post's pipeline wrote it: by position, ESCAPED BY, no quotes, a value of another type is NULL."""
    folder = project.parent / "lake" / "s3" / "bucket" / "path"
    folder.mkdir(parents=True)
    (folder / "000000_0").write_text('1,a\\,b,"q"\n2,c,\nx,d,e\n')
    sql = (
        "CREATE EXTERNAL TABLE t (n int, a string, b string) ROW FORMAT DELIMITED FIELDS TERMINATED BY ',' "
        r"ESCAPED BY '\\' LOCATION 's3://bucket/path/'; SELECT * FROM t"
    )
    rows = whimbrel.query(sql, project=project).to_pylist()
    assert [(row["n"], row["a"]) for row in rows] == [(1, "a,b"), (2, "c"), (None, "d")]
    assert rows[0]["b"] == '"q"'
    nowhere = run(project, "query", sql.replace("bucket/path", "other/place"))
    assert nowhere.exit_code == 2
    assert "the location is empty" in nowhere.output


def test_athena_words_are_translated(project: Path) -> None:
    found = whimbrel.query("SELECT approx_distinct(job) > 5 AS many FROM bank", project=project)
    assert found.to_pylist() == [{"many": True}]


def test_csv_is_quoted_and_the_label_stands_first(project: Path) -> None:
    items = [
        full(customer_id={"S": "1"}, job={"S": 'a,"b"\nc'}, y={"N": "1"}),
        full(customer_id={"S": "2"}, y={"N": "0"}, tags={"SS": ["x"]}),
        full(customer_id={"S": "3"}, job={"S": ""}, y={"N": "0"}),
    ]
    write_lines(project.parent / "few.json", items)
    out = project.parent / "out.csv"
    arguments = ("convert", "few", "--from", str(project.parent / "few.json"), "--csv-file", str(out), "--label", "y")
    assert run(project, *arguments, "--header").exit_code == 0
    with out.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["y", "customer_id", "job", "tags"],
        ["1", "1", 'a,"b"\nc', ""],
        ["0", "2", "", '["x"]'],
        ["0", "3", "", ""],
    ]
    assert out.read_text().splitlines()[-1] == '0,3,"",'  # an empty text is not NULL
    assert run(project, *arguments, "--column", "y", "--column", "nope").exit_code == 2


def test_time_travel(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.loads(run(project, "convert", "bank", "--json", "--from", str(project.parent / "bank.json.gz")).output)
    write_lines(project.parent / "few.json", [full(customer_id={"S": "1"})])
    run(project, "convert", "bank", "--from", str(project.parent / "few.json"))
    count = "SELECT count(*) AS n FROM bank"
    assert whimbrel.query(count, project=project).to_pylist() == [{"n": 1}]
    assert whimbrel.query(count, project=project, as_of=first["as_of"]).to_pylist() == [{"n": 2_000}]
    assert whimbrel.query(count, project=project, dataset_id=first["id"]).to_pylist() == [{"n": 2_000}]
    connection = duck.connect()
    monkeypatch.setattr("whimbrel.lake.sql.connect", lambda: connection)
    with pytest.raises(UserError, match="There is: .*" + first["id"]):
        whimbrel.query(count, project=project, as_of="2001-01-01")
    with pytest.raises(duckdb.ConnectionException):  # it is closed
        connection.execute("SELECT 1")


def test_wrong_sql_is_a_user_error(project: Path) -> None:
    for sql in ("SELECT nope FROM bank", "SELEKT", "SELECT 1 FROM nowhere", "SELECT CAST('x' AS INT)"):
        assert run(project, "query", sql).exit_code == 2, sql


def test_statements_are_split_outside_of_quotes_and_comments() -> None:
    sql = "SELECT ';' -- a;b\n; SELECT \"x;y\" /* ; */ ;;\nSELECT 2"
    assert list(statements(sql)) == ["SELECT ';' -- a;b", 'SELECT "x;y" /* ; */', "SELECT 2"]


def test_the_shell_answers_and_remembers(project: Path) -> None:
    """In a terminal of its own: completion, an answer, an error that does not end it, history on disk."""
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "whimbrel", "query", "-p", str(project)]
    environment = os.environ | {"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    shell = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    try:
        wait_for(master, b"whimbrel>")
        os.write(master, b"SELECT count(*) AS nr\r")
        os.write(master, b" FROM ban\t")
        wait_for(master, b"k")  # completed
        os.write(master, b";\r")
        wait_for(master, b"2000")
        os.write(master, b"SELECT nope;\r")
        wait_for(master, b"Binder Error")
        os.write(master, b"\\d\r")
        wait_for(master, b"2,000 rows as of")
        os.write(master, b"\\q\r")
        assert shell.wait(20) == 0
    finally:
        shell.kill()
        shell.wait()
        os.close(master)
    assert "SELECT count(*) AS nr" in (project.parent / ".whimbrel" / "query-history").read_text()


def wait_for(terminal: int, text: bytes) -> None:
    seen, deadline = b"", time.monotonic() + 20
    while text not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0, deadline - time.monotonic()))
        assert ready, seen
        seen += os.read(terminal, 65_536)


def test_export_convert_restore_as_commands(
    ministack: Ministack, new_table_name: Callable[[str], str], tmp_path: Path
) -> None:
    table = new_table_name("bank")
    bank.put(bank.rows(300, 1), ministack.target(), table)
    file = tmp_path / "whimbrel.toml"
    file.write_text(f'[target]\nendpoint = "{ministack.endpoint}"\n\n[[dataset]]\ntable = "{table}"\nname = "bank"\n')
    assert "A full export" in run(file, "export", table, "--dry-run").output
    told: dict[str, Any] = json.loads(run(file, "export", table, "--json").output)
    assert (told["kind"], told["items"]) == ("full", 300)
    assert json.loads(run(file, "convert", table, "--json").output)["rows"] == 300
    ministack.client().delete_item(TableName=table, Key={"customer_id": {"S": "1"}})
    assert json.loads(run(file, "export", table, "--json").output)["kind"] == "incremental"
    assert json.loads(run(file, "convert", table, "--json").output)["rows"] == 299
    assert run(file, "restore", table, "--into", table + "-2").exit_code == 0
    assert run(file, "restore", table, "--into", table + "-2").exit_code == 3  # it has items now
    count = ministack.client().scan(TableName=table + "-2", Select="COUNT")["Count"]
    assert count == 299
    assert run(file, "export", "no-such-table").exit_code in (2, 3)


def test_exports_in_s3_are_copied_once_and_converted(
    ministack: Ministack, new_table_name: Callable[[str], str], tmp_path: Path
) -> None:
    bucket, file = new_table_name("bucket"), tmp_path / "whimbrel.toml"
    file.write_text(f'[target]\nregion = "us-east-1"\n\n[lake]\ns3_endpoint = "{ministack.endpoint}"\n')
    client = boto3.client("s3", endpoint_url=ministack.endpoint, region_name="us-east-1")
    client.create_bucket(Bucket=bucket)

    def upload() -> None:
        for path in sorted(path for path in (tmp_path / "made").rglob("*") if path.is_file()):
            client.put_object(Bucket=bucket, Key=f"a/b/{path.relative_to(tmp_path / 'made')}", Body=path.read_bytes())

    items = [full(pk={"S": str(number)}) for number in range(3)]
    write_export(tmp_path / "made", "01768385930622-efd1a093", "2026-01-14T10:00:00.000Z", items, prefix="a/b/")
    upload()
    client.put_object(Bucket=bucket, Key="a/bc", Body=b"another prefix")
    assert run(file, "convert", "test", "--from", f"s3://{bucket}/a/b", "--dry-run").exit_code == 0
    assert not (tmp_path / "lake").exists()
    assert json.loads(run(file, "convert", "test", "--from", f"s3://{bucket}/a/b", "--json").output)["rows"] == 3
    copied = {path: path.stat().st_ctime_ns for path in (tmp_path / "lake" / "s3").rglob("*.gz")}
    gone = [change({"pk": {"S": "0"}}, None)]
    since = "2026-01-14T10:00:00.000Z"
    write_export(tmp_path / "made", "01768386930622-aaaaaaaa", "2026-01-14T11:00:00.000Z", gone, since, prefix="a/b/")
    for path in (tmp_path / "made").rglob("*-efd1a093/**/*.gz"):
        path.unlink()  # and so they are not uploaded again
    upload()
    assert json.loads(run(file, "convert", "test", "--from", f"s3://{bucket}/a/b/", "--json").output)["rows"] == 2
    assert {path: path.stat().st_ctime_ns for path in copied} == copied
    assert not (tmp_path / "lake" / "s3" / bucket / "a" / "bc").exists()
    for place in (f"s3://{bucket}/other", f"s3://{bucket}-2/a"):
        assert run(file, "convert", "test", "--from", place).exit_code in (2, 3)

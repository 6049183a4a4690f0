"""The same SQL on DuckDB and on Athena: a suite of questions, what is refused, and what Athena may answer.

Athena is a stand-in, which has DuckDB answer what it reads as Athena's SQL. So these tests show that the requests, the
snapshots, the translation's form and the types are right, and not what Athena itself would make of a function.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import whimbrel
from demo import bank
from demo.servers import Ministack
from demo.servers.process import free_port
from tests.lake.catalog import Catalog
from tests.lake.helper import compact, write_lines
from tests.lake.machines import Bucketed, Machine
from tests.lake.test_sql import CORRELATION, CREATE
from whimbrel.errors import PrivilegeError, Stopped, TargetUnreachable, Throttled, UnexpectedAnswer, UserError
from whimbrel.lake import athena

ODD: list[dict[str, Any]] = [
    {"pk": {"S": "a"}, "n": {"N": "-3"}, "p": {"N": "1.25"}, "yes": {"BOOL": True}, "text": {"S": ""}},
    {"pk": {"S": "b"}, "n": {"N": "7"}, "d": {"N": "1e-100"}, "text": {"S": 'a "quote", ü\n'}, "bin": {"B": "AAH/"}},
    {"pk": {"S": "c"}, "p": {"N": "-0.5"}, "d": {"N": "1e100"}, "l": {"L": [{"S": "x"}, {"S": ", y]"}]}},
    {"pk": {"S": "d"}, "m": {"M": {"A": {"N": "9007199254740993"}, "in": {"L": [{"N": "1"}, {"NULL": True}]}}}},
    {"pk": {"S": "e"}, "m": {"M": {"A": {"N": "1"}}}, "l": {"L": []}, "n": {"N": "7"}, "huge": {"N": "1" * 38}},
]
SUITE = [
    "SELECT * FROM odd ORDER BY pk",
    "SELECT pk, n FROM odd ORDER BY n NULLS FIRST, pk DESC",
    "SELECT count(*) AS c, count(n), sum(n), avg(n), min(n), max(n), sum(p), avg(p), stddev(n), variance(n) FROM odd",
    "SELECT n, count(*) AS c FROM odd GROUP BY n HAVING count(*) > 0 ORDER BY c, n",
    'SELECT m.A AS a, m."in" AS b, m."in"[1] AS one, len(l), l[2], l[9], list_contains(l, \'x\') FROM odd ORDER BY pk',
    "SELECT text || '!' AS t, length(text) FROM odd WHERE text IS NOT NULL ORDER BY 1",
    "SELECT CASE WHEN yes THEN 1 WHEN n > 3 THEN 2 ELSE 0 END AS k, coalesce(n, 0), nullif(n, 7) FROM odd ORDER BY pk",
    "SELECT a.pk, b.pk FROM odd a LEFT JOIN odd b ON a.n = b.n AND a.pk <> b.pk ORDER BY ALL".replace("ALL", "1, 2"),
    "WITH t AS (SELECT pk, n FROM odd WHERE n IS NOT NULL) SELECT max(n), min(pk) FROM t",
    "SELECT pk FROM odd WHERE n IN (SELECT max(n) FROM odd) UNION SELECT 'z' ORDER BY 1",
    "SELECT pk, row_number() OVER (ORDER BY pk DESC) AS r, sum(n) OVER (ORDER BY pk) AS s FROM odd ORDER BY pk",
    "SELECT n / 2 AS half, p / 3, n % 2, -n, abs(n), round(p, 1) FROM odd ORDER BY pk",
    "SELECT avg(p / 3), avg(len(l)), max(length(l[1])), corr(n / 2, len(l)), avg(n) / 2 FROM odd",
    "SELECT DISTINCT n FROM odd WHERE n BETWEEN -5 AND 10 OR pk LIKE 'c%' ORDER BY n LIMIT 2 OFFSET 1",
    "SELECT count(DISTINCT n) FILTER (WHERE pk <> 'a') FROM odd",
    "SELECT huge, CAST(n AS VARCHAR), CAST(n AS DOUBLE) FROM odd ORDER BY pk",
    "SELECT bin FROM odd ORDER BY pk",
    "SELECT corr(age, y), corr(duration, y) FROM bank",
    "SELECT corr(age, 1) FROM bank",
    "SELECT job, avg(y) AS rate FROM bank GROUP BY job ORDER BY 2 DESC, 1",
    "SELECT 1 AS one, 1.5, 'x', true, NULL::VARCHAR",
    "SELECT pk FROM odd WHERE false",
    "SELECT CAST('2024-02-03' AS DATE) AS day, count(*) AS c FROM odd GROUP BY ALL",
    "SELECT pk, u FROM odd, UNNEST(l) AS t(u) ORDER BY pk, u",
    "SELECT pk, n, l FROM odd QUALIFY row_number() OVER (PARTITION BY n ORDER BY pk) = 1 ORDER BY pk",
    CORRELATION.replace("FROM datasource", "FROM bank").removesuffix(";"),
]
REFUSED = {
    "SELECT median(n) FROM odd": "Median",
    "SELECT string_agg(pk) FROM odd": "GroupConcat",
    "SELECT p::INT FROM odd": "different values of INT",
    "SELECT n FROM odd GROUP BY ALL": "Use SELECT DISTINCT",
    "SELECT DISTINCT ON (n) n, pk FROM odd": "DISTINCT ON",
    "SELECT n FROM odd USING SAMPLE 10%": "TableSample",
    "DESCRIBE odd": "not a question",
    "COPY odd TO '/tmp/never'": "not a question",
    "SELECT m FROM odd UNION ALL SELECT m FROM odd": "in the result of a UNION",
}


class Lake:
    """A lake in S3 with two published data sets, and an Athena over it."""

    def __init__(self, folder: Path, ministack: Ministack, catalog: Catalog, bucket: Bucketed) -> None:
        self.catalog, self.bucket = catalog, bucket
        rules = "".join(
            f'[[dataset]]\ntable = "{each}"\nname = "{each}"\nkey = ["{key}"]\npublish = "iceberg"\n'
            for each, key in (("odd", "pk"), ("bank", "customer_id"))
        )
        self.machine: Machine = bucket.machine(folder / "machine", ministack, rules, catalog.settings)
        self.load("odd", ODD)
        self.load("bank", [bank.item(row) for row in bank.rows(200, 3)])

    def load(self, name: str, items: list[dict[str, Any]]) -> None:
        file = write_lines(self.machine.folder / f"{name}.json", [compact({"Item": each}) for each in items])
        self.machine.run("convert", name, "--from", str(file))

    def ask(self, sql: str, **how: Any) -> pa.Table:
        return whimbrel.query(sql, project=self.machine.project, **how)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, ministack: Ministack) -> Iterator[Lake]:
    bucket = Bucketed(ministack)
    with Catalog(bucket) as catalog:
        yield Lake(tmp_path_factory.mktemp("athena"), ministack, catalog, bucket)


@pytest.fixture
def lake(made: Lake, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setattr(athena, "FIRST_LOOK", 0.001)
    made.catalog.refused, made.catalog.outcome, made.catalog.looks, made.catalog.retyped = {}, "", 1, {}
    made.catalog.limit = 10**9
    return made


@pytest.mark.parametrize("sql", SUITE)
def test_both_engines_give_one_answer(lake: Lake, sql: str) -> None:
    ours, theirs = lake.ask(sql), lake.ask(sql, engine="athena")
    assert theirs.schema == ours.schema
    assert str(theirs.to_pydict()) == str(ours.to_pydict()), "as text, so that NaN is NaN"


@pytest.mark.parametrize(("sql", "reason"), REFUSED.items())
def test_what_is_not_known_to_mean_the_same_is_refused(lake: Lake, sql: str, reason: str) -> None:
    asked = lake.catalog.counts["athena:StartQueryExecution"]
    with pytest.raises(UserError, match="--engine athena") as refused:
        lake.ask(sql, engine="athena")
    assert reason in str(refused.value)
    assert lake.catalog.counts["athena:StartQueryExecution"] == asked, "nothing was paid for"


def test_nothing_is_rounded_on_the_way(lake: Lake) -> None:
    """Athena divides decimals, and takes averages of them, to their own scale."""
    lake.ask("SELECT avg(p / 3) FROM odd", engine="athena")
    asked = list(lake.catalog.queries.values())[-1]["text"]
    assert 'AVG(CAST(CAST("odd"."p" AS DOUBLE) / 3 AS DOUBLE))' in asked


def test_the_statements_of_the_post_are_sent_as_printed(lake: Lake) -> None:
    lake.machine.run("query", "--engine", "athena", CREATE)
    assert list(lake.catalog.queries.values())[-1]["text"] == CREATE.rstrip(";")
    said = lake.machine.run("query", "--engine", "athena", CORRELATION, code=2)
    asked = list(lake.catalog.queries.values())[-1]["text"]
    assert 'CORR("datasource"."age", "datasource"."y")' in asked
    assert 'FROM "whimbrel"."datasource" AS "datasource"' in asked
    assert "FAILED" in said, "the stand-in has no files of external tables"


def test_an_answer_is_of_the_snapshot_of_its_data_set(lake: Lake) -> None:
    first = lake.ask("SELECT count(*) AS n FROM bank", engine="athena").to_pylist()
    names = [each["id"] for each in _versions(lake, "bank")]
    lake.load("bank", [bank.item(row) for row in bank.rows(50, 4)])
    assert lake.ask("SELECT count(*) AS n FROM bank", engine="athena").to_pylist() == [{"n": 50}]
    assert lake.ask("SELECT count(*) AS n FROM bank", engine="athena", dataset_id=names[-1]).to_pylist() == first
    lake.load("bank", [bank.item(row) for row in bank.rows(200, 3)])


def _versions(lake: Lake, name: str) -> list[dict[str, Any]]:
    found = [each for each in lake.bucket.names("manifest.json") if f"/{name}/" in each]
    return [json.loads(lake.bucket.get(each)) for each in sorted(found)]


def test_cost_and_bytes_are_printed(lake: Lake) -> None:
    result = lake.machine.call("query", "--engine", "athena", "-f", "csv", "SELECT count(*) AS n FROM odd")
    assert result.stdout == "n\n5\n"
    assert "Athena scanned 25.0 MB: $0.00013" in result.stderr


# What Athena may answer.


def test_a_workgroup_without_a_limit_is_refused(lake: Lake) -> None:
    lake.catalog.limit = 0
    with pytest.raises(UserError, match="no limit of what a query may scan"):
        lake.ask("SELECT 1", engine="athena")


@pytest.mark.slow
def test_throttling_is_waited_for(lake: Lake) -> None:
    lake.catalog.refused = {
        "StartQueryExecution": ["TooManyRequestsException"] * 4,
        "GetQueryExecution": ["ThrottlingException"] * 4,
        "GetQueryResults": ["InternalServerException"],
    }
    lake.catalog.looks = 3
    before = len(lake.catalog.queries)
    assert lake.ask("SELECT count(*) AS n FROM odd", engine="athena").to_pylist() == [{"n": 5}]
    assert len(lake.catalog.queries) == before + 1, "one call, one query"


def test_throttling_without_end_ends(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(athena, "PATIENCE", 0.001)
    lake.catalog.refused = {"StartQueryExecution": ["TooManyRequestsException"] * 40}
    with pytest.raises(Throttled):
        lake.ask("SELECT 1", engine="athena")


@pytest.mark.usefixtures("tried_again_at_once")
def test_an_address_where_nobody_has_ever_answered_is_soon_named(lake: Lake, tmp_path: Path) -> None:
    """It was asked for ten minutes, without a word."""
    text = lake.machine.project.read_text()
    nobody = f'athena_endpoint = "http://127.0.0.1:{free_port()}"'
    project = tmp_path / "whimbrel.toml"
    project.write_text(text.replace(f'athena_endpoint = "{lake.catalog.endpoint}"', nobody))
    with pytest.raises(TargetUnreachable):
        whimbrel.query("SELECT 1", project=project, engine="athena")


def test_a_statement_that_is_longer_than_athena_takes_is_refused_before_it_is_asked(lake: Lake) -> None:
    before = lake.catalog.counts["athena:StartQueryExecution"]
    with pytest.raises(UserError, match="bytes as Athena is asked, which takes 262,144"):
        lake.ask(
            f"SELECT count(*) AS n FROM odd WHERE pk IN ({', '.join(repr('é' * 99) for _ in range(1_400))})",
            engine="athena",
        )
    assert lake.catalog.counts["athena:StartQueryExecution"] == before


def test_a_query_that_fails_says_why(lake: Lake) -> None:
    lake.catalog.outcome = "EXCEEDED_LIMIT: Bytes scanned limit was exceeded"
    with pytest.raises(UserError, match="Bytes scanned limit was exceeded"):
        lake.ask("SELECT count(*) FROM odd", engine="athena")


def test_a_right_that_is_missing_is_named(lake: Lake) -> None:
    lake.catalog.refused = {"StartQueryExecution": ["AccessDeniedException"]}
    with pytest.raises(PrivilegeError):
        lake.ask("SELECT 1", engine="athena")


def test_a_column_of_another_type_is_refused(lake: Lake) -> None:
    lake.catalog.retyped = {"n": "double"}
    with pytest.raises(UserError, match="column 'n' is double in Athena, and int64 in DuckDB"):
        lake.ask("SELECT n FROM odd", engine="athena")


def test_a_value_that_is_not_of_its_type_is_refused(lake: Lake) -> None:
    lake.catalog.retyped = {"text": "bigint"}
    with pytest.raises(UserError, match="'text' is bigint"):
        lake.ask("SELECT text FROM odd", engine="athena")
    lake.catalog.retyped = {"n": "integer"}
    assert lake.ask("SELECT n FROM odd ORDER BY pk", engine="athena")["n"].to_pylist()[0] == -3
    with pytest.raises(UnexpectedAnswer, match="is not a value of int64"):
        athena._typed(athena.AthenaRows([("bigint", 0)], [("x",)]), pa.schema([("n", pa.int64())]))


def test_a_stop_ends_the_query(lake: Lake) -> None:
    stop = threading.Event()
    from whimbrel.project import load_project

    asking = athena.Athena(load_project(lake.machine.project), stop)
    lake.catalog.looks = 10**6
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped):
        asking.run("SELECT 1")
    assert list(lake.catalog.queries.values())[-1]["state"] == "CANCELLED"


def test_a_data_set_that_is_not_published_is_named(lake: Lake) -> None:
    text = lake.machine.project.read_text()
    lake.machine.project.write_text(text.replace('publish = "iceberg"\n', "", 1))
    try:
        with pytest.raises(UserError, match="not published for Athena"):
            lake.ask("SELECT count(*) FROM odd", engine="athena")
    finally:
        lake.machine.project.write_text(text)


def test_a_lake_in_a_folder_is_not_for_athena(tmp_path: Path) -> None:
    (tmp_path / "whimbrel.toml").write_text('[target]\nendpoint = "http://127.0.0.1:1"\n')
    with pytest.raises(UserError, match="Athena reads a lake in S3"):
        whimbrel.query("SELECT 1", project=tmp_path / "whimbrel.toml", engine="athena")


# Iceberg tables in Glue.


def test_a_table_in_glue_is_judged(lake: Lake) -> None:
    for name in ("odd", "bank"):
        judged = lake.catalog.judged(name)
        [found] = [
            rows
            for identity, rows in judged.by_data_set("pk" if name == "odd" else "customer_id").items()
            if identity == judged.current()
        ]
        ours = lake.ask(f"SELECT * FROM {name}").to_pylist()
        assert found == sorted(ours, key=lambda row: row["pk" if name == "odd" else "customer_id"])


def test_of_two_machines_one_looks_again(lake: Lake, tmp_path: Path, ministack: Ministack) -> None:
    other = Machine(tmp_path)
    other.project.write_text(lake.machine.project.read_text())
    other.run("query", "SELECT 1")
    before = lake.catalog.counts["glue:UpdateTable"]

    def meanwhile() -> None:
        file = write_lines(tmp_path / "odd.json", [compact({"Item": ODD[0]})])
        other.run("convert", "odd", "--from", str(file))

    lake.catalog.meanwhile = meanwhile
    lake.load("odd", ODD)
    judged = lake.catalog.judged("odd")
    assert judged.current() == _versions(lake, "odd")[-1]["id"]
    assert lake.catalog.counts["glue:UpdateTable"] > before + 1
    lake.load("odd", ODD)


@pytest.mark.parametrize("steps", [(6, 11), pytest.param(range(1, 16), marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_kill_leaves_what_the_next_run_brings_up(lake: Lake, steps: Iterable[int], tmp_path: Path) -> None:
    """At a write into the bucket: of the data set, its pointer, and the files of Iceberg."""
    for step in steps:
        items = [*ODD, {"pk": {"S": f"new{step}"}, "n": {"N": str(step)}}]
        file = write_lines(tmp_path / f"{step}.json", [compact({"Item": each}) for each in items])
        lake.machine.killed(step, "convert", "odd", "--from", str(file))
        assert lake.ask("SELECT count(*) AS n FROM odd").to_pylist()[0]["n"] in (5, 6)
        lake.load("odd", items)
        judged = lake.catalog.judged("odd")
        assert judged.current() == _versions(lake, "odd")[-1]["id"]
        assert judged.by_data_set()[judged.current()] == lake.ask("SELECT * FROM odd ORDER BY pk").to_pylist()
    lake.load("odd", ODD)


@pytest.mark.parametrize("name", ["a" * 256, "two\nlines"])
def test_a_column_whose_name_glue_does_not_take_is_named(lake: Lake, tmp_path: Path, name: str) -> None:
    """As the message says, leaving it out is enough: the data set that has it is passed over."""
    text, rule = lake.machine.project.read_text(), 'name = "odd"\n'
    file = write_lines(tmp_path / "odd.json", [compact({"Item": {"pk": {"S": "a"}, name: {"S": "x"}}})])
    try:
        said = lake.machine.run("convert", "odd", "--from", str(file), code=2)
        assert "names have 1 to 255 characters, all printable" in said
        lake.machine.project.write_text(text.replace(rule, f"{rule}exclude = [{json.dumps(name)}]\n"))
        lake.machine.run("convert", "odd", "--from", str(file))
        assert lake.ask("SELECT * FROM odd", engine="athena").to_pylist()[0]["pk"] == "a"
    finally:
        lake.machine.project.write_text(text)
        lake.load("odd", ODD)


def test_a_database_that_is_missing_is_said_by_name(lake: Lake) -> None:
    text = lake.machine.project.read_text()
    lake.machine.project.write_text(text.replace("[lake]\n", '[lake]\ndatabase = "elsewhere"\n'))
    try:
        assert "the database is not in Glue" in lake.machine.run(
            "convert", "odd", "--from", str(lake.machine.folder / "odd.json"), code=2
        )
    finally:
        lake.machine.project.write_text(text)
        lake.load("odd", ODD)

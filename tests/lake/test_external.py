"""External tables as people bring them from Athena: OpenCSVSerde, JsonSerDe over exports, Parquet, partitions."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import whimbrel
from tests.lake.helper import compact
from whimbrel.cli.main import main
from whimbrel.errors import StateError, UserError
from whimbrel.lake.external import resolve

OPEN_CSV = "ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.OpenCSVSerde'"
JSON = "ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'"
AT = "LOCATION 's3://b/p/'"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    file = tmp_path / "whimbrel.toml"
    file.write_text('[target]\nendpoint = "http://127.0.0.1:1"\n')
    place(file).mkdir(parents=True)
    return file


def place(project: Path) -> Path:
    return project.parent / "lake" / "s3" / "b" / "p"


def rows(project: Path, sql: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = whimbrel.query(sql, project=project).to_pylist()
    return found


def run(project: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, [arguments[0], "-p", str(project), *arguments[1:]], catch_exceptions=False)


def test_open_csv(project: Path) -> None:
    (place(project) / "data.csv").write_text(
        "id,name,price\n"
        '"1","a, b","1.50"\n'
        '2,"say ""hi""",2\n'
        r'3,"back\\slash \"q\"",3' + "\n"
        '4, "blank before",\n'
    )
    sql = f"CREATE EXTERNAL TABLE t (id int, name string, price string) {OPEN_CSV} {AT} "
    sql += "TBLPROPERTIES ('skip.header.line.count'='1'); SELECT * FROM t ORDER BY id"
    assert rows(project, sql) == [
        {"id": 1, "name": "a, b", "price": "1.50"},
        {"id": 2, "name": 'say "hi"', "price": "2"},
        {"id": 3, "name": 'back\\slash "q"', "price": "3"},
        {"id": 4, "name": "blank before", "price": ""},
    ]


def test_open_csv_with_other_signs(project: Path) -> None:
    options = "WITH SERDEPROPERTIES ('separatorChar'=';', 'quoteChar'='|', 'escapeChar'='^')"
    sql = f"CREATE EXTERNAL TABLE t (x string, y string) {OPEN_CSV} {options} {AT}; SELECT * FROM t"
    good = [("a;b", "c"), ("|", "d"), ("|", "^")]
    for text, wanted in (("|a;b|;c\n|||;d\n", None), ("|a;b|;c\n||||;d\n|^||;^\n", good)):
        with gzip.open(place(project) / "data.gz", "wt") as file:
            file.write(text)
        if wanted is None:
            with pytest.raises(UserError, match="not a line of CSV"):
                rows(project, sql)
        else:
            assert [(row["x"], row["y"]) for row in rows(project, sql)] == wanted


@pytest.mark.parametrize("line", ['1,"a', '1,a"b', '1,"a"b"', '1,"a\\"'])
def test_a_line_of_csv_that_is_none_is_an_error_of_the_query(project: Path, line: str) -> None:
    (place(project) / "data").write_text(f"1,good\n{line}\n")
    sql = f"CREATE EXTERNAL TABLE t (id string, x string) {OPEN_CSV} {AT}; SELECT * FROM t"
    with pytest.raises(UserError, match="not a line of CSV"):
        rows(project, sql)


def test_a_value_of_another_type_is_an_error_where_athena_has_one(project: Path) -> None:
    (place(project) / "data").write_text('"x","1"\n')
    sql = f"CREATE EXTERNAL TABLE t (id int, x string) {OPEN_CSV} {AT}; SELECT * FROM t"
    with pytest.raises(UserError, match="'x'"):
        rows(project, sql)


# A type, and texts that are not values of it though DuckDB's own cast takes them.
COERCED = {
    "int": ["1.5", "1e3", "0x1F", "1_000", "2147483648"],
    "decimal(5,2)": ["1.555", "1e1", "12345678"],
    "double": ["0x1F", "1_000"],
    "boolean": ["yes", "t", "2"],
    "date": ["2026-01-05 10:00:00", "2026-1-5"],
    "timestamp": ["2026-01-05T10:00:00+02:00", "2026-01-05 10:00:00.1234567"],
}
KEPT: dict[str, list[tuple[str, Any]]] = {
    "int": [(" 7 ", 7), ("-0", 0)],
    "decimal(5,2)": [("1.550", Decimal("1.55")), ("-7", Decimal(-7))],
    "double": [("1e3", 1000.0)],
    "boolean": [("TRUE", True), ("false", False)],
    "date": [("2026-01-05", date(2026, 1, 5))],
    "timestamp": [("2026-01-05T10:00:00Z", datetime(2026, 1, 5, 10)), ("2026-01-05", datetime(2026, 1, 5))],
}


@pytest.mark.parametrize("kind", COERCED)
def test_a_text_becomes_the_same_value_or_none(project: Path, kind: str) -> None:
    """In every form: an error of the query, and NULL in the one where Hive has NULL."""
    forms = {
        OPEN_CSV: lambda text: f'"{text}"',
        f"{JSON}": lambda text: json.dumps({"x": text}),
        "ROW FORMAT DELIMITED FIELDS TERMINATED BY ','": str,
    }
    for form, line in forms.items():
        sql = f"CREATE EXTERNAL TABLE t (x {kind}) {form} {AT}; SELECT * FROM t"
        for text, value in KEPT[kind]:
            (place(project) / "data").write_text(line(text) + "\n")
            assert rows(project, sql) == [{"x": value}], (form, text)
        for text in COERCED[kind]:
            (place(project) / "data").write_text(line(text) + "\n")
            if "DELIMITED" in form:
                assert rows(project, sql) == [{"x": None}], text
            else:
                with pytest.raises(UserError, match=re.escape(text)):
                    rows(project, sql)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("struct<a:int>", "[1]"), ("struct<a:int>", '"a"'), ("array<int>", "5"), ("array<int>", '{"a": 1}')),
        *(("map<string,int>", "[1]"), ("array<struct<a:int>>", "[5]"), ("array<int>", "[1.5]")),
        ("map<int,int>", '{"a": 1}'),
    ],
)
def test_json_of_another_shape_is_an_error_and_not_empty(project: Path, kind: str, value: str) -> None:
    (place(project) / "data").write_text(f'{{"x": {value}}}\n')
    with pytest.raises(UserError, match="column 'x'"):
        rows(project, f"CREATE EXTERNAL TABLE t (x {kind}) {JSON} {AT}; SELECT * FROM t")


@pytest.mark.parametrize(
    ("kind", "kept", "lost"),
    [
        ("int", 2.0, 1.5),
        ("int", "7", "07"),
        ("decimal(5,2)", 1.5, 1.555),
        ("date", datetime(2026, 1, 5), datetime(2026, 1, 5, 3)),
    ],
)
def test_a_value_of_parquet_is_the_same_in_its_columns_type_or_an_error(
    project: Path, kind: str, kept: Any, lost: Any
) -> None:
    sql = f"CREATE EXTERNAL TABLE t (x {kind}) STORED AS PARQUET {AT}; SELECT * FROM t"
    parquet(place(project) / "a.parquet", x=[kept, None])
    assert len(rows(project, sql)) == 2
    parquet(place(project) / "a.parquet", x=[lost])
    with pytest.raises(UserError, match="column 'x'"):
        rows(project, sql)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(st.text('ab,";\t é ', max_size=6), min_size=2, max_size=2), min_size=1, max_size=5))
def test_any_csv_of_pythons_writer(project: Path, cells: list[list[str]]) -> None:
    with (place(project) / "data").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(cells)
    sql = f"CREATE EXTERNAL TABLE t (x string, y string) {OPEN_CSV} {AT}; SELECT * FROM t"
    assert [[row["x"], row["y"]] for row in rows(project, sql)] == cells


ITEMS = [
    {"Item": {"pk": {"S": "1"}, "n": {"N": "12345678901234567890.5"}, "tags": {"SS": ["a"]}, "ok": {"BOOL": True}}},
    {"Item": {"pk": {"S": "2"}, "m": {"M": {"k/~": {"S": "v"}}}, "l": {"L": [{"N": "1"}, {"S": "x"}]}}},
]


def test_json_over_an_export(project: Path) -> None:
    """As the usual walk-throughs have it: a struct of structs, names in lower case."""
    (place(project) / "x.json.gz").write_bytes(gzip.compress(b"".join(compact(item) + b"\n" for item in ITEMS)))
    sql = f"""CREATE EXTERNAL TABLE t (
      item struct<pk:struct<s:string>, n:struct<n:decimal(38,1)>, tags:struct<ss:array<string>>,
                  ok:struct<bool:boolean>, m:struct<m:map<string,struct<s:string>>>,
                  l:struct<l:array<struct<n:int,s:string>>>>
    ) {JSON} {AT};"""
    select = "SELECT item.pk.s pk, item.n.n n, item.tags.ss tags, item.ok.bool ok, item.m.m m, item.l.l l"
    assert rows(project, f"{sql} {select} FROM t ORDER BY 1") == [
        {"pk": "1", "n": Decimal("12345678901234567890.5"), "tags": ["a"], "ok": True, "m": None, "l": None},
        {
            "pk": "2",
            "n": None,
            "tags": None,
            "ok": None,
            "m": [("k/~", {"s": "v"})],
            "l": [{"n": 1, "s": None}, {"n": None, "s": "x"}],
        },
    ]


def test_json_as_text_and_mapped_names(project: Path) -> None:
    (place(project) / "x").write_text('{"Order Id": 9007199254740993, "Extra": {"a": [1, 2]}, "at": null}\n')
    options = "WITH SERDEPROPERTIES ('mapping.id'='Order Id')"
    serde = "ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe'"
    sql = f"CREATE EXTERNAL TABLE t (id bigint, extra string, at string, none int) {serde} {options} {AT};"
    sql += " SELECT * FROM t"
    assert rows(project, sql) == [{"id": 9007199254740993, "extra": '{"a":[1,2]}', "at": None, "none": None}]


def test_json_whose_names_differ_by_letter_case(project: Path) -> None:
    (place(project) / "x").write_text('{"a": 1}\n{"A": 2}\n')
    create = f"CREATE EXTERNAL TABLE t (a int) {JSON} {{}} {AT}; SELECT * FROM t"
    with pytest.raises(UserError, match="'a' and 'A'"):
        rows(project, create.format(""))
    exact = "WITH SERDEPROPERTIES ('case.insensitive'='false')"
    assert rows(project, create.format(exact)) == [{"a": 1}, {"a": None}]


def test_json_that_is_none(project: Path) -> None:
    (place(project) / "x").write_text('{"a": 1}\n{"a": \n')
    create = f"CREATE EXTERNAL TABLE t (a int) {JSON} {{}} {AT}; SELECT * FROM t"
    with pytest.raises(UserError, match="must be JSON"):
        rows(project, create.format(""))
    ignored = "WITH SERDEPROPERTIES ('ignore.malformed.json'='true')"
    assert rows(project, create.format(ignored)) == [{"a": 1}, {"a": None}]


def parquet(path: Path, **columns: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def test_parquet_by_names(project: Path) -> None:
    parquet(place(project) / "a.parquet", Id=[1, 2], name=["x", None])
    parquet(place(project) / "deeper" / "b.parquet", name=["z"], more=[1.5], Id=[3])
    sql = f"CREATE EXTERNAL TABLE t (id bigint, name string, more double, none int) STORED AS PARQUET {AT}; "
    assert rows(project, sql + "SELECT * FROM t ORDER BY id") == [
        {"id": 1, "name": "x", "more": None, "none": None},
        {"id": 2, "name": None, "more": None, "none": None},
        {"id": 3, "name": "z", "more": 1.5, "none": None},
    ]


def test_a_column_may_be_called_filename(project: Path) -> None:
    parquet(place(project) / "day=1" / "a.parquet", filename=["x"], day=["y"])
    sql = f"CREATE EXTERNAL TABLE t (filename string) PARTITIONED BY (day int) STORED AS PARQUET {AT}; SELECT * FROM t"
    assert rows(project, sql) == [{"filename": "x", "day": 1}]


def test_partitions(project: Path) -> None:
    for year, month, number in ((2025, "12", 1), (2026, "01", 2), (2026, "a%3Ab", 3)):
        parquet(place(project) / f"year={year}" / f"month={month}" / "x.parquet", n=[number])
    parquet(place(project) / "year=2026" / "month=__HIVE_DEFAULT_PARTITION__" / "x.parquet", n=[4])
    (place(project) / "_SUCCESS").touch()
    create = f"CREATE EXTERNAL TABLE t (n int) PARTITIONED BY (year int, month string) STORED AS PARQUET {AT}"
    assert run(project, "query", create).exit_code == 0
    assert run(project, "query", "MSCK REPAIR TABLE t").exit_code == 0
    assert rows(project, "SELECT * FROM t ORDER BY n") == [
        {"n": 1, "year": 2025, "month": "12"},
        {"n": 2, "year": 2026, "month": "01"},
        {"n": 3, "year": 2026, "month": "a:b"},
        {"n": 4, "year": 2026, "month": None},
    ]
    parquet(place(project) / "year=2027" / "month=02" / "x.parquet", n=[5])
    assert rows(project, "MSCK REPAIR TABLE `t`; SELECT count(*) AS n FROM t WHERE year > 2026") == [{"n": 1}]
    assert run(project, "query", "MSCK REPAIR TABLE nope").exit_code == 2
    added = run(project, "query", "ALTER TABLE t ADD PARTITION (year=2028) LOCATION 's3://b/q/'")
    assert (added.exit_code, "MSCK REPAIR TABLE" in added.output) == (2, True)
    parquet(place(project) / "month=02" / "year=2027" / "x.parquet", n=[6])
    result = run(project, "query", "MSCK REPAIR TABLE t")
    assert (result.exit_code, "is in no partition" in result.output) == (2, True)


@pytest.mark.parametrize(
    ("form", "line"), [(OPEN_CSV, '"1"'), (JSON, '{"n":1}'), ("ROW FORMAT DELIMITED FIELDS TERMINATED BY '|'", "1")]
)
def test_partitions_of_text(project: Path, form: str, line: str) -> None:
    for day in ("a", "b"):
        (place(project) / f"Day={day}").mkdir()
        (place(project) / f"Day={day}" / "x").write_text(line + "\n")
    sql = f"CREATE EXTERNAL TABLE t (n int) PARTITIONED BY (day string) {form} {AT}; SELECT * FROM t ORDER BY day"
    assert rows(project, sql) == [{"n": 1, "day": "a"}, {"n": 1, "day": "b"}]


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("ROW FORMAT SERDE 'org.apache.hadoop.hive.serde2.RegexSerDe'", "RegexSerDe is not known"),
        ("STORED AS ORC", "STORED AS ORC"),
        (JSON + " WITH SERDEPROPERTIES ('dots.in.keys'='true')", "'dots.in.keys' is not known"),
        (OPEN_CSV + " WITH SERDEPROPERTIES ('separatorChar'='::')", "one character"),
    ],
)
def test_what_is_not_known_is_refused_by_name(project: Path, rest: str, reason: str) -> None:
    (place(project) / "x").write_text("1\n")
    result = run(project, "query", f"CREATE EXTERNAL TABLE t (n int) {rest} {AT}")
    assert (result.exit_code, reason in result.output) == (2, True), result.output
    assert not (project.parent / "lake" / "tables" / "t.sql").exists()


@pytest.mark.parametrize("form", [OPEN_CSV, "ROW FORMAT DELIMITED"])
def test_nested_types_in_text_with_separators_are_refused(project: Path, form: str) -> None:
    (place(project) / "x").write_text("1\n")
    with pytest.raises(UserError, match="nested type"):
        rows(project, f"CREATE EXTERNAL TABLE t (n array<int>) {form} {AT}; SELECT * FROM t")


OUTSIDE = [
    "s3://b/../../../x",
    "s3://../x",
    "s3://b/p/../../../../x",
    "s3://m/y/../../x",
    "hdfs:///x",
    "s3://b/link",
    "s3://b/\0",
]


@pytest.mark.parametrize("location", OUTSIDE)
def test_a_location_leads_to_no_folder_outside(tmp_path: Path, location: str) -> None:
    lake = tmp_path / "project" / "lake"
    for folder in (tmp_path / "x", lake / "s3" / "b" / "p", tmp_path / "project" / "mine" / "y"):
        folder.mkdir(parents=True)
    (lake / "s3" / "b" / "link").symlink_to(tmp_path / "x")
    with pytest.raises(UserError):
        resolve(location, lake, {"s3://m/": "mine"})


def test_an_address_is_not_the_beginning_of_another(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    assert resolve("s3://m/data/x", tmp_path / "lake", {"s3://m/data": "mine"}) == tmp_path / "mine" / "x"
    with pytest.raises(UserError, match="the location is empty"):
        resolve("s3://m/database", tmp_path / "lake", {"s3://m/data": "mine"})


def test_links_and_fifos_at_a_location_are_refused(project: Path) -> None:
    (project.parent / "secret").write_text("1\n")
    (place(project) / "x").symlink_to(project.parent / "secret")
    sql = f"CREATE EXTERNAL TABLE t (n int) ROW FORMAT DELIMITED {AT}; SELECT * FROM t"
    with pytest.raises(StateError, match="leads out"):
        rows(project, sql)
    (place(project) / "x").unlink()
    os.mkfifo(place(project) / "x")
    with pytest.raises(StateError, match="not a regular file"):
        rows(project, sql)


@pytest.mark.parametrize("name", ["../../../x", "/tmp/x", "a/b", ".."])
def test_the_name_of_a_table_is_no_path(project: Path, name: str) -> None:
    (place(project) / "x").write_text("1\n")
    before = sorted(project.parent.parent.glob("*")) + sorted(project.parent.rglob("*.sql"))
    result = run(project, "query", f"CREATE EXTERNAL TABLE `{name}` (n int) ROW FORMAT DELIMITED {AT}")
    assert result.exit_code == 2
    assert sorted(project.parent.parent.glob("*")) + sorted(project.parent.rglob("*.sql")) == before


def test_a_table_that_is_damaged_later_does_not_keep_others_from_being_asked(project: Path) -> None:
    (place(project) / "x").write_text("1\n")
    sql = f"CREATE EXTERNAL TABLE t (n int) ROW FORMAT DELIMITED {AT}"
    assert run(project, "query", sql).exit_code == 0
    (place(project) / "x").unlink()
    (place(project) / "x").symlink_to("/etc/hostname")
    assert run(project, "query", "SELECT 1").exit_code == 0
    result = run(project, "query", "SELECT * FROM t")
    assert (result.exit_code, "leads out" in result.output) == (3, True)


def test_our_own_csv_is_found_by_names(project: Path) -> None:
    (project.parent / "data.json").write_text(json.dumps({"Item": {"pk": {"S": "1"}, "n": {"N": "5"}}}) + "\n")
    assert run(project, "convert", "mine", "--from", str(project.parent / "data.json"), "--csv").exit_code == 0
    sql = "CREATE EXTERNAL TABLE t (N int) ROW FORMAT DELIMITED LOCATION 's3://any/mine/'; SELECT * FROM t"
    assert rows(project, sql) == [{"N": 5}]

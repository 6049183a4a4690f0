"""Whatever stands in a project file, it is taken with mappings that run, or refused by name."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzz.any import changed, often, texts, toml
from whimbrel.checks.cost import read_prices
from whimbrel.errors import MappingError, ProjectError, WhimbrelError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.family import family_faults
from whimbrel.project import load_project
from whimbrel.records import Change, Column, Position, Row, Table

SOURCE = """
state = ".state"
[source]
url = "mysql://user@127.0.0.1:3307/shop"
password_env = "NOBODY"
tls = "off"
connections = 2
chunk_rows = 1000
max_replica_lag = 1.5
[target]
endpoint = "http://127.0.0.1:1"
region = "us-east-1"
billing = "provisioned"
read_capacity = 5
write_capacity = 5
max_write_units = 100.0
[check]
prices = "prices.toml"
"""
FILES = [
    SOURCE
    + """
[[table]]
source = "thing"
target = "things"
partition_key = { name = "pk", value = "T#${id}" }
sort_key = { name = "n", type = "N" }
exclude = ["at"]
rename = { name = "title" }
types = { price = "S", flag = "BOOL", doc = "JSON", tags = "SS" }
columns = { initial = "substr(name, 1, 1)" }
filter = "n > 0"
mask = { name = "hash" }
attributes = { kind = "thing", size = { M = { n = { N = "${n}" }, all = { L = [{ S = "${id}" }] } } } }
attribute_prefix = "x_"
attribute_case = "upper"
new_columns = "include"
nulls = "omit"
[[table.index]]
name = "by_title"
partition_key = { name = "title" }
sort_key = { name = "n", type = "N" }
projection = ["kind"]
""",
    SOURCE
    + """
[[table]]
source = "shop.thing"
target = "things"
shape = "group"
item = "shared"
partition_key = { name = "n", type = "N" }
entry = { name = "${id}", as = "map", into = "rows" }
[[table]]
source = "shop.other"
target = "things"
shape = "group"
item = "shared"
partition_key = { name = "n", type = "N" }
entry = { as = "list", into = "others", order = ["id desc"] }
[[table]]
source = "shop.third"
target = "elsewhere"
shape = "document"
document = "row"
partition_key = { name = "id", type = "N" }
""",
    """
[target]
region = "us-east-1"
[lake]
folder = "lake"
keep = 3
[[dataset]]
table = "things"
key = ["id"]
[[model]]
name = "m"
dataset = "things"
target = "y"
threshold = { criterion = "f1" }
[serve]
[[endpoint]]
name = "e"
[[renewal]]
model = "m"
""",
]
COLUMNS = (
    Column("id", "int", nullable=False),
    Column("n", "int", nullable=False),
    Column("name", "text", length=20, charset="utf8mb4"),
    Column("price", "decimal", precision=10, scale=2),
    Column("flag", "int"),
    Column("doc", "json"),
    Column("tags", "set", members=("a", "b")),
    Column("at", "datetime"),
)
ROWS: list[Row] = [
    (1, 1, "one", "1.50", 1, '{"a": [1, null]}', "a,b", "2026-01-01 00:00:00"),
    (2, 1, "", "0.00", 0, "[]", "", "0000-00-00 00:00:00"),
    (3, 2, None, None, None, None, None, None),
]


def says_something(error: WhimbrelError) -> None:
    assert error.message.strip()
    assert error.hint


def taken_or_refused(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    try:
        project = load_project(path)
    except ProjectError as error:
        says_something(error)
        return
    mappings: list[TableMapping] = []
    for rule in project.tables:
        schema, _, name = rule.source.partition(".")
        table = Table(schema, name, COLUMNS, ("id", "n"))
        try:
            mapping = compile_mapping(rule, table)
        except MappingError as error:
            says_something(error)
            continue
        mappings.append(mapping)
        mapping.put_items(ROWS)
        mapping.fold([Change(table, None, row, Position("bin.000001", 4)) for row in ROWS])
    family_faults(mappings)


@pytest.mark.parametrize("document", [tomllib.loads(text) for text in FILES], ids=["record", "group", "lake"])
@often(60)
@given(data=st.data())
def test_a_project_file_with_anything_anywhere(tmp_path: Path, document: dict[str, Any], data: st.DataObject) -> None:
    taken_or_refused(tmp_path / "whimbrel.toml", toml(data.draw(changed(document))))


@often(60)
@given(st.sampled_from(FILES), st.integers(0), st.integers(0, 12), texts)
@example('[source]\nurl = "mysql://[::1"', 0, 0, "")
@example("table = [1]\n", 0, 0, "")
@example("[target]\nmax_write_units = nan\n", 0, 0, "")
@example('state = "a\\u0000b"\n', 0, 0, "")
def test_a_project_file_cut_and_patched(tmp_path: Path, text: str, at: int, gone: int, patch: str) -> None:
    at %= len(text)
    taken_or_refused(tmp_path / "whimbrel.toml", text[:at] + patch + text[at + gone :])


@often(100)
@given(data=st.data())
def test_a_price_file_with_anything_anywhere(tmp_path: Path, data: st.DataObject) -> None:
    prices = {"as_of": "2026-01-01", "regions": {"us-east-1": {"write_million": 1.0, "storage_gb": 0.25, "as_of": "x"}}}
    path = tmp_path / "prices.toml"
    path.write_text(toml(data.draw(changed(prices))), encoding="utf-8")
    with contextlib.suppress(ProjectError):
        read_prices(path, "us-east-1")

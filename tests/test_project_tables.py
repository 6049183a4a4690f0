"""``[[table]]`` as it is read: the whole vocabulary, and everything that is wrong with it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.errors import ProjectError
from whimbrel.project import IndexKey, IndexRule, TableRule, load_project, rule_named, select_rules

HEAD = """
[source]
url = "mysql://user@127.0.0.1/shop"
[[table]]
source = "lines"
target = "orders"
partition_key = { name = "pk", value = "ORDER#${order_id}" }
"""


def read(tmp_path: Path, text: str) -> TableRule:
    file = tmp_path / "whimbrel.toml"
    file.write_text(HEAD + text)
    return load_project(file).tables[0]


def faults(tmp_path: Path, text: str) -> str:
    with pytest.raises(ProjectError) as caught:
        read(tmp_path, text)
    return str(caught.value)


def test_everything_that_a_table_may_say(tmp_path: Path) -> None:
    rule = read(
        tmp_path,
        """
shape = "group"
item = "shared"
entry = { as = "list", into = "lines", order = ["placed desc", "line_no"] }
filter = "quantity > 0"
columns = { net = "price * quantity" }
mask = { card = "digits", email = "hash", phone = "null" }
attribute_prefix = "x_"
attribute_suffix = "_y"
attribute_case = "upper"
types = { tags = "SS", document = "JSON", placed = "EPOCH" }
attributes = { kind = "ORDER", size = { M = { n = { N = "${order_id}" }, all = { L = [{ S = "${order_id}" }] } } } }
[[table.index]]
name = "by_status"
partition_key = { name = "status" }
sort_key = { name = "placed", type = "N" }
projection = ["total"]
[[table.index]]
name = "by_total"
local = true
partition_key = { name = "pk" }
sort_key = { name = "total", type = "N" }
projection = "keys"
""",
    )
    assert (rule.entry_as, rule.entry_into, rule.entry_order) == ("list", "lines", ("placed desc", "line_no"))
    assert (rule.item, rule.filter, rule.columns) == ("shared", "quantity > 0", {"net": "price * quantity"})
    assert rule.mask == {"card": "digits", "email": "hash", "phone": "null"}
    assert (rule.attribute_prefix, rule.attribute_suffix, rule.attribute_case) == ("x_", "_y", "upper")
    assert rule.indexes == (
        IndexRule("by_status", IndexKey("status"), IndexKey("placed", "N"), False, ("total",)),
        IndexRule("by_total", IndexKey("pk"), IndexKey("total", "N"), True, "keys"),
    )
    assert rule.attributes["kind"] == "ORDER"
    assert isinstance(rule.attributes["size"], dict)


def test_what_several_rows_may_give_has_a_map_of_the_rows(tmp_path: Path) -> None:
    entry = 'name = "${line_no}", value = "tag", as = "string-set", into = "tags", rows = "tag_of"'
    rule = read(tmp_path, f'shape = "group"\nentry = {{ {entry} }}')
    assert (rule.entry_as, rule.entry_name, rule.entry_value) == ("string-set", "${line_no}", "tag")
    assert (rule.entry_into, rule.entry_rows) == ("tags", "tag_of")


def test_a_document_names_its_map(tmp_path: Path) -> None:
    assert read(tmp_path, 'shape = "document"').document == "_doc"
    assert read(tmp_path, 'shape = "document"\ndocument = "row"').document == "row"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('shape = "groups"', "shape: must be 'record' or 'document' or 'group'"),
        ('shape = "group"\nentry = { as = "map", name = "${a}" }', "entry.into: is missing"),
        ('shape = "group"\nentry = { as = "list", into = "l" }', "entry.order: is missing"),
        ('shape = "group"\nentry = { as = "list", into = "l", order = ["a"], name = "b" }', "entry.name: unknown key"),
        ('shape = "group"\nentry = { as = "string-set", into = "tags" }', "entry.value: is missing"),
        (
            'shape = "group"\nentry = { as = "string-set", into = "t", value = "v", rows = "r" }',
            "entry.name: is missing",
        ),
        ('shape = "group"\nentry = { as = "map", into = "t", name = "${a}", rows = "r" }', "entry.rows: unknown key"),
        ('shape = "group"\nentry = { as = "bag", name = "${a}" }', "entry.as: must be 'attribute' or 'map'"),
        ('document = "row"', "document: unknown key"),
        ('mask = { a = "shout" }', "mask.a: must be 'digits' or 'hash' or 'null'"),
        ('types = { a = "M" }', "types.a: must be 'S'"),
        ('item = "ours"', "item: must be 'own' or 'shared'"),
        ("attributes = { a = 1 }", "attributes.a: must be a template"),
        ('attributes = { a = { N = "1", S = "2" } }', "attributes.a: must be a template, or one typed value"),
        ("attributes = { a = { N = 1 } }", "attributes.a: N must have a template in quotes"),
        ('attributes = { a = { SS = ["x"] } }', "attributes.a: 'SS' is not"),
        ('attributes = { a = { M = { b = "x" } } }', "attributes.a: M.b: must be a template, or one typed"),
        ('[[table.index]]\npartition_key = { name = "a" }', "table lines: index 1: name: is missing"),
        ('[[table.index]]\nname = "i"\nlocal = true\npartition_key = { name = "a" }', "index i: sort_key: is missing"),
        ('[[table.index]]\nname = "i"\nlocal = 1\npartition_key = { name = "a" }', "local: must be true or false"),
        (
            '[[table.index]]\nname = "i"\nprojection = "some"\npartition_key = { name = "a" }',
            "projection: must be 'all'",
        ),
    ],
)
def test_a_fault_is_named(tmp_path: Path, text: str, wrong: str) -> None:
    assert wrong in faults(tmp_path, text)


def test_sections_of_one_source_are_numbered(tmp_path: Path) -> None:
    more = '[[table]]\nsource = "{}"\ntarget = "orders"\npartition_key = {{ name = "pk", value = "${{id}}" }}\n'
    file = tmp_path / "whimbrel.toml"
    file.write_text(HEAD + more.format("customers"))
    assert [rule.number for rule in load_project(file).tables] == [0, 0]
    file.write_text(HEAD + more.format("customers") + more.format("lines"))
    project = load_project(file)
    assert [rule.name for rule in project.tables] == ["shop.lines#1", "shop.customers", "shop.lines#2"]
    assert [rule.number for rule in select_rules(project, ("lines",))] == [1, 2]
    assert rule_named(project, "lines#2").number == rule_named(project, "shop.lines#2").number == 2
    with pytest.raises(ProjectError, match=r"lines could be shop.lines#1, shop.lines#2"):
        rule_named(project, "lines")
    with pytest.raises(ProjectError, match=r"There are: shop.lines#1, shop.customers, shop.lines#2"):
        rule_named(project, "lines#3")


def test_a_partition_key_that_is_spread(tmp_path: Path) -> None:
    rule = read(tmp_path, 'spread = { buckets = 16, by = "id" }')
    assert rule.partition_key.value == "ORDER#${order_id}#${id:bucket16}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('spread = { buckets = 1, by = "id" }', "must be 2 or more, not 1"),
        ('spread = { buckets = 65537, by = "id" }', "must be 65,536 or less, not 65537"),
        ('spread = { by = "id" }', "spread.buckets: must be 2 or more"),
        ("spread = { buckets = 16 }", "spread.by: is missing"),
        ("spread = 16", "spread"),
    ],
)
def test_a_spread_that_is_not_understood(tmp_path: Path, text: str, reason: str) -> None:
    assert reason in faults(tmp_path, text)

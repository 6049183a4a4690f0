"""A hot partition key is spread over buckets: the line that check names, how it is read, when design proposes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("sqlglot", reason="the extra 'lake' is not installed")

from tests.proposal.described import askings_of, known_tables, scale_of
from whimbrel.checks.access.reads import read
from whimbrel.checks.access.statement_answer import Sizes
from whimbrel.checks.access.ways import best_match
from whimbrel.checks.groups import spread_advice, spread_lines
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.project import KeyRule, TableRule
from whimbrel.proposal.search import Search
from whimbrel.setup.project_file import read_rule

LOG = {"name": "log", "columns": "device varchar(12), id bigint, taken datetime, body varchar(40)", "rows": 1_000_000}
SIZES = Sizes(1_000_000, 100.0, 1.0, lambda columns: 1.0 if "id" in columns else 1_600.0)


def mapping_of(value: str, name: str = "pk") -> TableMapping:
    [known] = known_tables([{**LOG, "key": "device, id"}]).values()
    rule = TableRule("app.log", "log", "record", KeyRule(name, value), KeyRule("id", "${id}", "N"))
    return compile_mapping(rule, known.table)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("pk", ['spread = { buckets = 16, by = "id" }']),
        (
            "device",  # the column stays an attribute
            [
                'partition_key = { name = "device_spread", value = "${device}" }',
                'spread = { buckets = 16, by = "id" }',
            ],
        ),
    ],
)
def test_the_lines_that_are_named_are_a_mapping(name: str, lines: list[str]) -> None:
    plain = mapping_of("${device}", name)
    assert spread_lines(plain) == lines
    assert " and ".join(lines) in spread_advice(plain)
    head = '[[table]]\nsource = "app.log"\ntarget = "log"\nsort_key = { name = "id", type = "N" }\n'
    key = 'partition_key = { name = "pk", value = "${device}" }'
    text = "\n".join([*([key] if len(lines) == 1 else []), *lines])
    spread = compile_mapping(read_rule(f"{head}{text}"), plain.table)
    assert spread.rule.partition_key.value == "${device}#${id:bucket16}"
    assert spread.doubts() == []
    assert spread.invertible
    assert spread_lines(spread) == []  # the column is in the key already


def test_a_group_is_spread_by_its_sort_key_and_stays_whole() -> None:
    [known] = known_tables([{**LOG, "key": "device, id"}]).values()
    whole = TableRule("app.log", "log", "group", KeyRule("pk", "${device}"), KeyRule("sk", "${taken}"), "${id}")
    whole = replace(whole, entry_as="map", entry_into="lines")
    assert spread_lines(compile_mapping(whole, known.table)) == ['spread = { buckets = 16, by = "taken" }']
    assert spread_lines(compile_mapping(replace(whole, sort_key=None), known.table)) == []
    assert spread_lines(compile_mapping(replace(whole, item="shared"), known.table)) == []


def test_a_spread_key_is_read_by_a_query_for_each_bucket() -> None:
    mapping = mapping_of("${device}#${id%16}")
    known = known_tables([{**LOG, "key": "device, id"}])
    statements = "SELECT * FROM log WHERE device = 'd'; SELECT * FROM log WHERE device = 'd' AND id = 7"
    several, one = askings_of(statements, known)
    match = best_match(several.statement.tables[0], mapping)
    assert match is not None
    assert match.buckets == 16
    answer = read(several.statement, several.statement.tables[0], mapping, SIZES, match)
    assert (answer.verdict, answer.units) == ("Query", 16 * 1.5)
    assert answer.call.endswith("""Key('pk').eq(f"{device}#{bucket}") """.strip() + ")")
    exact = best_match(one.statement.tables[0], mapping)
    assert exact is not None
    assert exact.exact


@pytest.mark.parametrize(("times", "buckets"), [(80_000_000, 0), (200_000_000, 8)])
def test_a_key_is_spread_when_its_heaviest_value_takes_too_many_writes(times: int, buckets: int) -> None:
    """Two values have all rows: the heavier one has nine tenths of the writes."""
    table = {**LOG, "key": "device, id", "values": {"device": 2}, "most": {"device": 900_000}}
    statements = f"-- times: {times}\nINSERT INTO log VALUES ('d', 1, '2026-01-01', 'x');\n"
    scale = scale_of([table], statements + "SELECT * FROM log WHERE device = 'd';")
    found = Search(scale).run()
    assert found.best["app.log"].placement.buckets == buckets
    assert scale.total(found.best) <= scale.total(found.indexed)

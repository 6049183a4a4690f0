"""The recent writes: how often something is written, where nothing says how long it took, and what is kept of them."""

from __future__ import annotations

from collections import Counter

from whimbrel.checks.writes import LINE_BYTES, Writes, write_findings
from whimbrel.mapping.design import compile_mapping
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Position, Table


def test_changes_of_a_transaction_that_was_not_read_to_its_end_have_no_rate() -> None:
    """No Commit came within the time that check reads: it ended with a division by zero."""
    writes = Writes(changes=Counter(t=5_000), partitions={"t": Counter({"customer=hot": 4_500, "customer=c": 500})})
    table = Table("s", "t", (Column("customer", "text"), Column("id", "int", nullable=False)), ("customer", "id"))
    rule = TableRule("s.t", "items", "record", KeyRule("pk", "${customer}"), KeyRule("id", "${id}", "N"))
    mappings = {"t": compile_mapping(rule, table)}
    assert list(write_findings(writes, mappings)) == []
    writes.since, writes.until = 1.0, 2.0
    [found] = write_findings(writes, mappings)
    assert found.code == "hot-writes"
    assert 'spread = { buckets = 16, by = "id" }' in found.remedy


def test_of_long_changes_few_are_kept() -> None:
    """All are counted. With 400 of 380 KB, the memory of check was 361 MB."""
    columns = (Column("id", "int", nullable=False), Column("body", "text", nullable=False, charset="utf8mb4"))
    table = Table("s", "t", columns, ("id",))
    mapping = compile_mapping(TableRule("s.t", "items", "record", KeyRule("pk", "row#${id}")), table)
    writes, body = Writes(), "x" * 400_000
    for number in range(100):
        writes.add([Change(table, None, (number, body), Position("bin.1", 4))], {"s.t": mapping})
    assert writes.changes["s.t"] == 100
    assert 1 < len(writes.lines) <= 1 + LINE_BYTES // len(body)

"""What check says of changes that no record of the stream takes, by what the columns may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.checks import target
from whimbrel.mapping.design import compile_mapping
from whimbrel.migration.stream import StreamFacts
from whimbrel.project import KeyRule, TableRule, load_project
from whimbrel.records import Column, Table

STREAM = '[log]\nengine = "kinesis"\nstream = "s"\n[apply]\nengine = "lambda"\n'
STORE = '[snapshot]\nstore = "s3://bucket/shop"\n'
ID = Column("id", "int", nullable=False)


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ([], ""),
        ([Column("small", "text", length=65_535)], ""),
        ([Column("body", "binary", length=16_777_215), Column("small", "text", length=65_535)], "body"),
        ([Column("body", "text", length=4_294_967_295), Column("more", "json")], "body, more"),
        ([Column("place", "geometry")], "place"),
    ],
    ids=str,
)
def test_columns_that_may_hold_more_than_a_record_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: list[Column], named: str
) -> None:
    """Also those that are not mapped: they are in each change of their row. With a bucket, larger ones go there."""
    monkeypatch.setattr(target, "facts_of", lambda _: StreamFacts(1 << 20, 24))
    excluded = tuple(each.name for each in columns)
    rule = TableRule("shop.notes", "notes", "record", partition_key=KeyRule("id", "${id}"), exclude=excluded)
    mapping = compile_mapping(rule, Table("shop", "notes", (ID, *columns), ("id",)))
    found = {}
    for store in ("", STORE):
        (tmp_path / "whimbrel.toml").write_text(STREAM + store)
        findings = target.stream_findings(load_project(tmp_path / "whimbrel.toml"), [mapping])
        found[store] = [each for each in findings if each.code == "stream-large-changes"]
    assert found[STORE] == []
    said = [f"{named} may have more than the 1,048,576 bytes of a record"] if named else []
    assert [each.reason for each in found[""]] == said
    assert [each.place for each in found[""]] == ["shop.notes"] * bool(named)

"""Each folder under cases/: a DMS file, the tables it meets, and what comes of it: rules and items, or faults by name.

    rules.json      the DMS file, as a person or the DMS console wrote it
    tables.json     the live schema, see ``schema``; a table may have "rows" too, and "changes": [[before, after], …]
    expected.json   {"tables": [what differs from TableRule's defaults], "notes": […], "items": {source: […]},
                    "changes": {source: [what is written for each change, in log order]}}
                    or {"faults": […]}

A new case is a new folder; `python -m tests.dms.write NAME` writes its expected.json, for a person to read.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from tests.dms.schema import Schema
from whimbrel.dms.read import load_rules
from whimbrel.dms.toml import table_section
from whimbrel.dms.translate import Translated, translate
from whimbrel.errors import ProjectError
from whimbrel.mapping.design import compile_mapping
from whimbrel.mapping.provenance import of_change, of_snapshot
from whimbrel.project import TableRule, load_project
from whimbrel.records import Change, Guarded, ItemOperation, Position, Put

BEGAN = 1_767_323_045.0  # 2026-01-02 03:04:05 UTC
CASES = Path(__file__).parent / "cases"
NAMES = sorted(folder.name for folder in CASES.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str) -> None:
    expected = json.loads((CASES / name / "expected.json").read_text())
    assert outcome(CASES / name) == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_project_file_made_from_it_says_the_same(name: str, tmp_path: Path) -> None:
    try:
        translated, _ = translated_case(CASES / name)
    except ProjectError:
        return  # the other test holds its faults
    project = tmp_path / "whimbrel.toml"
    sections = "\n".join(map(table_section, translated.tables))
    project.write_text(f'[source]\nurl = "mysql://someone@127.0.0.1"\n\n{sections}', encoding="utf-8")
    assert load_project(project).tables == translated.tables


def translated_case(folder: Path) -> tuple[Translated, Schema]:
    schema = Schema(json.loads((folder / "tables.json").read_text()))
    return translate(load_rules(folder / "rules.json"), schema.found, schema.read), schema


def outcome(folder: Path) -> dict[str, Any]:
    try:
        translated, schema = translated_case(folder)
    except ProjectError as error:
        return {"faults": [line.strip() for line in error.message.strip().splitlines()]}
    items = {rule.source: items_of(rule, schema) for rule in translated.tables if schema.rows(rule.source)}
    said: dict[str, Any] = {"tables": [differing(rule) for rule in translated.tables]}
    if translated.notes:
        said["notes"] = list(translated.notes)
    if items:
        said["items"] = items
    changes = {rule.source: changes_of(rule, schema) for rule in translated.tables if schema.changes(rule.source)}
    return said | ({"changes": changes} if changes else {})


def changes_of(rule: TableRule, schema: Schema) -> list[Any]:
    """The items that each change puts, and the keys of those that it deletes."""
    table = schema.read(*rule.source.split("."))
    mapping = compile_mapping(rule, table)
    said: list[Any] = []
    for number, (before, after) in enumerate(schema.changes(rule.source), 1):
        change = Change(table, before, after, Position("bin.000001", 100 * number))
        provenance = of_change(change, number, BEGAN + number, BEGAN)
        operations, faults = mapping.fold([change], lambda _, provenance=provenance: provenance)  # type: ignore[misc]
        said.append(
            [each.item if isinstance(each, Put) else {"deletes": each.key} for each in map(plain, operations)]
            + [{"fault": fault.reason} for fault in faults]
        )
    return said


def items_of(rule: TableRule, schema: Schema) -> list[Any]:
    table = schema.read(*rule.source.split("."))
    at_start = of_snapshot(Position("bin.000001", 4), BEGAN)
    puts, faults = compile_mapping(rule, table).put_items(schema.rows(rule.source), at_start)
    return [put.item for put in puts] + [{"fault": fault.reason} for fault in faults]


def plain(operation: ItemOperation) -> ItemOperation:
    return operation.operation if isinstance(operation, Guarded) else operation


def differing(rule: TableRule) -> dict[str, Any]:
    """What the rule says, without what it leaves at its default; as JSON has it."""
    plain = TableRule("", "", "", rule.partition_key)
    values = {each.name: getattr(rule, each.name) for each in fields(rule)}
    kept = {name: value for name, value in values.items() if value != getattr(plain, name)}
    for name in ("partition_key", "sort_key", "condition"):
        if key := getattr(rule, name):
            kept[name] = asdict(key)
    return dict(json.loads(json.dumps(kept)))

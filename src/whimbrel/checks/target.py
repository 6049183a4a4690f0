"""The target: whether its tables are there, ours to fill, and of the right key."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from whimbrel.checks.findings import Finding, finding
from whimbrel.dynamodb import marks
from whimbrel.dynamodb.session import Session
from whimbrel.dynamodb.tables import check_indexes, check_key, describe_all, is_empty
from whimbrel.dynamodb.ttl import on_too_early, ttl_attribute
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, TargetNotEmpty, WhimbrelError
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import by_target
from whimbrel.migration.stream import facts_of
from whimbrel.migration.targets import refuse_own_items
from whimbrel.project import OFF, Project, Target

_OF_ANY_LENGTH = ("json", "geometry")  # the server names none


def target_findings(target: Target, mappings: list[TableMapping], *, begun: bool) -> Iterator[Finding]:
    """``begun``: a migration is under way, and the items are its own."""
    try:
        client: Any = Session(target).client()
        names = {mapping.target for mapping in mappings} | {target.mark} - {OFF}
        with closing(DynamoClient(target)) as wire:
            found = describe_all(wire, sorted(names), threading.Event())
            yield from _mark_findings(found.get(target.mark), target)
            for mapping in mappings:
                may_have_items = begun or mapping.target in target.shared
                yield from _table_findings(client, found[mapping.target], mapping, begun=may_have_items)
            shared = [each for each in mappings if each.target in target.shared and found[each.target] and not begun]
            for several in by_target(shared).values():
                yield from _own_items(wire, target, several)
    except WhimbrelError as error:
        yield finding("target-unreachable", error.place or "target", error.message, error.hint)


def stream_findings(project: Project, mappings: Iterable[TableMapping]) -> Iterator[Finding]:
    """As ``migrate`` asks before it begins; nothing where the process itself applies its files."""
    try:
        if project.stream:
            facts = facts_of(project)
            reason = f"it keeps records for {facts.hours} h: the function may be away for so long"
            yield finding("stream-retention", f"stream {project.stream.name}", reason)
            if project.store is None:
                yield from _large_changes(facts.most_bytes, mappings)
    except WhimbrelError as error:
        yield finding("target-stream", error.place or "log.stream", error.message, error.hint)


def _large_changes(most: int, mappings: Iterable[TableMapping]) -> Iterator[Finding]:
    """By what the columns may hold: also one that is not mapped is in each change of its row."""
    tables = {mapping.table.full_name: mapping.table.stored for mapping in mappings}
    for name, table in tables.items():
        if large := [each.name for each in table.columns if each.length > most or each.kind in _OF_ANY_LENGTH]:
            reason = f"{', '.join(large)} may have more than the {most:,} bytes of a record"
            yield finding("stream-large-changes", name, reason)


def _mark_findings(description: Any, target: Target) -> Iterator[Finding]:
    if target.mark == OFF:
        yield finding("no-mark", "target", 'mark = "off" in the project file')
    elif description:
        try:
            check_key(description, target.mark, marks.KEY)
        except RequestRefused as error:
            yield finding("target-mark", target.mark, error.message)


def _own_items(wire: DynamoClient, target: Target, mappings: list[TableMapping]) -> Iterator[Finding]:
    """As ``migrate`` looks before it begins."""
    try:
        refuse_own_items(wire, target, mappings, threading.Event())
    except TargetNotEmpty as error:
        yield finding("target-not-empty", error.place, error.message, error.hint)


def _table_findings(client: Any, description: Any, mapping: TableMapping, *, begun: bool) -> Iterator[Finding]:
    if description is None:
        return
    try:
        check_key(description, mapping.target, mapping.key_attributes)
    except RequestRefused as error:
        yield finding("target-key", mapping.target, error.message, error.hint)
        return
    try:
        check_indexes(description, mapping.target, mapping.rule.indexes)
    except RequestRefused as error:
        yield finding("target-index", mapping.target, error.message, error.hint)
    if not begun and not is_empty(client, mapping.target):
        yield finding("target-not-empty", mapping.target, "the table has items that this migration did not write")
    yield from _index_findings(description, mapping)
    if mapping.rule.ttl and (attribute := ttl_attribute(client, mapping.target)):
        early = on_too_early(mapping.target, attribute)
        yield finding("target-ttl", mapping.target, early.message, early.hint)


def _index_findings(description: Any, mapping: TableMapping) -> Iterator[Finding]:
    """DynamoDB refuses an item whose attribute has another type than an index on it, NULL and empty text included."""
    if mapping.shape == "group":
        return
    types = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
    carried = {one.attribute: one for one in mapping.design.carried}
    nullable = {each.name for each in mapping.design.added if each.may_be_null(mapping.design.columns)}
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        for index in description.get(kind, ()):
            for name in (each["AttributeName"] for each in index["KeySchema"]):
                if name in mapping.design.sparse:
                    continue
                place = f"{mapping.target}, index {index['IndexName']}"
                if name in nullable and not mapping.design.omit_nulls:
                    yield finding("target-index", place, f"{name} may be NULL: nulls = 'omit' leaves it out")
                if name not in carried:
                    continue
                one = carried[name]
                if one.type != types[name]:
                    yield finding(
                        "target-index", place, f"{name} is {types[name]} there, and {one.type} by the mapping"
                    )
                elif one.column.nullable and not mapping.design.omit_nulls:
                    yield finding("target-index", place, f"{name} may be NULL: nulls = 'omit' leaves it out")

"""INSERT, REPLACE, UPDATE and DELETE as PutItem, UpdateItem, DeleteItem or a transaction."""

from __future__ import annotations

from whimbrel.checks.access.parse import AskedOfTable, ParsedStatement
from whimbrel.checks.access.reads import read
from whimbrel.checks.access.statement_answer import Sizes, StatementAnswer, attribute_of
from whimbrel.checks.access.ways import Match, parts, value, ways
from whimbrel.mapping.design import TableMapping


def insert(statement: ParsedStatement, asked: AskedOfTable, mapping: TableMapping, size: Sizes) -> StatementAnswer:
    answer = StatementAnswer(mapping.source, "PutItem", units=size.write_units, writes=True)
    table = f"dynamodb.Table({mapping.target!r})"
    own = ways(mapping)[0]
    key = ", ".join(f"{part.name!r}: {value(part)}" for part in parts(own))
    missing = [name for name in mapping.group_columns if name not in statement.assigned]
    if missing:
        answer.notes.append(f"{', '.join(missing)} is not given: the application must make the key (AUTO_INCREMENT)")
    if mapping.shape == "group" or mapping.shared:
        answer.verdict = "UpdateItem"
        answer.call = f"{table}.update_item(Key={{{key}}}, UpdateExpression='SET …')"
        answer.notes.append("the row is a part of its item")
    elif statement.upsert:
        answer.verdict = "UpdateItem"
        answer.call = f"{table}.update_item(Key={{{key}}}, UpdateExpression='SET …')"
    elif statement.verb == "replace":
        answer.call = f"{table}.put_item(Item={{{key}, …}})"
    else:
        condition = f"Attr({own.partition.name!r}).not_exists()"
        answer.call = f"{table}.put_item(Item={{{key}, …}}, ConditionExpression={condition})"
        if statement.ignore:
            answer.notes.append("IGNORE: let ConditionalCheckFailedException pass")
    if statement.many:
        answer.verdict = "TransactWriteItems"
        answer.notes.append(
            "several rows: 100 a transaction, twice the units; without one, BatchWriteItem. Units are for one"
        )
        answer.call = f"client.transact_write_items(TransactItems=[…])  # each: {answer.call}"
    return answer


def change(
    statement: ParsedStatement, asked: AskedOfTable, mapping: TableMapping, size: Sizes, match: Match | None
) -> StatementAnswer:
    table = f"dynamodb.Table({mapping.target!r})"
    part = mapping.shape == "group" or mapping.shared
    verdict = "UpdateItem" if statement.verb == "update" or part else "DeleteItem"
    answer = StatementAnswer(mapping.source, verdict, units=size.write_units, writes=True)
    if match is None or not match.exact or match.way.name:
        found = read(statement, asked, mapping, size, match)
        found.notes.append(f"then {verdict} for each item that it finds, of about {size.write_units:,.1f} write units")
        if found.verdict.startswith("Query"):
            found.verdict += f" + {verdict}"
        return found
    key = ", ".join(f"{one.name!r}: {value(one)}" for one in parts(match.way))
    rest = sorted(({*asked.equal, *asked.among, *asked.ranges, *asked.filters}) - match.used)
    entry = set(mapping.design.entry_name.columns)
    if mapping.shape == "group" and not entry <= asked.equal:
        answer.notes.append("several rows of one item: read it, then write the entries that are meant")
    rest = [name for name in rest if name not in entry]
    condition = (
        f", ConditionExpression={' & '.join(f'Attr({attribute_of(mapping, n)!r})…' for n in rest)}" if rest else ""
    )
    if statement.verb == "update":
        moved = sorted(set(statement.assigned) & set(mapping.group_columns))
        expression = "ADD …" if statement.counted_up == statement.assigned else "SET …"
        if moved:
            answer.verdict = "TransactWriteItems"
            answer.notes.append(f"{', '.join(moved)} is of the key: a Delete and a Put, twice the units each")
            answer.units = size.write_units * 4
            answer.call = f"client.transact_write_items(TransactItems=[{{'Delete': …}}, {{'Put': …}}])  # {key}"
            return answer
        answer.call = f"{table}.update_item(Key={{{key}}}, UpdateExpression='{expression}'{condition})"
        answer.notes += ["where there is no such item, UpdateItem makes one: add attribute_exists"] if not rest else []
    elif part:
        answer.call = f"{table}.update_item(Key={{{key}}}, UpdateExpression='REMOVE …'{condition})"
    else:
        answer.call = f"{table}.delete_item(Key={{{key}}}{condition})"
    if match.among:
        answer.notes.append("one for each key of the list, or TransactWriteItems of up to 100; units are for one")
    return answer

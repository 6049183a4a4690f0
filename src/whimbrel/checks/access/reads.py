"""SELECT as GetItem, BatchGetItem, Query or Scan."""

from __future__ import annotations

from whimbrel.checks.access.parse import AskedOfTable, ParsedStatement
from whimbrel.checks.access.statement_answer import (
    NEEDS_INDEX,
    NO_GROUPS,
    NOT_SERVED,
    SCAN,
    Sizes,
    StatementAnswer,
    attribute_of,
    read_units,
)
from whimbrel.checks.access.wanted import index_wanted
from whimbrel.checks.access.ways import Match, columns_of, in_order, parts, value
from whimbrel.mapping.design import TableMapping


def read(
    statement: ParsedStatement, asked: AskedOfTable, mapping: TableMapping, size: Sizes, match: Match | None
) -> StatementAnswer:
    answer = StatementAnswer(mapping.source, "")
    table = f"dynamodb.Table({mapping.target!r})"
    if match is None:
        return _unserved(statement, asked, mapping, size, answer)
    rest = sorted(({*asked.equal, *asked.among, *asked.ranges, *asked.filters}) - match.used)
    if match.exact and not match.way.name:
        key = ", ".join(f"{part.name!r}: {value(part)}" for part in parts(match.way))
        answer.verdict, answer.units = "GetItem", read_units(1, size.bytes)
        answer.call = f"{table}.get_item(Key={{{key}}})"
        if match.among:
            answer.verdict = "BatchGetItem"
            answer.call = f"dynamodb.batch_get_item(RequestItems={{{mapping.target!r}: {{'Keys': [{{{key}}}, …]}}}})"
            answer.notes.append("units are for one key of the list; 100 keys a request at most")
        if rest:
            answer.notes.append(f"{', '.join(rest)}: compared by the application, in the one item")
        return answer
    options = [f"KeyConditionExpression={match.condition}"]
    if match.way.name:
        options.insert(0, f"IndexName={match.way.name!r}")
    answer.verdict = "Query on an index" if match.way.name else "Query"
    answer.index = match.way.name
    if rest:
        if mapping.shape == "record":
            options.append(f"FilterExpression={' & '.join(f'Attr({attribute_of(mapping, one)!r})…' for one in rest)}")
            answer.notes.append(f"{', '.join(rest)}: filtered after reading, and paid for")
        else:
            answer.notes.append(f"{', '.join(rest)}: compared by the application")
    counted = _aggregated(statement, mapping, options, answer, bool(rest))
    ordered = _order(statement, match, mapping, options, answer)
    amount = _amount(match, size)
    if statement.limit > 0 and ordered and not rest and not counted and amount is not None:
        options.append(f"Limit={statement.limit}")
        amount = min(amount, statement.limit)
    elif statement.limit and ordered and not rest and not counted:
        options.append("Limit=…")
    if statement.offset:
        answer.notes.append("OFFSET: page with ExclusiveStartKey instead")
    if match.among:
        answer.notes.append("one Query for each value of the list; units are for one")
    if match.sort in ("range", "begins_with"):
        answer.notes.append("units are for the whole partition: the range reads a part of it")
    if match.buckets > 1:
        answer.notes.append(f"one Query for each of {match.buckets} buckets; units are for all of them")
        amount = None if amount is None else amount / match.buckets
    answer.units = None if amount is None else match.buckets * read_units(amount, size.bytes)
    answer.call = f"{table}.query({', '.join(options)})"
    return answer


def _amount(match: Match, size: Sizes) -> float | None:
    """How many items have what the key is bound to."""
    known = match.sort == "=" or match.buckets > 1
    return size.per(tuple(sorted(match.used)) if known else columns_of(match.way.partition))


def _aggregated(
    statement: ParsedStatement, mapping: TableMapping, options: list[str], answer: StatementAnswer, filtered: bool
) -> bool:
    if not statement.aggregates:
        return False
    if statement.counts_only and mapping.shape != "group":
        options.append("Select='COUNT'")
    else:
        answer.notes.append(f"{', '.join(statement.aggregates)}: computed by the application from what is read")
    return True


def _order(
    statement: ParsedStatement, match: Match, mapping: TableMapping, options: list[str], answer: StatementAnswer
) -> bool:
    """Whether the items come in the order asked for."""
    if statement.ordered_otherwise:
        answer.notes.append("ordered by an expression: sorted by the application, from all that is read")
        return False
    order = [(name, down) for _, name, down in statement.order if name not in statement.tables[0].equal]
    if not order:
        return True
    key = match.way.sort
    left = [name for name in key.template.columns if name not in statement.tables[0].equal] if key else []
    names, downs = [name for name, _ in order], {down for _, down in order}
    one_query = match.buckets == 1 and not match.among
    fits = key and names == left[: len(names)] and len(downs) == 1 and one_query
    if fits and key and all(in_order(key, name, mapping) for name in names):
        if downs == {True}:
            options.append("ScanIndexForward=False")
        return True
    more = "; with its LIMIT, all of it is read" if statement.limit else ""
    answer.notes.append(
        f"ORDER BY {', '.join(names)} is not the order of the sort key: sorted by the application{more}"
    )
    return False


def _unserved(
    statement: ParsedStatement, asked: AskedOfTable, mapping: TableMapping, size: Sizes, answer: StatementAnswer
) -> StatementAnswer:
    """No key is bound: an index where one column or more is one value, else a Scan."""
    answer.units = read_units(size.items, size.bytes)
    table = f"dynamodb.Table({mapping.target!r})"
    conditions = sorted({*asked.equal, *asked.among, *asked.ranges, *asked.filters})
    filters = " & ".join(f"Attr({attribute_of(mapping, one)!r})…" for one in conditions)
    answer.call = f"{table}.scan({f'FilterExpression={filters}' if filters and mapping.shape == 'record' else ''})"
    if statement.aggregates and not asked.equal | asked.among:
        answer.verdict, answer.call, answer.advice = NOT_SERVED, "", NO_GROUPS
        answer.notes.append(f"{', '.join(statement.aggregates)} over the table")
        return answer
    wanted = index_wanted(statement, asked, mapping)
    if wanted is None:
        answer.verdict = SCAN
        answer.advice = "Give the statement a key, or ask the lake: whimbrel export, then whimbrel query"
        if statement.order and statement.limit:
            answer.advice = (
                "The newest of all: an index with one constant partition key, as far as its writes stay below 1,000 a "
                f"second, and the sort key {statement.order[0][1]}"
            )
        if statement.limit > 0 and not statement.order and not conditions:
            answer.units = read_units(min(statement.limit, size.items), size.bytes)
            answer.call = f"{table}.scan(Limit={statement.limit})"
        return answer
    answer.verdict, answer.advice = NEEDS_INDEX, wanted.advice
    answer.notes.append(f"until then a Scan of about {answer.units:,.1f} read units")
    amount = size.per(wanted.columns)
    answer.units = None if amount is None else read_units(amount, size.bytes)
    answer.index = wanted.name
    answer.call = (
        f"{table}.query(IndexName={wanted.name!r}, KeyConditionExpression={wanted.condition})" if wanted.name else ""
    )
    return answer

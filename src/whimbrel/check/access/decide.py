"""What serves a statement under the mapping: a request of DynamoDB, an index that is wanted, a Scan, or nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from whimbrel.check.access.parse import Asked, Statement
from whimbrel.mapping.columns import Columns
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.templates import Literal, Reference, Template
from whimbrel.mapping.trees import Leaf
from whimbrel.mapping.values import NUMBER_KINDS

PAGE = 4096  # bytes that one read unit reads; an eventually consistent read, boto3's default, takes half of it
NEEDS_INDEX, SCAN, NOT_SERVED = "needs an index", "Scan", "not served"

# Their canonical texts sort as the values do; "-1" and "10" do not.
_SORTED_TEXTS = {"text", "date", "datetime", "timestamp", "year", "enum", "uuid"}


class KeyPart(NamedTuple):
    """A key attribute of the table or of an index."""

    name: str
    type: str
    template: Template


class Way(NamedTuple):
    """A key to read by: the table's own (``name`` is "") or an index's."""

    name: str
    partition: KeyPart
    sort: KeyPart | None


class Match(NamedTuple):
    """How far a Way is bound. ``sort``: "", "=", "begins_with", "range". ``among``: one of several values.

    ``used``: the columns that the key takes care of.
    """

    way: Way
    sort: str
    condition: str
    among: bool
    used: frozenset[str]

    @property
    def exact(self) -> bool:
        return self.way.sort is None or self.sort == "="


class Sizes(NamedTuple):
    """``per`` says how many items share a value of the columns, None if nobody knows; ``items`` of ``bytes`` each."""

    items: float
    bytes: float
    write_units: float
    per: Callable[[tuple[str, ...]], float | None]


@dataclass
class Answer:
    """``units`` are read units, or write units if ``writes``; of a list of keys, those of one. None: not known."""

    table: str
    verdict: str
    call: str = ""
    index: str = ""
    units: float | None = None
    writes: bool = False
    notes: list[str] = field(default_factory=list)
    advice: str = ""


def decide(statement: Statement, mappings: dict[str, TableMapping], sizes: dict[str, Sizes]) -> Answer:
    """``mappings`` and ``sizes`` are by source table."""
    asked = statement.tables[0]
    if statement.why or statement.others or len(statement.tables) > 1:
        return _several(statement, mappings)
    mapping = mappings[asked.table.full_name]
    size = sizes[mapping.source]
    if statement.verb in ("insert", "replace"):
        return _insert(statement, asked, mapping, size)
    if statement.grouped:
        what = f"groups by {', '.join(statement.grouped)}"
        return Answer(mapping.source, NOT_SERVED, notes=[what], advice=_NO_GROUPS)
    match = best_match(asked, mapping)
    if statement.verb != "select":
        return _change(statement, asked, mapping, size, match)
    return _read(statement, asked, mapping, size, match)


_NO_GROUPS = (
    "Keep the figures in items of their own, counted up by the writes (UpdateItem with ADD, or from the stream); "
    "or ask the lake: whimbrel export, then whimbrel query"
)


# --- keys that are bound --------------------------------------------------------------------------------------------


def ways(mapping: TableMapping) -> list[Way]:
    """The table's key first, then its indexes, as far as their attributes are made of columns."""
    keys = [KeyPart(key.name, key.type, key.template) for key in mapping.design.keys]
    found = [Way("", keys[0], keys[1] if len(keys) > 1 else None)]
    parts = _attributes(mapping)
    for index in mapping.rule.indexes:
        partition = parts.get(index.partition_key.name)
        sort = parts.get(index.sort_key.name) if index.sort_key else None
        if partition:
            kept = sort._replace(type=index.sort_key.type) if sort and index.sort_key else None
            found.append(Way(index.name, partition._replace(type=index.partition_key.type), kept))
    return found


def _attributes(mapping: TableMapping) -> dict[str, KeyPart]:
    """The attributes that an index could have, with the templates behind them."""
    design = mapping.design
    found = {key.name: KeyPart(key.name, key.type, key.template) for key in design.keys}
    for added in design.added:
        if isinstance(added.tree, Leaf):
            found[added.name] = KeyPart(added.name, added.tree.type, added.tree.template)
    if design.shape == "record":
        for one in design.carried:
            name = one.column.name
            found.setdefault(one.attribute, KeyPart(one.attribute, one.type, Template("", (Reference(name),))))
    return found


def best_match(asked: Asked, mapping: TableMapping) -> Match | None:
    """The Way that leaves least to be read; the table's own key where others are no better."""
    found = [match for way in ways(mapping) if (match := _match(way, asked, mapping))]
    worth = {"=": 3, "range": 2, "begins_with": 2, "": 0}
    return max(found, key=lambda one: 3 if one.exact and not one.way.name else worth[one.sort], default=None)


def _match(way: Way, asked: Asked, mapping: TableMapping) -> Match | None:
    columns = Columns(mapping.rule, mapping.table, [])
    bound = asked.equal | asked.among

    def sources(template: Template) -> set[str]:
        return {source for name in template.columns for source in columns.sources(name)}

    needed = sources(way.partition.template)
    if not needed <= bound or (not needed and way.name):
        return None
    among = bool(needed & asked.among)
    condition, sort, used = f"Key({way.partition.name!r}).eq({value(way.partition)})", "", set(needed)
    if way.sort is not None:
        more, sort, of_sort = _sort_condition(way.sort, asked, mapping, sources)
        used |= of_sort
        among = among or bool(of_sort & asked.among)
        condition += f" & {more}" if more else ""
    return Match(way, sort, condition, among, frozenset(used))


def _sort_condition(
    key: KeyPart, asked: Asked, mapping: TableMapping, sources: Callable[[Template], set[str]]
) -> tuple[str, str, set[str]]:
    """The condition in boto3's words, its sort, and the columns that it takes care of."""
    name, bound = f"Key({key.name!r})", asked.equal | asked.among
    if sources(key.template) <= bound:
        return f"{name}.eq({value(key)})", "=", sources(key.template)
    text, used = "", set()
    for place, part in enumerate(key.template.parts):
        if isinstance(part, Literal):
            text += part.text
            continue
        behind = sources(Template("", (part,)))
        if behind <= bound:
            text += f"{{{part.column}}}"
            used |= behind
            continue
        operators = asked.ranges.get(part.column, []) if behind == {part.column} else []
        if operators and _in_order(key, part.column, mapping):
            last = place == len(key.template.parts) - 1
            return _ranged(name, key, text, part.column, operators, last), _kind(operators), used | {part.column}
        break
    if text and key.type == "S":
        return f"{name}.begins_with({_text(text)})", "begins_with", used
    return "", "", set()


def _kind(operators: list[str]) -> str:
    return "begins_with" if operators == ["begins"] else "range"


def _in_order(key: KeyPart, column: str, mapping: TableMapping) -> bool:
    """Items come in the order of the column's values."""
    if key.type == "N":
        return True
    return mapping.design.columns[column].kind in _SORTED_TEXTS or key.type == "B"


def _ranged(name: str, key: KeyPart, before: str, column: str, operators: list[str], last: bool) -> str:
    if operators == ["begins"]:
        return f"{name}.begins_with({_text(f'{before}{{{column}_begin}}')})"
    if len(operators) == 1 and operators[0] != "between" and not before and last:
        word = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[operators[0]]
        return f"{name}.{word}({value(key)})"
    low = f"{{{column}_from}}" if {">", ">=", "between"} & set(operators) else ""
    high = f"{{{column}_to}}" if {"<", "<=", "between"} & set(operators) else ""
    if key.type != "S":
        return f"{name}.between({column}_from, {column}_to)"
    end = "" if high and last else "\\uffff"
    return f"{name}.between({_text(before + low)}, {_text(before + high + end)})"


def value(key: KeyPart) -> str:
    """The Python expression for a key's value, with the columns as variables."""
    if key.template.alone:
        return key.template.alone if key.type != "S" else f"str({key.template.alone})"
    parts = [part.text if isinstance(part, Literal) else f"{{{part.column}}}" for part in key.template.parts]
    return _text("".join(parts))


def _text(inside: str) -> str:
    return f'f"{inside}"' if "{" in inside else f'"{inside}"'


# --- reads ----------------------------------------------------------------------------------------------------------


def _read(statement: Statement, asked: Asked, mapping: TableMapping, size: Sizes, match: Match | None) -> Answer:
    answer = Answer(mapping.source, "")
    table = f"dynamodb.Table({mapping.target!r})"
    if match is None:
        return _unserved(statement, asked, mapping, size, answer)
    rest = sorted(({*asked.equal, *asked.among, *asked.ranges, *asked.filters}) - match.used)
    if match.exact and not match.way.name:
        key = ", ".join(f"{part.name!r}: {value(part)}" for part in _parts(match.way))
        answer.verdict, answer.units = "GetItem", _read_units(1, size.bytes)
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
            options.append(f"FilterExpression={' & '.join(f'Attr({_attribute(mapping, one)!r})…' for one in rest)}")
            answer.notes.append(f"{', '.join(rest)}: filtered after reading, and paid for")
        else:
            answer.notes.append(f"{', '.join(rest)}: compared by the application")
    counted = _aggregated(statement, mapping, options, answer, bool(rest))
    ordered = _order(statement, match, mapping, options, answer)
    amount = size.per(tuple(sorted(match.used))) if match.sort == "=" else size.per(_columns_of(match.way.partition))
    if statement.limit > 0 and ordered and not rest and not counted and amount is not None:
        options.append(f"Limit={statement.limit}")
        amount = min(amount, statement.limit)
    elif statement.limit and ordered and not rest and not counted:
        options.append("Limit=…")
    if statement.offset:
        answer.notes.append("OFFSET: pages go on by ExclusiveStartKey instead")
    if match.among:
        answer.notes.append("one Query for each value of the list; units are for one")
    if match.sort in ("range", "begins_with"):
        answer.notes.append("units are for the whole partition: the range reads a part of it")
    answer.units = None if amount is None else _read_units(amount, size.bytes)
    answer.call = f"{table}.query({', '.join(options)})"
    return answer


def _parts(way: Way) -> list[KeyPart]:
    return [way.partition, way.sort] if way.sort else [way.partition]


def _columns_of(part: KeyPart) -> tuple[str, ...]:
    return part.template.columns


def _attribute(mapping: TableMapping, column: str) -> str:
    return next((one.attribute for one in mapping.design.carried if one.column.name == column), column)


def _read_units(items: float, item_bytes: float) -> float:
    return max(1, math.ceil(items * item_bytes / PAGE)) / 2


def _aggregated(
    statement: Statement, mapping: TableMapping, options: list[str], answer: Answer, filtered: bool
) -> bool:
    if not statement.aggregates:
        return False
    if statement.counts_only and mapping.shape != "group":
        options.append("Select='COUNT'")
    else:
        answer.notes.append(f"{', '.join(statement.aggregates)}: computed by the application from what is read")
    return True


def _order(statement: Statement, match: Match, mapping: TableMapping, options: list[str], answer: Answer) -> bool:
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
    fits = key and names == left[: len(names)] and len(downs) == 1 and not match.among
    if fits and key and all(_in_order(key, name, mapping) for name in names):
        if downs == {True}:
            options.append("ScanIndexForward=False")
        return True
    more = "; with its LIMIT, all of it is read" if statement.limit else ""
    answer.notes.append(
        f"ORDER BY {', '.join(names)} is not the order of the sort key: sorted by the application{more}"
    )
    return False


def _unserved(statement: Statement, asked: Asked, mapping: TableMapping, size: Sizes, answer: Answer) -> Answer:
    """No key is bound: an index where one column or more is one value, else a Scan."""
    answer.units = _read_units(size.items, size.bytes)
    table = f"dynamodb.Table({mapping.target!r})"
    conditions = sorted({*asked.equal, *asked.among, *asked.ranges, *asked.filters})
    filters = " & ".join(f"Attr({_attribute(mapping, one)!r})…" for one in conditions)
    answer.call = f"{table}.scan({f'FilterExpression={filters}' if filters and mapping.shape == 'record' else ''})"
    if statement.aggregates and not asked.equal | asked.among:
        answer.verdict, answer.call, answer.advice = NOT_SERVED, "", _NO_GROUPS
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
            answer.units = _read_units(min(statement.limit, size.items), size.bytes)
            answer.call = f"{table}.scan(Limit={statement.limit})"
        return answer
    answer.verdict, answer.advice = NEEDS_INDEX, wanted.advice
    answer.notes.append(f"until then a Scan of about {answer.units:,.1f} read units")
    amount = size.per(wanted.columns)
    answer.units = None if amount is None else _read_units(amount, size.bytes)
    answer.index = wanted.name
    answer.call = (
        f"{table}.query(IndexName={wanted.name!r}, KeyConditionExpression={wanted.condition})" if wanted.name else ""
    )
    return answer


class Wanted(NamedTuple):
    """An index that would serve; ``name`` is "" where the mapping has no attribute that it could be of."""

    name: str
    columns: tuple[str, ...]
    condition: str
    advice: str


def index_wanted(statement: Statement, asked: Asked, mapping: TableMapping) -> Wanted | None:
    """Partition key: the columns that are one value; sort key: the one of a range, else of the order."""
    single = sorted(asked.equal) or sorted(asked.among)[:1]
    if not single:
        return None
    columns = mapping.design.columns
    allowed = set(mapping.design.key_columns) if mapping.shape == "group" else set(columns)
    if not set(single) <= allowed:
        inner = ", ".join(one for one in single if one not in allowed)
        advice = f"{inner} is inside the item, where no index reaches: map {mapping.source} a second time, keyed by it"
        return Wanted("", tuple(single), "", advice)
    ordered = [name for _, name, _ in statement.order]
    sort = next((name for name in (*asked.ranges, *ordered) if name in allowed and name not in single), "")
    lines: list[str] = []
    partition, kind = _index_attribute(single, mapping, lines)
    written = f'partition_key = {{ name = "{partition}", type = "{kind}" }}'
    condition = f"Key({partition!r}).eq(…)"
    if sort:
        name, kind = _index_attribute([sort], mapping, lines)
        written += f', sort_key = {{ name = "{name}", type = "{kind}" }}'
        condition += f" & Key({name!r})…" if sort in asked.ranges else ""
    index = "by_" + "_".join([*single, *([sort] if sort else [])])
    attributes = f"attributes = {{ {', '.join(lines)} }}, and " if lines else ""
    nulls = [name for name in [*single, *([sort] if sort else [])] if columns[name].nullable]
    hint = f' ({", ".join(nulls)} may be NULL: nulls = "omit")' if nulls else ""
    return Wanted(index, tuple(single), condition, f'Add {attributes}[[table.index]] name = "{index}", {written}{hint}')


def _index_attribute(names: list[str], mapping: TableMapping, lines: list[str]) -> tuple[str, str]:
    """The attribute made of ``names`` and its type; what must be added for it goes to ``lines``."""
    wanted = list(names)
    for part in _attributes(mapping).values():
        if list(part.template.columns) == wanted and part.type in ("S", "N", "B") and part.template.alone:
            return part.name, part.type
    name = "_".join(names)
    if name in mapping.design.columns or name in mapping.design.frame:
        name += "_key"
    template = "|".join(f"${{{one}}}" for one in names)
    [number] = [mapping.design.columns[one].kind in NUMBER_KINDS for one in names[:1]]
    if number and len(names) == 1:
        lines.append(f'{name} = {{ N = "{template}" }}')
        return name, "N"
    lines.append(f'{name} = "{template}"')
    return name, "S"


# --- writes ---------------------------------------------------------------------------------------------------------


def _insert(statement: Statement, asked: Asked, mapping: TableMapping, size: Sizes) -> Answer:
    answer = Answer(mapping.source, "PutItem", units=size.write_units, writes=True)
    table = f"dynamodb.Table({mapping.target!r})"
    own = ways(mapping)[0]
    key = ", ".join(f"{part.name!r}: {value(part)}" for part in _parts(own))
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


def _change(statement: Statement, asked: Asked, mapping: TableMapping, size: Sizes, match: Match | None) -> Answer:
    table = f"dynamodb.Table({mapping.target!r})"
    part = mapping.shape == "group" or mapping.shared
    verdict = "UpdateItem" if statement.verb == "update" or part else "DeleteItem"
    answer = Answer(mapping.source, verdict, units=size.write_units, writes=True)
    if match is None or not match.exact or match.way.name:
        found = _read(statement, asked, mapping, size, match)
        found.notes.append(f"then {verdict} for each item that it finds, of about {size.write_units:,.1f} write units")
        if found.verdict.startswith("Query"):
            found.verdict += f" + {verdict}"
        return found
    key = ", ".join(f"{one.name!r}: {value(one)}" for one in _parts(match.way))
    rest = sorted(({*asked.equal, *asked.among, *asked.ranges, *asked.filters}) - match.used)
    entry = set(mapping.design.entry_name.columns)
    if mapping.shape == "group" and not entry <= asked.equal:
        answer.notes.append("several rows of one item: read it, then write the entries that are meant")
    rest = [name for name in rest if name not in entry]
    condition = (
        f", ConditionExpression={' & '.join(f'Attr({_attribute(mapping, n)!r})…' for n in rest)}" if rest else ""
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


# --- more than one request ------------------------------------------------------------------------------------------


def _several(statement: Statement, mappings: dict[str, TableMapping]) -> Answer:
    """Joins, subqueries and the like: one Query if the tables have one item collection, else several calls."""
    names = ", ".join(each.table.full_name for each in statement.tables)
    _spread(statement.tables)
    if statement.why == ["a join"] and statement.verb == "select" and not statement.others and not statement.grouped:
        keys = {_collection(each, mappings[each.table.full_name], statement.tables) for each in statement.tables}
        if len(keys) == 1 and None not in keys:
            own = ways(mappings[statement.tables[0].table.full_name])[0].partition
            target = mappings[statement.tables[0].table.full_name].target
            call = f"dynamodb.Table({target!r}).query(KeyConditionExpression=Key({own.name!r}).eq({value(own)}))"
            return Answer(names, "Query", call, notes=["one item collection has the rows of all these tables"])
    why = list(statement.why)
    if statement.others:
        why.append(f"{', '.join(dict.fromkeys(statement.others))}: not mapped")
    steps = []
    for each in statement.tables:
        match = best_match(each, mappings[each.table.full_name])
        if match is None:
            steps.append(f"{each.table.name} has no key bound")
        else:
            kind = "GetItem" if match.exact and not match.way.name else "Query"
            steps.append(f"{each.table.name} by {kind} on {', '.join(sorted(match.used))}")
    if statement.grouped:
        return Answer(names, NOT_SERVED, notes=[*why, "GROUP BY"], advice=_NO_GROUPS)
    advice = f"Several calls: {'; '.join(steps)}. Or map the tables into one item collection (docs/mappings.md)"
    return Answer(names, NOT_SERVED, notes=why, advice=advice)


def _spread(tables: list[Asked]) -> None:
    """A column joined to one that is bound is bound: as often as there are tables, for chains of them."""
    by_alias = {each.alias: each for each in tables}
    for _ in tables:
        for each in tables:
            for own, alias, theirs in each.joined:
                other = by_alias[alias]
                if theirs in other.equal:
                    each.equal.add(own)


def _collection(asked: Asked, mapping: TableMapping, tables: list[Asked]) -> tuple[object, ...] | None:
    """The target and the partition key's text, each column as all that it is joined to; None if it is not bound."""
    template = ways(mapping)[0].partition.template
    if not set(template.columns) <= asked.equal or not mapping.invertible:
        return None
    parts: list[object] = [mapping.target]
    for part in template.parts:
        parts.append(part.text if isinstance(part, Literal) else _equals(asked.alias, part.column, tables))
    return tuple(parts)


def _equals(alias: str, column: str, tables: list[Asked]) -> frozenset[tuple[str, str]]:
    found, new = set[tuple[str, str]](), {(alias, column)}
    while new:
        found |= new
        links = {(other, theirs) for each in tables for own, other, theirs in each.joined if (each.alias, own) in found}
        new = links - found
    return frozenset(found)

"""The keys that a statement may be read by, and how far its conditions bind each of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from whimbrel.checks.access.parse import AskedOfTable
from whimbrel.mapping.attributes import Carried
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.formats import Reference, format_of, shown_in_python, sorts
from whimbrel.mapping.templates import Literal, Template
from whimbrel.mapping.trees import Leaf
from whimbrel.mapping.values import INTEGER_KINDS

MOST_CODES = 12  # that are written out
BUCKET = "bucket"  # the variable for a number that a statement does not bind
# Their canonical texts sort as the values do; "-1" and "10" do not.
_SORTED_TEXTS = {"text", "date", "datetime", "timestamp", "year", "enum", "uuid"}


class KeyPart(NamedTuple):
    """A key attribute of the table or of an index; with ``codes``, what stands for each value of its one column,
    in Python.
    """

    name: str
    type: str
    template: Template
    codes: str = ""


class Way(NamedTuple):
    """A key to read by: the table's own (``name`` is "") or an index's."""

    name: str
    partition: KeyPart
    sort: KeyPart | None


class Match(NamedTuple):
    """How far a Way is bound. ``sort``: "", "=", "begins_with", "range". ``among``: one of several values.

    ``used``: the columns that the key takes care of. ``buckets``: how many partition keys there are for these, where
    ``${id%16}`` spreads the items of one over several.
    """

    way: Way
    sort: str
    condition: str
    among: bool
    used: frozenset[str]
    buckets: int = 1

    @property
    def exact(self) -> bool:
        return self.buckets == 1 and (self.way.sort is None or self.sort == "=")


REMEMBERED = 4096  # mappings: of a search for a design there are many at once


@lru_cache(maxsize=REMEMBERED)
def ways(mapping: TableMapping) -> tuple[Way, ...]:
    """The table's key first, then its indexes, as far as their attributes are made of columns."""
    keys = [KeyPart(key.name, key.type, key.template) for key in mapping.design.keys]
    found = [Way("", keys[0], keys[1] if len(keys) > 1 else None)]
    parts = attributes_of(mapping)
    for index in mapping.rule.indexes:
        partition = parts.get(index.partition_key.name)
        sort = parts.get(index.sort_key.name) if index.sort_key else None
        if partition:
            kept = sort._replace(type=index.sort_key.type) if sort and index.sort_key else None
            found.append(Way(index.name, partition._replace(type=index.partition_key.type), kept))
    return tuple(found)


@lru_cache(maxsize=REMEMBERED)
def _needed(mapping: TableMapping) -> tuple[tuple[Way, frozenset[str]], ...]:
    """The ways, each with the source's columns that must be bound: not those that only choose a bucket."""
    return tuple(
        (way, frozenset(name for part in way.partition.template.references for name in _chosen(part, mapping)))
        for way in ways(mapping)
    )


def _chosen(part: Reference, mapping: TableMapping) -> tuple[str, ...]:
    form = format_of(part.form) if part.form else None
    return () if form and form.kind in ("modulo", "bucket") else mapping.seen.sources(part.column)


@lru_cache(maxsize=REMEMBERED)
def attributes_of(mapping: TableMapping) -> dict[str, KeyPart]:
    """The attributes that an index could have, with the templates behind them."""
    design = mapping.design
    found = {key.name: KeyPart(key.name, key.type, key.template) for key in design.keys}
    for added in design.added:
        if isinstance(added.tree, Leaf) and added.tree.offset is None:
            found[added.name] = KeyPart(added.name, added.tree.type, added.tree.template)
    if design.shape == "record":
        for one in design.carried:
            template = Template("", (Reference(one.column.name),))
            found.setdefault(one.attribute, KeyPart(one.attribute, one.type, template, _codes_in_python(one)))
    return found


def _codes_in_python(one: Carried) -> str:
    if len(one.codes) > MOST_CODES:
        return f"{one.column.name}_codes"
    whole = one.column.kind in INTEGER_KINDS
    written = (
        f"{text if whole else repr(text)}: {content if kind == 'N' else repr(content)}"
        for text, value in one.codes
        for kind, content in value.items()
    )
    return f"{{{', '.join(written)}}}" if one.codes else ""


def best_match(asked: AskedOfTable, mapping: TableMapping) -> Match | None:
    """The Way that leaves least to be read; the table's own key where others are no better."""
    bound = asked.equal | asked.among
    found = [
        match for way, needed in _needed(mapping) if needed <= bound and (match := _match(way, asked, mapping, bound))
    ]
    worth = {"=": 3, "range": 2, "begins_with": 2, "": 0}
    return max(found, key=lambda one: 3 if one.exact and not one.way.name else worth[one.sort], default=None)


def _match(way: Way, asked: AskedOfTable, mapping: TableMapping, bound: set[str]) -> Match | None:
    columns = mapping.seen

    def sources(template: Template) -> set[str]:
        return {source for name in template.columns for source in columns.sources(name)}

    partition, buckets = _over_buckets(way.partition, bound, sources)
    needed = sources(partition.template) - {BUCKET}
    if not needed <= bound or (not needed and (way.name or buckets > 1)):
        return None
    among = bool(needed & asked.among)
    condition, sort, used = f"Key({way.partition.name!r}).eq({value(partition)})", "", set(needed)
    if way.sort is not None:
        more, sort, of_sort = _sort_condition(way.sort, asked, mapping, sources)
        used |= of_sort
        among = among or bool(of_sort & asked.among)
        condition += f" & {more}" if more else ""
    return Match(way, sort, condition, among, frozenset(used), buckets)


def _over_buckets(key: KeyPart, bound: set[str], sources: Callable[[Template], set[str]]) -> tuple[KeyPart, int]:
    """The key with a variable in place of each remainder or bucket of what is not bound, and how many keys it has."""
    parts, number = list(key.template.parts), 1
    for place, part in enumerate(parts):
        form = format_of(part.form) if isinstance(part, Reference) and part.form else None
        if form and form.kind in ("modulo", "bucket") and not sources(Template("", (part,))) <= bound:
            parts[place] = Reference(BUCKET)
            number *= form.number
    return (key._replace(template=Template(key.template.text, tuple(parts))), number) if number > 1 else (key, 1)


def _sort_condition(
    key: KeyPart, asked: AskedOfTable, mapping: TableMapping, sources: Callable[[Template], set[str]]
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
            text += f"{{{shown_in_python(part)}}}"
            used |= behind
            continue
        operators = asked.ranges.get(part.column, []) if behind == {part.column} else []
        if operators and in_order(key, part.column, mapping):
            last = place == len(key.template.parts) - 1
            return _ranged(name, key, text, part, operators, last), _kind(operators), used | {part.column}
        break
    if text and key.type == "S":
        return f"{name}.begins_with({_text(text)})", "begins_with", used
    return "", "", set()


def _kind(operators: list[str]) -> str:
    return "begins_with" if operators == ["begins"] else "range"


def in_order(key: KeyPart, column: str, mapping: TableMapping) -> bool:
    """Items come in the order of the column's values."""
    if key.codes:
        return False
    if key.type == "N":
        return True
    columns = mapping.design.columns
    parts = [part for part in key.template.references if part.column == column]
    return all(
        columns[column].kind in _SORTED_TEXTS or key.type == "B" if part.plain else sorts(part, columns[column])
        for part in parts
    )


def _ranged(name: str, key: KeyPart, before: str, part: Reference, operators: list[str], last: bool) -> str:
    column = part.column
    if operators == ["begins"]:
        return f"{name}.begins_with({_text(f'{before}{{{column}_begin}}')})"
    if len(operators) == 1 and operators[0] != "between" and not before and last:
        word = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[operators[0]]
        return f"{name}.{word}({value(key)})"
    low = f"{{{shown_in_python(part, f'{column}_from')}}}" if {">", ">=", "between"} & set(operators) else ""
    high = f"{{{shown_in_python(part, f'{column}_to')}}}" if {"<", "<=", "between"} & set(operators) else ""
    if key.type != "S":
        return f"{name}.between({column}_from, {column}_to)"
    end = "" if high and last else "\\uffff"
    return f"{name}.between({_text(before + low)}, {_text(before + high + end)})"


def value(key: KeyPart) -> str:
    """The Python expression for a key's value, with the columns as variables."""
    if key.codes:
        return f"{key.codes}[{key.template.alone}]"
    if key.template.alone:
        return key.template.alone if key.type != "S" else f"str({key.template.alone})"
    parts = [part.text if isinstance(part, Literal) else f"{{{shown_in_python(part)}}}" for part in key.template.parts]
    return _text("".join(parts))


def _text(inside: str) -> str:
    return f'f"{inside}"' if "{" in inside else f'"{inside}"'


def parts(way: Way) -> list[KeyPart]:
    return [way.partition, way.sort] if way.sort else [way.partition]


def columns_of(part: KeyPart) -> tuple[str, ...]:
    return part.template.columns

"""Where a table's rows can be in a design, and the rules of a project file that put them there.

This is the whole space that is searched: see docs/design.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from whimbrel.mapping.values import NUMBER_KINDS
from whimbrel.project import IndexKey, IndexRule, KeyRule, TableRule
from whimbrel.records import Column, Table

OWN, BY, MEMBER, PART = "own", "by", "member", "part"
_AS_THEY_ARE = ("date", "datetime", "timestamp", "uuid")  # texts that are never empty, and sort as the values do
_IN_TEXT = (*NUMBER_KINDS, *_AS_THEY_ARE, "text", "enum", "inet4", "inet6")
_WIDTHS = {"tinyint": 3, "smallint": 5, "mediumint": 8, "int": 10, "bigint": 20}


class IndexChoice(NamedTuple):
    """A secondary index: the columns of its partition key, and the column of its sort key or "".

    ``projection`` is "all", or the columns beside the keys. ``buckets`` spreads a hot key over so many, 0 for none.
    """

    partition: tuple[str, ...]
    sort: str = ""
    projection: str | tuple[str, ...] = "all"
    buckets: int = 0

    @property
    def words(self) -> str:
        return "_".join([*self.partition, *([self.sort] if self.sort else [])])


class Placement(NamedTuple):
    """``own``: an item a row under its primary key, in a table of its own. ``by``: the same, keyed by ``partition``
    and sorted by ``sort``. ``member``: an item a row in the collection of a row of ``parent``. ``part``: an entry in
    the item of a row of ``parent``. For the last two, ``partition`` are the columns that hold the parent's key.
    """

    kind: str = OWN
    partition: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    parent: str = ""
    buckets: int = 0


class Placed(NamedTuple):
    """A table's place, and its indexes."""

    placement: Placement = Placement()
    indexes: tuple[IndexChoice, ...] = ()


Layout = Mapping[str, Placed]  # by the table's full name


class Names(NamedTuple):
    """By the table's full name: what its target is called if it has one of its own, and the text in keys."""

    targets: Mapping[str, str]
    texts: Mapping[str, str]


def names_of(tables: Sequence[Table], targets: Mapping[str, str]) -> Names:
    texts, taken = {}, set[str]()
    for table in tables:
        text = re.sub(r"[^A-Z0-9]+", "_", table.name.upper()).strip("_") or "ROW"
        while text in taken:
            text += "_"
        taken.add(text)
        texts[table.full_name] = text
    return Names(targets, texts)


def root_of(name: str, layout: Layout) -> str:
    """The table whose target the rows of ``name`` go to."""
    return layout[name].placement.parent or name


def rules_of(root: str, layout: Layout, tables: Mapping[str, Table], names: Names) -> list[TableRule]:
    """The rules of the target of ``root``: its own first. Raises ValueError for what cannot be written so."""
    children = [name for name in layout if layout[name].placement.parent == root]
    members = [name for name in children if layout[name].placement.kind == MEMBER]
    rules = [_rule_of_root(root, layout, tables, names, bool(members), len(children) > len(members))]
    for name in children:
        if layout[name].placement.kind == MEMBER:
            rules.append(_member(name, root, layout, tables, names))
        else:
            rules.append(_part(tables[name], layout[name].placement, tables[root], rules[0], names))
    return rules


def key_type(column: Column) -> str:
    return "N" if column.kind in NUMBER_KINDS else "B" if column.kind in ("binary", "geometry") else "S"


def can_be_in_text(column: Column) -> bool:
    return column.kind in _IN_TEXT and not re.search(r"[{}]", column.name)


def key_text(columns: Sequence[Column], ordered: str = "") -> str:
    """A template of them all, that no two tuples of values share: at most one of them is text, and is the last.

    The column ``ordered`` stands in it so that texts sort as its values do. Raises ValueError.
    """
    certain = [each for each in columns if each.kind not in ("text", "enum")]
    texts = [each for each in columns if each.kind in ("text", "enum")]
    if len(texts) > 1 or not all(map(can_be_in_text, columns)):
        raise ValueError
    if ordered and texts and texts[0].name == ordered and certain:
        raise ValueError
    return "#".join(_reference(each, padded=each.name == ordered) for each in [*certain, *texts])


def _reference(column: Column, *, padded: bool) -> str:
    if padded and column.kind == "int":
        word = re.match(r"[a-z]+", column.type_name.lower())
        return f"${{{column.name}:0{_WIDTHS.get(word[0] if word else '', 20)}d}}"
    if padded and column.kind in NUMBER_KINDS:
        raise ValueError
    return f"${{{column.name}}}"


# --- the rules ------------------------------------------------------------------------------------------------------


def _rule_of_root(
    name: str, layout: Layout, tables: Mapping[str, Table], names: Names, members: bool, parts: bool
) -> TableRule:
    table, (placement, indexes) = tables[name], layout[name]
    target, item = names.targets[name], "shared" if parts else "own"
    if members:
        [key] = table.primary_key
        text = names.texts[name]
        partition = KeyRule("pk", f"{text}#{key_text([table.column(key)])}")
        sort: KeyRule | None = KeyRule("sk", text)
    elif placement.kind == BY:
        partition, sort = _keyed_by(table, placement)
    else:
        partition, sort = plain_keys(table)
    alone = not members and not parts
    attributes, made = _indexes(table, indexes, "" if alone else names.texts[name].lower())
    return TableRule(name, target, "record", partition, sort, attributes=attributes, item=item, indexes=made)


def plain_keys(table: Table) -> tuple[KeyRule, KeyRule | None]:
    """As ``whimbrel init`` writes them."""
    first, *rest = [table.column(name) for name in table.primary_key]
    partition = KeyRule(first.name, f"${{{first.name}}}", key_type(first))
    if not rest:
        return partition, None
    if len(rest) == 1:
        return partition, KeyRule(rest[0].name, f"${{{rest[0].name}}}", key_type(rest[0]))
    name = _free("_".join(each.name for each in rest)[:200], table)
    return partition, KeyRule(name, "|".join(f"${{{each.name}}}" for each in rest))


def _keyed_by(table: Table, placement: Placement) -> tuple[KeyRule, KeyRule | None]:
    columns = [table.column(name) for name in placement.partition]
    bucket = _bucket(table, placement.buckets) if placement.buckets else ""
    if len(columns) == 1 and not bucket and key_type(columns[0]) == "N":
        partition = KeyRule(columns[0].name, f"${{{columns[0].name}}}", "N")
    else:
        begin = f"{columns[0].name.upper()}#" if columns[0].kind in ("text", "enum") and len(columns) == 1 else ""
        text = begin + key_text(columns)
        partition = KeyRule(_free("pk", table), f"{bucket}{text}" if bucket else text)
    if not placement.sort:
        return partition, None
    return partition, _sort_key([table.column(name) for name in placement.sort], table, "")


def _sort_key(columns: Sequence[Column], table: Table, begin: str) -> KeyRule:
    """The first of ``columns`` is what the items are sorted by."""
    first, *rest = columns
    if not rest and not begin and key_type(first) == "N":
        return KeyRule(first.name, f"${{{first.name}}}", "N")
    if not begin and first.kind in ("text", "enum"):
        begin = f"{first.name.upper()}#"
    return KeyRule(_free("sk", table), begin + key_text(columns, ordered=first.name))


def _bucket(table: Table, number: int) -> str:
    """A remainder or a bucket of the primary key, which is stable for all time."""
    column = table.column(table.primary_key[-1])
    return f"${{{column.name}%{number}}}#" if column.kind == "int" else f"${{{column.name}:bucket{number}}}#"


def _member(name: str, root: str, layout: Layout, tables: Mapping[str, Table], names: Names) -> TableRule:
    table, (placement, indexes) = tables[name], layout[name]
    text = names.texts[name]
    link = [table.column(each) for each in placement.partition]
    partition = KeyRule("pk", f"{names.texts[root]}#{key_text(link)}")
    sorted_by = [table.column(each) for each in placement.sort]
    sort = KeyRule("sk", f"{text}#{key_text(sorted_by, placement.sort[0])}" if sorted_by else text)
    attributes, made = _indexes(table, indexes, text.lower())
    return TableRule(name, names.targets[root], "record", partition, sort, attributes=attributes, indexes=made)


def _part(table: Table, placement: Placement, root: Table, of_root: TableRule, names: Names) -> TableRule:
    """An entry in the item of a row of ``root``, named by what of its key is not the root's."""
    held = dict(zip(root.primary_key, placement.partition, strict=True))

    def key(rule: KeyRule | None) -> KeyRule | None:
        if rule is None:
            return None
        text = re.sub(r"\$\{([^{}]+)\}", lambda found: f"${{{held[found[1]]}}}", rule.value)
        return KeyRule(rule.name, text, rule.type)

    partition = key(of_root.partition_key)
    assert partition
    entry = key_text([table.column(each) for each in placement.sort])
    into = names.texts[table.full_name].lower()
    while into in root.names or into in (partition.name, of_root.sort_key and of_root.sort_key.name):
        into += "_"
    return TableRule(
        table.full_name,
        of_root.target,
        "group",
        partition,
        key(of_root.sort_key),
        entry_name=entry,
        entry_as="map",
        entry_into=into,
        item="shared",
    )


def _indexes(
    table: Table, choices: Sequence[IndexChoice], prefix: str
) -> tuple[dict[str, str | dict[str, str]], tuple[IndexRule, ...]]:
    """The indexes, and the attributes that they need. In a target of several tables these have names of their own."""
    attributes: dict[str, str | dict[str, str]] = {}
    made = []
    for choice in choices:
        partition = _attribute([table.column(each) for each in choice.partition], table, prefix, choice, attributes)
        sort = _attribute([table.column(choice.sort)], table, prefix, None, attributes) if choice.sort else None
        name = "_".join(["by", *([prefix] if prefix else []), choice.words])
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:255]
        made.append(IndexRule(name, partition, sort, projection=choice.projection or "keys"))
    return attributes, tuple(made)


def _attribute(
    columns: Sequence[Column],
    table: Table,
    prefix: str,
    choice: IndexChoice | None,
    attributes: dict[str, str | dict[str, str]],
) -> IndexKey:
    buckets = choice.buckets if choice else 0
    first = columns[0]
    number = len(columns) == 1 and first.kind in NUMBER_KINDS and not buckets
    if len(columns) == 1 and not prefix and not buckets and (number or first.kind in _AS_THEY_ARE):
        return IndexKey(first.name, "N" if number else "S")
    words = [*([prefix] if prefix else []), *(each.name for each in columns)]
    name = _free("_".join(words if len(words) > 1 else [*words, "key"])[:200], table)
    if number:
        attributes[name] = {"N": f"${{{first.name}}}"}
        return IndexKey(name, "N")
    if not all(map(can_be_in_text, columns)):
        raise ValueError
    text = "#".join(f"${{{each.name}}}" for each in columns)
    begin = f"{first.name.upper()}#" if len(columns) == 1 and first.kind in ("text", "enum") else ""
    attributes[name] = f"{_bucket(table, buckets) if buckets else ''}{begin}{text}"
    return IndexKey(name)


def _free(name: str, table: Table) -> str:
    while name in table.names:
        name += "_"
    return name

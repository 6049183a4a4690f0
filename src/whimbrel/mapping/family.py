"""Several source tables into one target table: compiled together, and checked against each other.

A table may be in several rules: each makes items of its own from the same rows, as if there were two tables.
Each of a target's items is made of the rows of one rule's table (``item = "own"``), or of several (``"shared"``):

- tables of which one has ``own`` items must give keys that can never be equal, by the texts in a key's templates, as
  ``ORDER#`` and ``CUSTOMER#``, and by what the columns between them may contain, see ``disjoint``;
- tables that share items each write attributes of their own: a record's attributes, a document's map, a group's map,
  set or list, or entries among the attributes, which must never have the name of another table's attribute. An
  attribute that does not depend on the row (an entity's type) may stand in all of them alike; it is the whole item's.

A shared item exists as long as a row of any of its tables does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, permutations
from typing import NamedTuple

from whimbrel.errors import MappingError, SchemaDrift, WhimbrelError
from whimbrel.mapping.attributes import Added, Design, Sharing
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.disjoint import apart
from whimbrel.mapping.meeting import may_meet, meeting
from whimbrel.mapping.trees import Leaf
from whimbrel.mapping.versions import Versions
from whimbrel.project import IndexKey, IndexRule
from whimbrel.records import Table

MAX_LOCAL, MAX_GLOBAL, MAX_PROJECTED_IN_ALL = 5, 20, 100  # of one table's indexes, and of their projections
_HINT = "Correct it in the project file; nothing was read or written."
_KEY_TYPES = {"S": "S", "N": "N", "B": "B", "EPOCH": "N", "EPOCH_MS": "N", "SECONDS": "N"}


class Family(NamedTuple):
    """``mappings`` and ``versions`` are by their rule's name; a rule that has a fault has no mapping.

    With faults, the mappings are as if no item were shared: good for looking at rows, not for writing items.
    """

    mappings: dict[str, TableMapping]
    versions: dict[str, Versions]
    faults: list[WhimbrelError]


def compile_family(parts: Sequence[tuple[Versions, Table]]) -> Family:
    """The mappings of all rules of a project, each for its table as it is now, or all that is wrong with them.

    This is the one way from rules to mappings: what it takes for `check`, it takes for every other command.
    """
    alone: list[TableMapping] = []
    faults: list[WhimbrelError] = []
    for versions, table in parts:
        try:
            alone.append(versions.of(table))
        except (MappingError, SchemaDrift) as error:
            faults.append(error)
    if not faults:
        faults += [MappingError(fault, hint=_HINT) for fault in family_faults(alone)]
    named = {replace(versions.rule, source=table.full_name).name: versions for versions, table in parts}
    mappings = {each.source: each for each in alone}
    if not faults:
        for each in [one for one in alone if one.shared]:  # again, knowing whom the items are shared with
            named[each.source] = named[each.source].shared(sharing(each, alone))
            mappings[each.source] = named[each.source].of(each.table)
        for one, other in _pairs(mappings.values()):
            if not may_meet(one, other):
                named[one.source].keep_apart(named[other.source])
                named[other.source].keep_apart(named[one.source])
    return Family(mappings, named, faults)


def _pairs(mappings: Iterable[TableMapping]) -> Iterator[tuple[TableMapping, TableMapping]]:
    """Those of one target."""
    for several in by_target(list(mappings)).values():
        yield from combinations(several, 2)


def rules_by_table(versions: Mapping[str, Versions]) -> dict[str, list[str]]:
    """The names of the rules of each source table, by its full name."""
    found: dict[str, list[str]] = {}
    for name, each in versions.items():
        found.setdefault(each.first.full_name, []).append(name)
    return found


def family_faults(alone: Sequence[TableMapping]) -> list[str]:
    """What is wrong with the mappings of a project beside each other."""
    return [fault for target in by_target(alone).values() for fault in _faults(target)]


def sharing(mapping: TableMapping, alone: Sequence[TableMapping]) -> Sharing:
    """What the other tables that write the items of ``mapping`` demand of it."""
    others = [other for other in alone if other.source != mapping.source and may_meet(mapping, other)]
    frame = frozenset(each.name for each in mapping.design.added if _belongs_to_all(each, mapping, others))
    taken = frozenset(name for other in others for name in other.design.own) - frame
    deeper = {other.design.path for other in others if other.design.into == mapping.design.into} - {""}
    return Sharing(frame, taken, frozenset() if mapping.design.path else frozenset(deeper))


def by_target(mappings: Sequence[TableMapping]) -> dict[str, list[TableMapping]]:
    found: dict[str, list[TableMapping]] = {}
    for each in mappings:
        found.setdefault(each.target, []).append(each)
    return found


def indexes_of(mappings: Sequence[TableMapping]) -> list[IndexRule]:
    """The secondary indexes of a target, each once."""
    return list({index.name: index for each in mappings for index in each.rule.indexes}.values())


# --- faults ---------------------------------------------------------------------------------------------------------


def _faults(family: list[TableMapping]) -> Iterator[str]:
    first = family[0]
    for other in family[1:]:
        if other.key_attributes != first.key_attributes:
            keys = f"{first.source} has the key {_spelled(first)}, {other.source} {_spelled(other)}"
            yield f"target {first.target!r}: {keys}"
            return
    for one, other in combinations(family, 2):
        if may_meet(one, other):
            yield from _sharing_faults(one, other) if one.shared and other.shared else [meeting(one, other)]
    for each in family:
        if each.shared:
            yield from _frame_faults(each, [other for other in family if other is not each and may_meet(each, other)])
    for one, other in permutations(family, 2):
        yield from _provenance_faults(one, other)
    for other in family[1:]:
        if other.rule.condition != first.rule.condition:
            yield (
                f"target {first.target!r}: {first.source} and {other.source} are written under different conditions, "
                "and an item does not say which of them protects it: write the same in both"
            )
    yield from _index_faults(family)
    if len(names := {each.rule.ttl.attribute for each in family if each.rule.ttl}) > 1:
        listed = ", ".join(map(repr, sorted(names)))
        yield f"target {first.target!r}: a table has one attribute for its time to live, and these are {listed}"


def _sharing_faults(one: TableMapping, other: TableMapping) -> Iterator[str]:
    common = {each.name for each in one.design.added if _belongs_to_all(each, one, [other])}
    written = set(one.design.own) & set(other.design.own) - common
    if one.design.into in written and (one.design.path or other.design.path):
        written -= {one.design.into}
        yield from (f"target {one.target!r}: {fault}" for fault in _deep_faults(one, other))
    for name in sorted(written):
        yield f"target {one.target!r}: {one.source} and {other.source} share items and both write attribute {name!r}"
    both = _among_attributes(one) and _among_attributes(other)
    names = one.design.entry_name, one.design.columns, other.design.entry_name, other.design.columns
    if both and not apart(*names):
        yield (
            f"target {one.target!r}: entries of {one.source} and of {other.source} are among the attributes of one "
            f"item and could have the same name: begin their names with texts of their own, or put them into maps"
        )


def _deep_faults(one: TableMapping, other: TableMapping) -> Iterator[str]:
    """Two tables that have parts of one map: entries, and maps within these; or two maps within."""
    into = one.design.into
    if one.design.path and other.design.path:
        if one.design.path == other.design.path:
            yield f"{one.source} and {other.source} share items and both write the map {one.design.path!r} in {into!r}"
        return
    outer, inner = (other, one) if one.design.path else (one, other)
    design = outer.design
    if design.inside != "M" or not design.entry_is_map or design.gathered:
        yield f"{inner.source} has maps in the entries of {into!r}, and those of {outer.source} are not maps of columns"
    elif any(each.attribute == inner.design.path for each in design.carried):
        yield f"{outer.source} has a column {inner.design.path!r} in its entries of {into!r}, {inner.source} a map"
    elif not any(not design.omit_nulls or not each.column.nullable for each in design.carried):
        yield (
            f"an entry of {outer.source} in {into!r} needs a column of its own, which is never left out: it says that "
            f"the row exists"
        )


def _frame_faults(mapping: TableMapping, others: list[TableMapping]) -> Iterator[str]:
    """What a group adds for the whole item must not depend on whether it has entries."""
    if not others:
        yield f'target {mapping.target!r}: {mapping.source} says item = "shared", and no other table has such items'
        return
    if mapping.shape != "group":
        return
    for each in mapping.design.added:
        if not _belongs_to_all(each, mapping, others):
            yield (
                f"target {mapping.target!r}: attribute {each.name!r} of {mapping.source} belongs to an item that other "
                f"tables share: write it, alike, in all of them, or leave it out"
            )


def _belongs_to_all(added: Added, mapping: TableMapping, others: Sequence[TableMapping]) -> bool:
    """In all of the tables alike: without columns, or from those of a key that is written alike too."""
    return all(
        any(
            each == added
            and (
                not added.columns
                or (_keys(other) == _keys(mapping) and set(added.columns) <= set(other.design.key_columns))
            )
            for each in other.design.added
        )
        for other in others
    )


def _keys(mapping: TableMapping) -> list[str]:
    return [key.template.text for key in mapping.design.keys]


def _among_attributes(mapping: TableMapping) -> bool:
    return mapping.shape == "group" and not mapping.design.inside


def _spelled(mapping: TableMapping) -> str:
    return "(" + ", ".join(f"{name} {kind}" for name, kind in mapping.key_attributes) + ")"


def _provenance_faults(one: TableMapping, other: TableMapping) -> Iterator[str]:
    """An item does not say of which table it is, so what one's attribute says must be what the other's says."""
    written = {*other.frame, *other.design.own}
    for path in sorted(one.change_metadata.paths):
        ours, theirs = one.change_metadata, other.change_metadata
        alike = path in theirs.paths and ours.mark_at(path) == theirs.mark_at(path)
        if path[0] in written and not alike:
            yield (
                f"target {one.target!r}: {'.'.join(path)!r} is change metadata of {one.source}, and something "
                f"else in {other.source}: use different names"
            )


# --- secondary indexes ----------------------------------------------------------------------------------------------


def _index_faults(family: list[TableMapping]) -> Iterator[str]:
    types = dict(family[0].key_attributes)
    seen: dict[str, IndexRule] = {}
    for mapping in family:
        for index in mapping.rule.indexes:
            place = f"target {mapping.target!r}, index {index.name!r}"
            if seen.setdefault(index.name, index) != index:
                yield f"{place} is described twice, differently"
            if index.local and index.partition_key != IndexKey(*family[0].key_attributes[0]):
                yield f"{place} is local, and so has the table's own partition key {_spelled(family[0])}"
            if index.local and len(family[0].key_attributes) < 2:
                yield f"{place} is local, which a table without a sort key cannot have"
            for key in (index.partition_key, *([index.sort_key] if index.sort_key else [])):
                if types.setdefault(key.name, key.type) != key.type:
                    yield f"{place}: attribute {key.name!r} cannot be both {types[key.name]} and {key.type}"
                yield from (f"{place}: {fault}" for fault in _index_key_faults(family, key))
    yield from _limit_faults(family[0].target, list(seen.values()))


def _limit_faults(target: str, indexes: list[IndexRule]) -> Iterator[str]:
    """What DynamoDB allows a table."""
    local = sum(index.local for index in indexes)
    for count, most, what in ((local, MAX_LOCAL, "local"), (len(indexes) - local, MAX_GLOBAL, "global")):
        if count > most:
            yield f"target {target!r} has {count} {what} indexes, and a table may have {most}"
    projected = sum(len(index.projection) for index in indexes if isinstance(index.projection, tuple))
    if projected > MAX_PROJECTED_IN_ALL:
        yield (
            f"target {target!r}: its indexes name {projected} attributes in projections, and {MAX_PROJECTED_IN_ALL} "
            f'are allowed in all: write projection = "all" in one of them'
        )


def _index_key_faults(family: list[TableMapping], key: IndexKey) -> Iterator[str]:
    """An item whose attribute is of another type, or NULL, would be refused; without it, it is not in the index."""
    written = [(mapping, kind) for mapping in family if (kind := _written(mapping).get(key.name))]
    if not written:
        yield f"no table writes attribute {key.name!r}"
    for mapping, kind in written:
        if kind == "NULL":
            remedy = (
                "name columns that are NOT NULL" if mapping.shape == "group" else "write the index in its [[table]] too"
            )
            yield f"attribute {key.name!r} of {mapping.source} may be NULL, which no index takes: {remedy}"
        elif kind != key.type:
            yield f"attribute {key.name!r} of {mapping.source} is {kind}, not {key.type}: say so in types or here"


@lru_cache(maxsize=4096)
def _written(mapping: TableMapping) -> Mapping[str, str]:
    """The types of the attributes that the mapping writes, NULL where that may be one."""
    design = mapping.design
    found = dict(mapping.key_attributes)
    found |= {
        each.name: "NULL" if each.may_be_null(design.columns) and _kept(design, each.name) else each.tree.type
        for each in design.added
        if isinstance(each.tree, Leaf)
    }
    if design.shape == "record":
        for each in design.carried:
            if each.column.nullable and _kept(design, each.attribute):
                found[each.attribute] = "NULL"
            else:
                found[each.attribute] = _KEY_TYPES.get(each.type, each.type)
    return found


def _kept(design: Design, name: str) -> bool:
    """Whether the attribute is there where it is NULL."""
    return not design.omit_nulls and name not in design.sparse

"""Change metadata: attributes with headers, before images, and the mark of a soft delete.

They are a function of the last change of a row, or of the start for a row that the snapshot read; so a replay of
the log writes the same again. The source cannot say them, so a comparison with it leaves out exactly these.

A mapping with an ``operation_indicator`` deletes softly: an item whose row went stays as its last image, with the
indicator that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from whimbrel.mapping.attributes import Added, Carried, Design, Key
from whimbrel.mapping.columns import Columns
from whimbrel.mapping.expressions import UNKNOWN, Expressions
from whimbrel.mapping.trees import templates_of
from whimbrel.project import TableRule
from whimbrel.records import AttributeValue, Change, Item, Position, Provenance, Row, Table, Value

_INDICATOR = re.compile(r"\boperation_indicator\s*\(", re.I)
_PLACED = re.compile(r"\bchange_(position|sequence|time)\s*\(", re.I)

Path = tuple[str, ...]  # of an attribute: its name, or the document's and its own


# --- of a row -------------------------------------------------------------------------------------------------------


def of_change(change: Change, number: int, committed: float, began: float) -> Provenance:
    """``number`` counts the changes of the log, from 1; ``committed`` and ``began`` (the start of the migration) are
    seconds since the epoch, by the source's clock.
    """
    return Provenance(_operation(change), _place(change.position), _sequence(began, number), _time(committed))


def of_snapshot(start: Position, began: float) -> Provenance:
    return Provenance("INSERT", _place(start), _sequence(began, 0), _time(began))


def unplaced(change: Change) -> Provenance:
    """All that the change says by itself."""
    return UNKNOWN._replace(operation=_operation(change))


def _operation(change: Change) -> str:
    return "INSERT" if change.before is None else "DELETE" if change.after is None else "UPDATE"


def _place(position: Position) -> str:
    return f"{position.file}:{position.offset}"


def _sequence(began: float, number: int) -> str:
    """16 digits of the migration's start, to hundredths of a second, and 19 of the change's number: a later change has
    the greater text, whatever the source's clock does, and a later migration too.
    """
    at = datetime.fromtimestamp(began, UTC)
    return f"{at:%Y%m%d%H%M%S}{at.microsecond // 10_000:02}{number:019}"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


# --- what a rule may say of it --------------------------------------------------------------------------------------


def faults(
    rule: TableRule, columns: Columns, keys: Iterable[Key], added: Iterable[Added], carried: Iterable[Carried]
) -> list[str]:
    """What is wrong with the use of such columns; empty if there are none."""
    if not columns.provenance_columns:
        return []
    if rule.shape == "group" or rule.item == "shared":
        names = ", ".join(map(repr, sorted(columns.provenance_columns)))
        what = "shape 'group'" if rule.shape == "group" else "item = 'shared'"
        return [f"{names} are change metadata of one row, which {what} cannot have: its items are made of several rows"]
    found = [
        f"key {key.name!r} uses {name!r}, which is change metadata: a key must not depend on how its row changed last"
        for key in keys
        for name in key.template.columns
        if name in columns.provenance_columns
    ]
    for name, text in rule.columns.items():
        if name not in columns.provenance_columns or not _INDICATOR.search(text):
            continue
        if columns.uses[name] or _PLACED.search(text):
            found.append(
                f"the expression of {name!r} has an operation_indicator and depends on more than the operation: "
                f"deleted items must all have one value, by which verify knows them, not {text!r}"
            )
        elif attribute_for(name, added, carried) is None:
            found.append(
                f"column {name!r} has the operation_indicator and is in no attribute of its own: nothing would tell a "
                "deleted item from the others"
            )
    return found


def indicator_of(rule: TableRule, columns: Columns) -> str:
    """The first column that has an operation_indicator, "" if there is none."""
    found = (
        name for name, text in rule.columns.items() if name in columns.provenance_columns and _INDICATOR.search(text)
    )
    return next(found, "")


def by_operation(text: str, table: Table) -> list[Value]:
    """What an expression that depends on the operation alone gives for DELETE, UPDATE and INSERT. Raises Refused."""
    made = Expressions(table, {"x": text}, "", [])
    nothing: Row = (None,) * len(table.columns)
    found = [made.evaluate(nothing, UNKNOWN._replace(operation=each)) for each in ("DELETE", "UPDATE", "INSERT")]
    return [each["x"] for each in found if each is not None]


def attribute_for(column: str, added: Iterable[Added], carried: Iterable[Carried]) -> Carried | Added | None:
    """What makes an attribute of just this column; None if nothing does."""
    for one in carried:
        if one.column.name == column:
            return one
    for each in added:
        if each.tree.type not in ("M", "L") and [template.alone for template in templates_of(each.tree)] == [column]:
            return each
    return None


# --- in the items ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChangeMetadata:
    """Where such attributes are in a mapping's items. ``mark``: (path, value) in an item that is softly deleted."""

    paths: frozenset[Path] = frozenset()
    mark: tuple[Path, AttributeValue] | None = None

    def __bool__(self) -> bool:
        return bool(self.paths)

    @property
    def names(self) -> list[str]:
        return sorted(map(".".join, self.paths))

    def mark_at(self, path: Path) -> AttributeValue | None:
        return self.mark[1] if self.mark and self.mark[0] == path else None

    def is_deleted(self, item: Item) -> bool:
        if self.mark is None:
            return False
        path, value = self.mark
        return _get(item, path) == value

    def marked(self, item: Item) -> Item:
        """The item, as one that is deleted."""
        assert self.mark is not None
        (first, *inside), value = self.mark
        if not inside:
            return {**item, first: value}
        return {**item, first: {"M": {**item.get(first, {}).get("M", {}), inside[0]: value}}}

    def carried_over(self, item: Item, found: Item) -> Item:
        """The item with what ``found``, the same row's earlier item, has as change metadata, if there is one."""
        if not found or self.is_deleted(found):
            return item
        item = self.rest(item)
        for first, *inside in self.paths:
            value = _get(found, (first, *inside))
            if value is not None and not inside:
                item[first] = value
            elif value is not None and first in item:
                item[first] = {"M": {**item[first]["M"], inside[0]: value}}
        return item

    def rest(self, item: Item) -> Item:
        """The item without them."""
        kept = {name: value for name, value in item.items() if (name,) not in self.paths}
        for document in {path[0] for path in self.paths if len(path) > 1}:
            inside = kept.get(document, {}).get("M")
            if isinstance(inside, dict):
                kept[document] = {"M": {n: value for n, value in inside.items() if (document, n) not in self.paths}}
        return kept


def paths(design: Design) -> frozenset[Path]:
    """Of all attributes with change metadata."""
    found = [_path(design, one) for one in design.carried if one.column.name in design.provenance_columns]
    found += [_path(design, each) for each in design.added if not design.provenance_columns.isdisjoint(each.columns)]
    return frozenset(found)


def mark_path(design: Design) -> Path:
    found = attribute_for(design.indicator, design.added, design.carried) if design.indicator else None
    return _path(design, found) if found else ()


def _path(design: Design, one: Carried | Added) -> Path:
    if isinstance(one, Added):
        return (one.name,)
    return (design.document, one.attribute) if design.document else (one.attribute,)


def _get(item: Item, path: Path) -> AttributeValue | None:
    value = item.get(path[0])
    for name in path[1:]:
        inside = value.get("M") if value else None
        value = inside.get(name) if isinstance(inside, dict) else None
    return value

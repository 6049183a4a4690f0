"""What of a table comes back from its items, and what does not: known from the mapping alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from whimbrel.mapping.attributes import Design
from whimbrel.mapping.back_values import loses
from whimbrel.mapping.codes import are_told
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.expressions import FILTER
from whimbrel.records import Filled

LOOKED_UP = (
    "is looked up in another table: what is written to it does not come back, and after a return to the source it is "
    "written again as that table has it"
)


class Obstacle(NamedTuple):
    """``column`` is "" where the table as a whole is meant."""

    table: str
    column: str
    reason: str


@dataclass(frozen=True, slots=True)
class Returns:
    """``read`` are the columns that can be read from an item, ``columns`` those of them that are written back.

    ``known`` are the names of an item's attributes that are this mapping's or another's. ``checked`` are the paths of
    attributes that are made from columns which come back: each must be what these give. ``lossy``: see ``loses``.
    """

    read: frozenset[str]
    columns: tuple[str, ...]
    lossy: frozenset[str]
    known: frozenset[str]
    checked: tuple[tuple[str, ...], ...]
    obstacles: tuple[Obstacle, ...]
    notes: tuple[Obstacle, ...]


def returns_of(mapping: TableMapping, filled: Filled | None, new_attributes: str) -> Returns:
    design, table = mapping.design, mapping.table
    if filled is None:
        filled = Filled(required=frozenset(column.name for column in table.columns if not column.nullable))
    direct = {name for name in table.names if name not in mapping.seen.uses}
    carried = {one.column.name: one for one in design.carried if one.column.name in direct and are_told(one.codes)}
    named = _named(design) & direct
    read = frozenset((carried.keys() | named) & direct)
    lossy = frozenset(
        name for name, one in carried.items() if not one.codes and loses(one.column, one.type) and name not in named
    )
    extra = new_attributes.removeprefix("json:") if new_attributes.startswith("json:") else ""
    found = _Findings(mapping, filled, read, lossy, extra)
    return Returns(
        read=read,
        columns=tuple(name for name in table.names if name in read and name not in filled.generated),
        lossy=lossy,
        known=_known(mapping),
        checked=_checked(mapping, read),
        obstacles=tuple(found.obstacles()),
        notes=tuple(found.notes()),
    )


class _Findings:
    def __init__(
        self, mapping: TableMapping, filled: Filled, read: frozenset[str], lossy: frozenset[str], extra: str
    ) -> None:
        self.mapping, self.filled, self.read, self.lossy, self.extra = mapping, filled, read, lossy, extra
        self.table = mapping.table

    def obstacles(self) -> Iterator[Obstacle]:
        mapping, read = self.mapping, self.read
        for name in self.table.names:
            if reason := self._obstacle(name):
                yield Obstacle(mapping.source, name, reason)
        for name in mapping.seen.filtered_by:
            if name not in read:
                yield Obstacle(mapping.source, name, "the filter asks for it, and it does not come back")
        for template in (*(key.template for key in mapping.design.keys), mapping.design.entry_name):
            doubtful = template.ambiguity(mapping.design.columns)
            if doubtful and not self._carried().issuperset(template.columns):
                yield Obstacle(mapping.source, template.columns[0], doubtful)
        for name in mapping.placed_by_others:
            if name != FILTER:  # whose columns were named above
                yield Obstacle(mapping.source, name, "looked up in another table, and it makes the row's place")
        if mapping.design.path or mapping.design.beside:
            reason = f"maps within the entries of {mapping.design.into!r} are not read back"
            yield Obstacle(mapping.source, "", reason)
        if self.extra:
            yield from self._extra_obstacles()

    def notes(self) -> Iterator[Obstacle]:
        source = self.mapping.source
        for name in self.table.names:
            if self._is_looked_up(name):
                continue  # said below: it is another table's
            if name in self.filled.generated:
                yield Obstacle(source, name, "generated: left to the server")
            elif name in self.read:
                if name in self.lossy:
                    yield Obstacle(source, name, f"its attribute does not say {self._lost(name)}")
            elif not self._obstacle(name) and name != self.extra:
                filling = "what the server sets by itself" if name in self.filled.updated else "its default or NULL"
                leaves = "sets" if name in self.filled.updated else "leaves"
                yield Obstacle(source, name, f"{self._why(name)}: an INSERT has {filling}, an UPDATE {leaves} it")
        for each in self.mapping.change_metadata.names:
            yield Obstacle(source, "", f"attribute {each!r} is change metadata, of which nothing comes back")
        if gathered := self.mapping.design.gathered:
            into = self.mapping.design.into
            said = f"attribute {gathered.name!r} is made of {into!r}: what is written to it alone does not come back"
            yield Obstacle(source, "", said)
        for each, looked_up in self._computed():
            what = LOOKED_UP if looked_up else "is computed: what is written to it does not come back"
            yield Obstacle(source, "", f"attribute {each!r} {what}")

    def _is_looked_up(self, name: str) -> bool:
        return name in self.table.names and self.table.column(name).looked_up is not None

    def _obstacle(self, name: str) -> str:
        if self._is_looked_up(name):
            return ""
        if name in self.table.primary_key:
            what = "it is of the primary key"
        elif name in self.mapping.group_columns:
            what = "it makes the item's key"
        elif name in self.filled.required and name not in self.read and name not in self.filled.generated:
            return f"{self._why(name)}, NOT NULL and without a default: no row could be inserted"
        else:
            return ""
        if name not in self.read:
            return f"{self._why(name)}, and {what}"
        if name in self.lossy:
            return f"{what}, and its attribute does not say {self._lost(name)}"
        return ""

    def _extra_obstacles(self) -> Iterator[Obstacle]:
        source, name = self.mapping.source, self.extra
        if name not in self.table.names:
            yield Obstacle(source, name, "new attributes are to go there, and the table has no such column")
        elif name in self.read or self.table.column(name).kind not in ("json", "text"):
            reason = "new attributes are to go there: it must be a JSON or text column that is excluded from the items"
            yield Obstacle(source, name, reason)

    def _why(self, name: str) -> str:
        rule = self.mapping.rule
        if name in rule.mask:
            return "masked"
        if name in rule.columns:
            return "replaced by an expression"
        if name in rule.codes:
            return "several of its values have one code"
        return "excluded" if name in rule.exclude else "in no attribute by itself"

    def _lost(self, name: str) -> str:
        return next(loses(one.column, one.type) for one in self.mapping.design.carried if one.column.name == name)

    def _carried(self) -> set[str]:
        return {one.column.name for one in self.mapping.design.carried}

    def _computed(self) -> list[tuple[str, bool]]:
        """Attributes of which it cannot even be said whether they are what the row would give, and whether that is as
        another table's row decides them.
        """
        design, seen, checked = self.mapping.design, self.mapping.seen, _checked(self.mapping, self.read)
        found = [
            ((design.document, one.attribute) if design.document else (one.attribute,), one.column.name)
            for one in design.carried
            if one.column.name in seen.uses and one.column.name not in design.provenance_columns
        ]
        found += [((each.name,), name) for each in design.added for name in each.columns if name in seen.from_others]
        found = [(path, name) for path, name in found if path not in checked]
        return list(dict.fromkeys((".".join(path), name in seen.from_others) for path, name in found))


def _named(design: Design) -> set[str]:
    """The columns that can be read from the texts of the item's key and of an entry's name."""
    found = {name for key in design.keys if key.type == "S" for name in key.template.told(design.columns)}
    found |= {key.template.alone for key in design.keys if key.type != "S"}
    return found | design.entry_name.told(design.columns)


def _known(mapping: TableMapping) -> frozenset[str]:
    design, rule = mapping.design, mapping.rule
    names = {*design.frame, *design.own, *(path[0] for path in mapping.change_metadata.paths)}
    names |= design.sharing.taken | design.sharing.frame if design.sharing else set()
    names |= {each.name for each in design.added}
    names |= set(rule.condition.names.values()) if rule.condition else set()
    if design.shape == "group":
        names |= {design.into} if design.into else set()
    return frozenset(names - {""})


def _checked(mapping: TableMapping, read: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    design, seen = mapping.design, mapping.seen

    def is_made(names: tuple[str, ...]) -> bool:
        """A zero that has a sign loses it as a number of DynamoDB, and keeps it in a text."""
        if not seen.from_others.isdisjoint(names):
            return False  # the other table's row is not at hand
        sources = {source for name in names for source in seen.sources(name)}
        signed = any(mapping.table.column(name).kind in ("float", "double") for name in sources)
        return sources <= read and not signed and design.provenance_columns.isdisjoint(names)

    found = [(each.name,) for each in design.added if is_made(each.columns)]
    if design.gathered and is_made(tuple(one.column.name for one in design.carried)):
        found.append((design.gathered.name,))
    if design.shape != "group":
        inside = (design.document,) if design.document else ()
        for one in design.carried:
            name = one.column.name
            if name in seen.uses and is_made((name,)):
                found.append((*inside, one.attribute))
    return tuple(found)

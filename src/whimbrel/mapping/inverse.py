"""A mapping read backwards: from an item to the rows of one table that it is made of.

A row's columns are read from the attributes that carry them, and from the templates of the item's key and of the
entry's name. Every row that is found is mapped forwards again: it must come to the place where it was found. What else
the item says, beyond what its rows would give it, is a new attribute (see ``mapping.items_back``).

``mapping.returns`` says beforehand what does not come back, column by column.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from whimbrel.errors import MappingError
from whimbrel.item import identity_of, key_id, normal, spelled
from whimbrel.mapping.attributes import Carried, Key
from whimbrel.mapping.back_values import Reader, decoded, reader, text_back
from whimbrel.mapping.codes import decoder
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.forms import Refused, shown
from whimbrel.mapping.returns import Returns, returns_of
from whimbrel.mapping.templates import Template
from whimbrel.mapping.values import values_of_number
from whimbrel.records import AttributeValue, Column, Filled, Item, Row, Value

_READINGS = 50  # of one place: among these is the one that the mapping would write


class Returned(NamedTuple):
    """A row as the item has it: the values of ``Inverse.columns``, and of the columns that make the item's key.

    ``extra`` are attributes of the row's own map without a column, by name.
    """

    guard: tuple[tuple[str, Value], ...]
    values: Row
    extra: dict[str, AttributeValue]


class ItemReading(NamedTuple):
    """What an item is to one table: its rows by primary key; attributes of the whole item that the table does not
    know, and those that are not what its rows would give; and why some of it cannot be read.
    """

    rows: dict[Row, Returned]
    unknown: Item
    differing: Item
    reasons: list[str]


class _Part(NamedTuple):
    """What one row is made from: its attributes by name, and the entry's name in a group."""

    fields: Item
    name: str
    place: str


def inverse_of(mapping: TableMapping, filled: Filled | None = None, new_attributes: str = "stop") -> Inverse:
    """``filled`` is what the server fills by itself: without it, every column that is NOT NULL counts as required."""
    return Inverse(mapping, returns_of(mapping, filled, new_attributes))


class Inverse:
    """``columns`` come back, in the table's order; ``obstacles`` forbid a way back, ``notes`` say what an INSERT and an
    UPDATE leave out. Safe in threads.
    """

    def __init__(self, mapping: TableMapping, returns: Returns) -> None:
        self.mapping, self.table = mapping, mapping.table
        self.obstacles, self.notes = returns.obstacles, returns.notes
        self.columns, self.lossy = returns.columns, returns.lossy
        self._checked = returns.checked
        design = self._design = mapping.design
        self._columns = design.columns
        direct = {name for name in returns.read if name in self.table.names}
        self._readers = [
            (one.column, one.attribute, _reader(one), self.table.index(one.column.name))
            for one in design.carried
            if one.column.name in direct
        ]
        # Whether a zero has a sign is told by a text alone: DynamoDB's number has none.
        carried = {column.name for column, *_ in self._readers if column.kind not in ("float", "double")}
        self._direct = direct
        self._split = [key for key in design.keys if direct.intersection(key.template.columns) - carried]
        self._key_index = [self.table.index(name) for name in self.table.primary_key if name in direct]
        self._guard_index = [(name, self.table.index(name)) for name in mapping.group_columns if name in direct]
        self._index = [self.table.index(name) for name in self.columns]
        self._known = returns.known
        self._fields = frozenset(one.attribute for one in design.carried)
        # What is looked up is not known, but an item that is there had the other table's row, if it must.
        self._blank = mapping.unjoined((None,) * len(self.table.columns))
        self._filtered = bool(mapping.seen.filtered_by)

    def belongs(self, key: Item) -> bool:
        """Whether an item with this key may be one of the mapping's."""
        return all(self._key_readings(each, key.get(each.name, {})) for each in self._design.keys)

    def read(self, item: Item) -> ItemReading:
        """Never raises: what cannot be read is among the ``reasons``."""
        reading = ItemReading({}, {}, {}, [])
        if self.mapping.change_metadata.is_deleted(item):
            return reading
        key = {name: item.get(name, {}) for name, _ in self.mapping.key_attributes}
        try:
            parts = self._parts(item, reading)
            keys = self._key_assignments(key) if parts else []
        except Refused as refusal:
            reading.reasons.append(str(refusal))
            return reading
        same, whole = key_id(key), list[Row]()
        for part in parts:
            try:
                row = self._row(part, keys, same)
                self._note(row, part, reading)
                whole.append(row)
            except Refused as refusal:
                reading.reasons.append(f"{part.place}{refusal}")
        if self._checked and whole:
            self._compare(item, whole if self._design.gathered else whole[:1], reading)
        elif not whole and self._design.gathered and self._design.gathered.name in item:
            reading.differing[self._design.gathered.name] = item[self._design.gathered.name]  # of no rows
        return reading

    # -- the parts of an item ----------------------------------------------------------------------------------------

    def _parts(self, item: Item, reading: ItemReading) -> list[_Part]:
        design = self._design
        for name, value in item.items():
            if name not in self._known:
                reading.unknown[name] = value
        if design.shape != "group":
            return self._record(item)
        if not design.inside:
            return self._among_attributes(reading)
        content = item.get(design.into)
        if content is None:
            return []
        if design.inside not in content:
            raise Refused(f"attribute {design.into!r} must be {design.inside}, and is {next(iter(content))}")
        return list(self._inside(content[design.inside]))

    def _record(self, item: Item) -> list[_Part]:
        design = self._design
        if self.mapping.shared and not any(name in item for name in design.own):
            return []  # no row of this table has a part in the item
        if not design.document:
            return [_Part(item, "", "")]
        document = item.get(design.document, {}).get("M")
        if document is None:
            raise Refused(f"attribute {design.document!r} must be a map, and is {shown(item.get(design.document))}")
        return [_Part(document, "", f"{design.document}: ")]

    def _among_attributes(self, reading: ItemReading) -> list[_Part]:
        """The unknown attributes whose names the template of an entry could have given."""
        found = []
        for name, value in list(reading.unknown.items()):
            if not self._name_readings(name):
                continue
            del reading.unknown[name]
            found.append(_Part(self._entry_fields(name, value), name, f"entry {name!r}: "))
        return found

    def _inside(self, content: Any) -> Iterator[_Part]:
        design = self._design
        if design.inside in ("SS", "NS"):
            for member in content:
                yield _Part({}, spelled(member) if design.inside == "NS" else member, f"member {shown(member)}: ")
        elif design.inside == "M":
            for name, value in content.items():
                yield _Part(self._entry_fields(name, value), name, f"{design.into}.{name}: ")
        else:
            for number, element in enumerate(content):
                fields = self._entry_fields(str(number), element)
                try:
                    name = identity_of(element, design.order)
                except KeyError as missing:
                    raise Refused(f"{design.into}[{number}] has no attribute {missing}") from None
                yield _Part(fields, name, f"{design.into}[{number}]: ")

    def _entry_fields(self, name: str, value: AttributeValue) -> Item:
        if not self._design.entry_is_map:
            return {self._design.carried[0].attribute: value}
        fields = value.get("M")
        if fields is None:
            raise Refused(f"entry {name!r} must be a map, and is {shown(value)}")
        return dict(fields)

    # -- rows --------------------------------------------------------------------------------------------------------

    def _row(self, part: _Part, keys: list[dict[str, Value]], key: bytes) -> Row:
        """The one row that the mapping would put where ``part`` was found."""
        row: list[Value] = list(self._blank)
        missing: list[Column] = []
        said: dict[str, Value] = {}
        for column, attribute, read, index in self._readers:
            found = part.fields.get(attribute)
            if found is None:
                missing.append(column)
            else:
                row[index] = said[column.name] = read(found)
        reason = "its place cannot be read back"
        for assignment in self._readings(part, keys):
            if any(said[name] != value for name, value in assignment.items() if name in said):
                reason = "an attribute and the item's key do not say the same"
                continue
            for name, known in assignment.items():
                row[self.table.index(name)] = known
            if refused := [one for one in missing if not one.nullable and one.name not in assignment]:
                raise Refused(f"column {refused[0].name!r} is NOT NULL, and its attribute is missing")
            if self._is_at(tuple(row), part, key):
                return tuple(row)
            reason = "the row that it would be has another place"
        raise Refused(reason)

    def _is_at(self, row: Row, part: _Part, key: bytes) -> bool:
        if self._filtered and self.mapping.as_placed(row) is None:
            raise Refused("the table's filter would leave the row out")
        mapped = self.mapping.item_key(row)
        if mapped is None or key_id(mapped) != key:
            return False
        return self._design.shape != "group" or self.mapping.entry_name(row) == part.name

    def _note(self, row: Row, part: _Part, reading: ItemReading) -> None:
        key = tuple(row[index] for index in self._key_index)
        if key in reading.rows:
            raise Refused(f"another entry of the item is the row {shown(key)} too")
        guard = tuple((name, row[index]) for name, index in self._guard_index)
        extra: Item = {}
        if self._design.entry_is_map or self._design.document:
            extra = {name: value for name, value in part.fields.items() if name not in self._fields}
        reading.rows[key] = Returned(guard, tuple(row[index] for index in self._index), extra)

    # -- places ------------------------------------------------------------------------------------------------------

    def _readings(self, part: _Part, keys: list[dict[str, Value]]) -> Iterator[dict[str, Value]]:
        names = self._name_readings(part.name) if self._design.entry_name.columns else [{}]
        for one in keys:
            for other in names:
                if all(one.get(name, value) == value for name, value in other.items()):
                    yield {**one, **other}

    def _key_assignments(self, key: Item) -> list[dict[str, Value]]:
        found: list[dict[str, Value]] = [{}]
        for each in self._split:
            more = self._key_readings(each, key.get(each.name, {}))
            found = [
                {**one, **other}
                for one in found
                for other in more
                if all(one.get(name, value) == value for name, value in other.items())
            ][:_READINGS]
        return found

    def _key_readings(self, key: Key, value: AttributeValue) -> list[dict[str, Value]]:
        content = value.get(key.type)
        if content is None:
            return []
        if key.type == "S":
            return self._template_readings(key.template, content)
        name = key.template.alone
        if name not in self._direct:
            return [{}]
        if key.type == "B":
            return [{name: decoded(content, f"key {key.name!r}")}]
        return [{name: found} for found in values_of_number(self._columns[name], content)[:1]]

    def _name_readings(self, name: str) -> list[dict[str, Value]]:
        template = self._design.entry_name
        if self._design.inside == "NS":
            found = values_of_number(self._columns[template.alone], name)[:1]
            return [{template.alone: value} for value in found]
        return self._template_readings(template, name)

    def _template_readings(self, template: Template, text: str) -> list[dict[str, Value]]:
        try:
            found = list(islice(template.splits(text, self._columns), _READINGS))
        except MappingError as error:
            raise Refused(str(error)) from None
        readings = []
        for one in found:
            try:
                readings.append(
                    {name: self._canonical(name, value) for name, value in one.items() if name in self._direct}
                )
            except Refused:
                continue
        return readings

    def _canonical(self, name: str, value: Value) -> Value:
        """As the server has it: ``12.50`` in a DECIMAL(10,2), whatever the key says."""
        column = self._columns[name]
        if column.kind not in ("decimal", "datetime", "timestamp", "time") or not isinstance(value, str):
            return value
        text = value.replace(" ", "T") + ("Z" if column.kind == "timestamp" else "")
        return text_back(column, text, f"column {name!r}")

    # -- what the item says beyond its rows --------------------------------------------------------------------------

    def _compare(self, item: Item, rows: list[Row], reading: ItemReading) -> None:
        """Attributes that are made from columns, and are not what these columns give, are new ones."""
        puts, faults = self.mapping.put_items(rows)
        if faults or not puts:
            reading.reasons.append(str(faults[0].reason) if faults else "the row would not be an item")
            return
        for path in self._checked:
            found, given = _at(item, path), _at(puts[0].item, path)
            if found is not None and (given is None or normal(found) != normal(given)):
                reading.differing[".".join(path)] = found


def _reader(one: Carried) -> Reader:
    return decoder(one.column, one.codes) if one.codes else reader(one.column, one.type)


def _at(item: Item, path: tuple[str, ...]) -> AttributeValue | None:
    value: Any = item.get(path[0])
    for name in path[1:]:
        value = value.get("M", {}).get(name) if value else None
    return value  # type: ignore[no-any-return]

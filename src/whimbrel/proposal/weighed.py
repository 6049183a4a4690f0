"""What the items of a mapping weigh, by what is known of its table: alone, or with the others that share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whimbrel.checks.access.statement_answer import Sizes
from whimbrel.checks.access.ways import Way, attributes_of
from whimbrel.item import WRITE_UNIT, text_size
from whimbrel.mapping.attributes import Carried
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import indexes_of
from whimbrel.mapping.formats import Reference
from whimbrel.mapping.templates import Template
from whimbrel.mapping.trees import templates_of
from whimbrel.project import IndexRule
from whimbrel.proposal.known import Amount, KnownTable

MAP_BYTES = 3.0  # a map takes so many, and one more for each of its elements


@dataclass(frozen=True, eq=False)
class Weighed:
    """A mapping of a target. ``size`` is of whole items, ``target_bytes`` of all that the target has.

    ``largest``: bytes of the largest item, as far as it is known. ``family``: all that are in the target, this one too.
    """

    mapping: TableMapping
    known: KnownTable
    size: Sizes
    rows_an_item: float
    largest: float
    target_bytes: float
    family: list[Weighed]

    def index_bytes(self, index: IndexRule) -> float:
        """Of an item in the index."""
        if index.projection == "all":
            return self.size.bytes
        parts, design = attributes_of(self.mapping), self.mapping.design
        keys = {key.name for key in design.keys} | {index.partition_key.name}
        keys |= {index.sort_key.name} if index.sort_key else set()
        total = sum(text_size(name) + text_bytes(parts[name].template, self.known) for name in keys if name in parts)
        more = set(index.projection) if isinstance(index.projection, tuple) else set()
        carried = {one.attribute: self.known.bytes[one.column.name] for one in design.carried}
        return total + sum(text_size(name) + carried.get(name, 10.0) for name in more - keys)

    def in_way(self, way: Way) -> Sizes:
        """Sizes of what a Query by ``way`` reads."""
        index = next((each for each in self.mapping.rule.indexes if each.name == way.name), None)
        return self.size if index is None else self.size._replace(bytes=self.index_bytes(index))


def weighed(family: Sequence[tuple[TableMapping, KnownTable]]) -> list[Weighed]:
    """``family`` are all mappings of one target."""
    alone = [(mapping, known, _rows_an_item(mapping, known)) for mapping, known in family]
    items = [known.rows / each.average for _, known, each in alone]
    own = [_item_bytes(mapping, known, each.average) for mapping, known, each in alone]
    most = [_item_bytes(mapping, known, each.most) for mapping, known, each in alone]
    shared = [place for place, (mapping, _, _) in enumerate(alone) if mapping.shared]
    of_all = max((items[place] for place in shared), default=0.0)
    joint = sum(own[place] * items[place] for place in shared) / of_all if of_all else 0.0
    largest = sum(most[place] for place in shared)
    total = sum(size * count for size, count in zip(own, items, strict=True))
    found: list[Weighed] = []
    for place, (mapping, known, amount) in enumerate(alone):
        size = joint if mapping.shared else own[place]
        units = max(1.0, -(-size // WRITE_UNIT))
        sizes = Sizes(of_all if mapping.shared else items[place], size, units, _per(known, amount.average))
        heaviest = largest if mapping.shared else most[place]
        found.append(Weighed(mapping, known, sizes, amount.average, heaviest, total, found))
    return found


def text_bytes(template: Template, known: KnownTable) -> float:
    return sum(
        _reference_bytes(part, known) if isinstance(part, Reference) else text_size(part.text)
        for part in template.parts
    )


def storage_bytes(family: Sequence[Weighed], overhead: int) -> float:
    """Of a target with its indexes, as it is billed: ``overhead`` bytes more an item."""
    counted: set[str] = set()
    total = family[0].target_bytes if family else 0.0
    for each in family:
        key = "shared" if each.mapping.shared else each.mapping.source
        total += 0.0 if key in counted else each.size.items * overhead
        counted.add(key)
        total += sum(each.size.items * (each.index_bytes(index) + overhead) for index in indexes_of([each.mapping]))
    return total


def _rows_an_item(mapping: TableMapping, known: KnownTable) -> Amount:
    return known.amounts(mapping.group_columns) if mapping.shape == "group" else Amount(1.0, 1.0)


def _per(known: KnownTable, rows_an_item: float) -> Callable[[tuple[str, ...]], float | None]:
    def per(columns: tuple[str, ...]) -> float | None:
        if not columns:
            return known.rows / rows_an_item
        if not set(columns) <= set(known.table.names):
            return None
        return max(1.0, known.amounts(tuple(sorted(columns))).average / rows_an_item)

    return per


def _item_bytes(mapping: TableMapping, known: KnownTable, rows: float) -> float:
    """Of an item that ``rows`` rows make, or of their part in it."""
    design = mapping.design
    frame = sum(text_size(key.name) + _key_bytes(key.template, key.type, known) for key in design.keys)
    for added in design.added:
        frame += text_size(added.name) + sum(text_bytes(each, known) for each in templates_of(added.tree))
    columns = _map_bytes(design.carried, known)
    if design.shape == "record":
        return frame + columns
    inside = MAP_BYTES + len(design.carried)
    if design.shape == "document":
        return frame + text_size(design.document) + inside + columns
    entry = columns + inside if design.entry_is_map else sum(known.bytes[one.column.name] for one in design.carried)
    return frame + text_size(design.into) + MAP_BYTES + rows * (text_bytes(design.entry_name, known) + entry + 1)


def _map_bytes(carried: Sequence[Carried], known: KnownTable) -> float:
    return sum(text_size(one.attribute) + known.bytes.get(one.column.name, 10.0) for one in carried)


def _key_bytes(template: Template, kind: str, known: KnownTable) -> float:
    return known.bytes[template.alone] if kind != "S" and template.alone else text_bytes(template, known)


def _reference_bytes(part: Reference, known: KnownTable) -> float:
    if part.form.endswith("d") and part.form[:1] == "0":
        return float(part.form[1:-1])
    if part.form:
        return 10.0 if "%" in part.form or part.form.startswith("epoch") else 2.0
    return known.text_bytes(part.column)

"""A whole DMS file as whimbrel's own table rules, against the tables of the live schema."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from whimbrel.dms import filters, joins, templates
from whimbrel.dms.effect import without_effect
from whimbrel.dms.names import unknown
from whimbrel.dms.read import faulty
from whimbrel.dms.rules import DmsRules, MappedAttribute, ObjectMapping
from whimbrel.dms.select import Selected, SourceObject, is_meant, select
from whimbrel.dms.transform import BYTE_KINDS, NUMBER_KINDS, TEXT_KINDS, Shaped, transform
from whimbrel.errors import MappingError, WhimbrelError
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.family import by_target, family_faults
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Table


class Translated(NamedTuple):
    """``tables`` in the order to load them; ``notes`` say what does nothing here, or is done in another way."""

    tables: tuple[TableRule, ...]
    notes: tuple[str, ...]


def translate(
    rules: DmsRules,
    found: Iterable[SourceObject],
    read_table: Callable[[str, str], Table],
    *,
    begun: bool = False,
    read_view: Callable[[str, str], str] | None = None,
) -> Translated:
    """``found`` are the source's tables and views; ``read_table(schema, name)`` reads one. ``read_view`` gives the
    CREATE VIEW of one, "" where it may not be seen. ``begun``: they are only those that were selected when the
    migration began, so that a rule may mean one that is not among them.

    Raises ProjectError with all that is wrong with the file for this schema, by rule-id.
    """
    faults = list(rules.faults)
    notes = list(rules.notes)
    there = list(found)

    def joined(schema: str, name: str) -> str:
        definition = read_view(schema, name) if read_view else "?"
        if not definition:
            return ". With the right SHOW VIEW this would say whether look-ups do the same"
        lines = joins.of_view(definition, schema, read_table)
        return f". Look-ups do what it does, in a [[table]] of a project file: {lines}" if lines else ""

    selected = select(rules, there, faults, [] if begun else notes, begun=begun, joined=joined)
    translations = [
        _TableTranslation(rules, one, table, faults, notes)
        for one in selected
        if _all_sound(rules, one) and (table := _read(one, read_table, faults))
    ]
    made = [mapping for each in translations if (mapping := each.mapping_of_table())]
    if not begun:
        without_effect(rules, there, selected, [each.shaped for each in translations], faults, notes)
    _several_into_one(rules, made, faults)
    if faults:
        raise faulty(faults, rules.place)
    return Translated(tuple(mapping.rule for mapping in made), tuple(dict.fromkeys(notes)))


def _read(selected: Selected, read_table: Callable[[str, str], Table], faults: list[str]) -> Table | None:
    try:
        return read_table(selected.table.schema, selected.table.name)
    except WhimbrelError as error:
        faults.append(f"{selected.rule}: selects {error.place or selected.table.name}: {error.message}. {error.hint}")
        return None


def _several_into_one(rules: DmsRules, made: list[TableMapping], faults: list[str]) -> None:
    """Tables that go into one target must have keys that cannot meet: DMS itself would let one overwrite the other."""
    for mappings in by_target(made).values():
        tables = [mapping.table for mapping in mappings]
        meant = [
            rule for rule in rules.mappings if any(is_meant(rule.locator, table.schema, table.name) for table in tables)
        ]
        place = " and ".join(map(str, meant)) or "the selection rules"
        faults += [f"{place}: {fault}" for fault in family_faults(mappings)]


def _all_sound(rules: DmsRules, selected: Selected) -> bool:
    """Whether no rule that means the table has a fault of its own, of which more faults would only follow."""
    schema, name = selected.table.schema, selected.table.name
    meant = [rule for rule in (*rules.transformations, *rules.mappings) if is_meant(rule.locator, schema, name)]
    return selected.rule.sound and all(rule.sound for rule in meant)


class _TableTranslation:
    """One table on its way. Names in ``self.shaped`` are the source's; the file's are those after transformations."""

    def __init__(self, rules: DmsRules, selected: Selected, table: Table, faults: list[str], notes: list[str]) -> None:
        self.table = table
        self.selected = selected
        self._all_faults = faults
        self._notes = notes
        self.faults: list[str] = []
        self.shaped: Shaped = transform(rules, table, self.faults, notes)
        self.object_mapping = self._object_mapping(rules)
        self.place = str(self.object_mapping or selected.rule)
        self.document = self.object_mapping is not None and self.object_mapping.action == "map-record-to-document"
        self.exclude: list[str] = [name for name in table.names if name in self.shaped.dropped]

    def mapping_of_table(self) -> TableMapping | None:
        """None if something is wrong with it, which is then among the faults."""
        rule = None if self.faults else self._rule()
        mapping = None if self.faults or rule is None else self._compiled(rule)
        self._all_faults += self.faults
        return mapping

    def _object_mapping(self, rules: DmsRules) -> ObjectMapping | None:
        meant = [each for each in rules.mappings if is_meant(each.locator, self.table.schema, self.table.name)]
        if len(meant) > 1:
            self.faults.append(
                f"{' and '.join(map(str, meant))} are object mappings of {self.table.full_name}: keep one of them"
            )
        return min(meant, key=lambda each: each.order) if meant else None

    def _rule(self) -> TableRule:
        shaped, mapping = self.shaped, self.object_mapping
        attributes = mapping.attributes if mapping else ()
        for name in mapping.exclude if mapping else ():
            self._leave_out(name)
        partition, sort = self._keys(mapping, attributes)
        keys = {key.name for key in (partition, sort) if key}
        added = {each.name: self._tree(each) for each in attributes if each.name not in keys}
        self._make_room(attributes, partition, sort)
        carried = [name for name in self._names() if name not in self.exclude]
        kept = set(carried) | self._named_in(mapping)
        return TableRule(
            source=self.table.full_name,
            target=(mapping.target if mapping else "") or shaped.target,
            shape="document" if self.document else "record",
            partition_key=partition,
            sort_key=sort,
            exclude=tuple(
                name for name in self._names() if name in self.exclude and name in (*self.table.names, *kept)
            ),
            rename={name: shaped.names[name] for name in carried if shaped.names[name] != name},
            types={name: shaped.types[name] for name in carried if name in shaped.types},
            attributes=added,
            nulls="omit",
            new_columns=shaped.new_columns,
            condition=mapping.condition if mapping else None,
            before_image={name: column for name, column in shaped.before_image.items() if name in kept},
            columns={name: text for name, text in shaped.computed.items() if name in kept},
            filter=filters.expression(self.selected.filters, self.table, str(self.selected.rule), self.faults),
        )

    def _names(self) -> list[str]:
        """All columns, by the source's names, and those that were added."""
        more = dict.fromkeys([*self.shaped.computed, *self.shaped.before_image])
        return [*self.table.names, *(name for name in more if name not in self.table.names)]

    def _compiled(self, rule: TableRule) -> TableMapping | None:
        """The mapping's own checks; most of what they could find is found above, with its attribute.

        A file has no place to say that rows never share a key: to choose the key is taken for saying so.
        """
        try:
            mapping = compile_mapping(rule, self.table)
            doubts = mapping.doubts()
            self._notes += [
                f"{self.place}: {doubt}. The file is taken at its word that none ever are; `whimbrel check` and "
                f"`whimbrel verify` say if some are"
                for doubt in doubts
            ]
            return compile_mapping(replace(rule, assert_unique=True), self.table) if doubts else mapping
        except MappingError as error:
            lines = [line.strip().removeprefix("- ") for line in error.message.splitlines()]
            self.faults += [f"{self.place}: {error.place}: {line}" for line in lines[len(lines) > 1 :]]
            return None

    # -- names ---------------------------------------------------------------------------------------------------------

    def _meant(self, name: str) -> list[str]:
        """The columns that the file could mean: by what they are called after the transformations, or before."""
        now = [each for each in self._names() if self.shaped.names[each] == name and each not in self.shaped.dropped]
        return list(dict.fromkeys([*now, *([name] if name in self.table.names else [])]))

    def _column(self, name: str, place: str) -> str:
        """The source's name for the column that the file names; "" if that is at fault."""
        meant = self._meant(name)
        if len(meant) == 1:
            return meant[0]
        if meant:
            several = " or ".join(map(repr, meant))
            self.faults.append(f"{place}: {name!r} could be column {several}, as transformations rename them")
        else:
            names = tuple(dict.fromkeys([*self.shaped.names.values(), *self.table.names]))
            self.faults.append(f"{place}: {unknown(name, names, self.table.full_name)}")
        return ""

    def _leave_out(self, name: str) -> None:
        column = self._column(name, f"{self.place}: exclude-columns")
        if column:
            self.exclude.append(column)

    def _named_in(self, mapping: ObjectMapping | None) -> set[str]:
        """The columns that templates use: also one that is excluded is computed for them."""
        if mapping is None:
            return set()
        return {
            column
            for attribute in mapping.attributes
            for _, _, text in self._leaves(attribute)
            for name in templates.columns(text)
            for column in self._meant(name)
        }

    # -- keys ----------------------------------------------------------------------------------------------------------

    def _keys(
        self, mapping: ObjectMapping | None, attributes: tuple[MappedAttribute, ...]
    ) -> tuple[KeyRule, KeyRule | None]:
        if mapping and mapping.partition_key:
            partition = self._key("partition-key-name", mapping.partition_key, attributes)
            return partition, self._key("sort-key-name", mapping.sort_key, attributes) if mapping.sort_key else None
        key = self.shaped.key or self.table.primary_key
        if len(key) > 2:
            self.faults.append(
                f"{self.place}: {self.table.full_name} has a key of {len(key)} columns ({', '.join(key)}), and an item "
                "has two at most: write an object-mapping rule with partition-key-name and sort-key-name"
            )
        keys = [self._key_of(name, self.shaped.names.get(name, name)) for name in key[:2]]
        return keys[0], keys[1] if len(keys) > 1 else None

    def _key(self, parameter: str, name: str, attributes: tuple[MappedAttribute, ...]) -> KeyRule:
        """A key is an attribute that is mapped, or a column as it stands."""
        mapped = next((each for each in attributes if each.name == name), None)
        if mapped is None:
            place = f"{self.place}: {parameter} {name!r} is not an attribute-mapping"
            return self._key_of(self._column(name, place), name)
        if mapped.type not in ("S", "N"):
            self.faults.append(
                f"{self.place}: {parameter} {name!r} is mapped to {mapped.type}: a key is string or number"
            )
        value = mapped.value if isinstance(mapped.value, str) else ""
        self._check_leaf(mapped.type, value, f"{self.place}, attribute {name!r}: value")
        return KeyRule(name, self._template(value, f"{self.place}, attribute {name!r}"), mapped.type)

    def _key_of(self, column: str, name: str) -> KeyRule:
        kind = self.shaped.kinds.get(column, "text")
        chosen = self.shaped.types.get(column)
        if chosen == "BOOL":
            self.faults.append(f"{self.place}: column {column!r} is boolean and cannot be the key {name!r}")
        kind_of_key = chosen or ("N" if kind in NUMBER_KINDS else "B" if kind in BYTE_KINDS else "S")
        return KeyRule(name, f"${{{column}}}", kind_of_key if kind_of_key in ("S", "N", "B") else "S")

    # -- attributes ----------------------------------------------------------------------------------------------------

    def _template(self, text: str, place: str) -> str:
        return templates.translated(text, lambda name: self._column(name, place))

    def _tree(self, attribute: MappedAttribute) -> str | dict[str, Any]:
        place = f"{self.place}, attribute {attribute.name!r}"
        for path, kind, text in self._leaves(attribute):
            self._check_leaf(kind, text, f"{place}: value{f' at {path}' if path else ''}")
        if isinstance(attribute.value, str):
            template = self._template(attribute.value, place)
            return template if attribute.type == "S" else {attribute.type: template}
        return self._translated_tree(attribute.value, place)

    def _translated_tree(self, tree: dict[str, Any], place: str) -> dict[str, Any]:
        [(kind, content)] = tree.items()
        if isinstance(content, str):
            return {kind: self._template(content, place)}
        if kind == "M":
            return {"M": {name: self._translated_tree(each, place) for name, each in content.items()}}
        return {"L": [self._translated_tree(each, place) for each in content]}

    @staticmethod
    def _leaves(attribute: MappedAttribute) -> Iterator[tuple[str, str, str]]:
        if isinstance(attribute.value, str):
            yield "", attribute.type, attribute.value
        else:
            yield from templates.leaves(attribute.value)

    def _check_leaf(self, kind: str, text: str, place: str) -> None:
        """A type that the columns of its template cannot fill is a slip, not a row's fault."""
        for name in templates.columns(text):
            column = next(iter(self._meant(name)), "")  # one that is not there is said with its template
            found = self.shaped.kinds.get(column, "computed")
            if found in BYTE_KINDS:
                self.faults.append(f"{place}: ${{{name}}} is {self._words(column)}, whose bytes have no text")
            elif kind == "N" and found not in (*NUMBER_KINDS, "computed"):
                self.faults.append(
                    f"{place}: N of ${{{name}}}, which is {self._words(column)}: write S, or change-data-type it"
                )
            elif kind in ("M", "L") and found not in ("json", "text", "computed"):
                self.faults.append(f"{place}: {kind} of ${{{name}}}, which is {self._words(column)}: it is not JSON")
            elif kind == "BOOL" and found not in (*TEXT_KINDS, "int", "bit", "computed"):
                self.faults.append(f"{place}: boolean of ${{{name}}}, which is {self._words(column)}: it is not 0 or 1")
        if kind == "N" and not templates.columns(text) and not text.strip().lstrip("+-").replace(".", "", 1).isdigit():
            self.faults.append(f"{place}: N of {text!r}, which is not a number")

    def _words(self, column: str) -> str:
        return (
            self.table.column(column).type_name or self.table.column(column).kind
            if column in self.table.names
            else "text"
        )

    def _make_room(self, attributes: tuple[MappedAttribute, ...], *keys: KeyRule | None) -> None:
        """A column and an attribute of one name are one if they are the same; else one of them would be lost."""
        if self.document:
            return
        mapped = {each.name: f"${{{self._source_of(each)}}}" for each in attributes}
        mapped |= {key.name: key.value for key in keys if key}
        for column in self._names():
            name = self.shaped.names[column]
            if column in self.exclude or name not in mapped:
                continue
            if mapped[name] != f"${{{column}}}":
                self.faults.append(
                    f"{self.place}, attribute {name!r}: takes the place of column {column!r}, which would be lost: "
                    "exclude the column or name the attribute otherwise"
                )
            elif name != column or name not in {key.name for key in keys if key}:
                self.exclude.append(column)  # a key attribute of its column's own name goes without saying

    def _source_of(self, attribute: MappedAttribute) -> str:
        """The one column that the attribute is, "" if it is anything else."""
        value = attribute.value if isinstance(attribute.value, str) else next(iter(attribute.value.values()))
        alone = templates.is_alone(value) if isinstance(value, str) else ""
        meant = self._meant(alone) if alone else []
        return meant[0] if len(meant) == 1 else ""

"""The columns that a mapping sees: the source's own, masked where the rule says so, and those computed from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from whimbrel.mapping.expressions import FILTER, UNKNOWN, Expressions
from whimbrel.mapping.forms import Refused
from whimbrel.mapping.lookups import is_there
from whimbrel.project import TableRule
from whimbrel.records import Column, Provenance, Row, Table, Value

_MASKS = {"digits": "digits_mask({})", "hash": "hash_sha256({})", "null": "NULL"}
_TEXTS = ("text", "enum", "set", "json", "date", "time", "datetime", "timestamp", "uuid", "inet4", "inet6", "decimal")


class Columns:
    """``table`` has the columns as the mapping sees them; ``row`` makes its rows from the source's.

    A computed column of a source column's name stands in its place, others come after, those of before images last.
    ``uses`` says which of the source's columns a computed one is made from, and by which of them one is looked up.
    ``from_others`` are those that are looked up in other tables, or computed from such, and FILTER if it asks for one.
    ``constants`` are the texts of computed ones that use no column.
    ``provenance_columns`` have change metadata: what ``row`` makes of them depends on its arguments.
    """

    def __init__(self, rule: TableRule, source: Table, faults: list[str]) -> None:
        expressions = {**_masks(rule, source, faults), **rule.columns}
        for name in rule.columns:
            if name in rule.mask:
                faults.append(f"column {name!r} is masked and computed: put the mask into the expression")
            faults.extend(_name_faults(name, source))
        for name in rule.before_image:
            faults.extend(_name_faults(name, source))
        noted = len(faults)
        self._expressions = (
            Expressions(source, expressions, rule.filter, faults) if expressions or rule.filter else None
        )
        if len(faults) > noted:
            self._expressions = None
        asked = {is_there(each) for each in rule.lookups}
        self._there = [(source.index(one.name), one) for one in source.columns if one.looked_up and one.name in asked]
        uses = self._expressions.uses if self._expressions else {}
        self.uses = {one.name: one.looked_up.by for one in source.columns if one.looked_up}
        self.from_others = frozenset(name for name, used in uses.items() if not self.uses.keys().isdisjoint(used))
        self.from_others |= self.uses.keys()
        self.uses |= {name: self._stored(uses.get(name, ())) for name in expressions}
        self.constants = self._expressions.constants if self._expressions else {}
        self._extra = [name for name in expressions if name not in source.names]
        self._replaced = [(source.index(name), name) for name in expressions if name in source.names]
        self.provenance_columns = frozenset(self._expressions.provenance_columns if self._expressions else ())
        faults += _untyped(rule, self._expressions) if self._expressions else []
        self.table = self._seen(source) if expressions else source
        self._before: list[int] = []
        self._look_back(rule, faults)
        self._alone = self._without_others(rule, source, expressions)
        self.changed = self._expressions is not None or bool(self._before) or bool(self._there)
        if source != source.stored and self.provenance_columns:
            faults.append("change metadata and before images are not for a table that looks columns up")

    @property
    def leaves_out_orphans(self) -> bool:
        """Whether a row is in no item for want of another table's row."""
        return bool(self._there)

    @property
    def filtered_by(self) -> tuple[str, ...]:
        """The source's columns that decide whether a row is left out."""
        return self._expressions.uses.get(FILTER, ()) if self._expressions else ()

    def _stored(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The columns by which those of ``names`` are looked up that are, and the others."""
        return tuple(dict.fromkeys(by for name in names for by in self.uses.get(name, (name,))))

    def sources(self, name: str) -> tuple[str, ...]:
        """The source's columns behind the column ``name``."""
        return self.uses.get(name, (name,))

    def row(self, row: Row, provenance: Provenance = UNKNOWN, before: Row | None = None) -> Row | None:
        """None if the filter leaves it out. ``before`` is the row that an update changed, as the mapping sees it.

        Raises Refused if an expression fails, or for an orphan that is to be a dead letter.
        """
        for index, one in self._there:
            if row[index] is None:
                _refuse_orphan(one)
                return None
        if self._expressions is not None:
            computed = self._expressions.evaluate(row, provenance)
            if computed is None:
                return None
            row = self._with(computed, row)
        if self._before:
            row = (*row, *[None if before is None else before[index] for index in self._before])
        return row

    def made(self, row: Row | None, provenance: Provenance = UNKNOWN) -> Row | None:
        """Like ``row``; None also for no row, and for one that cannot be made."""
        try:
            return None if row is None else self.row(row, provenance)
        except Refused:
            return None

    def made_alone(self, row: Row | None) -> Row | None:
        """Like ``made``, for the place of a row, in which no other table has a say. What is computed of looked-up
        columns is None, and never fails: of a row as it was, nobody knows what it found.
        """
        if row is None or any(row[index] is None for index, _ in self._there):
            return None
        if self._alone is None:
            return self._with({}, row)
        try:
            computed = self._alone.evaluate(row)
        except Refused:
            return None
        return None if computed is None else self._with(computed, row)

    def _with(self, computed: Mapping[str, Value], row: Row) -> Row:
        if self._replaced:
            changed = list(row)
            for index, name in self._replaced:
                changed[index] = computed.get(name)
            row = tuple(changed)
        return (*row, *[computed.get(name) for name in self._extra])

    def _without_others(self, rule: TableRule, source: Table, expressions: Mapping[str, str]) -> Expressions | None:
        """The expressions that use the table's own columns alone."""
        if self._expressions is None or source == source.stored:
            return None
        own = {name: text for name, text in expressions.items() if name not in self.from_others}
        condition = "" if FILTER in self.from_others else rule.filter
        return Expressions(source, own, condition, []) if own or condition else None

    def _seen(self, source: Table) -> Table:
        """A decimal that is only given another name stays one: a number, with its digits."""

        def computed(name: str) -> Column:
            if made is None or name not in made.copies:
                return Column(name, "computed", members=made.results.get(name, ()) if made else ())
            return replace(source.column(made.handed_on[name]), name=name)

        made = self._expressions
        replaced = {name for _, name in self._replaced}
        columns = [computed(each.name) if each.name in replaced else each for each in source.columns]
        columns += [computed(name) for name in self._extra]
        return Table(source.schema, source.name, tuple(columns), source.primary_key)

    def _look_back(self, rule: TableRule, faults: list[str]) -> None:
        """One more column for each of ``before_image``, of the kind of the column that it looks back at."""
        table, added = self.table, []
        for name, column in rule.before_image.items():
            if column not in table.names:
                faults.append(f"before_image {name!r} is of column {column!r}, which {table.full_name} does not have")
            elif column in self.provenance_columns:
                faults.append(
                    f"before_image {name!r} is of {column!r}, which is change metadata: it has no before image"
                )
            elif name in table.names:
                faults.append(f"before_image {name!r} is the name of a column that is there already")
            else:
                self._before.append(table.index(column))
                added.append(replace(table.column(column), name=name, nullable=True))
        self.provenance_columns |= {column.name for column in added}
        self.table = replace(table, columns=(*table.columns, *added)) if added else table


def _refuse_orphan(one: Column) -> None:
    looked = one.looked_up
    assert looked is not None, "the column says that the other table's row is there"
    if looked.orphans == "dead":
        raise Refused(f"no row of {'.'.join(looked.parent)} has what is in {', '.join(map(repr, looked.by))}")


def _untyped(rule: TableRule, made: Expressions) -> list[str]:
    """COALESCE(price, '0') is a text to SQLite: whether a number is meant must be said."""
    return [
        f"column {name!r} may be {column!r} as it stands, a DECIMAL: say whether it is a number or a string, as "
        f'types = {{ {name} = "N" }}, or by data-type in a DMS file'
        for name, column in made.handed_on.items()
        if name not in (*made.copies, *rule.types, *rule.exclude)
    ]


def _masks(rule: TableRule, source: Table, faults: list[str]) -> dict[str, str]:
    found = {}
    for name, mask in rule.mask.items():
        if name not in source.names:
            continue  # said with the other unknown names
        kind = source.column(name).kind
        if mask not in _MASKS:
            faults.append(f"mask {mask!r} of column {name!r} is not known: it is 'digits', 'hash' or 'null'")
        elif mask == "digits" and kind not in _TEXTS:
            faults.append(f"column {name!r} ({kind}) has no text whose digits could be masked: use 'hash' or 'null'")
        else:
            quoted = '"' + name.replace('"', '""') + '"'
            found[name] = _MASKS[mask].format(f"CAST({quoted} AS TEXT)" if kind == "decimal" else quoted)
    return found


def _name_faults(name: str, source: Table) -> list[str]:
    folded = {each.lower(): each for each in source.names}
    if not name or any(character in name for character in "{}"):
        return [f"column {name!r} cannot be named so: no template could use it"]
    if name not in source.names and name.lower() in folded:
        return [f"column {name!r} differs from the source's {folded[name.lower()]!r} by case only"]
    return []

"""Hypothesis strategies: tables of all kinds of columns, rules over them, rows and histories of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from tests.mapping.oracle import Place, place_of
from tests.mapping.oracle_texts import NoPlace
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Change, Column, Position, Row, Table, Value

# Small domains, so that rows collide, move and come back; each with what has gone wrong somewhere.
VALUES: dict[str, list[Value]] = {
    "int": [0, 1, 12, 2, -1, 2**64 - 1, -(2**63)],
    "year": [0, 1999, 2026],
    "bit": [0, 1, 255],
    "decimal": ["1.00", "12.50", "-0.01", "0.00", "100.00"],
    "float": [0.0, -0.0, 1.5, 0.1, -3.4e38, 1e-45],
    "double": [0.0, -0.0, 0.1, 1e22, -1.5e-7, 1e126, 1e-300],
    "text": ["a", "A", "a ", "", "a|b", "b", "|", "é", "😀", "pk", "12", "1|2", '"{x}"\\', "\x00"],
    "enum": ["small", "large", ""],
    "set": ["", "x", "x,y"],
    "json": ["{}", '{"a": 1}', "null", "[1,2]"],
    "date": ["2026-01-02", "0000-00-00", "2026-00-00"],
    "time": ["00:00:01", "-838:59:59.000000", "12:00:00.5"],
    "datetime": ["2026-01-02 03:04:05", "0000-00-00 00:00:00", "2026-01-02 03:04:05.123456"],
    "timestamp": ["2026-01-02 03:04:05", "1970-01-01 00:00:01"],
    "uuid": ["123e4567-e89b-12d3-a456-426655440000", "00000000-0000-0000-0000-000000000000"],
    "inet4": ["127.0.0.1", "10.0.0.1"],
    "inet6": ["::1", "fe80::1"],
    "binary": [b"", b"a\x00\x00", b"\xff", b"|"],
    "geometry": [b"\x00\x00\x00\x00\x01"],
}
TYPES = {"int": "NS", "bit": "NS", "year": "NS", "decimal": "NS", "float": "NS", "double": "NS", "text": "SNB"}
TEXT_KINDS = sorted(set(VALUES) - {"binary", "geometry"})
KEY_KINDS = ["int", "int", "text", "text", "date", "decimal", "double", "enum", "datetime", "timestamp", "year"]
SEPARATORS = ["|", "#", "", "$$", "-"]
FORMATS = {"int": [":020d", ":05d", ""], "year": [":06d", ""], "bit": [":03d", ""], "date": [":%Y%m%d", ""]}
LOSSY = {"int": ["%3", ":bucket4"], "year": ["%3"], "text": [":lower", ":bucket4"], "enum": [":lower"]}
CLEAR_SEPARATORS = ["/", "#", "", "$$"]  # no value runs into one: rows that do are test_templates' matter


@dataclass(frozen=True)
class Case:
    table: Table
    rule: TableRule


def column(name: str, kind: str, nullable: bool) -> Column:
    members = {"enum": ("small", "large"), "set": ("x", "y")}.get(kind, ())
    precision, scale = {"decimal": (10, 2)}.get(kind, (0, 0))
    return Column(name, kind, nullable, precision=precision, scale=scale, members=members)


@st.composite
def cases(draw: st.DrawFn, shape: str = "") -> Case:
    """A table with a primary key of one to three columns, and a rule whose places are made of at least that key."""
    key_kinds = draw(st.lists(st.sampled_from(KEY_KINDS), min_size=1, max_size=3))
    other_kinds = draw(st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4))
    primary_key = [column(f"k{i}", kind, False) for i, kind in enumerate(key_kinds)]
    others = [column(f"v{i}", kind, True) for i, kind in enumerate(other_kinds)]
    columns = draw(st.permutations(primary_key + others))
    names = draw(st.permutations([one.name for one in primary_key]))
    table = Table("shop", "things", tuple(columns), tuple(names))
    shape = shape or draw(
        st.sampled_from(["record", "document", "group", "group", "map", "set", "list", "counted", "values"])
    )
    used = list(table.primary_key) + draw(
        st.lists(st.sampled_from([one.name for one in others if one.kind in TEXT_KINDS] or ["k0"]), max_size=1)
    )
    used = draw(st.permutations(list(dict.fromkeys(used))))
    if shape in ("record", "document"):
        rule = draw(_record_rule(table, used))
        rule = replace(rule, shape=shape, rename={} if shape == "document" else rule.rename)
    else:
        rule = draw(_group_rule(table, used, shape))
    return Case(table, draw(_with_expressions(table, rule, used)))


@st.composite
def _with_expressions(draw: st.DrawFn, table: Table, rule: TableRule, used: list[str]) -> TableRule:
    """Often none. Columns of the rule's places are left as they are, so that places can be told apart."""
    if draw(st.booleans()):
        return rule
    texts = [one.name for one in table.columns if one.kind in ("text", "enum", "date", "json", "uuid")]
    numbers = [one.name for one in table.columns if one.kind in ("int", "year")]
    if texts and draw(st.booleans()):  # type: ignore[arg-type]
        rule = replace(
            rule, filter=f"{draw(st.sampled_from(texts))} IS NOT '{draw(st.sampled_from(['a', 'b', '{}']))}'"
        )
    expressions = [f"substr({name}, 1, 1)" for name in texts] + [f"coalesce({name}, 'none')" for name in texts]
    expressions += [f"abs({name}) % 3" for name in numbers]
    alone = rule.shape == "group" and (rule.entry_value or rule.entry_as == "list")
    if expressions and not alone and draw(st.booleans()):
        rule = replace(rule, columns={"x": draw(st.sampled_from(expressions))})
        if draw(st.booleans()):  # a key that no way leads back from
            key = rule.partition_key
            if key.type == "S":
                rule = replace(rule, partition_key=replace(key, value=key.value + "/${x}"))
    spare = [
        one.name
        for one in table.columns
        if one.name not in {*used, *rule.exclude, rule.entry_value, *rule.types, *rule.codes}
    ]
    if spare and draw(st.booleans()):  # type: ignore[arg-type]
        rule = replace(rule, mask={draw(st.sampled_from(spare)): draw(st.sampled_from(["hash", "null"]))})
    return rule


@st.composite
def _record_rule(draw: st.DrawFn, table: Table, used: list[str]) -> TableRule:
    cut = draw(st.integers(1, len(used)))
    keys = draw(_keys(table, used[:cut], used[cut:]))
    spare = [name for name in table.names if name not in used]
    return TableRule(
        "things",
        "things",
        "record",
        keys[0],
        keys[1] if len(keys) > 1 else None,
        exclude=tuple(draw(st.sets(st.sampled_from(table.names), max_size=2))),
        rename={name: f"renamed_{name}" for name in draw(st.sets(st.sampled_from(spare or ["k0"]), max_size=1))},
        types=draw(_types(table)),
        codes=draw(_codes(table)),
        attributes=draw(_attributes(used, table)),
        nulls=draw(st.sampled_from(["null", "omit"])),
    )


@st.composite
def _group_rule(draw: st.DrawFn, table: Table, used: list[str], shape: str) -> TableRule:
    if len(used) == 1:
        used = used * 2
    ends = sorted(draw(st.tuples(st.integers(1, len(used) - 1), st.integers(1, len(used) - 1))))
    if shape == "set":
        ends[1] = len(used) - 1
    key, sort, entry = used[: ends[0]], used[ends[0] : ends[1]], used[ends[1] :]
    spare = [name for name in table.names if name not in used]
    value = "" if shape == "list" else draw(st.sampled_from(["", *spare]))
    keys = draw(_keys(table, key, sort))
    rule = TableRule(
        "things",
        "things",
        "group",
        keys[0],
        keys[1] if len(keys) > 1 else None,
        entry_name=draw(_template(entry, table)),
        entry_value=value,
        exclude=tuple(name for name in spare if name != value) if value else (),
        types=draw(_types(table)),
        codes=draw(_codes(table)),
        attributes=draw(_attributes(key, table)),
    )
    if not value and not rule.attributes and draw(st.booleans()):
        rule = replace(rule, nulls="omit")
    if shape in ("counted", "values"):
        return draw(_gathered_rule(table, rule, shape, spare))
    split = LOSSY.get(table.column(entry[0]).kind, [])
    if split and shape != "list" and rule.sort_key and rule.sort_key.type == "S" and draw(st.booleans()):
        part = f"/${{{entry[0]}{draw(st.sampled_from(split))}}}"  # the group is several items
        rule = replace(rule, sort_key=replace(rule.sort_key, value=rule.sort_key.value + part))
    if shape == "map":
        return replace(rule, entry_as="map", entry_into="inside")
    if shape == "list":
        order = tuple(name + draw(st.sampled_from(["", " desc"])) for name in dict.fromkeys(entry))
        codes = {name: codes for name, codes in rule.codes.items() if name not in entry or True not in codes.values()}
        return replace(rule, entry_as="list", entry_into="inside", entry_name="", entry_order=order, codes=codes)
    if shape == "set":
        return draw(_set_rule(table, rule, entry[0], spare))
    return rule


@st.composite
def _set_rule(draw: st.DrawFn, table: Table, rule: TableRule, member: str, spare: list[str]) -> TableRule:
    numbers = table.column(member).kind in ("int", "year", "decimal") and draw(st.booleans())
    return replace(
        rule,
        entry_as="number-set" if numbers else "string-set",
        entry_into="inside",
        entry_name="",
        entry_value=member,
        nulls="null",
        exclude=tuple(spare),
        types={name: kind for name, kind in rule.types.items() if name != member},
        codes={name: codes for name, codes in rule.codes.items() if name != member},
    )


@st.composite
def _gathered_rule(draw: st.DrawFn, table: Table, rule: TableRule, shape: str, spare: list[str]) -> TableRule:
    """A set, or a list of plain values, of what the rows in a map give."""
    numbers = [name for name in spare if table.column(name).kind in ("int", "year", "bit", "decimal")]
    if shape == "counted" and numbers and draw(st.booleans()):
        kind, value = "number-set", draw(st.sampled_from(numbers))
    else:
        texts = [name for name in spare if table.column(name).kind in TEXT_KINDS] or list(table.primary_key)
        kind, value = "string-set", draw(st.sampled_from(texts))
    order: list[str] = []
    if shape == "values":
        kind = "list"
        order = draw(
            st.lists(st.sampled_from(sorted({value, *table.primary_key})), min_size=1, max_size=2, unique=True)
        )
    used = {value, *order}
    return replace(
        rule,
        entry_as=kind,
        entry_into="inside",
        entry_rows="rows",
        entry_value=value,
        entry_order=tuple(name + draw(st.sampled_from(["", " desc"])) for name in order),
        nulls="null",
        exclude=tuple(name for name in spare if name not in used),
        types={name: each for name, each in rule.types.items() if name not in used},
        codes={name: each for name, each in rule.codes.items() if name not in used},
    )


@st.composite
def _template(draw: st.DrawFn, names: list[str], table: Table) -> str:
    """Each column as it is or in a format, some with a text for NULL (a value may have it), and lossy ones besides."""
    parts = [_reference(draw, names[0], table)]
    for name in names[1:]:
        parts += [draw(st.sampled_from(CLEAR_SEPARATORS)), _reference(draw, name, table)]
    lossy = [f"/${{{name}{each}}}" for name in names for each in LOSSY.get(table.column(name).kind, [])]
    if lossy and draw(st.integers(0, 3)) == 0:
        parts.append(draw(st.sampled_from(lossy)))
    prefix = draw(st.sampled_from(["", "", "item-", '{"\\']))
    return prefix + "".join(parts)


def _reference(draw: st.DrawFn, name: str, table: Table) -> str:
    column = table.column(name)
    form = draw(st.sampled_from(FORMATS.get(column.kind, [""])))
    return f"${{{name}{form}{draw(st.sampled_from(['', ':-12'])) if column.nullable else ''}}}"


@st.composite
def _keys(draw: st.DrawFn, table: Table, partition: list[str], sort: list[str]) -> tuple[KeyRule, ...]:
    found = []
    for attribute, names in (("pk", partition), ("sk", sort)):
        if not names:
            continue
        number = len(names) == 1 and table.column(names[0]).kind in ("int", "decimal", "double", "year")
        if number and draw(st.booleans()):
            found.append(KeyRule(attribute, f"${{{names[0]}}}", "N"))
        else:
            found.append(KeyRule(attribute, draw(_template(names, table))))
    return tuple(found)


@st.composite
def _attributes(draw: st.DrawFn, names: list[str], table: Table) -> dict[str, str | dict[str, Any]]:
    return {"added": draw(_template(names, table))} if draw(st.booleans()) else {}


@st.composite
def _types(draw: st.DrawFn, table: Table) -> dict[str, str]:
    found = {}
    for one in table.columns:
        if one.kind in TYPES and draw(st.integers(0, 3)) == 0:
            found[one.name] = draw(st.sampled_from(TYPES[one.kind]))
    return found


@st.composite
def _codes(draw: st.DrawFn, table: Table) -> dict[str, dict[str, Any]]:
    """For ENUMs, one of whose values (that of an invalid name) may have none."""
    codes = [{"small": 1, "large": 22}, {"small": True, "large": False}, {"small": "S", "large": "L", "": "?"}]
    enums = [one.name for one in table.columns if one.kind == "enum"]
    return {name: draw(st.sampled_from(codes)) for name in enums if draw(st.booleans())}


@st.composite
def rows(draw: st.DrawFn, table: Table) -> Row:
    return tuple(draw(st.sampled_from([*VALUES[one.kind], *([None] * one.nullable)])) for one in table.columns)


@dataclass(frozen=True)
class History:
    """The table after each transaction, and the changes between: ``ends[i]`` of them came before ``states[i]``."""

    states: list[dict[tuple[Value, ...], Row]]
    ends: list[int]
    changes: list[Change]


@st.composite
def histories(draw: st.DrawFn, case: Case) -> History:
    """Transactions of inserts, deletes, updates (of the primary key too) and swaps; no two rows ever want one place."""
    source = Source(case)
    for row in draw(st.lists(rows(case.table), max_size=6)):
        source.write(None, row)
    source.begin()
    for _ in range(draw(st.integers(0, 12))):
        for _ in range(draw(st.integers(1, 3))):
            source.step(draw(st.sampled_from(["insert", "update", "update", "delete", "swap"])), draw)
        source.commit()
    return History(source.states, source.ends, source.changes)


class Source:
    """A table under a history, which refuses what a unique index over the target's places would refuse."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.now: dict[tuple[Value, ...], Row] = {}
        self.begin()

    def begin(self) -> None:
        self.states, self.ends, self.changes = [dict(self.now)], [0], []  # type: ignore[var-annotated]

    def commit(self) -> None:
        self.states.append(dict(self.now))
        self.ends.append(len(self.changes))

    def step(self, what: str, draw: st.DrawFn) -> None:
        if what == "insert" or not self.now:
            self.write(None, draw(rows(self.case.table)))
            return
        one, other = (draw(st.sampled_from(sorted(self.now.values(), key=repr))) for _ in range(2))
        if what == "delete":
            self.write(one, None)
        elif what == "update":
            self.write(one, self._changed(one, draw))
        else:
            self._swap(one, other, draw)

    def _changed(self, row: Row, draw: st.DrawFn) -> Row:
        fresh, which = draw(rows(self.case.table)), draw(st.integers(0, len(row) - 1))
        return fresh if draw(st.booleans()) else (*row[:which], fresh[which], *row[which + 1 :])

    def _swap(self, one: Row, other: Row, draw: st.DrawFn) -> None:
        """Two rows exchange their primary keys, by way of a third."""
        away = self._with_key(one, draw(rows(self.case.table)))
        if one != other and self.write(one, away) and self.write(other, self._with_key(other, one)):
            self.write(away, self._with_key(away, other))

    def _with_key(self, row: Row, key_of: Row) -> Row:
        key = self.case.table.primary_key
        return tuple(
            there if name in key else here for name, here, there in zip(self.case.table.names, row, key_of, strict=True)
        )

    def write(self, before: Row | None, after: Row | None) -> bool:
        rest = {key: row for key, row in self.now.items() if row != before}
        if after is not None and not self._free(after, rest):
            return False
        self.now = rest if after is None else {**rest, self.key(after): after}
        at = Position("bin.000001", 4 + len(self.changes))
        self.changes.append(Change(self.case.table, before, after, at))
        return True

    def _free(self, row: Row, rest: dict[tuple[Value, ...], Row]) -> bool:
        place = self._place(row)
        if self.key(row) in rest or (place and place in map(self._place, rest.values())):
            return False
        return not place or all(self._same_group(row, one, place) for one in rest.values())

    def _same_group(self, row: Row, one: Row, place: Place) -> bool:
        """Rows of one item agree in the added attributes (an ambiguous key could bring others together)."""
        other = self._place(one)
        attributes = "".join(map(str, self.case.rule.attributes.values()))
        used = [i for i, name in enumerate(self.case.table.names) if "${" + name in attributes]
        return not other or other[0] != place[0] or all(repr(row[i]) == repr(one[i]) for i in used)

    def _place(self, row: Row) -> Place | None:
        try:
            return place_of(self.case.rule, self.case.table, row)
        except NoPlace:
            return None

    def key(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[self.case.table.index(name)] for name in self.case.table.primary_key)

"""Keys that could meet: what is said to be apart never meets, and the rows that are shown do."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.mapping.oracle_texts import NoPlace, rendered
from whimbrel.errors import SchemaDrift
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.mapping.family import compile_family
from whimbrel.mapping.meeting import may_meet, meeting, pair_of, smallest_change
from whimbrel.mapping.owned import keys_said, may_meet_said, owned_by
from whimbrel.mapping.results import possible_texts
from whimbrel.mapping.versions import Versions
from whimbrel.project import KeyRule, TableRule
from whimbrel.records import Column, Row, Table, Value

COLUMNS = {
    "i": Column("i", "int", False, type_name="int(11)"),
    "u": Column("u", "int", False, type_name="int(10) unsigned", unsigned=True),
    "p": Column("p", "decimal", False, type_name="decimal(6,2)", precision=6, scale=2),
    "t": Column("t", "text", False, type_name="varchar(12)", length=12),
    "e": Column("e", "enum", False, type_name="enum('A','B#1')", members=("A", "B#1")),
    "s": Column("s", "set", False, type_name="set('A','1')", members=("A", "1")),
    "d": Column("d", "date", False, type_name="date"),
    "m": Column("m", "datetime", False, type_name="datetime(3)", scale=3),
    "g": Column("g", "uuid", False, type_name="uuid"),
    "b": Column("b", "binary", False, type_name="binary(16)", length=16),
}
TABLE = Table("shop", "one", tuple(COLUMNS.values()), ("i",))
OTHER = replace(TABLE, name="other")
VALUES: dict[str, list[Value]] = {
    "i": [0, 1, -1, 12],
    "u": [0, 1, 12],
    "p": ["0.50", "1.00", "-1.00", "12.12"],
    "t": ["", "1", "A", "#1", "A#", "1#A#1", "-", "2026-01-31", "0", "B#1"],
    "e": ["A", "B#1", ""],
    "s": ["", "A", "1", "A,1"],
    "d": ["2026-01-31", "0000-00-00"],
    "m": ["2026-01-31 00:00:00.000"],
    "g": ["123e4567-e89b-12d3-a456-426655440000"],
    "b": [bytes(16)],
}
FORMS = ["${i}", "${i}", "${u}", "${t}", "${t}", "${e}", "${s}", "${p}", "${d}", "${m}", "${g}", "${b:uuid}"]
FORMS += ["${i:03d}", "${i%3}", "${t:bucket4}", "${t:lower}", "${d:%Y%m%d}", "${m:epoch_ms}"]
UNKNOWN = (":epoch_ms", ":uuid")
LITERALS = ["", "#", "A", "1", "A#", "#B", "-", "#A#", "."]
TEMPLATES = st.lists(st.tuples(st.sampled_from(LITERALS), st.sampled_from(FORMS)), min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from(LITERALS).map(lambda end: "".join(a + b for a, b in parts) + end)
)


def mapped(table: Table, *keys: str, **more: object) -> TableMapping:
    rules = [KeyRule(name, value) for name, value in zip(("pk", "sk"), keys, strict=False)]
    rule = TableRule(table.full_name, "one", "record", rules[0], rules[1] if len(rules) > 1 else None)
    return compile_mapping(replace(rule, assert_unique=True, **more), table)  # type: ignore[arg-type]


def texts(template: str, table: Table) -> set[str]:
    """All that the template gives over VALUES, by other code than whimbrel's; which has not all of the formats."""
    if any(form in template for form in UNKNOWN):
        return set()
    used = [name for name in VALUES if any(f"${{{name}{end}" in template for end in "}:%")]
    found = set()
    for values in product(*(VALUES[name] for name in used)):
        given_ = dict(zip(used, values, strict=True))
        row: Row = tuple(given_.get(name, VALUES[name][0]) for name in table.names)
        try:
            found.add(rendered(template, table, row, in_key=True))
        except NoPlace:
            continue
    return found


@settings(max_examples=300, deadline=None)
@given(TEMPLATES, TEMPLATES)
def test_what_is_apart_never_meets(one: str, other: str) -> None:
    left, right = mapped(TABLE, one), mapped(OTHER, other)
    apart = not may_meet(left, right)
    event("apart" if apart else "may meet")
    if texts(one, TABLE) & texts(other, OTHER):
        assert not apart


@settings(max_examples=150, deadline=None)
@given(TEMPLATES, TEMPLATES)
def test_a_project_owns_its_keys_and_no_key_that_others_say(one: str, other: str) -> None:
    left, right = mapped(TABLE, one), mapped(OTHER, other)
    owned, theirs = owned_by([left]), texts(other, OTHER)
    assert all(owned.has({"pk": {"S": text}}) for text in texts(one, TABLE))
    if not may_meet_said(left, keys_said(right)):
        assert not may_meet(left, right)
        assert not any(owned.has({"pk": {"S": text}}) for text in theirs)
    if not any(f"${{{name}" in one + other for name in "est"):  # of an ENUM, a SET or a text an ALTER may make more
        assert may_meet_said(left, keys_said(right)) == may_meet(left, right)


def test_what_cannot_be_read_of_another_s_keys_is_an_error() -> None:
    for said in ("", "[]", "[{}]", '[{"type": "S", "parts": [{"what": 1}], "columns": {}}]'):
        with pytest.raises(ValueError, match=r"[\s\S]*"):
            may_meet_said(mapped(TABLE, "${i}"), said)


@settings(max_examples=150, deadline=None)
@given(TEMPLATES, TEMPLATES, TEMPLATES, TEMPLATES)
def test_the_rows_that_are_shown_have_one_key_and_the_advice_helps(a: str, b: str, c: str, d: str) -> None:
    one, other = mapped(TABLE, a, b), mapped(OTHER, c, d)
    if not may_meet(one, other):
        event("apart")
        return
    pair = pair_of(one, other)
    event("shown" if pair else "not shown")
    if pair:
        for keys, table, values in (((a, b), TABLE, pair.one), ((c, d), OTHER, pair.other)):
            row: Row = tuple(values.get(name, VALUES[name][0]) for name in table.names)
            mapping = one if table is TABLE else other
            assert mapping.item_key(row) == pair.key
            for template, name in zip(keys, ("pk", "sk"), strict=True):
                if not any(form in template for form in UNKNOWN):
                    assert rendered(template, table, row, in_key=True) == pair.key[name]["S"]
    assert not may_meet(*changed(one, other))


def keyed(table: Table, column: str, kind: str) -> TableMapping:
    rule = TableRule(table.full_name, "one", "record", KeyRule("pk", f"${{{column}}}", kind), assert_unique=True)
    return compile_mapping(rule, table)


def test_tables_in_two_targets_never_meet() -> None:
    one = keyed(TABLE, "i", "N")
    assert may_meet(one, keyed(OTHER, "i", "N"))
    elsewhere = replace(keyed(OTHER, "i", "N").rule, target="two")
    assert not may_meet(one, compile_mapping(elsewhere, OTHER))


def test_numbers_that_meet_are_shown_and_no_small_change_tells_them_apart() -> None:
    one, other = keyed(TABLE, "i", "N"), keyed(OTHER, "u", "N")
    pair = pair_of(one, other)
    assert pair
    assert pair.one["i"] == pair.other["u"] == int(pair.key["pk"]["N"])
    assert smallest_change(one, other) == []
    assert "give both a key of type 'S' that begins with a text of its own" in meeting(one, other)


def test_binary_keys_that_may_meet_are_said_without_an_example() -> None:
    one, other = keyed(TABLE, "b", "B"), keyed(OTHER, "b", "B")
    assert may_meet(one, other)
    assert pair_of(one, other) is None
    assert "give both a key of type 'S'" in meeting(one, other)


def changed(one: TableMapping, other: TableMapping) -> list[TableMapping]:
    """As the advice has them."""
    found = []
    for mapping in (one, other):
        rule = mapping.rule
        for each in smallest_change(one, other):
            if each.source == mapping.source and each.key == "pk":
                rule = replace(rule, partition_key=KeyRule("pk", each.value))
            elif each.source == mapping.source:
                rule = replace(rule, sort_key=KeyRule("sk", each.value))
        found.append(compile_mapping(rule, mapping.table))
    return found


ITEMS = """as that of shop.one with t = '1#ITEM#1' and that of shop.other with i = 1, u = 1: both have \
pk = 'ORDER#1#ITEM#1', sk = 'X': write value = 'X#ONE' for key 'sk' of shop.one, or, if"""
TEXT = """with i = 1, t = 'ORDER#1' and that of shop.other with i = 1, u = 1: both have \
pk = 'C#1', sk = 'ORDER#1': write value = 'ONE#${t}' for key 'sk' of shop.one, or, if"""


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (("ORDER#${t}", "X"), ("ORDER#${i}#ITEM#${u}", "X"), ITEMS),
        (("C#${i}", "${t}"), ("C#${i}", "ORDER#${u}"), TEXT),
        (("${i}",), ("${u}",), "write value = 'ONE#${i}' for key 'pk' of shop.one"),
        (("${m}",), ("${t}",), "write value = "),
    ],
)
def test_what_is_said(one: tuple[str, ...], other: tuple[str, ...], said: str) -> None:
    assert said in meeting(mapped(TABLE, *one), mapped(OTHER, *other))


KIND = "CASE WHEN i > 0 THEN 'PLUS' ELSE 'MINUS' END"


@pytest.mark.parametrize(
    ("computed", "template", "other", "apart"),
    [
        ({"x": "'acme'"}, "T#${x}#${i}", "T#acme#${t}", False),
        ({"x": "'acme'"}, "T#${x}#${i}", "T#apex#${t}", True),
        ({"x": "'a' || 'b'"}, "${x}#${i}", "ab#${i}", False),
        ({"x": "'a' || 'b'"}, "${x}#${i}", "ac#${i}", True),
        ({"x": "lower('AB')"}, "${x}${i}", "AB${i}", True),
        ({"x": "7"}, "${x}#${i}", "8#${i}", True),
        ({"x": KIND}, "${x}#${i}", "MINUS#${t}", False),
        ({"x": KIND}, "${x}#${i}", "OTHER#${t}", True),
        ({"x": "iif(t = 'a', 'A', 'B')"}, "${x}#${i}", "C#${t}", True),
        ({"x": "CASE t WHEN 'a' THEN 'A' WHEN 'b' THEN t END"}, "${x}#${i}", "C#${t}", False),
        ({"x": "NULL"}, "${x}#${i}", "C#${t}", False),
        ({"x": "change_operation()"}, "P${i}", "C#${t}", True),
    ],
)
def test_computed_texts_that_are_known_beforehand(
    computed: dict[str, str], template: str, other: str, apart: bool
) -> None:
    assert may_meet(mapped(TABLE, template, columns=computed), mapped(OTHER, other)) is not apart


def test_a_constant_in_a_key_leads_back_from_it() -> None:
    mapping = mapped(TABLE, "T#${x}#${i}", columns={"x": "'acme'"})
    assert mapping.invertible
    assert mapping.source_keys({"pk": {"S": "T#acme#12"}}) == [(12,)]
    assert mapping.source_keys({"pk": {"S": "T#apex#12"}}) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'it''s'", ("it's",)),
        ("(('a'))", ("a",)),
        ("NULL", ()),
        ("CASE WHEN a = 'THEN' THEN 'x' WHEN b THEN (CASE c WHEN 1 THEN 'y' ELSE 'x' END) END", ("x", "y")),
        ("CASE WHEN a THEN 'x' ELSE b END", None),
        ("CASE WHEN a THEN 'x' END || 'y'", None),
        ("iif(f(a, 'b'), 'x', NULL)", ("x",)),
        ("iif(a, 'x')", None),
        ("x'41'", None),
        ("007", ("7",)),
        ("1.5", None),
        ("a", None),
        ("'a' COLLATE nocase", None),
        ("('a') || ('b')", None),
    ],
)
def test_the_texts_that_an_expression_may_have(text: str, expected: tuple[str, ...] | None) -> None:
    from whimbrel.mapping.expressions import tokens_of

    assert possible_texts(tokens_of(text)) == expected


def test_a_member_that_comes_is_proved_again() -> None:
    """An ALTER may give an ENUM a member whose text is another table's key."""
    size = Column("size", "enum", False, type_name="enum('s')", members=("s",))
    one = Table("shop", "one", (Column("id", "int", False), size), ("id",))
    rules = [
        (TableRule("shop.one", "ttt", "record", KeyRule("pk", "${size}"), assert_unique=True), one),
        (TableRule("shop.two", "ttt", "record", KeyRule("pk", "l${id}")), replace(one, name="two")),
    ]
    family = compile_family([(Versions(rule, table), table) for rule, table in rules])
    assert not family.faults
    more = replace(one, columns=(one.columns[0], replace(size, members=("s", "m"))))
    family.versions["shop.one"].of(more)
    most = replace(one, columns=(one.columns[0], replace(size, members=("s", "m", "l1"))))
    with pytest.raises(SchemaDrift, match="could have the same key"):
        family.versions["shop.one"].of(most)


def test_a_text_that_grows_is_proved_again() -> None:
    """Of two letters, it has no room for another table's key; of four it has."""
    code = Column("code", "text", False, length=2, type_name="char(2)")
    land = Table("shop", "land", (Column("id", "int", False), code), ("id",))
    rules = [
        (TableRule("shop.land", "ttt", "record", KeyRule("pk", "${code}"), assert_unique=True), land),
        (TableRule("shop.city", "ttt", "record", KeyRule("pk", "${code}#${id}")), replace(land, name="city")),
    ]
    family = compile_family([(Versions(rule, table), table) for rule, table in rules])
    assert [str(fault).count("could have the same key") for fault in family.faults] == [1]
    rules[1] = TableRule("shop.city", "ttt", "record", KeyRule("pk", "${code}##${id}")), rules[1][1]
    family = compile_family([(Versions(rule, table), table) for rule, table in rules])
    assert not family.faults
    longer = replace(land, columns=(land.columns[0], replace(code, length=4, type_name="char(4)")))
    with pytest.raises(SchemaDrift, match="could have the same key"):
        family.versions["shop.land"].of(longer)

"""Several tables into one: what cannot be told apart is refused, and what is shared comes to the same in any order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mapping.oracle import Store, expected
from tests.mapping.tables import Case, History, histories
from whimbrel.errors import MappingError
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import compile_family, indexes_of
from whimbrel.mapping.versions import Versions
from whimbrel.project import IndexKey, IndexRule, KeyRule, TableRule
from whimbrel.records import Column, Item, Put, Table

ID = Column("id", "int", nullable=False)
CUSTOMER = Table("shop", "customer", (ID, Column("name", "text"), Column("since", "date", nullable=False)), ("id",))
ORDERS = Table("shop", "orders", (ID, Column("status", "enum", members=("small", "large"))), ("id",))
LINE = Table(
    "shop", "line", (Column("order", "int", nullable=False), replace(ID, name="n"), Column("v", "text")), ("order", "n")
)
TAG = Table(
    "shop", "tag", (Column("order", "int", nullable=False), Column("tag", "text", nullable=False)), ("order", "tag")
)

HOME = TableRule("shop.customer", "one", "record", KeyRule("pk", "CUSTOMER#${id}"), KeyRule("sk", "PROFILE"))
HEAD = TableRule("shop.orders", "one", "record", KeyRule("pk", "ORDER#${id}"), KeyRule("sk", "ORDER"), item="shared")
PART = TableRule("shop.line", "one", "group", KeyRule("pk", "ORDER#${order}"), KeyRule("sk", "ORDER"), item="shared")
LINES = replace(PART, entry_name="${n}", entry_as="map", entry_into="lines")
AMONG = replace(PART, entry_name="line-${n}", entry_value="v")
LISTED = replace(PART, entry_as="list", entry_into="lines", entry_order=("n desc",))
TAGS = replace(PART, source="shop.tag", entry_value="tag", entry_as="string-set", entry_into="tags")


def family(*parts: tuple[TableRule, Table]) -> dict[str, TableMapping]:
    compiled = compile_family([(Versions(rule, table), table) for rule, table in parts])
    if compiled.faults:
        raise MappingError("\n".join(map(str, compiled.faults)))
    return compiled.mappings


def faults(*parts: tuple[TableRule, Table]) -> str:
    with pytest.raises(MappingError) as caught:
        family(*parts)
    return str(caught.value)


@pytest.mark.parametrize(
    ("home", "head", "lines", "wrong"),
    [
        (
            {"partition_key": KeyRule("pk", "${name}"), "sort_key": KeyRule("sk", "ORDER")},
            {},
            {},
            "shop.customer and one of shop.orders could have the same key",
        ),
        (
            {"partition_key": KeyRule("pk", "ORDER#${name}"), "sort_key": KeyRule("sk", "ORDER")},
            {},
            {},
            "could have the same key",
        ),
        ({"partition_key": KeyRule("ref", "C#${id}")}, {}, {}, "has the key (ref S, sk S), shop.orders (pk S, sk S)"),
        ({}, {"item": "own"}, {}, "shop.orders and one of shop.line could have the same key"),
        ({}, {"attributes": {"lines": "x"}}, {}, "share items and both write attribute 'lines'"),
        (
            {},
            {},
            {"attributes": {"kind": "x"}},
            "attribute 'kind' of shop.line belongs to an item that other tables share",
        ),
        ({}, {"attributes": {"kind": "y"}}, {"attributes": {"kind": "x"}}, "attribute 'kind' of shop.line belongs"),
        ({}, {"partition_key": KeyRule("pk", "O#${id}")}, {}, 'shop.orders says item = "shared", and no other table'),
        ({}, {"nulls": "omit", "exclude": ("id",)}, {}, "an attribute of its own that is never NULL"),
        ({}, {"exclude": ("id", "status")}, {}, "a row of a shared item needs an attribute of its own"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(
    home: dict[str, Any], head: dict[str, Any], lines: dict[str, Any], wrong: str
) -> None:
    parts = (replace(HOME, **home), CUSTOMER), (replace(HEAD, **head), ORDERS), (replace(LINES, **lines), LINE)
    assert wrong in faults(*parts)


def test_entries_among_the_attributes_of_one_item_need_names_of_their_own() -> None:
    other = replace(AMONG, source="shop.tag", entry_name="${tag}", entry_value="", entry_as="attribute")
    assert "could have the same name" in faults((AMONG, LINE), (other, TAG))
    family((AMONG, LINE), (replace(other, entry_name="tag-${tag}"), TAG))


def test_an_entry_cannot_take_the_name_of_another_tables_attribute() -> None:
    mapping = family((HEAD, ORDERS), (replace(AMONG, entry_name="${v}", entry_value=""), LINE))["shop.line"]
    puts, [fault] = mapping.put_items([(1, 1, "status"), (1, 2, "other")])
    assert [set(put.item) for put in puts] == [{"pk", "sk", "other"}]
    assert "'status' is the name of an attribute of the whole item or of another table" in fault.reason


INDEX = IndexRule("by-since", IndexKey("since"), IndexKey("pk"))


@pytest.mark.parametrize(
    ("index", "rule", "wrong"),
    [
        ({"partition_key": IndexKey("sinc")}, {}, "no table writes attribute 'sinc'"),
        ({"partition_key": IndexKey("since", "N")}, {}, "attribute 'since' of shop.customer is S, not N"),
        ({"sort_key": IndexKey("pk", "N")}, {}, "attribute 'pk' cannot be both S and N"),
        ({"local": True}, {}, "is local, and so has the table's own partition key"),
        (
            {"local": True, "partition_key": IndexKey("pk"), "sort_key": IndexKey("since")},
            {"sort_key": None},
            "a table without a sort key cannot have",
        ),
        ({"name": "g"}, {}, "index 'g' is not a valid DynamoDB index name: 3 to 255"),
        ({"name": "by since"}, {}, "index 'by since' is not a valid DynamoDB index name"),
        ({"sort_key": IndexKey("since")}, {}, "has 'since' as both of its keys"),
        ({"projection": ()}, {}, "projection must name 1 to 20 attributes"),
    ],
)
def test_an_index_that_items_would_not_fit_is_refused(index: dict[str, Any], rule: dict[str, Any], wrong: str) -> None:
    assert wrong in faults((replace(HOME, indexes=(replace(INDEX, **index),), **rule), CUSTOMER))


def test_what_an_index_is_keyed_by_is_left_out_where_it_is_null() -> None:
    """By the table that names the index; another that writes the attribute would write a NULL that none takes."""
    index = (replace(INDEX, partition_key=IndexKey("name")),)
    [mapping] = family((replace(HOME, indexes=index), CUSTOMER)).values()
    puts, faulty = mapping.put_items([(1, None, "2026-01-02"), (2, "x", "2026-01-02")])
    assert not faulty
    assert [put.item.get("name") for put in puts] == [None, {"S": "x"}]
    other = replace(HOME, partition_key=KeyRule("pk", "OTHER#${id}"), source="shop.other")
    table = replace(CUSTOMER, name="other")
    assert "'name' of shop.other may be NULL" in faults((replace(HOME, indexes=index), CUSTOMER), (other, table))
    alone = replace(HEAD, exclude=("id",), indexes=(replace(INDEX, partition_key=IndexKey("status")),))
    assert "needs an attribute of its own" in faults((alone, ORDERS), (LINES, LINE))


@pytest.mark.parametrize(
    ("local", "number", "projected", "wrong"),
    [
        (True, 5, 0, ""),
        (True, 6, 0, "target 'one' has 6 local indexes, and a table may have 5"),
        (False, 20, 5, ""),
        (False, 21, 0, "target 'one' has 21 global indexes, and a table may have 20"),
        (False, 6, 17, "its indexes name 102 attributes in projections, and 100 are allowed in all"),
    ],
)
def test_a_table_has_so_many_indexes(local: bool, number: int, projected: int, wrong: str) -> None:
    names = tuple(f"a{n}" for n in range(projected)) or "keys"
    key = IndexKey("pk") if local else IndexKey("since")
    indexes = tuple(
        IndexRule(f"index-{n}", key, IndexKey("since") if local else None, local, names) for n in range(number)
    )
    rule = replace(HOME, indexes=indexes)
    if wrong:
        assert wrong in faults((rule, CUSTOMER))
    else:
        family((rule, CUSTOMER))


def test_an_index_stands_once_however_many_tables_name_it() -> None:
    head = replace(HEAD, indexes=(replace(INDEX, partition_key=IndexKey("sk")),))
    both = family((head, ORDERS), (replace(LINES, indexes=head.indexes), LINE))
    assert indexes_of(list(both.values())) == list(head.indexes)
    other = replace(LINES, indexes=(replace(head.indexes[0], projection="keys"),))
    assert "is described twice, differently" in faults((head, ORDERS), (other, LINE))


PARTS = [(LINES, LINE), (AMONG, LINE), (LISTED, LINE)]


@st.composite
def shared(draw: st.DrawFn) -> list[tuple[Case, TableMapping, History]]:
    """Customers with items of their own; orders, their lines in some form, and their tags in one item each."""
    head, (part, line) = HEAD, draw(st.sampled_from(PARTS))
    if draw(st.booleans()):
        head = replace(head, nulls="omit", shape=draw(st.sampled_from(["record", "document"])))
    if not part.entry_value and draw(st.booleans()):
        part = replace(part, nulls="omit")
    rules = [(HOME, CUSTOMER), (head, ORDERS), (part, line), (TAGS, TAG)]
    if draw(st.booleans()):  # the orders once more, as items of their own
        rules[1] = replace(head, number=1), ORDERS
        rules.append((replace(HEAD, number=2, item="own", partition_key=KeyRule("pk", "COPY#${id}")), ORDERS))
    if draw(st.booleans()):
        rules = [
            (replace(rule, attributes={"kind": "k"}) if rule.item == "shared" else rule, table) for rule, table in rules
        ]
    mappings = family(*rules)
    found, drawn = [], dict[str, History]()
    for rule, table in rules:
        case = Case(table, rule)
        if rule.source not in drawn:
            drawn[rule.source] = draw(histories(case))
        found.append((case, mappings[rule.name], drawn[rule.source]))
    return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_parts_of_several_tables_come_together_however_they_are_written(data: st.DataObject) -> None:
    """Loaded from rows read at any time, in any order of tables; played in batches of any size, with replays."""
    parts = data.draw(shared())
    store = Store()
    for _, mapping, history in data.draw(st.permutations(parts)):
        rows = list(data.draw(st.sampled_from(history.states)).values())
        store.apply(list(mapping.load_operations(mapping.put_items(rows)[0])))
    for _ in range(data.draw(st.integers(1, 2))):
        pending = {number: cuts(history, data.draw) for number, (_, _, history) in enumerate(parts)}
        while pending:
            number = data.draw(st.sampled_from(sorted(pending)))
            _, mapping, history = parts[number]
            start, end = pending[number].pop(0)
            store.apply(mapping.fold(history.changes[start:end])[0])
            if not pending[number]:
                del pending[number]
    assert store.plain() == union(parts)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_part_is_brought_to_what_its_rows_are_whatever_stood_there(data: st.DataObject) -> None:
    """As retry does: rows now, what the store has, and the other tables' parts left alone."""
    parts = data.draw(shared())
    store = Store()
    for _, mapping, history in parts:
        store.apply(list(mapping.load_operations(mapping.put_items(list(history.states[0].values()))[0])))
    for _, mapping, history in parts:
        puts: dict[str, Put] = {str(put.key): put for put in mapping.put_items(list(history.states[-1].values()))[0]}
        for item in list(store.items.values()):
            key = {name: item[name] for name in ("pk", "sk")}
            if str(key) not in puts and belongs(mapping, item):
                store.apply([mapping.removing(key, item)])  # type: ignore[list-item]
        for put in puts.values():
            found = [item for item in store.items.values() if put.key.items() <= item.items()]
            store.apply([mapping.replacing(put, found[0] if found else {})])
    assert store.plain() == union(parts)


def belongs(mapping: TableMapping, item: Item) -> bool:
    """Whether the item could have a part that is the mapping's."""
    begin = {"shop.customer": "CUSTOMER#", "shop.orders#2": "COPY#"}.get(mapping.source, "ORDER#")
    return str(item["pk"]["S"]).startswith(begin)


def cuts(history: History, draw: Callable[..., Any]) -> list[tuple[int, int]]:
    places = draw(st.lists(st.integers(0, len(history.changes)), max_size=3))
    return list(pairwise(sorted({0, len(history.changes), *places}))) or [(0, 0)]


def union(parts: list[tuple[Case, TableMapping, History]]) -> dict[str, Any]:
    items: dict[str, Any] = {}
    for case, _, history in parts:
        for key, item in expected(case.rule, case.table, list(history.states[-1].values())).items():
            items.setdefault(key, {}).update(item)
    return items

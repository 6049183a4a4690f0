"""Rows become items, an application changes the items at random, and the rows are what an oracle says: over a whole
site with its stream, the reverse stream and the comparison at the end, for each shape of a mapping.

The oracle has its own words for how a value is written in an item and in a row. Each example has keys of its own.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from demo.servers import MariaDB, SqlServer
from tests.handover.site import Site, StreamsServer
from whimbrel.handover.early import Early
from whimbrel.handover.reconcile import reconcile, verify_back
from whimbrel.handover.reverse import Reverse, Settings
from whimbrel.mysql.connect import connect
from whimbrel.mysql.points import rows_where_equal
from whimbrel.project import KeyRule, TableRule

Attribute = dict[str, Any]
Values = dict[str, Any]  # of one row's columns, but for those of its key
Content = dict[str, Values]  # of one item: its rows, by the name of the entry; "" where a row is a whole item
QUIET: Any = {
    "phases": [Phase.generate],
    "deadline": None,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}
KEYS = range(5)

COLUMNS = """
name VARCHAR(30), n BIGINT NOT NULL, price DECIMAL(20,6), at DATETIME(6), data VARBINARY(20), kind ENUM('a','b')
"""
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
whole_values = st.fixed_dictionaries(
    {
        "name": st.none() | texts,
        "n": st.integers(-(2**63), 2**63 - 1),
        "price": st.none() | st.decimals(-(10**13), 10**13, places=6),
        "at": st.none() | st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)),
        "data": st.none() | st.binary(max_size=20),
        "kind": st.none() | st.sampled_from("ab"),
    }
)
quantities = st.fixed_dictionaries({"quantity": st.none() | st.integers(-(2**31), 2**31 - 1)})
entry_names = st.text("abÄß漢#.$%-:0", min_size=1, max_size=4)
members = st.integers(-(2**31), 2**31 - 1).map(str)  # of a set of numbers
nothing: st.SearchStrategy[Values] = st.just({})  # what a row has beside its key, where a set holds it


def attribute(value: Any) -> Attribute:
    """As docs/types.md says."""
    match value:
        case None:
            return {"NULL": True}
        case int() | Decimal():
            text = format(Decimal(value), "f")
            text = text.rstrip("0").rstrip(".") if "." in text else text
            return {"N": "0" if text == "-0" else text}
        case bytes():
            return {"B": base64.b64encode(value).decode()}
        case datetime():
            return {"S": value.isoformat(timespec="microseconds")}
        case _:
            return {"S": value}


def attributes(values: Values) -> dict[str, Attribute]:
    return {name: attribute(value) for name, value in values.items()}


@dataclass(frozen=True)
class Kind:
    """One shape. ``item`` is what its content is without the key; ``key`` says an item's key by two numbers, and
    ``row`` the row's, with the entry's name: its ``columns``.
    """

    create: str
    rule: Callable[[str], TableRule]
    values: st.SearchStrategy[Values]
    item: Callable[[Content], dict[str, Any]]
    key: Callable[[int, int], dict[str, Any]]
    row: Callable[[int, int, str], tuple[Any, ...]]
    columns: tuple[str, ...]
    group: bool = False
    names: st.SearchStrategy[str] = entry_names

    def contents(self) -> st.SearchStrategy[Content]:
        if self.group:
            return st.dictionaries(self.names, self.values, min_size=1, max_size=4)
        return self.values.map(lambda values: {"": values})


def record(database: str) -> TableRule:
    return TableRule(f"{database}.t", "shop", "record", KeyRule("id", "${id}", "N"))


def document(database: str) -> TableRule:
    return TableRule(f"{database}.t", "shop", "document", KeyRule("id", "${id}", "N"), document="doc", exclude=("id",))


def group(database: str) -> TableRule:
    keys = KeyRule("customer", "${customer}"), KeyRule("number", "${number}", "N")
    return TableRule(f"{database}.t", "shop", "group", *keys, entry_name="e-${product}", entry_value="quantity")


def group_map(database: str) -> TableRule:
    keys = KeyRule("customer", "${customer}"), KeyRule("number", "${number}", "N")
    return TableRule(
        f"{database}.t", "shop", "group", *keys, entry_name="${product}", entry_as="map", entry_into="lines"
    )


def group_list(database: str) -> TableRule:
    keys = KeyRule("customer", "${customer}"), KeyRule("number", "${number}", "N")
    return TableRule(
        f"{database}.t", "shop", "group", *keys, entry_as="list", entry_into="lines", entry_order=("product",)
    )


def group_set(kind: str) -> Callable[[str], TableRule]:
    keys = KeyRule("customer", "${customer}"), KeyRule("number", "${number}", "N")
    return lambda database: TableRule(
        f"{database}.t", "shop", "group", *keys, entry_value="product", entry_as=kind, entry_into="lines"
    )


def group_gathered(**more: Any) -> Callable[[str], TableRule]:
    """A set, or a list of plain values, beside the map of what each row gives."""
    keys = KeyRule("customer", "${customer}"), KeyRule("number", "${number}", "N")
    return lambda database: TableRule(
        f"{database}.t", "shop", "group", *keys, entry_name="${product}", entry_rows="rows", entry_into="all", **more
    )


def counted(content: Content) -> dict[str, Any]:
    given = {name: attribute(values["quantity"]) for name, values in content.items()}
    members = sorted({each["N"] for each in given.values() if "N" in each})
    return {"rows": {"M": given}} | ({"all": {"NS": members}} if members else {})


def values_in_order(content: Content) -> dict[str, Any]:
    rows = {
        name: {"product": {"S": name}, "quantity": attribute(values["quantity"])} for name, values in content.items()
    }
    names = sorted(rows, key=lambda name: name.encode(), reverse=True)
    return {
        "rows": {"M": {name: {"M": row} for name, row in rows.items()}},
        "all": {"L": [rows[name]["quantity"] for name in names]},
    }


def listed(content: Content) -> dict[str, Any]:
    """In the order of the products."""
    names = sorted(content, key=lambda name: name.encode())
    return {"lines": {"L": [{"M": {"product": {"S": name}} | attributes(content[name])} for name in names]}}


GROUP = """CREATE TABLE t (customer VARCHAR(20), number INT, product {product}{columns},
PRIMARY KEY (customer, number, product)) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_bin"""
PLAIN = f"CREATE TABLE t (id INT PRIMARY KEY, {COLUMNS}) DEFAULT CHARSET utf8mb4"


def of_group(columns: str = "", product: type = str, **more: Any) -> Kind:
    """``columns`` beside the key; ``product`` is what its last column is."""
    kind = "VARCHAR(20)" if product is str else "INT"
    return Kind(
        create=GROUP.format(product=kind, columns=columns and f", {columns}"),
        key=lambda example, number: {"customer": {"S": f"c{example}"}, "number": {"N": str(number)}},
        row=lambda example, number, entry: (f"c{example}", number, product(entry)),
        columns=("customer", "number", "product"),
        group=True,
        **more,
    )


def of_rows(**more: Any) -> Kind:
    return Kind(
        create=PLAIN,
        values=whole_values,
        key=lambda example, number: {"id": {"N": str(100 * example + number)}},
        row=lambda example, number, _: (100 * example + number,),
        columns=("id",),
        **more,
    )


KINDS = {
    "record": of_rows(rule=record, item=lambda content: attributes(content[""])),
    "document": of_rows(rule=document, item=lambda content: {"doc": {"M": attributes(content[""])}}),
    "group": of_group(
        columns="quantity INT",
        rule=group,
        values=quantities,
        item=lambda content: {f"e-{name}": attribute(values["quantity"]) for name, values in content.items()},
    ),
    "map": of_group(
        columns=COLUMNS,
        rule=group_map,
        values=whole_values,
        item=lambda content: {"lines": {"M": {name: {"M": attributes(values)} for name, values in content.items()}}},
    ),
    "list": of_group(columns=COLUMNS, rule=group_list, values=whole_values, item=listed),
    "counted": of_group(
        columns="quantity INT",
        rule=group_gathered(entry_as="number-set", entry_value="quantity"),
        values=quantities,
        item=counted,
    ),
    "values": of_group(
        columns="quantity INT",
        rule=group_gathered(entry_as="list", entry_value="quantity", entry_order=("product desc",)),
        values=quantities,
        item=values_in_order,
    ),
    "string-set": of_group(
        rule=group_set("string-set"), values=nothing, item=lambda content: {"lines": {"SS": sorted(content)}}
    ),
    "number-set": of_group(
        product=int,
        rule=group_set("number-set"),
        values=nothing,
        names=members,
        item=lambda content: {"lines": {"NS": sorted(content)}},
    ),
}


class RoundTrip:
    """A site of one kind; ``run`` is one example."""

    def __init__(self, source: SqlServer, streams: StreamsServer, folder: Path, kind: Kind) -> None:
        self.kind, self.streams = kind, streams
        database = source.new_database()
        source.execute(kind.create, database=database)
        self.site = Site(source, database, streams, folder / "state", (kind.rule(database),))
        self.examples = itertools.count(1)
        self.shards = 1

    def run(self, data: st.DataObject) -> None:
        example, kind, contents = next(self.examples), self.kind, self.kind.contents()
        items: dict[int, Content] = data.draw(st.dictionaries(st.sampled_from(KEYS), contents), "first")
        self._insert(example, items)
        self._load(example, items)
        starts = self.site.mark(f"start-{example}")
        for _ in range(data.draw(st.integers(0, 25), "changes")):
            self._change(example, items, data, contents)
        reverse = Reverse(self.site.prepared, example, starts, threading.Event(), print, Settings(self.site.account))
        self.site.drain(reverse)
        expected = {
            kind.row(example, number, entry): values
            for number, content in items.items()
            for entry, values in content.items()
        }
        assert self._rows(example) == expected, "no row moves between items here: to follow is to be equal"
        if data.draw(st.booleans(), "compared early"):
            Early(self.site.beside(example), reverse.letters.has).until(lambda: False)
        done = reconcile(self.site.beside(example))
        assert (done.letters, done.aside) == (0, 0), (self.site.project.state / "reverse-dead.jsonl").read_text()
        reports = verify_back(self.site.beside(example))
        assert all(report.equal for report in reports), reports
        assert self._rows(example) == expected

    def _insert(self, example: int, items: dict[int, Content]) -> None:
        with self.site.source.connect(self.site.database, autocommit=True) as connection, connection.cursor() as cursor:
            for number, content in items.items():
                for entry, values in content.items():
                    key = self.kind.row(example, number, entry)
                    names = ", ".join([*self.kind.columns, *values])
                    row = (*key, *values.values())
                    cursor.execute(f"INSERT INTO t ({names}) VALUES ({', '.join(['%s'] * len(row))})", row)

    def _load(self, example: int, items: dict[int, Content]) -> None:
        """By whimbrel's mapping; they must be the oracle's items."""
        [mapping] = self.site.prepared.mappings.values()
        keys = [self.kind.row(example, number, entry) for number, content in items.items() for entry in content]
        with connect(self.site.project.source) as connection:
            rows = rows_where_equal(connection, mapping.table, mapping.table.primary_key, keys)
        puts, faults = mapping.put_items(rows)
        assert not faults
        made = [put.item for put in puts]
        expected = [self._item(example, number, content) for number, content in items.items()]
        assert sorted(map(spelled, made)) == sorted(map(spelled, expected))
        for item in made:
            self.site.put(item)

    def _change(
        self, example: int, items: dict[int, Content], data: st.DataObject, contents: st.SearchStrategy[Content]
    ) -> None:
        number = data.draw(st.sampled_from(KEYS), "key")
        whats = ["put"] + ["delete", "entry", "drop"] * (number in items)
        what = data.draw(st.sampled_from(whats), "what")
        event(what)
        content = dict(items.get(number, {}))
        if what == "put":
            content = data.draw(contents, "content")
        elif what == "entry":
            content |= dict(list(data.draw(contents, "content").items())[:1])
        elif what == "drop":
            content.pop(data.draw(st.sampled_from(sorted(content)), "entry"))
        if what == "delete" or not content:
            self.streams.call("DeleteItem", TableName="shop", Key=self.kind.key(example, number))
            del items[number]
        else:
            item = self._item(example, number, content)
            if "L" in item.get("lines", {}):  # an application's order is its own
                item["lines"]["L"] = data.draw(st.permutations(item["lines"]["L"]), "order")
            self.streams.call("PutItem", TableName="shop", Item=item)
            items[number] = content
        if data.draw(st.integers(0, 30), "split") == 7 and self.shards < 5:
            self.shards += 1
            self.streams.call("Split", TableName="shop")

    def _item(self, example: int, number: int, content: Content) -> dict[str, Any]:
        return self.kind.key(example, number) | self.kind.item(content)

    def _rows(self, example: int) -> dict[tuple[Any, ...], Values]:
        with self.site.source.connect(self.site.database) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT * FROM t")
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
        width = len(self.kind.row(0, 0, "0"))
        own = {self.kind.row(example, number, "0")[: width - self.kind.group] for number in KEYS}
        return {
            row[:width]: dict(zip(names[width:], row[width:], strict=True))
            for row in rows
            if row[: width - self.kind.group] in own
        }


def spelled(item: dict[str, Any]) -> str:
    """The numbers as DynamoDB would give them back."""

    def of(each: Attribute) -> Any:
        [(kind, value)] = each.items()
        if kind == "M":
            return {name: of(inner) for name, inner in value.items()}
        if kind == "L":
            return [of(inner) for inner in value]
        if kind in ("SS", "NS"):
            return sorted(value)
        return attribute(Decimal(value)) if kind == "N" else each

    return json.dumps({name: of(value) for name, value in item.items()}, sort_keys=True)


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


def survives(source: SqlServer, streams: StreamsServer, folder: Path, kind: str, examples: int) -> None:
    made = RoundTrip(source, streams, folder, KINDS[kind])

    @settings(max_examples=examples, derandomize=examples < 10, **QUIET)
    @given(st.data())
    def run(data: st.DataObject) -> None:
        made.run(data)

    run()


def test_rows_to_items_and_back(mariadb: MariaDB, streams: StreamsServer, tmp_path: Path) -> None:
    survives(mariadb, streams, tmp_path, "map", examples=2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_to_items_and_back_at_length(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path, kind: str
) -> None:
    survives(source_server, streams, tmp_path, kind, examples=int(os.environ.get("WHIMBREL_EXAMPLES", "40")))

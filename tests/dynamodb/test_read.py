"""Reads from real servers: what boto3 put there comes back."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dynamodb.conftest import ItemTable, item, key
from whimbrel.dynamodb.read import get_items, scan
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, Stopped
from whimbrel.item import item_size, key_id, write_units


def fill(table: ItemTable, count: int, size: int = 1) -> None:
    for start in range(0, count, 25):
        requests = [{"PutRequest": {"Item": item(n, a="x" * size)}} for n in range(start, min(count, start + 25))]
        table.client.batch_write_item(RequestItems={table.name: requests})


@pytest.fixture
def wire(table: ItemTable) -> Any:
    wire = DynamoClient(table.server.target())
    yield wire
    wire.close()


def test_items_are_found_by_key_and_missing_ones_are_absent(table: ItemTable, wire: DynamoClient) -> None:
    fill(table, 120)
    found = get_items(wire, table.name, [key(number) for number in range(0, 240, 2)] + [key(0)])
    assert found == {key_id(key(number)): item(number, a="x") for number in range(0, 120, 2)}
    assert get_items(wire, table.name, []) == {}


def test_more_than_an_answer_holds_is_asked_for_again(table: ItemTable, wire: DynamoClient) -> None:
    for number in range(45):  # 45 items of 380 KB: an answer has 16 MB at most
        table.client.put_item(TableName=table.name, Item=item(number, a="x" * 380_000))
    found = get_items(wire, table.name, [key(number) for number in range(45)])
    assert len(found) == 45
    assert all(len(each["a"]["S"]) == 380_000 for each in found.values())
    assert scan(wire, table.name, 2, lambda page: None) == 45


@pytest.mark.parametrize("segments", [1, 4])
@pytest.mark.parametrize("page_items", [0, 7])
def test_a_scan_sees_every_item_once_whole(
    table: ItemTable, wire: DynamoClient, segments: int, page_items: int
) -> None:
    fill(table, 200)
    seen: list[Any] = []
    threads: set[str] = set()

    def on_page(page: list[Any]) -> None:
        threads.add(threading.current_thread().name)
        seen.extend(page)

    assert scan(wire, table.name, segments, on_page, consistent=True, page_items=page_items) == 200
    assert sorted(seen, key=str) == sorted(table.items().values(), key=str)
    assert threads == {threading.current_thread().name}


def test_an_error_while_a_page_is_used_ends_the_scan(table: ItemTable, wire: DynamoClient) -> None:
    fill(table, 100)

    def on_page(page: list[Any]) -> None:
        raise ArithmeticError("enough")

    before = threading.active_count()
    with pytest.raises(ArithmeticError):
        scan(wire, table.name, 3, on_page, page_items=1)
    assert threading.active_count() == before


def test_a_missing_table_is_named_and_a_stop_stops(table: ItemTable, wire: DynamoClient) -> None:
    with pytest.raises(RequestRefused, match="ResourceNotFound"):
        scan(wire, "nowhere", 2, lambda page: None)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        scan(wire, table.name, 2, lambda page: None, stop=stop)
    with pytest.raises(Stopped):
        get_items(wire, table.name, [key(1)], stop=stop)


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1.0"), ("100", "1E+2"), ("-0.50", "-.5"), ("0", "-0.00"), ("1" * 38, "1" * 38 + ".0")]
)
def test_keys_that_are_one_number_are_one_key(one: str, other: str) -> None:
    assert key_id({"a": {"S": "x"}, "b": {"N": one}}) == key_id({"b": {"N": other}, "a": {"S": "x"}})


def test_a_key_made_from_its_identity_finds_the_item(table: ItemTable, wire: DynamoClient) -> None:
    for text in ("100", "0", "-0.5", "12345678901234567890123456789012345678"):
        key = {"pk": {"S": 'a"ä'}, "sk": {"N": text}}
        table.client.put_item(TableName=table.name, Item=key)
        identity = key_id(key)
        assert list(get_items(wire, table.name, [orjson.loads(identity)])) == [identity]


def test_keys_that_differ_in_the_last_digit_or_in_type_are_two() -> None:
    assert key_id({"b": {"N": "1" * 38}}) != key_id({"b": {"N": "1" * 37 + "2"}})
    assert key_id({"b": {"N": "1"}}) != key_id({"b": {"S": "1"}})


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": ""}, 0),
        ({"S": "añ𝄞"}, 7),
        ({"N": "0"}, 1),
        ({"N": "27"}, 3),
        ({"N": "-12.50"}, 4),
        ({"N": "1000000"}, 2),
        ({"N": "0.00012"}, 3),
        ({"N": "1E+20"}, 2),
        ({"N": "1" * 38}, 21),
        ({"B": "AAEC"}, 3),
        ({"B": "AA=="}, 1),
        ({"B": "AAE="}, 2),
        ({"B": ""}, 0),
        ({"BOOL": True}, 1),
        ({"NULL": True}, 1),
        ({"M": {}}, 3),
        ({"L": []}, 3),
        ({"M": {"ab": {"S": "c"}}}, 3 + 1 + 2 + 1),
        ({"L": [{"S": "c"}, {"L": []}]}, 3 + 1 + 1 + 1 + 3),
        ({"SS": ["a", "bc"]}, 3),
        ({"NS": ["1", "234"]}, 2 + 3),
        ({"BS": ["AAEC", "AA=="]}, 4),
    ],
)
def test_an_items_size_is_what_the_documentation_says(value: dict[str, Any], size: int) -> None:
    """Of a number it only says "approximately": the larger figure counts, with the byte of an odd exponent."""
    assert item_size({"ä": value}) == 2 + size


VALUES = st.recursive(
    st.one_of(
        st.text(max_size=5).map(lambda text: {"S": text}),
        st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda number: {"N": str(number)}),
        st.just({"NULL": True}),
        st.just({"BOOL": False}),
        st.binary(max_size=6).map(lambda data: {"B": __import__("base64").b64encode(data).decode()}),
        st.sets(st.text(min_size=1, max_size=3), min_size=1).map(lambda members: {"SS": sorted(members)}),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: {"L": values}),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(lambda values: {"M": values}),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_an_item_is_never_larger_than_its_json(value: dict[str, Any]) -> None:
    """write.py relies on it: a request body under the limit has no item over it."""
    assert item_size(value) <= len(orjson.dumps(value))


@pytest.mark.parametrize(("size", "units"), [(0, 1), (1, 1), (1024, 1), (1025, 2), (409600, 400)])
def test_write_units_are_kilobytes_begun(size: int, units: int) -> None:
    assert write_units(size) == units

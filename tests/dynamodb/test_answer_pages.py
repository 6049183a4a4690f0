"""What an answer about a table says: pages of it, what it used, what it is; and what is not as documented."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dynamodb.answered import ARN, ODD, USED, counted, refused
from tests.dynamodb.conftest import item, key
from whimbrel.dynamodb.answers import (
    acknowledged,
    attributes_left,
    described,
    filtered,
    is_item,
    item_found,
    page,
    units,
)

Body = dict[str, Any]
USED_BY_OTHER = {"ConsumedCapacity": {"TableName": "other", "CapacityUnits": 1.0}}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "ConsumedCapacity is missing"),
        ({"ConsumedCapacity": None}, "ConsumedCapacity is missing"),
        ({"ConsumedCapacity": [USED["ConsumedCapacity"]]}, "ConsumedCapacity is missing"),
        (USED_BY_OTHER, "ConsumedCapacity is of 'other'"),
        ({"ConsumedCapacity": {}}, "ConsumedCapacity is of None"),
        ({"ConsumedCapacity": {"TableName": 1}}, "ConsumedCapacity is of 1"),
    ],
)
def test_an_answer_that_is_not_about_the_table_says_nothing(answer: Body, reason: str) -> None:
    for call in (
        lambda: acknowledged("t", answer),
        lambda: item_found("t", key(1), answer),
        lambda: attributes_left("t", key(1), answer | {"Attributes": item(1)}),
        lambda: page("t", None, 0, counted() | {"ConsumedCapacity": None} | answer),
        lambda: filtered("t", key(1), counted() | {"ConsumedCapacity": None} | answer),
    ):
        with refused(reason):
            call()


# -- pages -------------------------------------------------------------------------------------------------------------


def test_a_page_has_as_many_items_as_it_says_and_goes_on_elsewhere() -> None:
    assert page("t", None, 0, counted(item(1), item(2))) == ([item(1), item(2)], None)
    assert page("t", key(1), 1, counted(item(2), LastEvaluatedKey=key(2))) == ([item(2)], key(2))
    assert page("t", key(1), 0, counted(LastEvaluatedKey=key(2))) == ([], key(2))
    assert page("t", key(1), 3, counted(item(2), item(3))) == ([item(2), item(3)], None)


NOT_COUNTED: list[tuple[Body, str]] = [
    (USED, f"Items {ODD}"),
    (USED | {"Items": []}, "Count is None of 0 items"),
    (USED | {"Items": [], "Count": 0}, f"ScannedCount {ODD}"),
    (USED | {"Count": 0, "ScannedCount": 0}, f"Items {ODD}"),
    (counted(item(1), Count=2), "Count is 2 of 1 items"),
    (counted(item(1), Count=0), "Count is 0 of 1 items"),
    (counted(item(1), Count=None), "Count is None of 1 items"),
    (counted(item(1), Count=True), "Count is True of 1 items"),
    (counted(item(1), ScannedCount=2), f"ScannedCount {ODD}"),
    (counted(item(1), ScannedCount=0), f"ScannedCount {ODD}"),
    (counted(item(1), ScannedCount=True), f"ScannedCount {ODD}"),
    (counted(item(1), ScannedCount=None), f"ScannedCount {ODD}"),
    (counted(item(1), item(3)), f"ScannedCount {ODD}"),  # of one that was asked for
    (counted(None), f"Items {ODD}"),
    (counted({}), f"Items {ODD}"),
    (counted(Items=None), f"Items {ODD}"),
    (counted(Items={}), f"Items {ODD}"),
]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        *NOT_COUNTED,
        (counted(item(2), LastEvaluatedKey=None), f"LastEvaluatedKey {ODD}"),
        (counted(item(2), LastEvaluatedKey={}), f"LastEvaluatedKey {ODD}"),
        (counted(item(2), LastEvaluatedKey="k"), f"LastEvaluatedKey {ODD}"),
        (counted(item(2), LastEvaluatedKey={"pk": "k"}), f"LastEvaluatedKey {ODD}"),
        (counted(item(2), LastEvaluatedKey=key(1)), f"LastEvaluatedKey is where the page began: {key(1)}"),
    ],
)
def test_another_page_is_not_taken(answer: Body, reason: str) -> None:
    with refused(reason):
        page("t", key(1), 1, answer)


def test_a_filter_lets_the_item_of_the_key_through_or_nothing() -> None:
    assert filtered("t", key(1), counted(item(1))) is True
    assert filtered("t", key(1), counted(ScannedCount=1)) is False
    assert filtered("t", key(1), counted()) is False


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        *NOT_COUNTED,
        (counted(item(2)), f"Items is another: {[item(2)]}"),
        (counted(item(1), item(1)), f"ScannedCount {ODD}"),
        (counted(ScannedCount=2), f"ScannedCount {ODD}"),
        (counted(LastEvaluatedKey=key(1)), f"ScannedCount {ODD}"),
        (counted({"a": "x"}), "an item is without its key: {'a': 'x'}"),
    ],
)
def test_another_answer_of_a_filter_is_not_taken(answer: Body, reason: str) -> None:
    with refused(reason):
        filtered("t", key(1), answer)


# -- values and units --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {"S": ""},
        {"N": "1"},
        {"B": "AAE="},
        {"B": b"\x00"},
        {"BOOL": False},
        {"NULL": True},
        {"SS": ["a"]},
        {"NS": ["1"]},
        {"BS": ["AAE=", b"x"]},
        {"M": {}},
        {"L": []},
        {"M": {"a": {"L": [{"S": "x"}, {"M": {"b": {"NULL": True}}}]}}},
    ],
)
def test_an_item_is_a_map_of_attribute_values(value: Body) -> None:
    assert is_item({"a": value})
    assert is_item({"a": {"S": "x"}, "b": value})


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        ["S"],
        {},
        {"S": "x", "N": "1"},
        {"s": "x"},
        {"S": 1},
        {"S": b"x"},
        {"N": 1},
        {"B": 1},
        {"BOOL": 1},
        {"NULL": "true"},
        {"M": []},
        {"L": {}},
        {"M": {"a": "x"}},
        {"L": [{"S": "x"}, "x"]},
        {"SS": "x"},
        {"SS": ["x", 1]},
        {"NS": [1]},
        {"BS": [1]},
    ],
)
def test_what_is_not_one_is_no_item(value: Any) -> None:
    assert not is_item({"a": value})
    assert not is_item({"a": value, "b": {"S": "x"}})


def test_an_item_has_at_least_one_attribute() -> None:
    assert not any(map(is_item, ({}, None, [], "a", [("a", {"S": "x"})])))


def test_units_are_added_up() -> None:
    assert units({}) == 0
    assert units(USED) == 1
    assert units({"ConsumedCapacity": [{"CapacityUnits": 1}, {"CapacityUnits": 2.5}]}) == 3.5
    assert units({"ConsumedCapacity": {"CapacityUnits": 0}}) == 0
    assert units({"ConsumedCapacity": {"CapacityUnits": 0.5}}) == 0.5


@pytest.mark.parametrize(
    "found", [None, "1", 1, [1], [{"CapacityUnits": 1}, 1], {"CapacityUnits": "1"}, [{}], {"CapacityUnits": -1}]
)
def test_units_are_numbers_or_the_answer_is_not_taken(found: Any) -> None:
    with refused(f"ConsumedCapacity {ODD}"):
        units({"ConsumedCapacity": found})


def test_units_are_not_a_truth_value() -> None:
    with refused(f"ConsumedCapacity {ODD}"):
        units({"ConsumedCapacity": {"CapacityUnits": True}})


# -- tables ------------------------------------------------------------------------------------------------------------


def table(**changes: Any) -> Body:
    whole = {
        "TableName": "t",
        "TableStatus": "ACTIVE",
        "AttributeDefinitions": [
            {"AttributeName": "sk", "AttributeType": "N"},
            {"AttributeName": "other", "AttributeType": "B"},
            {"AttributeName": "pk", "AttributeType": "S"},
        ],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    }
    return {"Table": {name: value for name, value in (whole | changes).items() if value is not ...}}


HASH, RANGE = table()["Table"]["KeySchema"]
OTHER = {"AttributeName": "other", "KeyType": "RANGE"}


@pytest.mark.parametrize("key_schema", [[HASH], [HASH, RANGE], [HASH, OTHER]])
@pytest.mark.parametrize("name", ["t", ARN])
def test_a_table_is_described_with_its_status_and_its_key(name: str, key_schema: list[Body]) -> None:
    answer = table(KeySchema=key_schema, ItemCount=3)
    assert described(name, answer) == answer["Table"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, f"Table {ODD}"),
        ({"Table": None}, f"Table {ODD}"),
        ({"Table": []}, f"Table {ODD}"),
        (table(TableName="other"), "Table is 'other'"),
        (table(TableName=...), "Table is None"),
        (table(TableName=1), "Table is 1"),
        (table(TableStatus=...), f"TableStatus {ODD}"),
        (table(TableStatus=""), f"TableStatus {ODD}"),
        (table(TableStatus=1), f"TableStatus {ODD}"),
        (table(AttributeDefinitions=...), f"AttributeDefinitions {ODD}"),
        (table(AttributeDefinitions={}), f"AttributeDefinitions {ODD}"),
        (table(AttributeDefinitions=[None]), f"AttributeDefinitions {ODD}"),
        (table(AttributeDefinitions=[]), f"AttributeDefinitions {ODD}"),
        (table(AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}]), f"AttributeDefinitions {ODD}"),
        (
            table(AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "M"}], KeySchema=[HASH]),
            f"AttributeDefinitions {ODD}",
        ),
        (table(KeySchema=...), f"KeySchema {ODD}"),
        (table(KeySchema={}), f"KeySchema {ODD}"),
        (table(KeySchema=["pk"]), f"KeySchema {ODD}"),
        (table(KeySchema=[]), f"KeySchema {ODD}"),
        (table(KeySchema=[RANGE]), f"KeySchema {ODD}"),
        (table(KeySchema=[RANGE, HASH]), f"KeySchema {ODD}"),
        (table(KeySchema=[HASH, RANGE, OTHER]), f"KeySchema {ODD}"),
    ],
)
def test_another_description_of_a_table_is_not_taken(answer: Body, reason: str) -> None:
    with refused(reason):
        described("t", answer)


def test_a_table_asked_for_by_its_arn_is_the_one_that_is_described() -> None:
    with refused("Table is 'at'"):
        described(ARN, table(TableName="at"))
    with refused("Table is 't'"):
        described("at", table())

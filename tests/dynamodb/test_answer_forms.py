"""What an answer about items says, and what of it is not as documented: named, so that a person can look."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dynamodb.answered import ARN, ODD, USED, refused
from tests.dynamodb.conftest import item, key
from whimbrel.dynamodb.answers import (
    attributes_left,
    item_found,
    items_found,
    unprocessed,
)
from whimbrel.item import key_id
from whimbrel.records import Delete, Put

Body = dict[str, Any]
PUTS = [Put("t", key(number), item(number)) for number in range(3)]
DELETE = Delete("t", key(9))


def put_request(number: int) -> Body:
    return {"PutRequest": {"Item": item(number)}}


# -- batches of writes -------------------------------------------------------------------------------------------------


def test_what_a_batch_leaves_out_is_what_it_names() -> None:
    assert unprocessed(PUTS, {"UnprocessedItems": {}}) == []
    left = {"UnprocessedItems": {"t": [put_request(2), put_request(0)]}}
    assert unprocessed(PUTS, left) == [PUTS[0], PUTS[2]]
    assert unprocessed([*PUTS, DELETE], {"UnprocessedItems": {"t": [{"DeleteRequest": {"Key": key(9)}}]}}) == [DELETE]
    other = {"PutRequest": {"Item": item(1) | {"sk": {"N": "1.0"}}}}
    assert unprocessed(PUTS, {"UnprocessedItems": {"t": [other]}}) == [PUTS[1]]


def test_a_batch_of_several_tables_leaves_out_what_it_names_of_each() -> None:
    """The tables have keys of other names, and one item of the same key in both."""
    other = Put("u", {"id": {"S": "k1"}}, {"id": {"S": "k1"}, "pk": {"S": "k1"}, "sk": {"N": "1"}})
    same = Delete("v", key(1))
    sent: list[Put | Delete] = [*PUTS, other, same]
    put_of_other = {"PutRequest": {"Item": other.item}}
    delete_of_same = {"DeleteRequest": {"Key": key(1)}}
    left = {"UnprocessedItems": {"v": [delete_of_same], "u": [put_of_other], "t": [put_request(1)]}}
    assert unprocessed(sent, left) == [PUTS[1], other, same]
    assert unprocessed(sent, {"UnprocessedItems": {"u": [put_of_other]}}) == [other]
    with refused(f"UnprocessedItems has a request that was not made: {delete_of_same}"):
        unprocessed(sent, {"UnprocessedItems": {"t": [delete_of_same]}})


def _left(*entries: Any) -> Body:
    return {"UnprocessedItems": {"t": list(entries)}}


BOTH = {"PutRequest": {"Item": item(0)}, "DeleteRequest": {"Key": key(1)}}
NOT_A_REQUEST = "UnprocessedItems has something that is not a request: "


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, f"UnprocessedItems {ODD}"),
        ({"UnprocessedItems": None}, f"UnprocessedItems {ODD}"),
        ({"UnprocessedItems": []}, f"UnprocessedItems {ODD}"),
        ({"UnprocessedItems": "none"}, f"UnprocessedItems {ODD}"),
        ({"UnprocessedItems": 0}, f"UnprocessedItems {ODD}"),
        (
            {"UnprocessedItems": {"other": [put_request(0)]}},
            "UnprocessedItems has a table that was not asked for: 'other'",
        ),
        ({"UnprocessedItems": {"t": []}}, f"UnprocessedItems {ODD}"),
        ({"UnprocessedItems": {"t": None}}, f"UnprocessedItems {ODD}"),
        ({"UnprocessedItems": {"t": {"PutRequest": {"Item": item(0)}}}}, f"UnprocessedItems {ODD}"),
        (_left(put_request(0), put_request(0)), f"UnprocessedItems has a request twice: {put_request(0)}"),
        (_left(put_request(3)), f"UnprocessedItems has a request that was not made: {put_request(3)}"),
        (
            _left({"DeleteRequest": {"Key": key(0)}}),
            f"UnprocessedItems has a request that was not made: { {'DeleteRequest': {'Key': key(0)}} }",
        ),
        (_left({"PutRequest": {"Item": {"pk": {"S": "k0"}}}}), "an item is without its key: {'pk': {'S': 'k0'}}"),
        (
            _left({"PutRequest": {"Item": {"pk": "k0", "sk": "0"}}}),
            NOT_A_REQUEST + "{'PutRequest': {'Item': {'pk': 'k0', 'sk': '0'}}}",
        ),
        (
            _left({"PutRequest": {"Item": item(0) | {"sk": {"N": "zero"}}}}),
            f"an item is without its key: {item(0) | {'sk': {'N': 'zero'}}}",
        ),
        (_left(BOTH), NOT_A_REQUEST + repr(BOTH)[:79] + "…"),
        (_left({"PutRequest": {}}), NOT_A_REQUEST + "{'PutRequest': {}}"),
        (_left({"PutRequest": None}), NOT_A_REQUEST + "{'PutRequest': None}"),
        (_left({"PutRequest": {"Key": key(0)}}), f"{NOT_A_REQUEST}{ {'PutRequest': {'Key': key(0)}} }"),
        (_left(None), NOT_A_REQUEST + "None"),
        ({"unprocessedItems": {}}, f"UnprocessedItems {ODD}"),
        ({"message": "Service Unavailable"}, f"UnprocessedItems {ODD}"),
    ],
)
def test_a_batch_is_written_only_if_its_answer_says_what_is_left(answer: Body, reason: str) -> None:
    with refused(reason):
        unprocessed(PUTS, answer)


def test_what_a_message_quotes_is_cut_at_eighty_characters() -> None:
    whole, longer = "x" * (80 - len("{'': ''}")), "x" * (81 - len("{'': ''}"))
    with refused(f"{NOT_A_REQUEST}{ {'': whole} }"):
        unprocessed(PUTS, _left({"": whole}))
    with refused(NOT_A_REQUEST + repr({"": longer})[:79] + "…"):
        unprocessed(PUTS, _left({"": longer}))


# -- one item ----------------------------------------------------------------------------------------------------------


def test_a_table_may_be_named_by_its_arn() -> None:
    assert item_found(ARN, key(1), USED) is None
    for other in ("arn:aws:dynamodb:us-east-1:123456789012:table/at", "arn:aws:dynamodb:eu-west-1:1:table/t/index/i"):
        with refused("ConsumedCapacity is of 't'"):
            item_found(other, key(1), USED)


@pytest.mark.parametrize(
    ("left", "reason"),
    [
        ({}, f"Attributes {ODD}"),
        ({"Attributes": None}, f"Attributes {ODD}"),
        ({"Attributes": {}}, f"Attributes {ODD}"),
        ({"Attributes": {"a": "x"}}, f"Attributes {ODD}"),
        ({"Attributes": item(2)}, f"Attributes are of another item: {item(2)}"),
        ({"Attributes": {"pk": {"S": "k1"}}}, "an item is without its key: {'pk': {'S': 'k1'}}"),
    ],
)
def test_what_an_update_leaves_is_the_item_with_its_key(left: Body, reason: str) -> None:
    assert attributes_left("t", key(1), USED | {"Attributes": item(1, a="x")}) == item(1, a="x")
    with refused(reason):
        attributes_left("t", key(1), USED | left)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (None, f"Item {ODD}"),
        ({}, f"Item {ODD}"),
        ([], f"Item {ODD}"),
        (item(2), f"Item is another one: {item(2)}"),
        ({"sk": {"N": "1"}}, "an item is without its key: {'sk': {'N': '1'}}"),
    ],
)
def test_an_item_is_missing_only_if_an_answer_about_its_table_says_so(found: Any, reason: str) -> None:
    assert item_found("t", key(1), USED) is None
    assert item_found("t", key(1), USED | {"Item": item(1)}) == item(1)
    with refused(reason):
        item_found("t", key(1), USED | {"Item": found})


# -- batches of reads --------------------------------------------------------------------------------------------------

KEYS = [key(1), key(2), key(3)]


def test_a_batch_of_items_is_those_found_and_those_to_ask_for_again() -> None:
    again = {"UnprocessedKeys": {"t": {"Keys": [key(3)], "ConsistentRead": True}}}
    found, left = items_found("t", KEYS, {"Responses": {"t": [item(1)]}} | again)
    assert (found, left) == ({key_id(key(1)): item(1)}, [key(3)])
    all_again = {"UnprocessedKeys": {"t": {"Keys": KEYS}}}
    assert items_found("t", KEYS, {"Responses": {}} | all_again) == ({}, KEYS)
    assert items_found("t", KEYS, {"Responses": {"t": []}, "UnprocessedKeys": {}}) == ({}, [])
    one = items_found("t", [key(1)], {"Responses": {"t": [item(1)]}, "UnprocessedKeys": {}})
    assert one == ({key_id(key(1)): item(1)}, [])


@pytest.mark.parametrize(
    ("responses", "left", "reason"),
    [
        ({}, {}, "Responses is without 't'"),
        ({}, {"t": {"Keys": [key(1), key(2)]}}, "Responses is without 't'"),
        (None, {}, f"Responses {ODD}"),
        ([], {}, f"Responses {ODD}"),
        ({"t": None}, {}, f"Responses {ODD}"),
        ({"t": [None]}, {}, f"Responses {ODD}"),
        ({"t": [item(1), {"a": 1}]}, {}, f"Responses {ODD}"),
        ({"t": [], "other": []}, {}, f"Responses {ODD}"),
        ({"t": []}, None, f"UnprocessedKeys {ODD}"),
        ({"t": []}, [], f"UnprocessedKeys {ODD}"),
        ({"t": []}, {"t": None}, f"UnprocessedKeys {ODD}"),
        ({"t": []}, {"t": {}}, f"UnprocessedKeys {ODD}"),
        ({"t": []}, {"t": {"Keys": []}}, f"UnprocessedKeys {ODD}"),
        ({"t": []}, {"t": {"Keys": {}}}, f"UnprocessedKeys {ODD}"),
        ({"t": []}, {"t": {"Keys": key(1)}}, f"UnprocessedKeys {ODD}"),
        ({"t": []}, {"t": {"Keys": [key(1), "k"]}}, f"UnprocessedKeys {ODD}"),
        ({"t": []}, {"t": [key(1)]}, f"UnprocessedKeys {ODD}"),
        ({"t": []}, {"other": {"Keys": [key(1)]}}, f"UnprocessedKeys {ODD}"),
        ({"t": []}, {"t": {"Keys": [key(4)]}}, "the answer has a key that was not asked for"),
        ({"t": []}, {"t": {"Keys": [{"a": {"S": "x"}}]}}, "an item is without its key: {'a': {'S': 'x'}}"),
        ({}, {"t": {"Keys": [key(1), key(1), key(1)]}}, "the answer has a key twice"),
        ({"t": [item(1)]}, {"t": {"Keys": [key(1)]}}, "the answer has a key twice"),
        ({"t": [item(1), item(1)]}, {}, "the answer has a key twice"),
        ({"t": [item(4)]}, {}, "the answer has a key that was not asked for"),
        ({"t": [{"a": {"S": "x"}}]}, {}, "an item is without its key: {'a': {'S': 'x'}}"),
    ],
)
def test_an_item_is_missing_from_a_batch_only_if_the_answer_is_whole(responses: Any, left: Any, reason: str) -> None:
    with refused(reason):
        items_found("t", KEYS, {"Responses": responses, "UnprocessedKeys": left})


def test_a_batch_without_one_of_its_two_parts_is_not_whole() -> None:
    with refused(f"Responses {ODD}"):
        items_found("t", KEYS, {})
    with refused(f"UnprocessedKeys {ODD}"):
        items_found("t", KEYS, {"Responses": {"t": []}})


def test_a_right_answer_is_not_made_into_text() -> None:
    """An item may have a thousand entries, and each call that removes one gets it whole."""

    class Unseen(dict[str, Any]):
        def __repr__(self) -> str:
            raise AssertionError("made into text")

    whole = Unseen(item(1))
    assert attributes_left("t", key(1), USED | {"Attributes": whole}) is whole
    assert item_found("t", key(1), USED | {"Item": whole}) is whole

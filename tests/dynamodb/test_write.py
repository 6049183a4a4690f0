"""Writing to real servers without faults: what was asked for stands in the table, judged by boto3."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dynamodb.conftest import FRAME, ItemTable, expected, item, key
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.dynamodb.write import Writer
from whimbrel.errors import RequestRefused, Stopped
from whimbrel.item import MAX_ITEM_BYTES
from whimbrel.records import Delete, Item, ItemOperation, Put, Update


def test_puts_deletes_and_updates_of_different_items_go_in_one_call(table: ItemTable, writer: Writer) -> None:
    puts = [table.put(number, a="x" * 50, b="y") for number in range(103)]
    assert writer.write(puts) == []
    assert table.items() == expected(puts)

    mixed: list[ItemOperation] = [table.delete(number) for number in range(30)]
    mixed += [table.update(number, "a", c="z") for number in range(30, 40)]
    mixed += [table.put(number, a="new") for number in range(200, 230)]
    assert writer.write(mixed) == []

    wanted = {number: item(number, a="x" * 50, b="y") for number in range(40, 103)}
    wanted |= {number: item(number, b="y", c="z") for number in range(30, 40)}
    wanted |= {number: item(number, a="new") for number in range(200, 230)}
    assert table.items() == {(key(n)["pk"]["S"], str(n)): value for n, value in wanted.items()}
    assert writer.stats.items == 103 + 70
    assert writer.stats.rejected == 0


def test_the_aws_cli_sees_every_type_of_attribute_as_it_was_put(table: ItemTable, writer: Writer) -> None:
    command = shutil.which("aws")
    if command is None:
        pytest.skip("the AWS CLI is not installed")
    attributes: Item = {
        "a S": {"S": 'tab\t, quote ", snow ☃, \x00, 𝄞'},
        "a N": {"N": "-12345678901234567890.123456789012345678"},
        "a B": {"B": "AAEC/w=="},
        "a BOOL": {"BOOL": False},
        "a NULL": {"NULL": True},
        "a M": {"M": {"empty": {"S": ""}, "a.b": {"L": [{"N": "1"}, {"M": {}}]}}},
        "a L": {"L": []},
        "a SS": {"SS": ["a", "ä"]},
        "a NS": {"NS": ["1", "2.5"]},
        "a BS": {"BS": ["AAEC"]},
    }
    put, update = Put(table.name, key(1), key(1) | attributes), Update(table.name, key(2), attributes, (), FRAME)
    assert writer.write([put, update]) == []
    run = [command, "dynamodb", "scan", "--output", "json", "--table-name", table.name]
    run += ["--endpoint-url", table.server.endpoint]
    seen = json.loads(subprocess.run(run, capture_output=True, check=True, timeout=60).stdout)["Items"]
    plain = sorted(({name: _ordered(value) for name, value in each.items()} for each in seen), key=str)
    assert plain == sorted([key(1) | attributes, key(2) | attributes], key=str)


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    """Sets have no order; the CLI prints them in any."""
    return {kind: sorted(content) if kind in ("SS", "NS", "BS") else content for kind, content in value.items()}


def test_several_tables_go_in_one_call(table: ItemTable, writer: Writer) -> None:
    from tests.dynamodb.conftest import new_table

    other = new_table(table.server, table.name + "-other")
    ours, theirs = [table.put(n, a="ours") for n in range(20)], [other.put(n, a="theirs") for n in range(20)]
    mixed: list[ItemOperation] = [each for pair in zip(ours, theirs, strict=True) for each in pair]
    assert writer.write(mixed) == []
    assert table.items() == expected(ours)
    assert other.items() == expected(theirs)


def test_nothing_to_write_makes_no_request(table: ItemTable, writer: Writer) -> None:
    assert writer.write([]) == []
    assert writer.write([Update(table.name, key(1), {}, (), FRAME)]) == []
    assert writer.stats.requests == 0


def test_an_item_that_occurs_twice_in_a_call_is_a_mistake_of_the_caller(table: ItemTable, writer: Writer) -> None:
    with pytest.raises(AssertionError, match="twice"):
        writer.write([table.put(1), table.delete(1)])


def test_bad_items_are_found_and_the_rest_of_their_batch_is_written(table: ItemTable, writer: Writer) -> None:
    puts = [table.put(number, a="x") for number in range(60)]
    puts[7] = Put(table.name, {"pk": {"S": ""}, "sk": {"N": "7"}}, {"pk": {"S": ""}, "sk": {"N": "7"}})
    puts[33] = Put(table.name, key(33), key(33) | {"n": {"N": "1" * 39}})
    puts[34] = Put(table.name, key(34), key(34) | {"n": {"N": "1e999"}})
    puts[50] = Put(table.name, key(50), key(50) | {"s": {"S": "\ud800"}})
    rejected = writer.write(puts)
    assert {each.operation.key["sk"]["N"] for each in rejected} == {"7", "33", "34", "50"}
    assert all(each.reason for each in rejected)
    assert "38 significant digits" in next(each.reason for each in rejected if each.operation is puts[33])
    bad = {id(each.operation) for each in rejected}
    assert table.items() == expected([put for put in puts if id(put) not in bad])
    assert writer.stats.rejected == 4


def test_an_item_over_the_limit_is_rejected_before_it_is_sent(table: ItemTable, writer: Writer) -> None:
    overhead = len("pk") + len("k3") + len("sk") + 2 + len("a")
    fits, too_large = "x" * (MAX_ITEM_BYTES - overhead - 1), "x" * (MAX_ITEM_BYTES - overhead + 1)
    puts = [table.put(3, a=fits), table.put(10, a=too_large), table.put(4, a="small")]
    rejected = writer.write(puts)
    assert [each.operation for each in rejected] == [puts[1]]
    assert str(MAX_ITEM_BYTES) in rejected[0].reason
    assert table.items() == expected([puts[0], puts[2]])
    assert writer.stats.requests == 1

    update = table.update(4, b=too_large)
    assert [each.operation for each in writer.write([update])] == [update]
    assert writer.stats.requests == 1


def test_a_batch_of_the_largest_items_is_split_to_fit_a_request(table: ItemTable, writer: Writer) -> None:
    # A control character is six characters in JSON: 8 such items are 18 MB, a request takes 16 MB.
    puts = [table.put(number, a="\x01" * 380_000) for number in range(8)]
    assert writer.write(puts) == []
    assert table.items() == expected(puts)
    assert writer.stats.requests > 1


def test_an_update_makes_an_item_that_is_not_there(table: ItemTable, writer: Writer) -> None:
    assert writer.write([table.update(1, "gone", kind="order", product="3")]) == []
    assert list(table.items().values()) == [item(1, kind="order", product="3")]


def test_removing_from_an_item_that_is_not_there_makes_none(table: ItemTable, writer: Writer) -> None:
    assert writer.write([table.update(1, "product"), table.update(2, "product", kind="order")]) == []
    assert table.items() == {}


@pytest.mark.parametrize("width", [1, 99, 100, 101, 250])
def test_an_update_of_any_width_is_whole(table: ItemTable, writer: Writer, width: int) -> None:
    names = [f"attribute {number} ä:#.-" for number in range(width)]  # no name is safe without a placeholder
    sets = {name: {"S": name} for name in names}
    assert writer.write([Update(table.name, key(1), sets, (), FRAME)]) == []
    assert list(table.items().values()) == [key(1) | sets]

    other = {f"other {number}": {"N": str(number)} for number in range(width)}
    assert writer.write([Update(table.name, key(1), other, tuple(names), FRAME)]) == []
    assert list(table.items().values()) == [key(1) | other]

    assert writer.write([Update(table.name, key(1), {}, tuple(other), FRAME)]) == []
    assert table.items() == {}


def test_an_item_that_loses_its_last_entry_is_deleted_and_no_other(table: ItemTable, writer: Writer) -> None:
    writer.write([table.put(number, kind="order", a="1", b="2") for number in range(4)])
    operations = [
        table.update(0, "a"),  # keeps b
        table.update(1, "a", "b"),  # keeps its frame only
        table.update(2, "a", "b", c="3"),  # has a new one
        table.update(3, "a", "b", kind="return"),  # sets nothing but its frame
    ]
    assert writer.write(operations) == []
    assert sorted(table.items().values(), key=str) == sorted(
        [item(0, kind="order", b="2"), item(2, kind="order", c="3")], key=str
    )


def test_a_crash_between_the_last_remove_and_the_delete_heals_by_replay(table: ItemTable, writer: Writer) -> None:
    writer.write([table.put(1, kind="order")])  # as the crash leaves it: a bare item
    assert writer.write([table.update(1, "a", "b")]) == []
    assert table.items() == {}


def test_an_update_that_dynamodb_refuses_is_rejected_alone(table: ItemTable, writer: Writer) -> None:
    bad = Update(table.name, key(1), {"n": {"N": "1" * 39}}, (), FRAME)
    good = table.update(2, a="x")
    rejected = writer.write([bad, good])
    assert [each.operation for each in rejected] == [bad]
    assert list(table.items().values()) == [item(2, a="x")]


def test_a_missing_table_is_an_error_not_a_rejected_item(table: ItemTable, writer: Writer) -> None:
    for operation in (Put("nowhere", key(1), key(1)), Update("nowhere", key(1), {"a": {"S": ""}}, (), FRAME)):
        with pytest.raises(RequestRefused) as caught:
            writer.write([operation])
        assert caught.value.code == "ResourceNotFoundException"
    assert writer.write([table.put(1)]) == []  # and the writer still works


def test_a_stop_before_the_start_writes_nothing(table: ItemTable) -> None:
    stop = threading.Event()
    stop.set()
    target = table.server.target()
    writer = Writer(DynamoClient(target), target, stop=stop)
    with pytest.raises(Stopped):
        writer.write([table.put(number) for number in range(100)])
    assert table.items() == {}


def test_many_threads_may_write_different_items_at_once(table: ItemTable) -> None:
    target = table.server.target(concurrency=3)
    wire = DynamoClient(target)
    writer = Writer(wire, target)
    puts = [table.put(number, a=str(number)) for number in range(600)]
    rejected: list[object] = []
    threads = [
        threading.Thread(target=lambda part=puts[start::6]: rejected.extend(writer.write(part))) for start in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert rejected == []
    assert table.items() == expected(puts)
    wire.close()


NAMES = st.sampled_from(["a", "b", "c", "kind"])
STEP = st.tuples(
    st.integers(0, 2),
    st.one_of(
        st.just("delete"),
        st.dictionaries(NAMES, st.text(max_size=3), max_size=3),
        st.tuples(st.dictionaries(NAMES, st.text(max_size=3), max_size=3), st.sets(NAMES, max_size=3)),
    ),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=12))
def test_any_history_ends_as_a_dictionary_says(
    table: ItemTable, writer: Writer, steps: list[tuple[int, object]]
) -> None:
    model: dict[int, dict[str, str]] = {}
    writer.write([table.delete(number) for number in range(3)])
    for number, step in steps:
        writer.write([_played(table, model, number, step)])
    assert sorted(table.items().values(), key=str) == sorted((item(n, **a) for n, a in model.items()), key=str)


def _played(table: ItemTable, model: dict[int, dict[str, str]], number: int, step: object) -> ItemOperation:
    """Play a step on the model; the operation that ought to do the same."""
    if step == "delete":
        model.pop(number, None)
        return Delete(table.name, key(number))
    if isinstance(step, dict):
        model[number] = step
        return table.put(number, **step)
    assert isinstance(step, tuple)
    sets, removes = step[0], step[1] - set(step[0])
    if number in model or set(sets) - FRAME:
        after = {name: value for name, value in (model.get(number, {}) | sets).items() if name not in removes}
        model[number] = after
        if not set(after) - FRAME and (sets or removes):
            del model[number]
    return table.update(number, *sorted(removes), **sets)

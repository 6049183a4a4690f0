"""A failure of each kind, really had by a run, as the first screen says it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from demo.shop import CREATE
from tests.e2e.waits import gone
from tests.e2e.work import Work
from tests.faults import FaultProxy
from whimbrel.api.looking import events
from whimbrel.console.overview import overview
from whimbrel.project import load_project

pytestmark = pytest.mark.slow
PATIENCE = 60.0
ROWS = "INSERT INTO purchase VALUES ('c1', 'o1', 'tea', 2), ('c1', 'o1', 'cup', 1), ('c2', 'o2', 'tea', 5)"


@pytest.fixture
def proxy(work: Work) -> Iterator[FaultProxy]:
    with FaultProxy(work.endpoint.endpoint) as found:
        work.endpoint_url = found.endpoint
        work.write_project()
        yield found


@pytest.fixture
def migrated(work: Work, proxy: FaultProxy) -> Work:
    work.source.execute(CREATE, ROWS, database=work.database)
    work.run("migrate", "--until-caught-up")
    return work


def seen(work: Work) -> dict[str, Any]:
    return overview(load_project(work.folder / "whimbrel.toml"), "", False)


def until(work: Work, title: str, level: str) -> dict[str, Any]:
    """The task of that title, as soon as the page has it at the top."""
    end, found = time.monotonic() + PATIENCE, seen(work)
    while not (found["tasks"] and found["tasks"][0]["title"] == title):
        assert time.monotonic() < end, found["tasks"]
        time.sleep(0.1)
        found = seen(work)
    assert found["verdict"]["level"] == level
    task: dict[str, Any] = found["tasks"][0]
    return task


def until_all_right(work: Work) -> None:
    end = time.monotonic() + PATIENCE
    while (verdict := seen(work)["verdict"])["level"] != "ok" or "every change" not in verdict["text"]:
        assert time.monotonic() < end, seen(work)["tasks"]
        time.sleep(0.1)


def change(work: Work, count: int = 1) -> None:
    for number in range(count):
        work.source.execute(f"UPDATE purchase SET quantity = quantity + {number + 1}", database=work.database)


@contextmanager
def following(work: Work) -> Iterator[None]:
    with work.running("migrate"):
        until_all_right(work)
        yield


def test_the_source_is_down(migrated: Work) -> None:
    with following(migrated):
        with gone(migrated.source):
            until(migrated, "The source does not answer", "bad")
        until_all_right(migrated)


@contextmanager
def throttled(proxy: FaultProxy) -> Iterator[None]:
    proxy.add("throttle")
    yield
    proxy.clear()


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (FaultProxy.unreachable, "refused"),
        (throttled, "ProvisionedThroughputExceeded"),
    ],
    ids=["away", "throttles"],
)
def test_the_target_takes_nothing(
    migrated: Work, proxy: FaultProxy, trouble: Callable[[FaultProxy], Any], words: str
) -> None:
    with following(migrated):
        with trouble(proxy):
            change(migrated)
            task = until(migrated, "DynamoDB takes no writes", "bad")
            assert words in task["text"]
            assert "nothing is lost" in task["text"]
        until_all_right(migrated)
    texts = [each.text for each in events(migrated.folder / "whimbrel.toml")]
    assert any(each.startswith("DynamoDB takes no writes; they are tried again") for each in texts)
    assert "DynamoDB takes writes again." in texts


def test_the_target_throttles_some(migrated: Work, proxy: FaultProxy) -> None:
    with following(migrated):
        proxy.add("throttle", probability=0.7)
        end = time.monotonic() + PATIENCE
        while not any(each["title"] == "DynamoDB throttles the writes" for each in seen(migrated)["tasks"]):
            assert time.monotonic() < end
            change(migrated, 5)
        proxy.clear()
        until_all_right(migrated)


@pytest.mark.parametrize(
    ("fault", "words"), [("throttle", "ProvisionedThroughputExceeded"), ("unprocessed", "left out everything")]
)
def test_the_target_takes_nothing_during_a_load(work: Work, proxy: FaultProxy, fault: str, words: str) -> None:
    work.source.execute(CREATE, ROWS, database=work.database)
    proxy.add(fault, operation="BatchWriteItem", share=1.0)
    with work.running_until_it_ends("migrate", "--until-caught-up") as process:
        assert words in until(work, "DynamoDB takes no writes", "bad")["text"]
        proxy.clear()
        assert process.wait(60) == 0


def test_the_target_denies(migrated: Work, proxy: FaultProxy) -> None:
    with migrated.running_until_it_ends("migrate") as process:
        until_all_right(migrated)
        proxy.add("refuse", code="AccessDeniedException")
        change(migrated)
        assert process.wait(60) == 2
    task = until(migrated, "The run ended by an error", "bad")
    assert "PrivilegeError" in task["text"]
    assert "Give the account this permission" in task["text"]
    assert task["command"] == "whimbrel migrate"


def test_a_change_of_the_schema_that_is_not_followed(migrated: Work) -> None:
    with migrated.running_until_it_ends("migrate") as process:
        until_all_right(migrated)
        migrated.source.execute("TRUNCATE purchase", database=migrated.database)
        assert process.wait(60) == 3
    assert "TRUNCATE" in until(migrated, "The run ended by an error", "bad")["text"]


def test_dead_letters(migrated: Work) -> None:
    migrated.source.execute("INSERT INTO purchase VALUES ('', 'o9', 'tea', 1)", database=migrated.database)
    migrated.run("migrate", "--until-caught-up", code=4)
    found = seen(migrated)
    assert "1 dead letter: a row that could not become an item" in [each["title"] for each in found["tasks"]]


def test_a_difference(migrated: Work) -> None:
    key = {"customerid": {"S": "c2"}, "orderid": {"S": "o2"}}
    migrated.endpoint.client().put_item(TableName=migrated.target, Item=key | {"tea": {"N": "6"}})
    migrated.run("verify", code=5)
    assert until(migrated, "1 item differs", "bad")["command"] == "whimbrel verify"

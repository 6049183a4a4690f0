"""Forward again after a rollback: what was logged while DynamoDB was open is passed over, and nothing after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.work import Work
from whimbrel.errors import HandoverError, SchemaDrift, StateError
from whimbrel.handed_over import Handover
from whimbrel.handover.forward import continue_from, same_source
from whimbrel.migration.positions import source_end
from whimbrel.migration.prepare import prepare
from whimbrel.migration.progress import Progress
from whimbrel.migration.run import Run
from whimbrel.project import load_project

FIRST = {"customerid": {"S": "first"}, "orderid": {"S": "o1"}}


@contextmanager
def run_of(shop: Work, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    monkeypatch.setenv("WHIMBREL_SOURCE_PASSWORD", shop.source.password)
    prepared = prepare(load_project(shop.folder / "whimbrel.toml"))
    with Run(prepared, threading.Event(), Progress(), hands_over=True) as run:
        yield run


def write(shop: Work, *statements: str) -> None:
    shop.source.execute(*statements, database=shop.database)


def item(shop: Work) -> dict[str, Any]:
    found: dict[str, Any] = shop.endpoint.client().get_item(TableName=shop.target, Key=FIRST, ConsistentRead=True)[
        "Item"
    ]
    return found


def test_what_was_written_back_does_not_come_again(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    write(shop, "UPDATE purchase SET quantity = 2", "FLUSH BINARY LOGS", "UPDATE purchase SET quantity = 3")
    with run_of(shop, monkeypatch) as run:
        place = source_end(run)
        for _ in range(2):  # a crash, and again
            continue_from(run, place, place)
        assert run.checkpoints.now.applied_position == place
    write(shop, "INSERT INTO purchase VALUES ('first', 'o1', 'p2', 7)", "FLUSH BINARY LOGS")
    shop.call("migrate", "--until-caught-up")
    # p1 has what it had before the cutover: a rollback's reverse stream would have seen to the rest.
    assert item(shop) == {**FIRST, "p1": {"N": "1"}, "p2": {"N": "7"}}
    write(shop, "UPDATE purchase SET quantity = 8 WHERE productid = 'p1'")
    shop.call("migrate", "--until-caught-up")
    assert item(shop) == {**FIRST, "p1": {"N": "8"}, "p2": {"N": "7"}}
    shop.verify()


def test_changes_that_were_never_applied_are_not_passed_over(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    write(shop, "UPDATE purchase SET quantity = 2")
    shop.call("capture", "--until-caught-up")
    with run_of(shop, monkeypatch) as run, pytest.raises(StateError, match="were applied before the decision"):
        continue_from(run, source_end(run), source_end(run))


def test_a_place_behind_the_end_of_the_log_is_refused(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_of(shop, monkeypatch) as run:
        early = source_end(run)
        write(shop, "CREATE TABLE beside (id INT PRIMARY KEY)")
        continue_from(run, source_end(run), source_end(run))
        with pytest.raises(StateError, match="after"):
            continue_from(run, early, early)


def test_another_server_or_an_altered_table_is_refused(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    with run_of(shop, monkeypatch) as run:
        same_source(run, Handover(server=run.prepared.server.server_uuid))
        with pytest.raises(HandoverError, match="another server"):
            same_source(run, Handover(server="another"))
    write(shop, "ALTER TABLE purchase MODIFY quantity BIGINT NOT NULL")
    with run_of(shop, monkeypatch) as run, pytest.raises(SchemaDrift, match="while DynamoDB was open"):
        same_source(run, Handover(server=run.prepared.server.server_uuid))

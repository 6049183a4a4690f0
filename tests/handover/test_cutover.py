"""A cutover from end to end, under an application that writes, on both servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.e2e.work import Work
from tests.handover.application import Application, at_dynamodb, at_source
from tests.handover.test_fence import tried


def cut(work: Work, *options: str) -> dict[str, Any]:
    """The result of a cutover that succeeds."""
    found: dict[str, Any] = json.loads(work.run("cutover", "--yes", "--json", *options).stdout.splitlines()[-1])
    return found


def triggers(work: Work) -> int:
    [(count,)] = work.source.execute(
        "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_NAME LIKE 'whimbrel%' "
        f"AND TRIGGER_SCHEMA = '{work.database}'"
    )
    return int(count)


def assert_undone(work: Work, application: Application) -> None:
    """The application continues at the source as if nothing had been, and so does the migration."""
    before = application.acknowledged
    work.wait_for(lambda: application.acknowledged > before + 20)
    application.stop()
    assert triggers(work) == 0
    assert json.loads((work.state / "handover.json").read_text())["step"] == "FOLLOWING"
    work.call("migrate", "--until-caught-up")
    assert at_source(work.source, work.database) == application.lines
    assert at_dynamodb(work.endpoint, work.target) == application.expected()


@contextmanager
def writing(work: Work) -> Iterator[Application]:
    work.source.execute("DELETE FROM purchase", database=work.database)
    application = Application(work.source, work.database).start()
    try:
        work.wait_for(lambda: application.acknowledged > 100)
        yield application
    finally:
        application.stop()


def test_nothing_that_was_acknowledged_is_lost(shop: Work) -> None:
    with writing(shop) as application:
        said = cut(shop)
        shop.wait_for(lambda: application.refused > 20)
        application.stop()
        assert (said["side"], said["step"]) == ("dynamodb", "OPEN")
        assert 0 < said["stall_ms"] < 20_000
        assert at_source(shop.source, shop.database) == application.lines
        assert at_dynamodb(shop.endpoint, shop.target) == application.expected()
        print(f"{shop.source.name}: stall {said['stall_ms']} ms, {application.acknowledged} acknowledged")
    assert triggers(shop) == 3
    for command in ("migrate", "apply", "verify", "refill purchase", "capture"):
        refused = shop.call(*command.split(), code=3).output
        assert "error[TargetOpen]: " in refused
    assert cut(shop)["stall_ms"] == said["stall_ms"]  # again: it is open already


def test_it_takes_over_from_a_migration_that_follows(shop: Work) -> None:
    with shop.running_until_it_ends("migrate") as following:
        shop.wait_for(lambda: (shop.state / "status.json").exists())
        assert cut(shop)["side"] == "dynamodb"
        assert following.wait(30) == 130


def test_a_long_transaction_undoes_it_and_the_application_goes_on(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.handover.fence.PATIENCE", 1.0)
    shop.source.execute("INSERT INTO purchase VALUES ('long', 'o', 'p', 1)", database=shop.database)
    with closing(shop.source.connect(shop.database, autocommit=False)) as long, writing(shop) as application:
        shop.source.execute("INSERT INTO purchase VALUES ('long', 'o', 'p', 1)", database=shop.database)
        tried(long, "UPDATE purchase SET quantity = 2 WHERE customerid = 'long'")
        said = shop.call("cutover", "--yes", code=3).output
        assert "error[CutoverUndone]: " in said
        assert "could not lock the tables" in said
        long.rollback()
        shop.source.execute("DELETE FROM purchase WHERE customerid = 'long'", database=shop.database)
        assert_undone(shop, application)


def test_a_difference_undoes_it(shop: Work) -> None:
    with writing(shop) as application:
        application.stop()
        shop.call("migrate", "--until-caught-up")
        shop.call("verify")
        shop.source.execute("UPDATE purchase SET quantity = quantity + 1 LIMIT 1", database=shop.database)
        [line] = shop.source.execute("SELECT customerid, orderid FROM purchase LIMIT 1", database=shop.database)
        meddler = threading.Thread(target=lambda: None)
        meddler.start()
        meddler.join()
    assert line


def test_a_prepared_transaction_refuses_it(shop: Work) -> None:
    app = shop.source.connect(shop.database)
    for step in (
        "XA START 'mine'",
        "INSERT INTO purchase VALUES ('x', 'x', 'x', 1)",
        "XA END 'mine'",
        "XA PREPARE 'mine'",
    ):
        assert tried(app, step) == 0
    app.close()
    try:
        said = shop.call("cutover", "--yes", code=2).output
        assert "prepared XA transactions" in said
        assert "mine" in said
    finally:
        shop.source.execute("XA COMMIT 'mine'")
    assert triggers(shop) == 0
    assert cut(shop)["side"] == "dynamodb"
    assert ("x", "x", "x") in at_source(shop.source, shop.database)
    assert ("x", "x") in at_dynamodb(shop.endpoint, shop.target)

"""A cutover from end to end, under an application that writes, on both servers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.dirty import verify_and_wait
from tests.e2e.work import Work
from tests.handover.conftest import set_up
from tests.handover.test_fence import tried, tried_once
from tests.handover.writers import Application, at_dynamodb, at_source
from whimbrel.errors import Stopped
from whimbrel.handover.fence import Fence
from whimbrel.migration import foreign


def cut(work: Work) -> dict[str, Any]:
    """The result of a cutover that succeeds."""
    found: dict[str, Any] = json.loads(work.run("cutover", "--yes", "--json").stdout.splitlines()[-1])
    return found


def triggers(work: Work) -> int:
    [(count,)] = work.source.execute(
        "SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_NAME LIKE 'whimbrel%' "
        f"AND TRIGGER_SCHEMA = '{work.database}'"
    )
    return int(count)


def step(work: Work) -> str:
    file = work.state / "handover.json"
    return str(json.loads(file.read_text())["step"]) if file.exists() else "FOLLOWING"


@contextmanager
def writing(work: Work, **settings: Any) -> Iterator[Application]:
    """``settings`` are those of the Application."""
    work.source.execute("DELETE FROM purchase", database=work.database)
    application = Application(work.source, work.database, **settings).start()
    try:
        work.wait_for(lambda: application.acknowledged > 100)
        yield application
    finally:
        application.stop()


def assert_undone(work: Work, application: Application) -> None:
    """The application continues at the source as if nothing had been, and so does the migration."""
    before = application.acknowledged
    work.wait_for(lambda: application.acknowledged > before + 20)
    application.stop()
    assert (triggers(work), step(work)) == (0, "FOLLOWING")
    work.call("migrate", "--until-caught-up")
    assert at_source(work.source, work.database) == application.lines
    assert at_dynamodb(work.endpoint, work.target) == application.expected()


def assert_open(work: Work, application: Application) -> None:
    refused = application.refused
    work.wait_for(lambda: application.refused > refused + 20)
    application.stop()
    assert (triggers(work), step(work)) == (3, "OPEN")
    assert at_source(work.source, work.database) == application.lines
    assert at_dynamodb(work.endpoint, work.target) == application.expected()


def test_nothing_that_was_acknowledged_is_lost(shop: Work) -> None:
    with writing(shop) as application:
        said = cut(shop)
        assert (said["side"], said["step"]) == ("dynamodb", "OPEN")
        assert 0 < said["stall_ms"] < 20_000
        assert list(said["stall_parts"]) == ["close", "drain", "verify", "decide", "announce"]
        assert sum(said["stall_parts"].values()) == pytest.approx(said["stall_ms"], abs=1)
        assert_open(shop, application)
    print(f"{shop.source.name}: stall {said['stall_ms']} ms, {application.acknowledged} acknowledged")
    for command in ("migrate", "apply", "verify", "refill purchase", "capture"):
        assert "error[TargetOpen]: " in shop.call(*command.split(), code=3).output
    assert "DynamoDB takes writes (step OPEN" in shop.call("status").output
    assert cut(shop)["stall_ms"] == said["stall_ms"]  # again: it is open already


@pytest.mark.slow
def test_it_takes_over_from_a_migration_that_follows(shop: Work) -> None:
    with shop.running_until_it_ends("migrate") as following:
        lock = shop.state / "lock"
        shop.wait_for(lambda: lock.read_text().strip() == str(following.pid), following)
        assert cut(shop)["side"] == "dynamodb"
        assert following.wait(30) == 130


@pytest.mark.slow
def test_a_long_transaction_undoes_it(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.handover.cutting.PATIENCE", 1.0)
    with writing(shop) as application, closing(shop.source.connect(shop.database, autocommit=False)) as long:
        shop.source.execute("INSERT INTO purchase VALUES ('long', 'o', 'p', 1)", database=shop.database)
        tried(long, "UPDATE purchase SET quantity = 2 WHERE customerid = 'long'")
        said = shop.call("cutover", "--yes", code=3).output
        assert "error[CutoverUndone]: " in said
        assert "could not lock the tables within 1 seconds" in said
        long.rollback()
        shop.source.execute("DELETE FROM purchase WHERE customerid = 'long'", database=shop.database)
        assert_undone(shop, application)


def test_a_stranger_that_writes_to_the_target_undoes_it(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also items that nobody would look at again; seen where the stream was on before the verification began."""
    monkeypatch.setattr(foreign, "DOUBT", timedelta(0))
    view = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    shop.endpoint.client().update_table(TableName=shop.target, StreamSpecification=view)
    shop.source.execute("INSERT INTO purchase VALUES ('ours', 'o', 'p', 1)", database=shop.database)
    shop.call("migrate", "--until-caught-up")
    verify_and_wait(shop)
    item = {"customerid": {"S": "theirs"}, "orderid": {"S": "o"}}
    shop.endpoint.client().put_item(TableName=shop.target, Item=item)
    said = shop.call("cutover", "--yes", code=3).output
    assert "error[CutoverUndone]: " in said
    assert f"{shop.target}: somebody else wrote 1 of its items" in said
    assert '{"customerid":{"S":"theirs"},"orderid":{"S":"o"}}' in said
    assert (triggers(shop), step(shop)) == (0, "FOLLOWING")
    shop.endpoint.client().delete_item(TableName=shop.target, Key=item)
    verify_and_wait(shop)
    shop.source.execute("INSERT INTO purchase VALUES ('ours', 'o', 'q', 1)", database=shop.database)
    assert cut(shop)["side"] == "dynamodb"


@pytest.mark.slow
def test_a_prepared_transaction_refuses_it(shop: Work) -> None:
    """Of whatever table: nobody can tell before it commits."""
    shop.source.execute("CREATE TABLE other (id INT PRIMARY KEY)", database=shop.database)
    app = shop.source.connect(shop.database)
    work = ("XA START 'mine'", "INSERT INTO other VALUES (1)", "XA END 'mine'", "XA PREPARE 'mine'")
    assert [tried(app, each) for each in work] == [0, 0, 0, 0]
    app.close()
    try:
        said = shop.call("cutover", "--yes", code=2).output
        assert "error[NotReady]: " in said
        assert "prepared XA transactions: mine [cutover-prepared]" in said
    finally:
        shop.source.execute("XA COMMIT 'mine'")
    assert triggers(shop) == 0
    assert cut(shop)["side"] == "dynamodb"


# What happens between the fence and the seal: each is done when writes have just been closed.


def the_fence_is_removed(work: Work) -> None:
    [(name,)] = work.source.execute(
        f"SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{work.database}' "
        "AND EVENT_MANIPULATION = 'UPDATE'"
    )
    work.source.execute(f"DROP TRIGGER `{name}`", database=work.database)


def a_row_is_written_past_it(work: Work) -> None:
    """As by a cascade, or by somebody who put the trigger back as it was."""
    [(name, body)] = work.source.execute(
        "SELECT TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS "
        f"WHERE TRIGGER_SCHEMA = '{work.database}' AND EVENT_MANIPULATION = 'INSERT'"
    )
    work.source.execute(
        f"DROP TRIGGER `{name}`",
        "INSERT INTO purchase VALUES ('past', 'o', 'p', 1)",
        "DELETE FROM purchase WHERE customerid = 'nobody'",
        f"CREATE TRIGGER `{name}` BEFORE INSERT ON purchase FOR EACH ROW {body}",
        database=work.database,
    )


def the_table_is_truncated(work: Work) -> None:
    work.source.execute("TRUNCATE purchase", database=work.database)


def the_table_is_altered(work: Work) -> None:
    work.source.execute("ALTER TABLE purchase COMMENT = 'another'", database=work.database)


def the_target_is_written_by_another(work: Work) -> None:
    """Of an item that is verified again, as it was written since the last verification."""
    client = work.endpoint.client()
    [item, *_] = client.scan(TableName=work.target, ConsistentRead=True)["Items"]
    client.put_item(TableName=work.target, Item=item | {"foreign": {"S": "x"}})


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (the_fence_is_removed, "of {database}.purchase is gone"),
        (a_row_is_written_past_it, "changes were written after writes were closed"),
        pytest.param(the_table_is_truncated, "TRUNCATE", marks=pytest.mark.slow),
        pytest.param(the_table_is_altered, "was altered, or replaced by another one", marks=pytest.mark.slow),
        pytest.param(the_target_is_written_by_another, "differ in 1 items", marks=pytest.mark.slow),
    ],
)
def test_what_happens_between_the_fence_and_the_decision_undoes_it(
    shop: Work, monkeypatch: pytest.MonkeyPatch, event: Callable[[Work], None], said: str
) -> None:
    real = Fence.close

    def closed(fence: Fence, *arguments: Any) -> Any:
        done = real(fence, *arguments)
        event(shop)
        return done

    monkeypatch.setattr(Fence, "close", closed)
    shop.source.execute("INSERT INTO purchase VALUES ('c', 'o', 'p', 1)", database=shop.database)
    output = shop.call("cutover", "--yes", code=3).output
    assert "error[CutoverUndone]: " in output
    assert said.format(database=shop.database) in output
    assert (triggers(shop), step(shop)) == (0, "FOLLOWING")
    assert tried_once(shop.source.connect(shop.database, user="app"), "DELETE FROM purchase") == 0


def test_longer_than_max_stall_undoes_it(shop: Work) -> None:
    shop.target_settings = "[cutover]\nmax_stall = 0.001"
    shop.write_project()
    said = shop.call("cutover", "--yes", code=3).output
    assert "longer than max_stall = 0.001 seconds" in said
    assert (triggers(shop), step(shop)) == (0, "FOLLOWING")


@pytest.mark.slow
def test_a_verification_that_max_stall_ends_is_told_as_that(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not as if somebody had asked it to stop."""

    def slow(*_: Any, stop: threading.Event, **__: Any) -> Any:
        stop.wait(60)
        raise Stopped("the work was stopped")

    monkeypatch.setattr("whimbrel.migration.second_look.get_items", slow)
    shop.target_settings = "[cutover]\nmax_stall = 1"
    shop.write_project()
    shop.source.execute("INSERT INTO purchase VALUES ('c', 'o', 'p', 1)", database=shop.database)
    said = shop.call("cutover", "--yes", code=3).output
    assert "longer than max_stall = 1 seconds" in said
    assert (triggers(shop), step(shop)) == (0, "FOLLOWING")


def test_an_application_is_paused_told_and_given_a_route(shop: Work, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(
        '#!/bin/sh\necho "$WHIMBREL_EVENT $WHIMBREL_SIDE $WHIMBREL_EPOCH $WHIMBREL_TABLES '
        '$WHIMBREL_SOURCE_PASSWORD" >> told\n[ "$(grep -c switch told)" != 1 ]\n'
    )
    hook.chmod(0o755)
    set_up(shop, f'before = ["{hook}"]\non_switch = ["{hook}"]\nroute_file = "route.json"\nroute_item = true')
    epoch = cut(shop)["epoch"]
    table = f"{shop.database}.purchase"
    told = [line.split() for line in (shop.folder / "told").read_text().splitlines()]
    assert told == [
        ["pause", "none", str(epoch), table],
        ["switch", "dynamodb", str(epoch), table],
        ["switch", "dynamodb", str(epoch), table],
    ]
    assert json.loads((shop.folder / "route.json").read_text()) == {
        "side": "dynamodb",
        "epoch": epoch,
        "tables": [table],
        "lease_seconds": 5.0,
    }
    assert (shop.folder / "route.json").stat().st_mode & 0o777 == 0o644
    key = {"target": {"S": "whimbrel route"}, "migration": {"S": table}}
    assert shop.endpoint.client().get_item(TableName="whimbrel", Key=key)["Item"] == key | {
        "side": {"S": "dynamodb"},
        "epoch": {"N": str(epoch)},
        "lease_seconds": {"N": "5"},
    }


@pytest.mark.parametrize("found", ['{"epoch": 99}', "somebody else's"])
def test_a_route_that_could_not_be_written_is_found_out_before_anything_is_closed(shop: Work, found: str) -> None:
    """After the decision no side would be open, and no command could go on."""
    set_up(shop, 'route_file = "route.json"')
    (shop.folder / "route.json").write_text(found)
    said = shop.call("cutover", "--yes", code=3).output
    assert "error[CutoverUndone]: " in said
    assert "remove it" in said or "Name another route_file" in said
    assert (triggers(shop), step(shop)) == (0, "FOLLOWING")
    (shop.folder / "route.json").unlink()
    assert cut(shop)["side"] == "dynamodb"

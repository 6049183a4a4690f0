"""Writes to the fenced tables by anybody but the reverse stream: seen, told by row, and in the way of a rollback."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.work import Work
from tests.handover.both_sides import Site
from tests.handover.test_cutover import step
from whimbrel.migration.run import Run


def opened(site: Site) -> None:
    site.work.source.execute("INSERT INTO customer VALUES ('first', 'First', 1, NULL)", database=site.work.database)
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    site.said("cutover", "--until-open")


def past(work: Work, *statements: str) -> None:
    """By somebody who removes the fence for it, and puts it back as it was."""
    found = work.source.execute(
        "SELECT TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_STATEMENT "
        f"FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{work.database}'"
    )
    work.source.execute(
        *(f"DROP TRIGGER `{name}`" for name, *_ in found),
        *statements,
        *(f"CREATE TRIGGER `{name}` BEFORE {event} ON `{on}` FOR EACH ROW {body}" for name, event, on, body in found),
        database=work.database,
    )


def seen(work: Work) -> dict[str, Any]:
    out, _ = work.start("status", "--json").communicate()
    found: dict[str, Any] = json.loads(out)["past_fence"]
    return found


def letters(work: Work) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (work.state / "past-fence.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb", "mariadb-11.8", "mysql"], indirect=True)
def test_what_others_write_is_told_by_row_and_refuses_a_rollback_until_it_is_accepted(site: Site) -> None:
    """While the reverse stream writes all the time: none of that is reported."""
    opened(site)
    work = site.work
    with site.application():
        with site.following():
            site.wait_for_writes("dynamodb")
            assert seen(work)["count"] == 0
            past(
                work,
                "INSERT INTO customer VALUES ('theirs', 'Theirs', 7, NULL)",
                "UPDATE customer SET visits = 5 WHERE customerid = 'first'",
            )
            work.wait_for(lambda: seen(work)["count"] == 2)
            site.wait_for_writes("dynamodb")
        assert seen(work)["count"] == 2
        assert "got past the fence" in work.run("rollback", "--yes", code=3).stderr
        assert site.step() == "OPEN"
        (work.folder / "accepted.jsonl").write_bytes((work.state / "past-fence.jsonl").read_bytes())
        done = site.said("rollback", "--waive-dead-letters", "accepted.jsonl")
        site.wait_for_writes("mysql")
    assert [each["source_key"]["customerid"] for each in done["waived"]] == ["theirs", "first"]
    assert {each["reason"].split()[0] for each in letters(work)} == {"inserted", "changed"}
    work.run("migrate", "--until-caught-up", code=4)
    work.run("retry-dead")
    assert json.loads(work.run("verify", "--json").stdout.splitlines()[-1])["equal"]
    item = site.client.get_item(TableName=site.settings.customer, Key={"customerid": {"S": "first"}})["Item"]
    assert item["visits"] == {"N": "5"}
    assert all(wrong.startswith("('theirs',)") for wrong in site.at_mysql())


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb", "mysql"], indirect=True)
def test_what_comes_during_a_rollback_undoes_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if nobody followed since the cutover."""
    opened(site)
    hook = site.work.folder / "close"
    hook.write_text("#!/bin/sh\ntouch closed\nwhile [ ! -e go ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    site.work.target_settings += f'on_switch = ["{hook}"]\n'
    site.work.write_project()
    process = site.work.start("rollback", "--yes")
    site.work.wait_for(lambda: (site.work.folder / "closed").exists(), process)
    past(site.work, "DELETE FROM customer WHERE customerid = 'first'")
    (site.work.folder / "go").touch()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "error[RollbackUndone]" in said
    assert "got past the fence" in said
    assert site.step() == "OPEN"
    assert [each["source_key"] for each in letters(site.work)] == [{"customerid": "first"}]


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb", "mysql"], indirect=True)
def test_a_statement_without_rows_is_told_too(site: Site) -> None:
    opened(site)
    site.work.source.execute("TRUNCATE customer", "ALTER TABLE purchase COMMENT 'x'", database=site.work.database)
    with site.following():
        site.work.wait_for(lambda: seen(site.work)["count"] >= 1)
        past(site.work, "INSERT INTO customer VALUES ('after', 'After', 7, NULL)")
        site.work.wait_for(lambda: seen(site.work)["count"] == 2)
    first, second = letters(site.work)
    assert (first["table"], first["source_key"]) == (f"{site.work.database}.customer", {})
    assert "TRUNCATE customer" in first["reason"]
    assert second["source_key"] == {"customerid": "after"}


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_a_fence_that_was_removed_is_told(site: Site) -> None:
    opened(site)
    names = site.work.source.execute(
        f"SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{site.work.database}'"
    )
    site.work.source.execute(*(f"DROP TRIGGER `{name}`" for (name,) in names), database=site.work.database)
    with site.following():
        site.work.wait_for(lambda: len(seen(site.work)["faults"]) == 6)
    assert "is gone" in site.work.run("status").stdout


def changing_after_the_decision(work: Work, patch: pytest.MonkeyPatch, statement: str) -> None:
    """While the capture still runs, so that it reads the change."""
    real, written = Run.stop_capture, list[int]()

    def stopped(run: Run) -> None:
        if step(work) == "DECIDED" and not written:
            written.append(run.progress.captured)
            past(work, statement)
            work.wait_for(lambda: run.progress.captured > written[0])
        real(run)

    patch.setattr(Run, "stop_capture", stopped)


def test_what_is_written_between_the_decision_and_the_switch_is_told(
    shop: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing_after_the_decision(shop, monkeypatch, "INSERT INTO purchase VALUES ('late', 'o', 'p', 1)")
    said = json.loads(shop.call("cutover", "--yes", "--json").output.splitlines()[-1])
    assert (said["side"], said["past_fence"]) == ("dynamodb", 1)
    assert [each["source_key"] for each in letters(shop)] == [{"customerid": "late", "orderid": "o", "productid": "p"}]
    assert "1 changes by others at the source" in shop.call("status", code=5).output


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb", "mysql"], indirect=True)
def test_a_change_that_was_captured_after_the_decision_does_not_stop_a_rollback(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the change log, and not applied: DynamoDB may have a newer value by then."""
    work = site.work
    work.source.execute("INSERT INTO customer VALUES ('first', 'First', 1, NULL)", database=work.database)
    work.run("migrate", "--until-caught-up")
    work.run("verify")
    with monkeypatch.context() as patch:
        changing_after_the_decision(work, patch, "UPDATE customer SET visits = 9 WHERE customerid = 'first'")
        patch.chdir(work.folder)
        work.call("cutover", "--yes", "--until-open")
    assert "got past the fence" in work.run("rollback", "--yes", code=3).stderr
    (work.folder / "accepted.jsonl").write_bytes((work.state / "past-fence.jsonl").read_bytes())
    assert site.said("rollback", "--waive-dead-letters", "accepted.jsonl")["side"] == "mysql"
    work.run("migrate", "--until-caught-up", code=4)
    work.run("retry-dead")
    assert json.loads(work.run("verify", "--json").stdout.splitlines()[-1])["equal"]
    item = site.client.get_item(TableName=site.settings.customer, Key={"customerid": {"S": "first"}})["Item"]
    assert item["visits"] == {"N": "9"}


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)
def test_where_nobody_can_tell_a_rollback_is_asked_for_by_name(site: Site) -> None:
    """The binlog was purged before anybody read it."""
    opened(site)
    site.work.source.execute(
        "FLUSH BINARY LOGS", "CREATE TABLE b (id INT)", "FLUSH BINARY LOGS", database=site.work.database
    )

    def purged() -> bool:
        """What the connection of the watch still read is kept, until the server has noticed that it is gone."""
        [*_, (newest, *_)] = site.work.source.execute("SHOW BINARY LOGS")
        site.work.source.execute(f"PURGE BINARY LOGS TO '{newest}'")
        return len(site.work.source.execute("SHOW BINARY LOGS")) == 1

    site.work.wait_for(purged)
    assert "nobody can tell what was written" in site.work.run("rollback", "--yes", code=3).stderr
    assert site.said("rollback", "--unwatched")["side"] == "mysql"

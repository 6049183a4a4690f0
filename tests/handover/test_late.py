"""Who still writes to DynamoDB after a rollback opened the source is told, item by item; not what whimbrel writes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.handover.both_sides import Site
from tests.handover.test_returning import add, opened

pytestmark = pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)


def late(site: Site) -> list[dict[str, Any]]:
    path = site.work.state / "late-writes.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def names(site: Site) -> list[str]:
    return [write["key"]["customerid"]["S"] for write in late(site)]


def insert(site: Site, name: str) -> None:
    site.work.source.execute(f"INSERT INTO customer VALUES ('{name}', 'x', 1, '')", database=site.work.database)


def status(site: Site, code: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.work.run("status", "--json", code=code).stdout)["late_writes"]
    return found


@pytest.mark.slow
def test_late_writes_are_listed_by_key_whoever_is_at_work_and_those_of_whimbrel_are_not(site: Site) -> None:
    site.work.target_settings += "late_seconds = 4\n"
    site.work.target_settings = site.work.target_settings.replace("late_seconds = 0\n", "")
    site.work.write_project()
    opened(site)
    add(site, "in time")
    process = site.work.start("rollback", "--yes", "--json")
    site.work.wait_for(lambda: site.step() == "FOLLOWING")
    add(site, "late")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 5
    assert json.loads(out.splitlines()[-1])["late_writes"] == 1
    [write] = late(site)
    assert write["table"] == site.settings.customer
    assert write["key"] == {"customerid": {"S": "late"}}
    assert write["old"] is None
    assert write["new"]["name"] == {"S": "late"}
    assert "1 writes at DynamoDB after the source was opened" in site.work.run("status", code=5).stdout
    add(site, "between")
    insert(site, "ours")
    with site.work.running("migrate") as migrating:
        site.work.wait_for(lambda: names(site) == ["late", "between"])
        insert(site, "ours too")
        add(site, "meanwhile")
        site.client.delete_item(TableName=site.settings.customer, Key={"customerid": {"S": "late"}})
        site.work.wait_for(lambda: len(late(site)) == 4)
        insert(site, "ours at last")
        until = status(site, 5)["until"]
        site.work.wait_for(lambda: status(site, 5)["until"] > until + 6)
        assert migrating.poll() is None
    assert names(site) == ["late", "between", "meanwhile", "late"]
    assert late(site)[-1]["new"] is None
    assert status(site, 5)["unknown"] == []
    (site.work.state / "late-writes.jsonl").unlink()
    assert status(site, 0)["count"] == 0


@pytest.mark.slow
def test_late_writes_are_each_listed_once_though_the_places_were_not_saved(site: Site) -> None:
    opened(site)
    site.said("rollback")
    before = (site.work.state / "late.json").read_bytes()
    add(site, "late")
    site.work.run("migrate", "--until-caught-up")
    assert names(site) == ["late"]
    (site.work.state / "late.json").write_bytes(before)  # as if killed between the list and the places
    site.work.run("migrate", "--until-caught-up")
    assert names(site) == ["late"]


@pytest.mark.slow
def test_what_cannot_be_told_apart_any_more_is_listed_as_not_known(site: Site) -> None:
    opened(site)
    site.said("rollback")
    add(site, "late")
    for path in (site.work.state / "dirty").iterdir():
        path.unlink()
    site.work.run("migrate", "--until-caught-up")
    [(began, ended, why)] = status(site, 0)["unknown"]
    assert began < ended < time.time()
    assert "whimbrel wrote itself" in why
    assert "not known from" in site.work.run("status").stdout
    add(site, "later")
    site.work.run("migrate", "--until-caught-up")
    assert names(site) == ["later"]
    now = json.loads((site.work.state / "late.json").read_bytes())
    (site.work.state / "late.json").write_text(json.dumps(now | {"opened": now["opened"] - 24 * 3600}))
    site.work.run("migrate", "--until-caught-up")
    assert "24 hours" in status(site, 5)["ended"]

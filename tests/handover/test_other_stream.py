"""A target's stream that is not the one that was on at the cutover: what was written meanwhile is in no stream. It is
the end of the way back, by name, whether somebody follows or not; and nobody says any more that all late writes are
listed.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.handover.both_sides import Site
from tests.handover.test_plan import codes, plan
from tests.handover.test_returning import add, names, opened, side

pytestmark = [pytest.mark.slow, pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)]


def switch(site: Site, **specification: Any) -> None:
    site.client.update_table(TableName=site.settings.customer, StreamSpecification=specification)


def off(site: Site) -> None:
    switch(site, StreamEnabled=False)


def on(site: Site, view: str = "NEW_AND_OLD_IMAGES") -> None:
    switch(site, StreamEnabled=True, StreamViewType=view)


def test_a_stream_of_another_view_is_among_the_findings_of_the_plan(site: Site) -> None:
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    on(site, "KEYS_ONLY")
    found = codes(plan(site.work, code=2))["cutover-stream"]
    assert f"{site.settings.customer}: the table's stream has KEYS_ONLY" in found
    off(site)
    assert "cutover-stream" not in codes(plan(site.work))


@pytest.mark.parametrize("view", ["", "NEW_AND_OLD_IMAGES", "KEYS_ONLY"], ids=["off", "on-again", "another-view"])
def test_the_stream_is_another_one_when_somebody_follows_again(site: Site, view: str) -> None:
    opened(site)
    off(site)
    add(site, "missed")
    if view:
        on(site, view)
    for command in ("cutover", "rollback"):
        said = site.work.run(command, "--yes", code=3).stderr
        assert f"{site.settings.customer}: the table's stream was switched off" in said
        assert "the way back is gone" in said
    assert (site.step(), side(site)) == ("OPEN", "dynamodb")
    assert "missed" not in names(site)
    assert json.loads(site.work.run("status", "--json").stdout)["way_back"]["remains_seconds"] == 0
    site.said("finish")


def test_the_stream_is_switched_off_while_somebody_follows(site: Site) -> None:
    opened(site)
    process = site.work.start("cutover", "--yes")
    assert process.stderr is not None
    site.work.wait_for(lambda: (site.work.state / "reverse.json").exists())
    off(site)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert "the table's stream was switched off" in said
    assert side(site) == "dynamodb"


def test_late_writes_are_not_said_to_be_listed_without_the_stream(site: Site) -> None:
    opened(site)
    site.said("rollback")
    off(site)
    add(site, "late")
    on(site)
    site.work.run("migrate", "--until-caught-up")
    ended = json.loads(site.work.run("status", "--json").stdout)["late_writes"]["ended"]
    assert "the table's stream was switched off" in ended

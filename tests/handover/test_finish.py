"""The way back is given up: only what whimbrel made is removed, and what says so stays."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.test_private import open_to_others
from tests.handover.both_sides import Site

pytestmark = pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)


def tables(site: Site) -> set[str]:
    return {name for (name,) in site.work.source.execute("SHOW TABLES", database=site.work.database)}


def triggers(site: Site) -> list[Any]:
    return list(site.work.source.execute("SHOW TRIGGERS", database=site.work.database))


def stream(site: Site) -> bool:
    described = site.client.describe_table(TableName=site.work.target)["Table"]
    return bool(described.get("StreamSpecification", {}).get("StreamEnabled"))


@pytest.fixture
def opened(site: Site) -> Iterator[Site]:
    """Under a umask that hides nothing."""
    before = os.umask(0)
    execute = site.work.source.execute
    execute("INSERT INTO customer VALUES ('first', 'First', 1, NULL)", database=site.work.database)
    execute("CREATE TABLE bystander (id INT PRIMARY KEY)", database=site.work.database)
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    site.said("cutover", "--until-open")
    yield site
    os.umask(before)


def test_what_whimbrel_made_is_removed(opened: Site) -> None:
    assert open_to_others(opened.work.state) == []
    assert stream(opened)
    assert len(triggers(opened)) == 6
    said = opened.said("finish")
    assert not stream(opened)
    assert triggers(opened) == []
    assert tables(opened) == {"purchase", "customer", "bystander"}
    assert not (opened.work.state / "log").exists()
    assert open_to_others(opened.work.state) == []
    report = json.loads((opened.work.state / "finished.json").read_text())
    assert (report["removed"], report["fence_kept"]) == (said["removed"], False)
    assert report["stall_ms"] > 0
    for verb in (("migrate", "--until-caught-up"), ("rollback", "--yes"), ("cutover", "--yes")):
        assert "error[" in opened.work.run(*verb, code=3).stderr
    assert tables(opened) == {"purchase", "customer", "bystander"}  # nor did they make anything again
    assert opened.said("finish")["fence_kept"] is False  # again, harmlessly
    assert "dynamodb" in opened.work.run("status", "--json").stdout


@pytest.mark.slow
def test_the_fence_may_stay_and_be_removed_later(opened: Site) -> None:
    opened.said("finish", "--keep-fence")
    assert len(triggers(opened)) == 6
    assert tables(opened) == {"purchase", "customer", "bystander", "whimbrel_handover"}
    assert "the triggers" in opened.said("finish")["removed"]
    assert triggers(opened) == []
    assert tables(opened) == {"purchase", "customer", "bystander"}


def test_before_a_cutover_there_is_nothing_to_finish(site: Site) -> None:
    assert "DynamoDB is not open" in site.work.run("finish", "--yes", code=3).stderr

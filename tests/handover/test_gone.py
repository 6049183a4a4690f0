"""What one side's end means: the source destroyed, the target table deleted, the stream trimmed. What is told, what
``status`` says, and that DynamoDB is opened without the source only where nothing can be lost by it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.handover.both_sides import Site
from tests.handover.test_returning import add, failing, opened, side
from whimbrel.errors import HandoverError
from whimbrel.handed_over import Handover, load, save
from whimbrel.handover.source_gone import refuse_undecided
from whimbrel.records import Position

PLACE = Position("binlog.000001", 4)
on_mariadb = pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (Handover(step="DECIDED"), ""),
        (Handover(step="OPEN", forward_from=PLACE), ""),  # of an earlier return
        (Handover(step="CLOSING"), ""),
        (Handover(step="FINISHED"), ""),
        (Handover(step="FOLLOWING"), "no cutover was decided"),
        (Handover(step="CUTTING", end=PLACE), "whether it was decided is not known"),
        (Handover(step="CLOSING", forward_from=PLACE), "may have given the source back"),
        (Handover(step="RETURNED", forward_from=PLACE), "was given back"),
    ],
)
def test_what_the_file_alone_can_decide(now: Handover, why: str) -> None:
    if not why:
        refuse_undecided(now, "handover.json")
        return
    with pytest.raises(HandoverError, match=why):
        refuse_undecided(now, "handover.json")


def destroy_source(site: Site) -> None:
    """From whimbrel's view: nothing answers at its address any more."""
    path = site.work.folder / "whimbrel.toml"
    path.write_text(path.read_text().replace(f":{site.work.source.port}/", ":1/"))


def without_source(site: Site, code: int, name: str = "") -> str:
    command = ["cutover", "--source-is-gone"]
    process = site.work.start(*command, stdin=subprocess.PIPE)
    out, err = process.communicate(f"{name or site.work.database + '.purchase'}\n", timeout=60)
    assert process.returncode == code, err
    return out + err


def killed_before(site: Site, step: str, *arguments: str) -> None:
    assert failing(site, "killed", step, *arguments) == -9


@pytest.mark.slow
@on_mariadb
def test_the_source_is_destroyed_after_the_decision(site: Site) -> None:
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    assert "no cutover was decided" in without_source(site, 3)
    killed_before(site, "OPEN", "cutover", "--until-open")
    assert site.step() == "DECIDED"
    assert "the source answers" in without_source(site, 3)
    destroy_source(site)
    for command in ("cutover", "rollback"):
        said = site.work.run(command, "--yes", code=3).stderr
        assert "step DECIDED" in said
        assert "whimbrel cutover --source-is-gone" in said
    assert "nothing was done" in without_source(site, 2, "purchase")
    assert "DynamoDB is open" in without_source(site, 0)
    assert (site.step(), side(site)) == ("FINISHED", "dynamodb")
    assert "was given up as gone" in site.work.run("status").stdout
    assert "DynamoDB is open" in without_source(site, 0)  # again, without harm
    for command in ("cutover", "rollback", "migrate"):
        site.work.run(command, *([] if command == "migrate" else ["--yes"]), code=3)
    removed = site.said("finish")["removed"]
    assert any(each.startswith("the stream of") for each in removed)
    assert json.loads((site.work.state / "finished.json").read_bytes())["source_gone"]


@pytest.mark.slow
@on_mariadb
def test_a_return_that_may_have_been_decided_is_not_given_up_and_one_that_was_not_is(site: Site) -> None:
    opened(site)
    killed_before(site, "RETURNED", "rollback")
    destroyed = site.work.folder / "whimbrel.toml"
    with_source = destroyed.read_text()
    destroy_source(site)
    assert site.step() == "CLOSING"
    assert "may have given the source back" in without_source(site, 3)
    destroyed.write_text(with_source)
    assert site.said("rollback")["side"] == "mysql"  # and so it had
    opened(site)
    add(site, "kept")
    save(site.work.state, replace(load(site.work.state), step="CLOSING", forward_from=None))  # before any of it
    destroy_source(site)
    assert "DynamoDB is open" in without_source(site, 0)
    assert side(site) == "dynamodb"


@pytest.mark.slow
@on_mariadb
def test_a_copy_of_the_state_folder_that_was_used_since_opens_nothing(site: Site, tmp_path: Path) -> None:
    opened(site)
    copy = tmp_path / "copy"
    shutil.copytree(site.work.state, copy)
    assert site.said("rollback")["side"] == "mysql"
    shutil.rmtree(site.work.state)
    copy.rename(site.work.state)
    destroy_source(site)
    assert "another state folder works on this target" in without_source(site, 3)
    assert side(site) == "mysql"


@pytest.mark.slow
@on_mariadb
def test_the_target_table_is_deleted(site: Site) -> None:
    opened(site)
    site.client.delete_table(TableName=site.settings.customer)
    for command in ("cutover", "rollback"):
        said = site.work.run(command, "--yes", code=3).stderr
        assert f"{site.settings.customer}: the table is gone" in said
    assert site.step() == "OPEN"
    status = site.work.run("status").stdout
    assert "way back   is gone" in status
    assert "the table is gone" in status


@pytest.mark.slow
@on_mariadb
def test_the_stream_was_trimmed_before_it_was_read(site: Site) -> None:
    """As DynamoDB does after 24 hours: the shard where reading begins is not listed any more."""
    opened(site)
    now = load(site.work.state)
    gone = {target: {"shardId-of-the-day-before": "1"} for target in now.starts}
    save(site.work.state, replace(now, starts=gone))
    for command in ("cutover", "rollback"):
        said = site.work.run(command, "--yes", code=3).stderr
        assert "the way back is gone" in said
    assert (site.step(), side(site)) == ("OPEN", "dynamodb")
    status = site.work.run("status").stdout
    assert "way back   is gone" in status
    assert json.loads(site.work.run("status", "--json").stdout)["way_back"]["remains_seconds"] == 0
    assert "removed" in site.said("finish")

"""The decision to return: what fails before it opens DynamoDB again; once it stands nothing undoes it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.handover.both_sides import Site

pytestmark = pytest.mark.parametrize("source_server", ["mariadb"], indirect=True)

FAILS = """
import os, sys
from whimbrel.cli.main import main
from whimbrel.errors import SourceUnreachable
from whimbrel.handover import cutting, reversing, state
def of_another_kind(*_):
    raise ValueError("something strange")
def saved(folder, now, real=state.save):
    if now.step == sys.argv[2]:
        os.kill(os.getpid(), 9)
    real(folder, now)
def moved(coordinator, step, held=None, real=state.Coordinator.move, **values):
    real(coordinator, step, held, **values)
    if step == sys.argv[2]:
        coordinator.now = before
        raise SourceUnreachable("the answer was lost")
def lost(coordinator, held, real=state.Coordinator.sure):
    global before
    before = coordinator.now
    real(coordinator, held)
if sys.argv[1] == "strange":
    reversing.reconcile = cutting.verify_keys = of_another_kind
elif sys.argv[1] == "killed":
    state.save = saved
else:
    state.Coordinator.move, state.Coordinator.sure = moved, lost
main(sys.argv[3:])
"""


def failing(site: Site, how: str, step: str, *arguments: str) -> int:
    command = [sys.executable, "-c", FAILS, how, step, *arguments, "--yes"]
    done = subprocess.run(
        command, cwd=site.work.folder, env=site.environment(), capture_output=True, timeout=120, check=False
    )
    return done.returncode


def side(site: Site) -> str:
    return str(json.loads((site.work.folder / "route.json").read_bytes())["side"])


def opened(site: Site) -> None:
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    site.said("cutover", "--until-open")


def add(site: Site, name: str) -> None:
    table = site.settings.customer
    item = {"customerid": {"S": name}, "name": {"S": name}, "visits": {"N": "1"}}
    site.client.put_item(TableName=table, Item=item)


def names(site: Site) -> set[str]:
    rows = site.work.source.execute("SELECT customerid FROM customer", database=site.work.database)
    return {name for (name,) in rows}


def test_a_failure_of_any_kind_opens_dynamodb_again_and_a_decision_that_nobody_saved_stands(site: Site) -> None:
    opened(site)
    assert failing(site, "strange", "", "rollback") == 1
    assert (site.step(), side(site)) == ("OPEN", "dynamodb")
    add(site, "late")
    with site.following():
        assert "error[TargetOpen]" in site.work.run("verify", code=3).stderr  # which would say that all is equal
    assert failing(site, "killed", "RETURNED", "rollback") == -9
    assert (site.step(), side(site)) == ("CLOSING", "none")
    assert "`rollback` continues" in site.work.run("status").stdout
    assert site.said("rollback")["side"] == "mysql"
    assert (site.step(), side(site), names(site)) == ("FOLLOWING", "mysql", {"late"})
    for table in ("whimbrel_reverse", "whimbrel_reverse_items", "whimbrel_reverse_rows"):
        assert site.work.source.execute(f"SELECT COUNT(*) FROM {table}", database=site.work.database) == ((0,),)
    add(site, "too late")  # what is written now is listed, see test_late.py
    site.work.run("migrate", "--until-caught-up")
    assert "1 writes at DynamoDB after the source was opened" in site.work.run("status", code=5).stdout


@pytest.mark.slow
def test_the_answer_to_the_decision_to_return_is_lost(site: Site) -> None:
    opened(site)
    add(site, "one")
    assert failing(site, "lost", "RETURNED", "rollback") == 0
    assert (site.step(), side(site), names(site)) == ("FOLLOWING", "mysql", {"one"})


@pytest.mark.slow
def test_killed_right_after_the_decision_to_cut_over_the_way_back_stays(site: Site) -> None:
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    assert failing(site, "killed", "DECIDED", "cutover", "--until-open") == -9
    assert site.said("rollback")["side"] == "mysql"  # from DECIDED, though the file said CUTTING
    opened(site)
    assert failing(site, "killed", "CLOSING", "rollback") == -9
    assert "step CLOSING" in site.work.run("finish", "--yes", code=3).stderr
    assert site.said("cutover", "--until-open")["side"] == "dynamodb"
    assert failing(site, "killed", "FINISHED", "finish") == -9
    assert "removed" in site.said("finish")


def test_a_cutover_that_fails_by_another_kind_of_error_is_undone_and_ends(site: Site) -> None:
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    assert failing(site, "strange", "", "cutover", "--until-open") == 1
    assert site.step() == "FOLLOWING"

"""SIGKILL before each durable step of a rollback, while an application writes.

Afterwards the same command goes on, or ``cutover`` opens DynamoDB again: exactly one side is open, and has everything
that was acknowledged.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.handover.both_sides import Site

KILLED = """
import os, sys
from whimbrel.cli.main import main
from whimbrel.handover import by_triggers, forward, returning, rollback, reversing, route, state
left = int(sys.argv[1])
def counted(module, name, counts=lambda *_: True):
    real = getattr(module, name)
    def call(*arguments, **more):
        global left
        if counts(*arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 9)
        return real(*arguments, **more)
    setattr(module, name, call)
counted(state, "save")
counted(state, "execute", lambda _, statement, *more: statement == "COMMIT")
counted(by_triggers, "drop_triggers")
counted(route, "write_route")
counted(returning, "announce")
counted(reversing, "close_gate")
counted(reversing, "reconcile")
counted(rollback, "continue_from")
main(sys.argv[2:])
"""
STEPS = range(1, 22)


def killed(site: Site, number: int) -> bool:
    """Whether a rollback has a step of that number."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(number), "rollback", "--yes"],
        cwd=site.work.folder,
        env=site.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (-9, 0), done.stderr
    return done.returncode == -9


def opened(site: Site) -> None:
    """DynamoDB is open, after a migration that was proved."""
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    site.said("cutover", "--until-open")
    site.wait_for_writes("dynamodb", 20)


def settled(site: Site, number: int) -> None:
    """Go on, or return to DynamoDB; what nobody can write to any more has nothing to lose."""
    if number % 2 or site.step() == "RETURNED":
        if site.step() != "FOLLOWING":
            site.said("rollback")
        side = "mysql"
    else:
        if site.step() != "FOLLOWING":
            site.said("cutover", "--until-open")
        side = "mysql" if site.step() == "FOLLOWING" else "dynamodb"
    site.wait_for_writes(side, 20)
    if side == "dynamodb":
        site.said("rollback")
        site.wait_for_writes("mysql", 20)


def judged(site: Site) -> None:
    """The application has ended. Both sides have it all: MySQL is open, and DynamoDB follows."""
    assert site.at_mysql() == []
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    assert site.at_dynamodb() == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_before_every_step(site: Site) -> None:
    with site.application():
        site.wait_for_writes("mysql")
        reached = []
        for number in STEPS:
            opened(site)
            if killed(site, number):
                reached.append(number)
            settled(site, number)
    judged(site)
    assert reached == list(range(1, len(reached) + 1)), reached
    assert len(reached) < STEPS[-1], "there are more steps"

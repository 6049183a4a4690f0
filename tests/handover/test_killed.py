"""SIGKILL before each durable step of a cutover and of its undo, while an application writes: afterwards the same
command, or ``migrate``, leaves exactly one side open, with everything that was acknowledged.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.e2e.work import Work
from tests.handover.test_cutover import assert_open, assert_undone, cut, step, triggers, writing
from tests.handover.writers import Application

KILLED = """
import os, sys
from whimbrel.cli.main import main
from whimbrel.handover import by_triggers, state, switching
left = int(sys.argv[1])
def counted(module, name, counts=lambda *_: True):
    real = getattr(module, name)
    def call(*arguments):
        global left
        if counts(*arguments):
            left -= 1
            if left == 0:
                print("killed before", name, flush=True)
                os.kill(os.getpid(), 9)
        return real(*arguments)
    setattr(module, name, call)
counted(state, "save")
counted(state, "execute", lambda _, statement, *more: statement == "COMMIT")
counted(by_triggers, "make_triggers")
counted(by_triggers, "drop_triggers")
counted(switching, "tell")
main(sys.argv[2:])
"""
BEFORE_THE_DECISION = range(1, 10)  # three of taking over, three of CUTTING, the triggers, two of the decision
AFTER_IT = range(10, 16)  # the decision in the file, the hook, two of OPEN, how long it took
OF_AN_UNDO = range(8, 14)  # three of taking over, the triggers, two of FOLLOWING


def killed(work: Work, number: int) -> bool:
    """Whether there is a step of that number in a cutover."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(number), "cutover", "--yes"],
        cwd=work.folder,
        env=os.environ | {"WHIMBREL_SOURCE_PASSWORD": work.source.password},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (-9, 0, 3), done.stderr
    return done.returncode == -9


def some(numbers: range, *fast: int) -> list[object]:
    return [pytest.param(number, marks=() if number in fast else pytest.mark.slow) for number in numbers]


@pytest.mark.parametrize("number", some(BEFORE_THE_DECISION, 9))
def test_killed_before_the_decision(shop: Work, number: int) -> None:
    """Half of them are undone by ``migrate``; the others by ``cutover``, which then begins again."""
    with writing(shop) as application:
        assert killed(shop, number)
        assert (triggers(shop), step(shop)) == (3 if number > 7 else 0, "FOLLOWING" if number <= 6 else "CUTTING")
        assert "DynamoDB takes writes" not in shop.call("status").output
        if number % 2:
            shop.call("migrate", "--until-caught-up")
            assert_undone(shop, application)
        else:
            cut(shop)
            assert_open(shop, application)


@pytest.mark.parametrize("number", some(AFTER_IT, 10))
def test_killed_after_the_decision(shop: Work, number: int) -> None:
    with writing(shop) as application:
        if not killed(shop, number):
            assert number == AFTER_IT[-1], "there is no such step"
        assert triggers(shop) == 3
        refused = shop.call("migrate", "--until-caught-up", code=3).output
        assert "error[TargetOpen]" in refused
        assert cut(shop)["side"] == "dynamodb"
        assert_open(shop, application)


@pytest.mark.slow
@pytest.mark.parametrize("number", OF_AN_UNDO)
def test_killed_within_the_undo(shop: Work, number: int) -> None:
    with writing(shop) as application:
        settings = shop.target_settings
        shop.target_settings = "[cutover]\nmax_stall = 0.001"
        shop.write_project()
        assert killed(shop, number)
        shop.target_settings = settings
        shop.write_project()
        gone_on(shop, application, number)


def gone_on(work: Work, application: Application, number: int) -> None:
    if number % 2:
        work.call("migrate", "--until-caught-up")
        assert_undone(work, application)
    else:
        cut(work)
        assert_open(work, application)

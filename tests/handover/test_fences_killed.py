"""SIGKILL before and after each durable step of the other fences, while an application writes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.work import Work
from tests.handover.test_cutover import cut, step
from tests.handover.test_fence_command import gated, politely
from tests.handover.test_fences import (
    DEADLOCK,
    DENIED,
    READ_ONLY,
    clerk,
    closing_schema,
    goes_on,
    is_open,
    read_only,
    revoking,
    rights,
    shop_of,
    writing,
)

__all__ = ["revoking", "shop_of"]  # fixtures

KILLED = """
import os, sys
from whimbrel.cli.main import main
from whimbrel.handover import by_revoke, by_schema, fence, state, switching
left = int(sys.argv[1])
def counted(module, name, counts=lambda *_: True):
    real = getattr(module, name)
    def call(*arguments, **more):
        global left
        if counts(*arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 9)
        done = real(*arguments, **more)
        if counts(*arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), 9)
        return done
    setattr(module, name, call)
counted(state, "save")
counted(state, "execute", lambda _, statement, *more: statement == "COMMIT")
counted(by_revoke, "note_revoked")
counted(by_revoke, "revoke")
counted(by_revoke, "give_back")
counted(by_schema, "set_read_only")
counted(fence, "run_command")
counted(switching, "tell")
main(sys.argv[2:])
"""


def killed(work: Work, number: int) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(number), "cutover", "--yes"],
        cwd=work.folder,
        env=os.environ | {"WHIMBREL_SOURCE_PASSWORD": work.source.password},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode in (-9, 0), done.stderr
    return done.returncode == -9


def killed_at_every_step(work: Work, writes: Callable[[], Any]) -> None:
    """Before and after each: then ``migrate`` or the same command; from DECIDED on the same command alone."""
    reached = 0
    for number in range(1, int(os.environ.get("WHIMBREL_STEPS", "60"))):
        with writes() as application:
            if not killed(work, number):
                break
            reached = number
            if step(work) in ("FOLLOWING", "CUTTING"):
                # Refused where the rows have the decision, and the file has not.
                work.start("migrate", "--until-caught-up").communicate()
            if step(work) == "FOLLOWING":
                goes_on(work, application)
                work.call("verify")  # what it said may have been given up for the decision
                continue
            cut(work)
            is_open(work, application)
            return
    assert reached > 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_while_rights_are_revoked(revoking: Work) -> None:
    before = rights(revoking)
    killed_at_every_step(revoking, lambda: writing(revoking, clerk(revoking), (DENIED,)))
    assert rights(revoking) == set()
    revoking.run("finish", "--yes")
    assert rights(revoking) == before


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_while_a_schema_is_closed(shop_of: Callable[[str], Work]) -> None:
    work = closing_schema(shop_of("mysql"))
    killed_at_every_step(work, lambda: writing(work, "app", (READ_ONLY, DEADLOCK)))
    assert read_only(work)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_while_a_command_closes(shop: Work) -> None:
    gated(shop)
    killed_at_every_step(shop, lambda: politely(shop))
    assert (shop.folder / "shut").exists()

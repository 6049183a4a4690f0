"""At each durable step of a cutover and of a rollback, while an application writes: SIGKILL, Ctrl-C, a full disk.

Afterwards the same command goes on, or what undoes it: exactly one side is open, and has everything that was
acknowledged. With every fence that has a way back; the others are in test_fences_killed.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.servers import MariaDB, MySQL, SqlServer
from tests.handover.chaos import chaos
from tests.handover.closing import COMMAND, REVOKE, TRIGGERS
from tests.handover.striking import CTRL_C, DISK_FULL, KILL

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.parametrize("kind", [MariaDB, MySQL], ids=["MariaDB", "MySQL"]),
]


@pytest.mark.parametrize("fence", [TRIGGERS, REVOKE, COMMAND])
def test_killed_before_every_step_of_a_rollback(kind: type[SqlServer], fence: str, tmp_path: Path) -> None:
    before_each_step("rollback", kind, tmp_path, KILL, fence)


@pytest.mark.parametrize("how", [CTRL_C, DISK_FULL])
@pytest.mark.parametrize("verb", ["cutover", "rollback"])
def test_stopped_before_every_step(kind: type[SqlServer], verb: str, how: str, tmp_path: Path) -> None:
    before_each_step(verb, kind, tmp_path, how, TRIGGERS)


def test_commands_in_several_shells_at_once(kind: type[SqlServer], tmp_path: Path) -> None:
    with chaos(kind, tmp_path, seed=1) as made:
        for _ in range(10):
            print(f"{kind.name}: {made.at_once()}")
        made.end()


def before_each_step(verb: str, kind: type[SqlServer], folder: Path, how: str, fence: str) -> None:
    with chaos(kind, folder, seed=1, fence=fence) as made:
        steps = made.before_each_step(verb, how)
        made.end()
    print(f"{kind.name}, {fence}, {verb}: {how} before each of {steps} durable steps")
    assert steps > 15

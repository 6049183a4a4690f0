"""SIGKILL before each durable step of a rollback, while an application writes.

Afterwards the same command goes on, or ``cutover`` opens DynamoDB again: exactly one side is open, and has everything
that was acknowledged.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.servers import MariaDB, MySQL, SqlServer
from tests.handover.chaos import chaos


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [MariaDB, MySQL], ids=["MariaDB", "MySQL"])
def test_killed_before_every_step(kind: type[SqlServer], tmp_path: Path) -> None:
    with chaos(kind, tmp_path, seed=1) as made:
        steps = made.before_each_step_of_a_rollback()
        made.end()
    print(f"{kind.name}: killed before each of {steps} durable steps")
    assert steps > 15

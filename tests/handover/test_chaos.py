"""SIGKILL of whimbrel, of the SQL server and of the stand-in for DynamoDB, at random: see ``chaos``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from demo.servers import MariaDB, MySQL, SqlServer
from tests.handover.chaos import survives
from tests.handover.closing import TRIGGERS


def test_exactly_one_side_is_open_whoever_is_killed(tmp_path: Path) -> None:
    survives(MariaDB, tmp_path, kills=2, seed=1, at_steps=1.0)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("kind", [MariaDB, MySQL], ids=["MariaDB", "MySQL"])
def test_exactly_one_side_is_open_whenever_whoever_is_killed(kind: type[SqlServer], tmp_path: Path) -> None:
    """``WHIMBREL_CHAOS_N`` kills by ``WHIMBREL_CHAOS_SEED``, with the fence ``WHIMBREL_CHAOS_FENCE``."""
    seed, kills = (int(os.environ.get(f"WHIMBREL_CHAOS_{name}", "10")) for name in ("SEED", "N"))
    survives(kind, tmp_path, kills, seed, fence=os.environ.get("WHIMBREL_CHAOS_FENCE", TRIGGERS))

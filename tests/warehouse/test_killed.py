"""Several sources converge in DuckDB and in PostgreSQL at the same time, under random writes, while both are killed:
at the end plain SELECTs give the same rows on both sides of each.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from demo.servers import MariaDB, MySQL
from tests.warehouse.histories import History, converge_and_kill
from tests.warehouse.places import Place


@pytest.mark.timeout(240)
def test_random_histories_and_three_kills(make_place: Callable[[str], Place], mariadb: MariaDB) -> None:
    histories = [History("first", mariadb, 1), History("second", mariadb, 2)]
    converge_and_kill([make_place("duckdb"), make_place("postgres")], histories, kills=3, seed=3)


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_two_mariadbs_and_a_mysql_with_many_kills(
    make_place: Callable[[str], Place], mariadb: MariaDB, request: pytest.FixtureRequest
) -> None:
    """WHIMBREL_CHAOS_N kills, half of them of each engine."""
    later: MariaDB = request.getfixturevalue("mariadb-11.8")
    mysql: MySQL = request.getfixturevalue("mysql")
    seed, kills = int(os.environ.get("WHIMBREL_CHAOS_SEED", "1")), int(os.environ.get("WHIMBREL_CHAOS_N", "20"))
    histories = [
        History("maria", mariadb, seed),
        History("later", later, seed + 1),
        History("oracle", mysql, seed + 2),
    ]
    places = [make_place("duckdb"), make_place("postgres")]
    converge_and_kill(places, histories, kills=kills // 2, seed=seed, alterations=3)

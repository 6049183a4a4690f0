"""There and back with items that are few and large: what a cutover and a rollback hold does not follow their bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from demo.application import allow
from demo.servers import MariaDB, Ministack
from tests.conftest import unique
from tests.e2e.peaks import peak
from tests.e2e.test_memory_by_bytes import MOST, NAMES, TABLES
from tests.e2e.work import Work
from tests.handover.both_sides import CUTOVER

ROWS, CHANGED = {"long": 200, "wide": 3_000}, 100
SHAPES = {
    "long": ("body LONGTEXT CHARACTER SET utf8mb4", "REPEAT('text ', 50000)"),  # 250 KB, and an image before the change
    "wide": (
        ", ".join(f"{name} VARCHAR(10) CHARACTER SET ascii" for name in NAMES),
        ", ".join(f"CONCAT({name!r}, seq)" for name in NAMES),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_there_and_back_stay_within_their_memory(
    mariadb: MariaDB, ministack: Ministack, tmp_path: Path, shape: str
) -> None:
    columns, values = SHAPES[shape]
    database = mariadb.new_database()
    allow(mariadb, database, "back")
    mariadb.execute(
        f"CREATE TABLE stored (id INT PRIMARY KEY, changed INT, {columns})",
        f"INSERT INTO stored SELECT seq, 0, {values} FROM seq_1_to_{ROWS[shape]}",
        database=database,
    )
    work = Work(tmp_path, mariadb, database, ministack, unique("stored"), table="stored", source_settings="")
    work.mapping, work.target_settings = TABLES["long"].mapping, CUTOVER.replace("max_stall = 20", "max_stall = 60")
    work.environment["WHIMBREL_REVERSE_PASSWORD"] = mariadb.password
    work.write_project()
    peaks: dict[str, float] = {}

    def measured(command: str, *more: str) -> None:
        peaks[command] = peak(work, command, *more)
        print(shape, peaks)

    work.run("migrate", "--until-caught-up")
    work.run("verify")
    mariadb.execute("UPDATE stored SET changed = 1", database=database)
    measured("cutover", "--yes", "--until-open")
    change(ministack.client(), work.target)
    measured("rollback", "--yes")
    back = mariadb.execute("SELECT COUNT(*) FROM stored WHERE changed = 2", database=database)
    assert back == ((CHANGED,),)
    assert max(peaks.values()) < MOST, peaks


def change(client: Any, table: str) -> None:
    for number in range(1, CHANGED + 1):
        client.update_item(
            TableName=table,
            Key={"pk": {"S": f"row#{number}"}},
            UpdateExpression="SET changed = :now",
            ExpressionAttributeValues={":now": {"N": "2"}},
        )

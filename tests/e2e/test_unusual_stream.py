"""Managed parts together, as no example has them: names with dots, a load by import, a stream that is resharded
in mid-run, a function that is throttled, and an ALTER while it is behind.
"""

from __future__ import annotations

import random
import threading
from decimal import Decimal
from typing import Any

import pytest

from demo.event_source import Event
from demo.resharding import merge, split
from demo.servers import Kinesalite, Ministack, MySQL
from tests.conftest import unique
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.stored import Stored
from tests.e2e.test_import import IMPORT
from tests.e2e.work import Work
from tests.function.served import Served

pytestmark = pytest.mark.slow

TABLE = "order.lines"
RECORD = 'shape = "record"\npartition_key = { name = "id", type = "N" }\nnew_columns = "include"\n'


class Throttled(Exception):
    """As Lambda answers where an account has no room for another invocation."""


class Throttling(Served):
    """``busy`` while no function is started: Lambda's mapping tries each batch again."""

    busy = threading.Event()
    refused = 0

    def _invoke(self, event: Event) -> Any:
        if self.busy.is_set():
            self.refused += 1
            if self.refused > 20:
                self.busy.clear()
            raise Throttled
        return super()._invoke(event)


@pytest.mark.parametrize("form", ["packed", "post"])
def test_all_of_it_at_once(
    make_work: MakeWork, mysql: MySQL, ministack: Ministack, kinesalite: Kinesalite, form: str
) -> None:
    work, chance = make_work(mysql, ministack, table=TABLE, mapping=RECORD), random.Random(7)
    work.target = unique("order.lines-v")

    def sql(*statements: str) -> None:
        work.source.execute(*statements, database=work.database)

    sql(
        "CREATE TABLE `order.lines` (id INT PRIMARY KEY, a INT, `b.c` VARCHAR(20)) CHARSET utf8mb4",
        "INSERT INTO `order.lines` VALUES " + ", ".join(f"({n}, {n}, 'x{n}')" for n in range(1, 60)),
    )
    with Throttling(kinesalite, ministack, form=form) as served:
        work.target_settings = f"\n{served.project_lines}"
        Stored(work, ministack, IMPORT)
        work.call("migrate", "--until-caught-up")
        served.busy.set()
        sql("UPDATE `order.lines` SET a = a + 1 WHERE id % 2", "DELETE FROM `order.lines` WHERE id = 6")
        split(kinesalite, served.name, chance)
        sql(
            "ALTER TABLE `order.lines` ADD COLUMN `d.e` INT AFTER id",
            "INSERT INTO `order.lines` (id, a, `b.c`, `d.e`) VALUES (70, 1, 'y', 5)",
            "UPDATE `order.lines` SET `d.e` = 8, id = 71 WHERE id = 8",
        )
        work.drain()
        assert served.refused > 20
        merge(kinesalite, served.name)
        sql("ALTER TABLE `order.lines` DROP COLUMN a", "UPDATE `order.lines` SET `b.c` = 'z' WHERE id = 9")
        assert "SchemaDrift" in work.call("migrate", "--until-caught-up", code=3).output
        work.mapping = f'{RECORD}exclude = ["a"]\n'
        work.write_project()
        work.call("migrate", "--until-caught-up")
        work.call("refill", f"{work.database}.{TABLE}")
        work.verify()
    assert judge.items(work.endpoint, work.target, "id") == wanted(work)
    assert work.letters() == []


def wanted(work: Work) -> judge.Expected:
    rows = work.source.execute("SELECT id, `b.c`, `d.e` FROM `order.lines`", database=work.database)
    return {
        (Decimal(number),): {"id": Decimal(number), "b.c": text, "d.e": None if other is None else Decimal(other)}
        for number, text, other in rows
    }

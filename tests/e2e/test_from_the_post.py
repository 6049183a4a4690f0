"""From the AWS post's own sender and function to whimbrel, by the steps of docs/kinesis.md."""

from __future__ import annotations

from typing import Any

import pytest

from demo.event_source import Event, EventSource
from demo.servers import Dynalite, Kinesalite, MariaDB
from demo.shop import CREATE
from tests.conftest import unique
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work
from tests.function.one_stream import items_of
from tests.function.peer import HASH, NAME, RANGE, VALUE, PeerFunction, PeerSender
from tests.function.served import Served
from whimbrel.dynamodb.tables import ensure_table

pytestmark = pytest.mark.slow


class Solution:
    """The post's, beside the application whose rows it follows while its sender is ``up``."""

    def __init__(self, work: Work, dynalite: Dynalite, kinesalite: Kinesalite, served: Served, table: str) -> None:
        self.up, self.table, self.client, self._work = True, table, dynalite.client(), work
        ensure_table(self.client, table, ((HASH, "S"), (RANGE, "S")), dynalite.target())
        self._sender, function = PeerSender(kinesalite.client, served.name), PeerFunction(self.client, table)
        work.source.execute(CREATE, database=work.database)

        def invoke(event: Event) -> None:
            function(event)

        self._mapping = EventSource(kinesalite.client, served.name, invoke)

    def insert(self, order: int, product: str, quantity: int) -> None:
        values = _row(order, product, quantity)
        self._execute("INSERT INTO purchase VALUES (%s, %s, %s, %s)", *values.values())
        self._tell("WriteRowsEvent", {"values": values})

    def update(self, order: int, product: str, before: int, after: int) -> None:
        self._execute(
            "UPDATE purchase SET quantity = %s WHERE orderid = %s AND productid = %s", after, f"o{order}", product
        )
        old, new = _row(order, product, before), _row(order, product, after)
        self._tell("UpdateRowsEvent", {"before_values": old, "after_values": new})

    def delete(self, order: int, product: str, quantity: int) -> None:
        self._execute("DELETE FROM purchase WHERE orderid = %s AND productid = %s", f"o{order}", product)
        self._tell("DeleteRowsEvent", {"values": _row(order, product, quantity)})

    def work_off(self) -> None:
        while self._mapping.step():
            pass

    def items(self) -> Any:
        return items_of(self.client, self.table)

    def _tell(self, kind: str, row: dict[str, Any]) -> None:
        if self.up:
            self._sender.send(kind, row)

    def _execute(self, statement: str, *values: Any) -> None:
        with self._work.source.connect(self._work.database) as connection, connection.cursor() as cursor:
            assert cursor.execute(statement, values) == 1


def _row(order: int, product: str, quantity: int) -> dict[str, Any]:
    return {HASH: "c", RANGE: f"o{order}", NAME: product, VALUE: quantity}


@pytest.mark.parametrize("same", [True, False], ids=["its table", "a new table"])
def test_a_team_moves_from_the_posts_solution(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite, same: bool
) -> None:
    work = make_work(mariadb, dynalite)
    with Served(kinesalite, dynalite, form="post", skips_others=True) as served:
        post = Solution(work, dynalite, kinesalite, served, work.target if same else unique("posts"))
        for order in range(4):
            post.insert(order, "p", 1)
            post.insert(order, "q", 1)
        post.update(0, "p", 1, 5)  # which it loses
        post.delete(1, "p", 1)
        post.delete(1, "q", 1)
        post.work_off()
        assert post.items()["c", "o1"] == {"p": "1", "q": "1"}

        work.target_settings = f"\n{served.project_lines}"
        work.write_project()
        work.call("capture", "--until-caught-up")  # as `migrate` begins: from here on, nothing is missed
        post.update(2, "p", 1, 6)  # both senders send it
        post.up = False
        post.update(2, "p", 6, 7)  # this one whimbrel alone
        post.insert(9, "p", 9)
        work.call("migrate", "--until-caught-up", *(["--into-existing"] if same else []))
        if same:
            assert work.verify(equal=False)["counts"] == {"extra": 1}
            work.call("refill", work.table, "--remove")
        else:  # its function goes on with whimbrel's events
            post.work_off()
            assert post.items()["c", "o9"] == {"p": "9"}
        post.update(3, "q", 1, 3)
        work.drain()
        work.assert_nothing_lost()

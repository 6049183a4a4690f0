"""An application that writes over several connections and keeps a log of what was acknowledged. Shares no code with
whimbrel: PyMySQL, boto3, and the shape of its items written out here.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pymysql

from demo.servers import DynamoServer, SqlServer
from tests.e2e import judge

CLOSED = 1644  # what the fence says
Line = tuple[str, str, str]


class Application:
    """Each connection has customers of its own, so that its log alone says what their lines are."""

    def __init__(
        self,
        server: SqlServer,
        database: str,
        connections: int = 8,
        user: str = "app",
        refused: tuple[int, ...] = (CLOSED,),
    ) -> None:
        self._stop = threading.Event()
        self._refusals = refused  # the errors by which a fence refuses
        self._server, self._database, self._user = server, database, user
        self.lines: dict[Line, int] = {}  # what was acknowledged last
        self.acknowledged = self.refused = 0
        self.failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(connections)]

    def start(self) -> Application:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self.failures == [], self.failures

    def _run(self, number: int) -> None:
        try:
            with self._server.connect(self._database, user=self._user, autocommit=False) as connection:
                self._write(connection, number, random.Random(number))
        except BaseException as error:
            self.failures.append(error)

    def _write(self, connection: Any, number: int, chance: random.Random) -> None:
        with connection.cursor() as cursor:
            while not self._stop.wait(0.01):
                line = (f"c{number}", f"o{chance.randrange(5)}", f"p{chance.randrange(20)}")
                value = chance.randrange(1000) if chance.random() < 0.8 else None
                try:
                    with self.may_write() as may:
                        if not may:
                            self.refused += 1
                            continue
                        change(cursor, line, value)
                        connection.commit()
                except pymysql.err.OperationalError as error:
                    if error.args[0] not in self._refusals:
                        raise
                    connection.rollback()
                    self.refused += 1
                    continue
                with self._lock:
                    self.acknowledged += 1
                    self.lines.pop(line, None)
                    if value is not None:
                        self.lines[line] = value

    @contextmanager
    def may_write(self) -> Iterator[bool]:
        yield True

    def expected(self) -> judge.Expected:
        items: judge.Expected = {}
        for (customer, order, product), value in self.lines.items():
            item = items.setdefault((customer, order), {"customerid": customer, "orderid": order})
            item[product] = Decimal(value)
        return items


def change(cursor: Any, line: Line, value: int | None) -> None:
    if value is None:
        cursor.execute("DELETE FROM purchase WHERE customerid = %s AND orderid = %s AND productid = %s", line)
    else:
        cursor.execute(
            "INSERT INTO purchase VALUES (%s, %s, %s, %s) ON DUPLICATE KEY UPDATE quantity = VALUES(quantity)",
            (*line, value),
        )


def at_dynamodb(endpoint: DynamoServer, table: str) -> judge.Expected:
    return judge.items(endpoint, table, "customerid", "orderid")


def at_source(server: SqlServer, database: str) -> dict[Line, int]:
    rows = server.execute("SELECT customerid, orderid, productid, quantity FROM purchase", database=database)
    return {(customer, order, product): value for customer, order, product, value in rows}

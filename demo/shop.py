"""The demo's application: a purchase table, filled with orders, and a writer that keeps changing it."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing
from typing import Any

import pymysql

from demo.servers import SqlServer

CREATE = """
CREATE TABLE purchase (
  customerid VARCHAR(20) NOT NULL,
  orderid    VARCHAR(20) NOT NULL,
  productid  VARCHAR(20) NOT NULL,
  quantity   INT NOT NULL,
  PRIMARY KEY (customerid, orderid, productid)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
"""
PRODUCTS = 1_000
LINES_PER_ORDER = 4
FILL_BATCH = 5_000


def fill(server: SqlServer, database: str, rows: int, seed: int = 1) -> int:
    """Fill ``purchase`` with at least ``rows`` rows, about four products to an order; returns how many there are."""
    chance, batch, done = random.Random(seed), list[tuple[str, str, str, int]](), 0
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(CREATE)
        order = 0
        while done < rows:
            order += 1
            for product in chance.sample(range(PRODUCTS), chance.randint(1, 2 * LINES_PER_ORDER - 1)):
                batch.append((*_order_key(order), f"product{product}", chance.randint(1, 99)))
            if len(batch) >= min(FILL_BATCH, rows - done):
                done += _insert(cursor, batch)
        connection.commit()
    return done


class LiveWriter:
    """An application that does not stop: inserts, updates and deletes, in small transactions, ``rate`` a second.

    When the server goes away it connects again until the server is back, as applications do.
    """

    def __init__(self, server: SqlServer, database: str, orders: int, rate: int, seed: int = 2) -> None:
        self._server = server
        self._database = database
        self._chance = random.Random(seed)
        self._orders = orders
        self._rate = rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write, name="live writer", daemon=True)
        self._failure: Exception | None = None
        self.changes = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Return when the last transaction is committed."""
        self._stop.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _write(self) -> None:
        while not self._stop.is_set():
            try:
                with self._server.connect(self._database, autocommit=False) as connection:
                    self._write_over(connection)
            except (pymysql.err.OperationalError, pymysql.err.InterfaceError):
                self._stop.wait(0.05)  # the server is away
            except Exception as error:
                self._failure = error
                return

    def _write_over(self, connection: pymysql.connections.Connection[pymysql.cursors.Cursor]) -> None:
        began, first = time.monotonic(), self.changes
        with connection.cursor() as cursor:
            while not self._stop.is_set():
                for _ in range(self._chance.randint(1, 5)):
                    self.changes += self._change(cursor)
                connection.commit()
                ahead = (self.changes - first) / self._rate - (time.monotonic() - began)
                self._stop.wait(max(0.0, ahead))

    def _change(self, cursor: Any) -> int:
        chance = self._chance
        customer, order = _order_key(chance.randint(1, self._orders * 11 // 10))
        product = f"product{chance.randrange(PRODUCTS)}"
        kind = chance.random()
        if kind < 0.35:
            return int(
                cursor.execute(
                    "INSERT IGNORE INTO purchase VALUES (%s, %s, %s, %s)",
                    (customer, order, product, chance.randint(1, 99)),
                )
            )
        if kind < 0.65:
            return int(
                cursor.execute(
                    "UPDATE purchase SET quantity = quantity + 1 WHERE customerid = %s AND orderid = %s LIMIT 1",
                    (customer, order),
                )
            )
        if kind < 0.75:  # a line moves to another order: it leaves one item and enters another
            return int(
                cursor.execute(
                    "UPDATE IGNORE purchase SET orderid = %s WHERE customerid = %s AND orderid = %s LIMIT 1",
                    (f"order{order[5:]}b", customer, order),
                )
            )
        if kind < 0.8:  # a whole order goes, and its item with it
            return int(cursor.execute("DELETE FROM purchase WHERE customerid = %s AND orderid = %s", (customer, order)))
        return int(
            cursor.execute("DELETE FROM purchase WHERE customerid = %s AND orderid = %s LIMIT 1", (customer, order))
        )


def _order_key(order: int) -> tuple[str, str]:
    return f"customer{order // 3}", f"order{order}"


def _insert(cursor: pymysql.cursors.Cursor, batch: list[tuple[str, str, str, int]]) -> int:
    cursor.executemany("INSERT INTO purchase VALUES (%s, %s, %s, %s)", batch)
    count = len(batch)
    batch.clear()
    return count

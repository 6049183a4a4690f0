"""What an application's logs say must be there, and whether a side has it. Shares no code with whimbrel.

Each row belongs to one thread of the application, which sends one write after the other: the row has what its last
acknowledged write gave it, or what a write after that gave which had no answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

Key = tuple[str, ...]
State = dict[Key, int]


class Stall(NamedTuple):
    """Seconds from the first write that was not taken to the first one that was taken at the other side."""

    first_refused: float
    first_taken: float

    @property
    def seconds(self) -> float:
        return self.first_taken - self.first_refused


class Notes:
    """All that an application noted, a list for each row, in order."""

    def __init__(self, folder: Path) -> None:
        self.by_key: dict[Key, list[tuple[str, int | None, str]]] = {}
        self.taken: list[tuple[float, str]] = []
        self.refused: list[tuple[float, str]] = []
        self._folder = folder
        self._read: dict[Path, int] = {}  # how many bytes of each log
        self.read_on()

    def read_on(self) -> None:
        """What was noted since."""
        for path in sorted(self._folder.glob("*.log")):
            with path.open("rb") as log:
                log.seek(self._read.get(path, 0))
                # A killed application leaves a last line that is not whole.
                whole, newline, _ = log.read().rpartition(b"\n")
            self._read[path] = self._read.get(path, 0) + len(whole + newline)
            for line in whole.splitlines():
                self._note(*json.loads(line))

    def _note(self, what: str, _number: int, key: list[str], value: int | None, side: str, at: float) -> None:
        self.by_key.setdefault(tuple(key), []).append((what, value, side))
        if what != "sent":
            (self.taken if what == "taken" else self.refused).append((at, side))

    def acknowledged(self) -> int:
        return len(self.taken)

    def possible(self, key: Key) -> set[int | None]:
        """The values that the row may have; None stands for no row."""
        found: set[int | None] = {None}
        for what, value, _side in self.by_key.get(key, ()):
            if what == "taken":
                found = {value}
            else:
                found.add(value)
        return found

    def wrong(self, state: State) -> list[str]:
        """What ``state`` has lost, doubled or kept."""
        keys = self.by_key.keys() | state.keys()
        return [
            f"{key}: has {state.get(key)}, may have {sorted(map(str, possible))}"
            for key in sorted(keys)
            if state.get(key) not in (possible := self.possible(key))
        ]

    def stall(self, source: str, target: str, since: float = 0.0) -> Stall:
        """Of the one switch from ``source`` to ``target`` after ``since``."""
        taken = min(at for at, side in self.taken if side == target and at > since)
        last = max(at for at, side in self.taken if side == source and since < at < taken)
        refused = [at for at, side in self.refused if side == source and last < at < taken]
        return Stall(min(refused, default=last), taken)


def at_mysql(connection: Any) -> State:
    with connection.cursor() as cursor:
        cursor.execute("SELECT customerid, orderid, productid, quantity FROM purchase")
        found: State = {
            (customer, order, product): quantity for customer, order, product, quantity in cursor.fetchall()
        }
        cursor.execute("SELECT customerid, visits FROM customer")
        found |= {(customer,): visits for customer, visits in cursor.fetchall()}
    connection.commit()
    return found


def at_dynamodb(client: Any, purchase: str = "purchase", customer: str = "customer") -> State:
    found: State = {}
    for item in _items(client, purchase):
        key = (item.pop("customerid")["S"], item.pop("orderid")["S"])
        found |= {(*key, product): int(quantity["N"]) for product, quantity in item.items()}
    found |= {(item["customerid"]["S"],): int(item["visits"]["N"]) for item in _items(client, customer)}
    return found


def _items(client: Any, table: str) -> Iterable[dict[str, Any]]:
    for page in client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        yield from page["Items"]

"""Random histories of several sources, while whoever carries them into warehouses is killed again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from demo.servers import SqlServer
from tests.conftest import without_coverage
from tests.warehouse.places import Place, assert_same

TABLES = {
    "plain": "id INT PRIMARY KEY, v INT, note VARCHAR(40)",
    "pair": "a VARCHAR(10), b INT, v DECIMAL(12,3), at DATETIME(3), PRIMARY KEY (a, b)",
    "blobs": "k VARBINARY(8) PRIMARY KEY, data BLOB, f DOUBLE",
}
FIRST_ROWS = 400
KEYS = 120  # few, so that rows meet themselves


@dataclass
class History:
    """One source and what happens to it: transactions of a few statements each, some of them rolled back."""

    name: str
    server: SqlServer
    seed: int
    database: str = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.database = self.server.new_database()
        self.server.execute(
            *(f"CREATE TABLE `{name}` ({said})" for name, said in TABLES.items()), database=self.database
        )
        first = [self._statement("plain") for _ in range(FIRST_ROWS)]
        first += [self._statement(name) for name in ("pair", "blobs") for _ in range(FIRST_ROWS // 4)]
        self.server.execute(*first, database=self.database)

    def run(self, ended: threading.Event) -> None:
        with self.server.connect(self.database, autocommit=False) as connection, connection.cursor() as cursor:
            while not ended.is_set():
                for _ in range(self.random.choice((1, 1, 3, 20))):
                    cursor.execute(self._statement(self.random.choice(list(TABLES))))
                connection.rollback() if self.random.random() < 0.1 else connection.commit()
                time.sleep(0.02)  # what is carried by one core on a busy machine

    def alter(self) -> None:
        """Nobody may have more than one of these unread."""
        name = f"extra{self.random.randrange(10**6)}"
        table = self.random.choice(list(TABLES))
        self.server.execute(f"ALTER TABLE `{table}` ADD {name} INT NOT NULL DEFAULT 7", database=self.database)

    def _statement(self, table: str) -> str:
        pick = self.random
        if table == "plain":
            one, other = pick.randrange(KEYS), pick.randrange(KEYS)
            return pick.choice(
                (
                    f"REPLACE INTO plain (id, v, note) VALUES ({one}, {pick.randrange(99)}, 'tab\\\\t{one}\\n')",
                    f"UPDATE plain SET v = v + 1 WHERE id < {one}",
                    f"UPDATE IGNORE plain SET id = {other} WHERE id = {one}",
                    f"DELETE FROM plain WHERE id = {one}",
                )
            )
        if table == "pair":
            a, b = pick.choice("aAbBäÄ"), pick.randrange(20)
            return pick.choice(
                (
                    f"REPLACE INTO pair (a, b, v, at) VALUES ('{a}', {b}, {b}.125, '2024-02-29 01:02:03.5')",
                    f"UPDATE IGNORE pair SET a = '{a}' WHERE b = {b}",
                    f"UPDATE pair SET v = -v, at = NULL WHERE b > {b}",
                    f"DELETE FROM pair WHERE a = '{a}' AND b = {b}",
                )
            )
        key = pick.randbytes(1).hex()
        return pick.choice(
            (
                f"REPLACE INTO blobs (k, data, f) VALUES (x'{key}00', x'{pick.randbytes(9).hex()}', {pick.random()!r})",
                f"DELETE FROM blobs WHERE k = x'{key}00'",
                f"UPDATE blobs SET f = 1.5 - f WHERE k > x'{key}'",
            )
        )


class Killed:
    """``whimbrel converge`` of one place, as a process that is killed and started again."""

    def __init__(self, place: Place, log: Path) -> None:
        self.place, self.log = place, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        command = [sys.executable, "-m", "whimbrel", "converge", "-p", str(self.place.project), *more]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=without_coverage() | self.place.secrets, stdout=log, stderr=log
            )

    def kill(self) -> None:
        """At once, between any two instructions. It must not have ended by itself."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-2000:]
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """With everything that was written by now."""
        self.start("--until-caught-up")
        assert self._process is not None
        assert self._process.wait(600) == 0, self.log.read_text()[-2000:]


def converge_and_kill(
    places: list[Place], histories: list[History], kills: int, seed: int, alterations: int = 0
) -> None:
    """Each place is killed ``kills`` times at random moments, while all histories go on; then it has every row."""
    for place in places:
        place.more = "batch_seconds = 0.1"
        for history in histories:
            place.add(history.name, history.server, history.database)
    random_moment = random.Random(seed)
    ended = threading.Event()
    writers = [threading.Thread(target=history.run, args=(ended,)) for history in histories]
    workers = [Killed(place, place.folder / "log.txt") for place in places]
    for writer in writers:
        writer.start()
    try:
        for number in range(kills):
            for worker in workers:
                worker.start()
            for worker in workers:
                time.sleep(random_moment.uniform(0.3, 3.0) / len(workers))
                worker.kill()
            if alterations and number % (kills // alterations) == kills // alterations - 1:
                for worker in workers:
                    worker.end()
                random_moment.choice(histories).alter()
    finally:
        ended.set()
        for writer in writers:
            writer.join()
    for worker in workers:
        worker.end()
    for place in places:
        for history in histories:
            for table in TABLES:
                assert_rows(place, history, table)
        assert place.verify().equal


def assert_rows(place: Place, history: History, table: str) -> None:
    columns = [name for (name, *_) in history.server.execute(f"SHOW COLUMNS FROM `{table}`", database=history.database)]
    listed = ", ".join(f"`{name}`" for name in columns)
    assert_same(place, f"{history.name}.{table}", history.server, history.database, table, listed)

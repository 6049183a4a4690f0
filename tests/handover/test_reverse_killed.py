"""The reverse stream and the stand-in for DynamoDB are killed at random, while an application goes on writing: rows
move between items, swap their unique values, lose their parents and get them back, and shards split.

In the end the rows are those that the application's own book says, which shares no code with whimbrel.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from demo.servers import MariaDB, SqlServer
from tests.handover.site import Site, StreamsServer
from whimbrel.handover.reconcile import reconcile, verify_back
from whimbrel.handover.without_parents import rows_without_parents
from whimbrel.project import load_project

ORDERS = 6
PROJECT = """
[source]
url = "mysql://whimbrel@{host}:{port}/{database}"
[target]
endpoint = "{endpoint}"
region = "us-east-1"
[cutover]
reverse_user = "reverse"
[[table]]
source = "parent"
target = "shop"
shape = "record"
partition_key = {{ name = "pk", value = "PARENT#${{id}}" }}
exclude = ["id"]
[[table]]
source = "line"
target = "shop"
shape = "group"
partition_key = {{ name = "pk", value = "ORDER#${{order_id}}" }}
entry = {{ name = "${{id}}", as = "map", into = "lines" }}
exclude = ["memo"]
"""


@dataclass
class Application:
    """Writes whole items, one after the other, and keeps book: a line's (order, n, code)."""

    streams: StreamsServer
    seed: int
    lines: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    writes: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.parents = dict.fromkeys(range(ORDERS), "first")

    def run(self, over: threading.Event) -> None:
        while not over.wait(0.004):
            self.step()

    def step(self) -> None:
        roll = self.random.randrange(12)
        if roll == 0 or not self.lines:
            number = self.random.randrange(200)
            if number not in self.lines:
                self.change({number: (self.random.randrange(ORDERS), 0, f"n{self.writes}")})
        elif roll == 1:
            self.change({self.some(): None})
        elif roll < 5:
            self.move(self.some())
        elif roll == 5:
            one, other = self.some(), self.some()
            first, second = self.lines[one], self.lines[other]
            self.change({one: (*first[:2], second[2]), other: (*second[:2], first[2])})
        elif roll == 6:
            self.renew_parent()
        else:
            number = self.some()
            order, n, code = self.lines[number]
            self.change({number: (order, n + 1, code)})

    def some(self) -> int:
        return self.random.choice(sorted(self.lines))

    def move(self, number: int) -> None:
        order, n, code = self.lines[number]
        other = self.random.randrange(ORDERS)
        if other != order and self.random.random() < 0.3:
            self.try_out(other, number)
        else:
            self.change({number: (other, n, code)})

    def try_out(self, order: int, number: int) -> None:
        """Another order gets the line too, and gives it back: the line's own order is not written."""
        there = self.order(order)
        line = {"n": {"N": str(self.lines[number][1])}, "code": {"S": self.lines[number][2]}}
        self.send("PutItem", Item=there | {"lines": {"M": there["lines"]["M"] | {str(number): {"M": line}}}})
        self.send("PutItem", Item=there)

    def renew_parent(self) -> None:
        number = self.random.randrange(ORDERS)
        key = {"pk": {"S": f"PARENT#{number}"}}
        self.send("DeleteItem", Key=key)
        self.parents[number] = f"renewed {self.writes}"
        self.send("PutItem", Item=key | {"name": {"S": self.parents[number]}})

    def change(self, changes: dict[int, tuple[int, int, str] | None]) -> None:
        """The items of a row's old and new order in one transaction, or one after the other."""
        before = {self.lines[number][0] for number in changes if number in self.lines}
        for number, line in changes.items():
            if line is None:
                del self.lines[number]
            else:
                self.lines[number] = line
        touched = sorted(before | {line[0] for line in changes.values() if line})
        self.random.shuffle(touched)
        puts = [{"Put": {"TableName": "shop", "Item": self.order(number)}} for number in touched]
        if self.random.random() < 0.5:
            self.send("TransactWriteItems", TransactItems=puts)
        else:
            for put in puts:
                self.send("PutItem", **put["Put"])

    def order(self, number: int) -> dict[str, Any]:
        entries = {
            str(line): {"M": {"n": {"N": str(n)}, "code": {"S": code}}}
            for line, (order, n, code) in self.lines.items()
            if order == number
        }
        return {"pk": {"S": f"ORDER#{number}"}, "lines": {"M": entries}}

    def send(self, operation: str, **body: Any) -> None:
        """Until it is acknowledged: the stand-in may be dead for a moment."""
        if operation != "TransactWriteItems":
            body = {"TableName": "shop"} | body
        while True:
            try:
                self.streams.call(operation, **body)
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)
            else:
                self.writes += 1
                return


@pytest.fixture
def streams(tmp_path: Path) -> Iterator[StreamsServer]:
    with StreamsServer(tmp_path / "streams").start() as server:
        yield server


def made(source: SqlServer, streams: StreamsServer, folder: Path, application: Application) -> Site:
    database = source.new_database()
    lines = [f"({n}, {n % ORDERS}, 0, 'c{n}', {n})" for n in range(40)]
    parents = [f"({n}, 'first')" for n in range(ORDERS)]
    source.execute(
        "CREATE TABLE parent (id INT PRIMARY KEY, name VARCHAR(30))",
        "CREATE TABLE line (id INT PRIMARY KEY, order_id INT NOT NULL, n INT, code VARCHAR(9) UNIQUE, memo INT, "
        "FOREIGN KEY (order_id) REFERENCES parent (id))",
        f"INSERT INTO parent VALUES {', '.join(parents)}",
        f"INSERT INTO line VALUES {', '.join(lines)}",
        database=database,
    )
    application.lines = {n: (n % ORDERS, 0, f"c{n}") for n in range(40)}
    file = folder / "whimbrel.toml"
    file.write_text(PROJECT.format(host=source.host, port=source.port, database=database, endpoint=streams.endpoint))
    os.environ["WHIMBREL_SOURCE_PASSWORD"] = os.environ["WHIMBREL_REVERSE_PASSWORD"] = source.password
    site = Site(source, database, streams, folder / ".whimbrel", load_project(file).tables)
    site.load()
    return site


class Follower:
    """The process, started again each time that it was killed."""

    def __init__(self, folder: Path) -> None:
        self._command = [sys.executable, "-m", "tests.handover.follow", "whimbrel.toml", "starts.json"]
        self._folder = folder
        self.start()

    def start(self) -> None:
        root = Path(__file__).resolve().parents[2]
        environment = {**os.environ, "PYTHONPATH": str(root)}
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said == "following\n", self._process.communicate()[1]

    def kill(self) -> None:
        assert self._process.poll() is None, self._process.communicate()[1]
        self._process.kill()
        self._process.communicate()


def survives(source: SqlServer, streams: StreamsServer, folder: Path, kills: int, seed: int) -> None:
    application = Application(streams, seed)
    site = made(source, streams, folder, application)
    starts = site.mark("start")
    (folder / "starts.json").write_text(json.dumps(starts))
    follower, over = Follower(folder), threading.Event()
    writing = threading.Thread(target=application.run, args=(over,))
    writing.start()
    try:
        for number in range(kills):
            time.sleep(application.random.uniform(0.1, 0.8))
            if number % 3 == 1:
                streams.call("Split", TableName="shop")
            if number % 4 == 3:
                streams.kill()
                streams.start()
            if number % 5 == 4:
                source.kill()
                source.start()
            follower.kill()
            follower.start()
    finally:
        over.set()
        writing.join()
        follower.kill()
    site.drain(site.reverse(starts))
    result = reconcile(site.beside())
    assert (result.letters, result.aside) == (0, 0)
    reports = verify_back(site.beside())
    assert all(report.equal for report in reports)
    assert not list(rows_without_parents(site.prepared.project.source, site.prepared.tables.values()))
    lines = {row[0]: row[1:] for row in site.whole_rows("line")}
    assert {number: line[:3] for number, line in lines.items()} == application.lines
    assert dict(site.whole_rows("parent")) == application.parents
    memos = {number: line[3] for number, line in lines.items()}
    assert memos == {number: number if number < 40 else None for number in lines}
    assert application.writes > 10 * kills


def test_rows_are_what_the_application_says_whatever_is_killed(
    mariadb: MariaDB, streams: StreamsServer, tmp_path: Path
) -> None:
    survives(mariadb, streams, tmp_path, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_rows_are_what_the_application_says_on_every_server(
    source_server: SqlServer, streams: StreamsServer, tmp_path: Path, seed: int
) -> None:
    survives(source_server, streams, tmp_path, kills=15, seed=seed)

"""Items that time to live takes, and attributes that are not columns, through a whole rollback by each rule: shards
split while DynamoDB is open and while it is closed, and the stand-in and whimbrel are killed.

The judge is the book of the application of this test, which shares no code with whimbrel.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.application import allow
from demo.servers import MariaDB, SqlServer
from tests.conftest import unique
from tests.handover.forked import ForkedWork
from tests.handover.site import StreamsServer

SETTINGS = """
[cutover]
reverse_user = "back"
route_file = "route.json"
lease_seconds = 0.2
write_seconds = 0.3
late_seconds = 0
max_stall = 20
ttl = "{ttl}"
new_attributes = "{new}"
"""
MAPPING = """
shape = "record"
partition_key = { name = "id", type = "N" }
exclude = ["memo", "extra"]
"""
CREATE = "CREATE TABLE login (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, n INT NOT NULL, memo INT, extra LONGTEXT)"
FIRST = 30
HOOK = """
import json, os, sys, urllib.request
if os.environ["WHIMBREL_EVENT"] == "close":
    for _ in range(2):
        body = json.dumps({"TableName": sys.argv[2]}).encode()
        urllib.request.urlopen(urllib.request.Request(sys.argv[1], body, {"X-Amz-Target": "x.Split"})).read()
"""


class Application:
    """Writes as long as its route says so, an item after the other, and keeps book of what a row must be: its name, n,
    and new attributes.
    """

    def __init__(self, shop: Shop, ttl: str) -> None:
        self.shop, self.ttl = shop, ttl
        self.items: dict[int, dict[str, Any]] = {id_: {"name": f"first {id_}", "n": 0} for id_ in range(FIRST)}
        self.rows = dict(self.items)
        self.expired = 0
        self._chance = random.Random(1)
        self._thread = threading.Thread(target=self._run)
        self._over = threading.Event()
        self.writes = 0

    def __enter__(self) -> Application:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.003):
            if self.shop.side() == "dynamodb":
                self.step()

    def step(self) -> None:
        roll, id_ = self._chance.randrange(10), self._chance.randrange(2 * FIRST)
        if id_ not in self.items or roll > 2:
            item: dict[str, Any] = {"name": f"name {self.writes}", "n": self.writes}
            if roll > 6:
                item["nick"] = f"nick {self.writes}"
            self.put(id_, item)
        else:
            self.delete(id_, expired=roll == 0)

    def put(self, id_: int, item: dict[str, Any]) -> None:
        self.send("PutItem", Item=coded({"id": id_} | item))
        self.items[id_] = self.rows[id_] = item

    def delete(self, id_: int, *, expired: bool = False) -> None:
        self.send("DeleteItem", Key=coded({"id": id_}), **({"expired": True} if expired else {}))
        del self.items[id_]
        self.expired += expired
        if not (expired and self.ttl == "skip"):
            del self.rows[id_]

    def send(self, operation: str, **body: Any) -> None:
        while True:
            try:
                self.shop.streams.call(operation, TableName=self.shop.work.target, **body)
            except (urllib.error.URLError, OSError):
                time.sleep(0.02)  # it may be dead for a moment
            else:
                self.writes += 1
                return


def coded(item: dict[str, Any]) -> dict[str, Any]:
    return {name: {"N": str(value)} if isinstance(value, int) else {"S": value} for name, value in item.items()}


class Shop:
    def __init__(self, source: SqlServer, streams: StreamsServer, folder: Path, **rules: str) -> None:
        self.source, self.streams, self.database = source, streams, source.new_database()
        allow(source, self.database, "back")
        rows = ", ".join(f"({id_}, 'first {id_}', 0, {id_}, NULL)" for id_ in range(FIRST))
        source.execute(CREATE, f"INSERT INTO login VALUES {rows}", database=self.database)
        self.work = ForkedWork(
            folder, source, self.database, streams, unique("login"), MAPPING, "login", source_settings=""
        )
        (folder / "hook.py").write_text(HOOK)
        hook = json.dumps([sys.executable, str(folder / "hook.py"), streams.endpoint, self.work.target])
        self.work.target_settings = SETTINGS.format(**rules) + f"on_switch = {hook}\n"
        self.work.environment["WHIMBREL_REVERSE_PASSWORD"] = source.password
        self.work.write_project()

    def side(self) -> str:
        path = self.work.folder / "route.json"
        return str(json.loads(path.read_bytes())["side"]) if path.exists() else "mysql"

    def split(self) -> None:
        self.streams.call("Split", TableName=self.work.target)

    def open(self) -> None:
        for arguments in (("migrate", "--until-caught-up"), ("verify",), ("cutover", "--yes", "--until-open")):
            self.work.run(*arguments)

    def follow_and_be_killed(self, application: Application) -> None:
        """Who follows is killed, the stand-in too, and shards split."""
        for number in range(3):
            following = self.work.fork("cutover", "--yes")
            self.work.wait_for(lambda: "following it back" in following.said())  # noqa: B023
            self.wait_for_writes(application)
            self.split()
            self.wait_for_writes(application)
            if number == 1:
                self.streams.kill()
                self.streams.start()
                self.wait_for_writes(application)
            following.kill()
            following.wait()

    def wait_for_writes(self, application: Application) -> None:
        before = application.writes
        self.work.wait_for(lambda: application.writes > before + 50)

    def rows(self) -> dict[int, tuple[Any, ...]]:
        found = self.source.execute("SELECT id, name, n, memo, extra FROM login", database=self.database)
        return {id_: tuple(values) for id_, *values in found}

    def letters(self) -> list[dict[str, Any]]:
        path = self.work.state / "reverse-dead.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()]


@contextmanager
def shop_of(source: SqlServer, folder: Path, **rules: str) -> Iterator[Shop]:
    with StreamsServer(folder / "streams").start() as streams:
        yield Shop(source, streams, folder, **rules)


def expected(application: Application, new: str) -> dict[int, tuple[Any, ...]]:
    """A row that was deleted and inserted again has its unmapped columns again, too."""
    rows: dict[int, tuple[Any, ...]] = {}
    for id_, item in application.rows.items():
        extra = {"nick": {"S": item["nick"]}} if "nick" in item and new == "json:extra" else None
        rows[id_] = (item["name"], item["n"], id_ if id_ < FIRST else None, extra)
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(("ttl", "new"), [("apply", "json:extra"), ("skip", "ignore"), ("apply", "ignore")])
def test_what_expired_and_new_attributes_through_a_whole_rollback(
    mariadb: MariaDB, tmp_path: Path, ttl: str, new: str
) -> None:
    with shop_of(mariadb, tmp_path, ttl=ttl, new=new) as shop:
        with Application(shop, ttl) as application:
            shop.open()
            shop.follow_and_be_killed(application)
            shop.work.run("rollback", "--yes")
        assert shop.side() == "mysql"
        assert application.expired > 5
        rows = {id_: (*row[:3], json.loads(row[3]) if row[3] else None) for id_, row in shop.rows().items()}
        assert rows == expected(application, new)
        assert shop.letters() == []
        shop.work.run("migrate", "--until-caught-up")
        shop.work.run("verify", code=5)  # items have what no row says, or are gone though their rows are not
        shop.work.run("refill", "login")
        shop.work.run("verify")


@pytest.mark.slow
def test_what_is_to_stop_a_rollback_does_until_a_person_has_seen_to_it(mariadb: MariaDB, tmp_path: Path) -> None:
    with shop_of(mariadb, tmp_path, ttl="stop", new="stop") as shop:
        application = Application(shop, "stop")
        shop.open()
        application.put(1, {"name": "new", "n": 1, "nick": "one"})
        application.delete(2, expired=True)
        application.delete(3)
        assert "2 items could not be written back" in shop.work.run("rollback", "--yes", code=3).stderr
        assert (shop.side(), len(shop.letters())) == ("dynamodb", 2)
        application.put(1, {"name": "new", "n": 1})
        assert "1 items could not be written back" in shop.work.run("rollback", "--yes", code=3).stderr
        assert 2 in shop.rows(), "time to live took it, and nobody said that its row may go"
        application.items[2] = {"name": "again", "n": 0}
        application.put(2, application.items[2])
        application.delete(2)
        shop.work.run("rollback", "--yes")
        assert (shop.side(), shop.letters()) == ("mysql", [])
        assert shop.rows() == {id_: (*row[:3], None) for id_, row in expected(application, "stop").items()}

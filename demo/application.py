"""An application that has both code paths: it writes to MySQL or to DynamoDB, as the route says, and never stops.

    python -m demo.application settings.json

Its tables are ``purchase`` (as in ``demo.shop``) and ``customer``. Each thread has a connection and rows of its own,
and gives each write a number. Before a write is sent, and when it was acknowledged, a line goes to the thread's log:
what must be there afterwards can be told from the logs alone. A write that is refused, or has no answer, is tried
again, at the side that the route names then: the file that ``[cutover] route_file`` names, see docs/cutover.md.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pymysql

from demo.servers import SqlServer

CUSTOMER = """
CREATE TABLE customer (
  customerid VARCHAR(20) NOT NULL PRIMARY KEY,
  name       VARCHAR(60) NOT NULL,
  visits     BIGINT NOT NULL,
  note       VARCHAR(60) NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
"""
ORDERS, PRODUCTS = 5, 6  # of each thread, and of each order: few, so that rows are changed again and again
READ_AGAIN = 0.05  # seconds that a route is gone by: far below any lease
REFUSED = {1644, 3989, 1142}  # by a trigger's SIGNAL, a read-only schema, a REVOKE
AGAIN = {1053, 1205, 1213, 1927}  # the server shuts down, or a transaction lost against another
_AWAY = (pymysql.err.OperationalError, pymysql.err.InterfaceError)


@dataclass(frozen=True)
class Settings:
    """``route`` and ``logs`` are a file and a folder; ``rate`` is writes a second, of all threads together."""

    host: str
    port: int
    user: str
    password: str
    database: str
    endpoint: str
    route: str
    logs: str
    threads: int = 16
    rate: float = 1000.0
    seed: int = 1
    purchase: str = "purchase"
    customer: str = "customer"

    @classmethod
    def of(cls, server: SqlServer, database: str, endpoint: str, folder: Path, **more: Any) -> Settings:
        """``folder`` gets the route and the logs."""
        (folder / "logs").mkdir()
        return cls(
            host=server.host,
            port=server.port,
            user=server.admin,
            password=server.password,
            database=database,
            endpoint=endpoint,
            route=str(folder / "route.json"),
            logs=str(folder / "logs"),
            **more,
        )

    def save(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)))
        return path


class Route:
    """Which side is open: ``mysql``, ``dynamodb``, or ``none`` while writers must wait. Shared by all threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read_at = 0.0
        self._side = "mysql"

    def side(self) -> str:
        with self._lock:
            if time.monotonic() - self._read_at > READ_AGAIN:
                self._read_at = time.monotonic()  # before it is read: the lease counts from here
                self._side = self._read()
            return self._side

    def forget(self) -> None:
        with self._lock:
            self._read_at = 0.0

    def _read(self) -> str:
        try:
            side: str = json.loads(self._path.read_bytes())["side"]
        except FileNotFoundError:  # nothing was ever routed
            return "mysql"
        return side


class Writer:
    """One thread's rows: ``value`` None deletes a purchase; a customer's row is never deleted."""

    def __init__(self, settings: Settings, number: int, route: Route, stop: threading.Event) -> None:
        self._settings = settings
        self._number = number
        self._route = route
        self._stop = stop
        self._chance = random.Random(f"{settings.seed}-{number}")
        self._sent = 0
        self._mysql: Any = None
        self._dynamodb: Any = None

    def run(self) -> None:
        path = Path(self._settings.logs) / f"{self._number:02}.log"
        began = time.monotonic()
        with path.open("ab", buffering=0) as log:
            self._sent = written = sum(1 for line in path.read_bytes().splitlines() if line.startswith(b'["sent"'))
            while not self._stop.is_set():
                self._write_one(log)
                ahead = (self._sent - written) * self._settings.threads / self._settings.rate
                self._stop.wait(max(0.0, ahead - (time.monotonic() - began)))

    def _write_one(self, log: BinaryIO) -> None:
        """One write, until it is acknowledged somewhere or the application ends."""
        self._sent += 1
        value: int | None = self._sent
        customer = f"customer{self._number}"
        if self._chance.random() < 0.2:
            key = [customer]
        else:
            order, product = self._chance.randrange(ORDERS), self._chance.randrange(PRODUCTS)
            key = [customer, f"order{self._number}-{order}", f"product{product}"]
            value = None if self._chance.random() < 0.3 else value
        while not self._stop.is_set():
            side = self._route.side()
            if side == "none":
                self._stop.wait(0.005)
                continue
            _note(log, "sent", self._sent, key, value, side)
            if self._is_taken(side, key, value):
                _note(log, "taken", self._sent, key, value, side)
                return
            _note(log, "not taken", self._sent, key, value, side)
            self._route.forget()
            self._stop.wait(0.005)

    def _is_taken(self, side: str, key: list[str], value: int | None) -> bool:
        try:
            self._at_mysql(key, value) if side == "mysql" else self._at_dynamodb(key, value)
        except pymysql.err.MySQLError as error:
            if error.args[0] not in REFUSED:
                if error.args[0] not in AGAIN and not isinstance(error, _AWAY):
                    raise
                with suppress(Exception):
                    self._mysql.close()
                self._mysql = None
            return False
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("botocore", "urllib3"):
                raise
            return False
        return True

    def _at_mysql(self, key: list[str], value: int | None) -> None:
        settings = self._settings
        if self._mysql is None:
            login: dict[str, Any] = {
                "host": settings.host,
                "port": settings.port,
                "user": settings.user,
                "password": settings.password,
            }
            self._mysql = pymysql.connect(
                **login, database=settings.database, autocommit=True, connect_timeout=5, read_timeout=30
            )
        with self._mysql.cursor() as cursor:
            if len(key) == 1:
                changed = (
                    "INSERT INTO customer VALUES (%s, %s, %s, NULL) ON DUPLICATE KEY UPDATE visits = VALUES(visits)"
                )
                cursor.execute(changed, (key[0], f"Customer {self._number}", value))
            elif value is None:
                where = "customerid = %s AND orderid = %s AND productid = %s"
                cursor.execute(f"DELETE FROM purchase WHERE {where}", tuple(key))
            else:
                changed = "INSERT INTO purchase VALUES (%s, %s, %s, %s) ON DUPLICATE KEY UPDATE quantity = %s"
                cursor.execute(changed, (*key, value, value))

    def _at_dynamodb(self, key: list[str], value: int | None) -> None:
        client = self._client()
        if len(key) == 1:
            client.update_item(
                TableName=self._settings.customer,
                Key={"customerid": {"S": key[0]}},
                UpdateExpression="SET visits = :visits, #name = if_not_exists(#name, :name)",
                ExpressionAttributeNames={"#name": "name"},
                ExpressionAttributeValues={":visits": {"N": str(value)}, ":name": {"S": f"Customer {self._number}"}},
            )
            return
        item_key = {"customerid": {"S": key[0]}, "orderid": {"S": key[1]}}
        if value is not None:
            client.update_item(
                TableName=self._settings.purchase,
                Key=item_key,
                UpdateExpression="SET #product = :quantity",
                ExpressionAttributeNames={"#product": key[2]},
                ExpressionAttributeValues={":quantity": {"N": str(value)}},
            )
            return
        left = client.update_item(
            TableName=self._settings.purchase,
            Key=item_key,
            UpdateExpression="REMOVE #product",
            ExpressionAttributeNames={"#product": key[2]},
            ReturnValues="ALL_NEW",
        )
        if left["Attributes"].keys() <= item_key.keys():  # an order without lines; nobody else writes it
            client.delete_item(TableName=self._settings.purchase, Key=item_key)

    def _client(self) -> Any:
        if self._dynamodb is None:
            import boto3
            from botocore.config import Config

            self._dynamodb = boto3.client(
                "dynamodb",
                endpoint_url=self._settings.endpoint,
                region_name="us-east-1",
                aws_access_key_id="local",
                aws_secret_access_key="local",
                # No retries behind our back: what was sent, and whether it was taken, is in the log.
                config=Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
            )
        return self._dynamodb


def _note(log: BinaryIO, what: str, number: int, key: list[str], value: int | None, side: str) -> None:
    """One line, in one write, so that a kill leaves whole lines. The time is the machine's monotonic clock."""
    log.write(json.dumps([what, number, key, value, side, time.monotonic()]).encode() + b"\n")


def allow(server: SqlServer, database: str, way_back: str) -> None:
    """What a cutover needs beside what a migration does, and the account ``way_back`` of the reverse stream."""
    server.execute(
        "SET GLOBAL log_bin_trust_function_creators = 1",
        f"GRANT TRIGGER, CREATE, DROP, INSERT, UPDATE, DELETE ON `{database}`.* TO '{server.user}'@'%'",
        *([f"GRANT XA_RECOVER_ADMIN ON *.* TO '{server.user}'@'%'"] if server.flavor == "mysql" else []),
        f"CREATE USER IF NOT EXISTS '{way_back}'@'%' IDENTIFIED BY '{server.password}'",
        f"ALTER USER '{way_back}'@'%' IDENTIFIED BY '{server.password}'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `{database}`.* TO '{way_back}'@'%'",
    )


def create(connection: Any) -> None:
    """The tables of the application, in the database of ``connection``."""
    from demo.shop import CREATE

    with closing(connection.cursor()) as cursor:
        cursor.execute(CREATE)
        cursor.execute(CUSTOMER)


class Running:
    """The application as a process of its own, while this is entered. ``log``: where its error output goes."""

    def __init__(self, settings: Settings, file: Path) -> None:
        self._command = [sys.executable, "-m", "demo.application", str(settings.save(file))]

    def __enter__(self) -> Running:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    @property
    def has_failed(self) -> bool:
        return self._process.poll() not in (None, 0)


def main() -> int:
    settings = Settings(**json.loads(Path(sys.argv[1]).read_bytes()))
    stop, failed = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    route = Route(Path(settings.route))

    def work(number: int) -> None:
        try:
            Writer(settings, number, route, stop).run()
        except BaseException as error:
            print(f"thread {number}: {error!r}", file=sys.stderr)
            failed.set()
            stop.set()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(settings.threads)]
    for thread in threads:
        thread.start()
    print(os.getpid(), flush=True)  # it is at work
    for thread in threads:
        thread.join()
    return int(failed.is_set())


if __name__ == "__main__":
    sys.exit(main())

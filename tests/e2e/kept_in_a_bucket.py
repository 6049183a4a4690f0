"""A bucket for what no record of a stream takes, and an application that makes such changes."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress

import pymysql

from demo.servers import Ministack, SqlServer
from demo.servers.dynamo import local_client
from tests.conftest import unique

NOTE = "ALTER TABLE purchase ADD COLUMN note LONGBLOB NULL INVISIBLE"  # which nobody has to name, and no item has
NOTE_BYTES = 1_200_000  # which nothing makes smaller: as base64, more than a record takes
MOST_NOTES = 12  # rows that have one: each change of such a row is large


class KeptInABucket:
    def __init__(self, server: Ministack) -> None:
        self._server, self._bucket = server, unique("bucket").replace("_", "-")
        self._s3 = local_client("s3", server.endpoint, server.region)
        self._s3.create_bucket(Bucket=self._bucket)
        self.project_lines = f'[snapshot]\nstore = "s3://{self._bucket}/shop"\nendpoint = "{server.endpoint}"\n'
        self.environment = {"AWS_ENDPOINT_URL_S3": server.endpoint}

    def is_writing(self) -> bool:
        """Whether a task of Spark is."""
        return any("/writing/" in name for name in self._names("shop/spark/"))

    def changes(self) -> int:
        """How many are in it."""
        return len(self._names("shop/changes/"))

    def stall(self, seconds: float) -> None:
        os.kill(self._server.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self._server.pid, signal.SIGCONT)

    def close(self) -> None:
        self._s3.close()

    def _names(self, prefix: str) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", ())]


class NoteWriter:
    """Gives rows a note, changes it, and takes it away, a few times a second, beside whatever else changes them."""

    def __init__(self, server: SqlServer, database: str, seed: int) -> None:
        self._server, self._database, self._chance = server, database, random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, name="notes")
        self.changes = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._over.wait(0.5):
            with suppress(pymysql.err.OperationalError, pymysql.err.InterfaceError):  # the server is away
                self.changes += self._change()

    def _change(self) -> int:
        keys = "SELECT customerid, orderid, productid FROM purchase WHERE note IS"
        rows = self._server.execute(f"{keys} NOT NULL", database=self._database)
        more = len(rows) < MOST_NOTES
        note = self._chance.randbytes(NOTE_BYTES) if more or self._chance.random() < 0.5 else None
        if more:
            rows = self._server.execute(f"{keys} NULL LIMIT 40", database=self._database)
        if not rows:
            return 0
        with self._server.connect(self._database) as connection, connection.cursor() as cursor:
            wanted = "customerid = %s AND orderid = %s AND productid = %s"
            change = f"UPDATE purchase SET note = %s, quantity = quantity + 1 WHERE {wanted}"
            changed = cursor.execute(change, (note, *self._chance.choice(rows)))
            connection.commit()
        return changed

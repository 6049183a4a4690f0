"""A shop whose application writes to whichever side is open, for cutovers and rollbacks under way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.application import Settings, allow, create
from demo.judge import Notes, at_dynamodb, at_mysql
from demo.servers import DynamoServer, Ministack, SqlServer
from tests.conftest import unique
from tests.e2e.work import Work

CUTOVER = """
[cutover]
reverse_user = "back"
route_file = "route.json"
lease_seconds = 0.2
write_seconds = 0.3
late_seconds = 0
max_stall = 20
"""
CUSTOMER = """
[[table]]
source = "{database}.customer"
target = "{target}"
shape = "record"
partition_key = {{ name = "customerid" }}
exclude = ["note"]
"""


class Site:
    """A shop with both tables, its project, and an application."""

    def __init__(self, work: Work, settings: Settings) -> None:
        self.work, self.settings = work, settings
        self.client = work.endpoint.client()
        self._notes = Notes(Path(settings.logs))

    @property
    def notes(self) -> Notes:
        self._notes.read_on()
        return self._notes

    @contextmanager
    def application(self) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "demo.application", str(self.settings.save(self.work.folder / "app.json"))]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                yield process
                process.terminate()
                assert process.wait(60) == 0
            finally:
                process.kill()

    @contextmanager
    def following(self) -> Iterator[subprocess.Popen[str]]:
        """``whimbrel cutover`` while it follows DynamoDB back; ended by Ctrl-C."""
        with self.work.running("cutover") as process:
            assert process.stderr is not None
            for line in process.stderr:
                if "following it back" in line:
                    break
            yield process

    def wait_for_writes(self, side: str, more: int = 100) -> None:
        before = self._taken(side)
        self.work.wait_for(lambda: self._taken(side) >= before + more)

    def environment(self) -> dict[str, str]:
        return os.environ | {"WHIMBREL_SOURCE_PASSWORD": self.work.source.password} | self.work.environment

    def step(self) -> str:
        path = self.work.state / "handover.json"
        return str(json.loads(path.read_bytes())["step"]) if path.exists() else "FOLLOWING"

    def said(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.work.run(*arguments, "--yes", "--json").stdout.splitlines()[-1])
        return found

    def at_dynamodb(self) -> list[str]:
        state = at_dynamodb(self.client, self.settings.purchase, self.settings.customer)
        return self.notes.wrong({key: value for key, value in state.items() if "first" not in key})

    def at_mysql(self) -> list[str]:
        with self.work.source.connect(self.work.database) as connection:
            state = at_mysql(connection)
        return self.notes.wrong({key: value for key, value in state.items() if "first" not in key})

    def _taken(self, side: str) -> int:
        return sum(1 for _, at in self.notes.taken if at == side)


def make(
    source_server: SqlServer,
    endpoint: DynamoServer,
    database: str,
    tmp_path: Path,
    *,
    kind: type[Work] = Work,
    threads: int = 8,
    rate: float = 200,
    more: str = "",
) -> Site:
    """``more`` are lines of the project file."""
    allow(source_server, database, "back")
    with source_server.connect(database) as connection:
        create(connection)
    work = kind(tmp_path, source_server, database, endpoint, unique("purchase"), source_settings="")
    customer = unique("customer")
    work.target_settings = CUTOVER + more
    work.mapping += CUSTOMER.format(database=database, target=customer)
    work.environment["WHIMBREL_REVERSE_PASSWORD"] = source_server.password
    work.write_project()
    tables = {"purchase": work.target, "customer": customer}
    load = {"threads": threads, "rate": rate}
    settings = Settings.of(source_server, database, endpoint.endpoint, tmp_path, **load, **tables)
    return Site(work, settings)


def with_a_way_back(
    folder: Path, server: SqlServer, endpoint: Ministack, table: str, mapping: str, settings: str
) -> Work:
    """A project with a database of its own, which may be followed back. ``settings`` are its ``[cutover]``."""
    database = server.new_database()
    allow(server, database, "back")
    work = Work(folder, server, database, endpoint, unique(table), table=table, mapping=mapping)
    work.target_settings, work.source_settings = settings, ""
    work.environment["WHIMBREL_REVERSE_PASSWORD"] = server.password
    work.write_project()
    return work

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

from demo.application import Settings, create
from demo.judge import Notes, at_dynamodb, at_mysql
from demo.servers import Ministack, MySQL, SqlServer
from tests.conftest import unique
from tests.e2e.work import Work

CUTOVER = """
[cutover]
reverse_user = "back"
route_file = "route.json"
lease_seconds = 0.2
write_seconds = 0.3
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

    @property
    def notes(self) -> Notes:
        return Notes(Path(self.settings.logs))

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


def make(source_server: SqlServer, ministack: Ministack, database: str, tmp_path: Path) -> Site:
    allow(source_server, database)
    (tmp_path / "logs").mkdir()
    with source_server.connect(database) as connection:
        create(connection)
    work = Work(tmp_path, source_server, database, ministack, unique("purchase"), source_settings="")
    customer = unique("customer")
    work.target_settings = CUTOVER
    work.mapping += CUSTOMER.format(database=database, target=customer)
    work.environment["WHIMBREL_REVERSE_PASSWORD"] = source_server.password
    work.write_project()
    settings = Settings(
        host=source_server.host,
        port=source_server.port,
        user=source_server.admin,
        password=source_server.password,
        database=database,
        endpoint=ministack.endpoint,
        route=str(tmp_path / "route.json"),
        logs=str(tmp_path / "logs"),
        threads=8,
        rate=200,
        purchase=work.target,
        customer=customer,
    )
    return Site(work, settings)


def allow(server: SqlServer, database: str) -> None:
    """What a cutover needs beside what a migration does, and the reverse stream's account."""
    server.execute(
        "SET GLOBAL log_bin_trust_function_creators = 1",
        f"GRANT TRIGGER, CREATE, DROP, INSERT, UPDATE, DELETE ON `{database}`.* TO '{server.user}'@'%'",
        *([f"GRANT XA_RECOVER_ADMIN ON *.* TO '{server.user}'@'%'"] if isinstance(server, MySQL) else []),
        f"CREATE USER IF NOT EXISTS 'back'@'%' IDENTIFIED BY '{server.password}'",
        f"ALTER USER 'back'@'%' IDENTIFIED BY '{server.password}'",
        f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `{database}`.* TO 'back'@'%'",
    )

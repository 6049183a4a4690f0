"""State folders that whimbrel 0.1.0 left when it was stopped, with the server and the target that they belong to.

The source is a new server that goes on with the binary log of the one they were made with, so that every position in
them is where it was, and that has the same name. ``make.py`` made them, and says what is in ``states``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.servers import Ministack, SqlServer
from demo.servers.process import give_to_unprivileged
from tests.conftest import SOURCES, started
from tests.e2e.work import Work

STATES = Path(__file__).parent / "states"
PHASES = ("snapshot", "exported", "load", "apply", "altered", "dead")
PLAIN = ("plain_load", "plain_apply")  # without values whose form has changed since


@dataclass(frozen=True)
class OldState:
    """A migration of ``work.database`` (tables ``person`` and ``purchase``, see ``states/*/*/whimbrel.toml``) as 0.1.0
    left it in ``phase``: the project file, the state folder ``work.state``, and the target's tables
    ``<database>-person`` and ``<database>-purchase`` with the items that were in them then.

    The source has been written to since. ``work.call("migrate", "--until-caught-up")`` goes on with it.
    """

    phase: str
    work: Work

    def items(self, table: str) -> list[dict[str, Any]]:
        """What is in the target of ``table`` now, in DynamoDB's own form."""
        pages = self.work.endpoint.client().get_paginator("scan")
        name = f"{self.work.database}-{table}"
        return [item for page in pages.paginate(TableName=name, ConsistentRead=True) for item in page["Items"]]

    def rows(self, table: str) -> tuple[tuple[Any, ...], ...]:
        """What the source has in ``table`` now, read by PyMySQL."""
        return self.work.source.execute(f"SELECT * FROM {table}", database=self.work.database)


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def old_server(request: pytest.FixtureRequest, server_folder: Path) -> Iterator[SqlServer]:
    """MariaDB, then MySQL: with the data and the binary log that the old state folders are of."""
    for server in started(SOURCES[request.param], server_folder / "old", options=("--binlog-row-metadata=FULL",)):
        server.stop()
        give_binlog(server)
        server.start()
        statements = (STATES / server.flavor / "source.sql").read_text().splitlines()
        server.execute("SET sql_log_bin = 0", *statements)
        yield server


@pytest.fixture
def old_state(old_server: SqlServer, ministack: Ministack, tmp_path: Path) -> Callable[[str], OldState]:
    """Gives the state folder of a phase, one of PHASES; each call makes a new copy."""

    def make(phase: str) -> OldState:
        database = f"{old_server.flavor}_{phase}"
        kept, folder = STATES / old_server.flavor / phase, tmp_path / phase
        shutil.copytree(kept / "state", folder / ".whimbrel")
        text = (kept / "whimbrel.toml").read_text().replace("@SOURCE@", old_server.url(database))
        (folder / "whimbrel.toml").write_text(text.replace("@ENDPOINT@", ministack.endpoint))
        checkpoint = folder / ".whimbrel/checkpoint.json"
        for name, table in json.loads((kept / "target.json").read_text()).items():
            identity = filled(ministack.client(), name, table)
            checkpoint.write_text(checkpoint.read_text().replace(table["TableId"], identity))
        return OldState(phase, Work(folder, old_server, database, ministack, f"{database}-person", table="person"))

    return make


def give_binlog(server: SqlServer) -> None:
    """A stopped server without a history of its own gets the old one's binary log, and its name."""
    kept = STATES / server.flavor
    for file in server.data.glob("bin.*"):
        file.unlink()
    files = [Path(shutil.copy(file, server.data)) for file in sorted((kept / "binlog").iterdir())]
    (server.data / "bin.index").write_text("".join(f"{file}\n" for file in files if file.suffix != ".state"))
    if server.flavor == "mysql":
        name = json.loads((kept / "server.json").read_text())["name"]
        (server.data / "auto.cnf").write_text(f"[auto]\nserver-uuid={name}\n")
    give_to_unprivileged(server.data)


def filled(client: Any, name: str, table: dict[str, Any]) -> str:
    """Make the table and its items, in place of one that another test left; returns its identity."""
    if name in client.list_tables()["TableNames"]:
        client.delete_table(TableName=name)
    made = client.create_table(
        TableName=name,
        KeySchema=table["KeySchema"],
        AttributeDefinitions=table["AttributeDefinitions"],
        BillingMode="PAY_PER_REQUEST",
    )
    for item in table["Items"]:
        client.put_item(TableName=name, Item=item)
    identity: str = made["TableDescription"]["TableId"]
    return identity

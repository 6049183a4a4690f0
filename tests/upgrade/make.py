"""Makes the state folders of ``tests/upgrade/states``: an older whimbrel is stopped in each of its phases.

    python -m tests.upgrade.make /path/to/older/.venv/bin/python mariadb|mysql

The databases of one server, one for each phase, share its binary log, which is kept with them: positions in the state
folders are places in it. What is kept: ``binlog/``, ``source.sql`` (every statement that the server was given, in
order), ``server.json`` (what the server calls itself), and for each phase the project file, the state folder, and
``target.json`` (the target's tables with what was in them).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demo.servers import MariaDB, Ministack, MySQL, SqlServer

HERE = Path(__file__).parent
KINDS: dict[str, type[SqlServer]] = {"mariadb": MariaDB, "mysql": MySQL}
PATIENCE = 60.0

PROJECT = """
[source]
url = "@SOURCE@"
chunk_rows = 2
connections = 1
{source_settings}
[target]
endpoint = "@ENDPOINT@"
region = "us-east-1"
{target_settings}
[[table]]
source = "{database}.person"
target = "{database}-person"
shape = "record"
partition_key = {{ name = "id" }}
attributes = {{ full = "${{first}} ${{last}}" }}
new_columns = "include"
[[table]]
source = "{database}.purchase"
target = "{database}-purchase"
shape = "group"
partition_key = {{ name = "customerid" }}
sort_key = {{ name = "orderid" }}
entry = {{ name = "${{productid}}", value = "quantity" }}
"""

# With values whose form may change: FLOAT, members beyond the Basic Multilingual Plane, a backslash of sjis, a NULL in
# a template.
TABLES = [
    """CREATE TABLE person (id INT PRIMARY KEY, first VARCHAR(20), last VARCHAR(20), weight FLOAT,
        mood ENUM('plain', '😀'), tags SET('a', '🐦'), note VARCHAR(20) CHARACTER SET sjis) CHARSET=utf8mb4""",
    """CREATE TABLE purchase (customerid VARCHAR(20), orderid VARCHAR(20), productid VARCHAR(20), quantity INT,
        PRIMARY KEY (customerid, orderid, productid)) CHARSET=utf8mb4""",
    "INSERT INTO person VALUES "
    + ", ".join(f"({i}, 'first{i}', 'last{i}', {i}.1, 'plain', 'a', _sjis 0x815F)" for i in range(1, 8))
    + ", (8, 'first8', NULL, 0.1, '😀', 'a,🐦', NULL)",
    """INSERT INTO purchase VALUES ('c1', 'o1', 'p1', 1), ('c1', 'o1', 'p2', 2), ('c1', 'o2', 'p1', 3),
        ('c2', 'o1', 'p1', 4), ('c3', 'o1', 'p1', 5), ('c4', 'o1', 'p1', 6)""",
]
# The same without such values, so that a later whimbrel may go on.
PLAIN = [
    """CREATE TABLE person (id INT PRIMARY KEY, first VARCHAR(20) NOT NULL, last VARCHAR(20) NOT NULL, born DATE,
        height DECIMAL(5,2)) CHARSET=utf8mb4""",
    TABLES[1],
    "INSERT INTO person VALUES "
    + ", ".join(f"({i}, 'first{i}', 'last{i}', '200{i}-01-02', {i}.50)" for i in range(1, 9)),
    TABLES[3],
]
PLAIN_CHANGES = [
    "UPDATE person SET born = NULL, last = 'changed' WHERE id = 1",
    "DELETE FROM person WHERE id = 4",
    "INSERT INTO person VALUES (9, 'first9', 'last9', NULL, -0.10)",
    "UPDATE purchase SET quantity = 11 WHERE customerid = 'c1' AND productid = 'p1'",
    "DELETE FROM purchase WHERE customerid = 'c2'",
]
PLAIN_LATER = [
    "UPDATE person SET height = 1.75 WHERE id = 5",
    "DELETE FROM person WHERE id = 9",
    "UPDATE purchase SET orderid = 'o9' WHERE customerid = 'c3'",
]
CHANGES = [
    "UPDATE person SET weight = 0.3, note = _sjis 0x41815F42 WHERE id = 1",
    "UPDATE person SET mood = '😀', tags = '🐦' WHERE id = 2",
    "UPDATE person SET last = NULL WHERE id = 3",
    "DELETE FROM person WHERE id = 4",
    "INSERT INTO person VALUES (9, 'first9', 'last9', 9.9, 'plain', '', NULL)",
    "UPDATE purchase SET quantity = 11 WHERE customerid = 'c1' AND productid = 'p1'",
    "DELETE FROM purchase WHERE customerid = 'c2'",
    "INSERT INTO purchase VALUES ('c5', 'o1', 'p1', 7)",
]
LATER = [
    "UPDATE person SET weight = 0.7, mood = '😀' WHERE id = 5",
    "UPDATE person SET last = NULL WHERE id = 6",
    "DELETE FROM person WHERE id = 9",
    "UPDATE purchase SET orderid = 'o9' WHERE customerid = 'c3'",
    "DELETE FROM purchase WHERE customerid = 'c1' AND productid = 'p2'",
]
ALTERED = [
    "ALTER TABLE person ADD COLUMN city VARCHAR(20) DEFAULT 'Rome'",
    "INSERT INTO person VALUES (10, 'first10', 'last10', 10.1, 'plain', 'a', NULL, 'Paris')",
    "UPDATE person SET city = 'Oslo' WHERE id = 7",
]


class Old:
    """A migration by the older whimbrel, in a database and a folder of its own."""

    def __init__(self, python: str, folder: Path, source: SqlServer, endpoint: Ministack, phase: str) -> None:
        self.python, self.source, self.endpoint, self.folder = python, source, endpoint, folder
        self.database = f"{source.flavor}_{phase}"
        self.statements: list[str] = []
        folder.mkdir()
        self.say(f"CREATE DATABASE {self.database}")
        self.say(*(PLAIN if phase.startswith("plain") else TABLES))
        self.write_project()

    def say(self, *statements: str) -> None:
        """To the source; all of them are kept."""
        for statement in statements:
            line = " ".join(statement.split())
            whole = line if line.startswith("CREATE DATABASE") else f"USE {self.database}"
            self.statements += [whole] if whole == line else [whole, line]
            self.source.execute(line, database=None if whole == line else self.database)

    def write_project(self, source_settings: str = "", target_settings: str = "") -> None:
        self.project = PROJECT.format(
            database=self.database, source_settings=source_settings, target_settings=target_settings
        )
        text = self.project.replace("@SOURCE@", self.source.url(self.database))
        (self.folder / "whimbrel.toml").write_text(text.replace("@ENDPOINT@", self.endpoint.endpoint))

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {"WHIMBREL_SOURCE_PASSWORD": self.source.password}
        environment |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        return subprocess.Popen(
            [self.python, "-m", "whimbrel", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def run(self, *arguments: str) -> None:
        """To its end; 4 is its exit code where there are dead letters, as for a NULL in a template."""
        assert self.start(*arguments).wait(PATIENCE) in (0, 4), (self.database, arguments)

    def kill_when(self, so: Callable[[], bool], *arguments: str) -> None:
        process = self.start(*arguments)
        deadline = time.monotonic() + PATIENCE
        while not so():
            assert process.poll() is None, (self.database, arguments)
            assert time.monotonic() < deadline, (self.database, arguments)
            time.sleep(0.005)
        process.kill()
        process.wait()

    @property
    def checkpoint(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / ".whimbrel/checkpoint.json").read_text())
        return found

    def keep(self, place: Path) -> None:
        """Everything but the server's own address."""
        self.write_project()
        place.mkdir()
        (place / "whimbrel.toml").write_text(self.project.strip() + "\n")
        left_out = shutil.ignore_patterns("lock", "whimbrel.log", "status.json")
        shutil.copytree(self.folder / ".whimbrel", place / "state", ignore=left_out)
        client = self.endpoint.client()
        there = [name for name in client.list_tables()["TableNames"] if name.startswith(f"{self.database}-")]
        target = {name: described(client, name) for name in there}
        (place / "target.json").write_text(json.dumps(target, ensure_ascii=False, sort_keys=True) + "\n")


def described(client: Any, name: str) -> dict[str, Any]:
    table = client.describe_table(TableName=name)["Table"]
    items = [item for page in client.get_paginator("scan").paginate(TableName=name) for item in page["Items"]]
    wanted = {each: table[each] for each in ("TableId", "KeySchema", "AttributeDefinitions")}
    return wanted | {"Items": sorted(items, key=json.dumps)}


def in_snapshot(old: Old) -> None:
    old.write_project(source_settings="max_rows_per_second = 4")
    chunks = old.folder / ".whimbrel/export" / f"{old.database}.person"
    old.run("capture", "--until-caught-up")
    old.kill_when(lambda: len(list(chunks.glob("chunk-*.zst"))) >= 2, "snapshot")
    assert old.checkpoint["phase"] == "snapshot"
    old.say(*CHANGES)


def after_snapshot(old: Old) -> None:
    old.run("capture", "--until-caught-up")
    old.say(*CHANGES)
    old.run("snapshot")
    old.run("capture", "--until-caught-up")
    assert old.checkpoint["phase"] == "load"
    old.say(*LATER)


def in_load(old: Old) -> None:
    old.run("capture", "--until-caught-up")
    old.run("snapshot")
    old.say(*CHANGES)
    old.run("capture", "--until-caught-up")
    old.write_project(target_settings="max_write_units = 2")
    person = f"{old.database}.person"
    old.kill_when(lambda: bool(old.checkpoint["tables"].get(person, {}).get("loaded")), "load")
    assert old.checkpoint["phase"] == "load"
    old.say(*LATER)


def in_apply(old: Old) -> None:
    old.run("migrate", "--until-caught-up")
    old.say(*CHANGES)
    old.run("migrate", "--until-caught-up")
    old.say(*LATER)
    old.run("capture", "--until-caught-up")
    assert old.checkpoint["phase"] == "apply"
    old.say("UPDATE person SET weight = 0.9 WHERE id = 7")


def altered(old: Old) -> None:
    old.run("migrate", "--until-caught-up")
    old.say(*CHANGES, *ALTERED)
    old.run("capture", "--until-caught-up")
    old.say(*LATER, "UPDATE person SET city = 'Bonn' WHERE id = 10")


def with_dead_letters(old: Old) -> None:
    old.say("INSERT INTO purchase VALUES ('', 'o1', 'p1', 1), ('', 'o2', 'p1', 2)")
    old.run("migrate", "--until-caught-up")
    old.say(*CHANGES, "INSERT INTO purchase VALUES ('', 'o3', 'p1', 3)")
    old.run("migrate", "--until-caught-up")
    old.say(*LATER, "DELETE FROM purchase WHERE orderid = 'o2' AND customerid = ''")


def plain_in_load(old: Old) -> None:
    old.run("capture", "--until-caught-up")
    old.run("snapshot")
    old.say(*PLAIN_CHANGES)
    old.run("capture", "--until-caught-up")
    old.write_project(target_settings="max_write_units = 2")
    person = f"{old.database}.person"
    old.kill_when(lambda: bool(old.checkpoint["tables"].get(person, {}).get("loaded")), "load")
    assert old.checkpoint["phase"] == "load"
    old.say(*PLAIN_LATER)


def plain_in_apply(old: Old) -> None:
    old.run("migrate", "--until-caught-up")
    old.say(*PLAIN_CHANGES)
    old.run("capture", "--until-caught-up")
    assert old.checkpoint["phase"] == "apply"
    old.say(*PLAIN_LATER)


PHASES = {
    "snapshot": in_snapshot,
    "exported": after_snapshot,
    "load": in_load,
    "apply": in_apply,
    "altered": altered,
    "dead": with_dead_letters,
    "plain_load": plain_in_load,
    "plain_apply": plain_in_apply,
}


def main(python: str, kind: str) -> None:
    place = HERE / "states" / kind
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    statements: list[str] = []
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as scratch,
        KINDS[kind](None, options=("--binlog-row-metadata=FULL",)) as source,
        Ministack() as endpoint,
    ):
        for phase, stop_in in PHASES.items():
            old = Old(python, Path(scratch) / phase, source, endpoint, phase)
            stop_in(old)
            old.keep(place / phase)
            statements += old.statements
        (place / "source.sql").write_text("".join(f"{each};\n" for each in statements))
        name = "SELECT @@server_uuid" if kind == "mysql" else "SELECT CONCAT(@@server_id, ':', @@gtid_domain_id)"
        server = {"version": source.execute("SELECT VERSION()")[0][0], "name": source.execute(name)[0][0]}
        (place / "server.json").write_text(json.dumps(server, indent=1) + "\n")
        source.stop()
        (place / "binlog").mkdir()
        for file in source.data.glob("bin.*"):
            if file.suffix != ".index":  # it has paths of this machine in it
                shutil.copyfile(file, place / "binlog" / file.name)


if __name__ == "__main__":
    main(*sys.argv[1:])

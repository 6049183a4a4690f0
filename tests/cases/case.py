"""A case as its folder has it: see README.md. Shares nothing with what is under test but the reading of a mapping."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from demo.servers import SqlServer
from whimbrel.dms.read import load_rules
from whimbrel.migration.dms_rules import translated_rules
from whimbrel.project import Source, TableRule, load_project

CASES = Path(__file__).parent
Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """``name`` is the folder's, and the source database's too."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def is_for(self, flavor: str) -> bool:
        """A first line ``-- only mysql`` in schema.sql says that the other server has no such thing."""
        only = re.match(r"-- only (\w+)", (self.folder / "schema.sql").read_text(encoding="utf-8"))
        return only is None or only[1] == flavor

    @property
    def looks_up(self) -> bool:
        """Whether it needs an engine with a state of its own."""
        mapping = self.folder / "mapping.toml"
        return mapping.exists() and "\nlookup = " in mapping.read_text(encoding="utf-8")

    def run(self, server: SqlServer, step: str) -> None:
        """Send a .sql file as it is, in a connection of its own, in UTC; nothing if there is no such file."""
        path = self.folder / f"{step}.sql"
        if path.exists():
            try:
                run_script(server, self.name, path.read_text(encoding="utf-8"))
            except pymysql.err.MySQLError as error:
                raise AssertionError(f"{self.name}/{path.name}: {error}") from None

    def rules(self, source: Source, folder: Path) -> tuple[TableRule, ...]:
        """What whimbrel reads in the mapping."""
        if (self.folder / "rules.json").exists():
            return translated_rules(load_rules(self.folder / "rules.json"), source).tables
        project = folder / "whimbrel.toml"
        mapping = (self.folder / "mapping.toml").read_text(encoding="utf-8")
        project.write_text(f'[source]\nurl = "mysql://user@127.0.0.1/{self.name}"\n\n{mapping}', encoding="utf-8")
        return load_project(project).tables

    def expected(self, flavor: str) -> dict[str, Items]:
        """The items of each target."""
        own = self.folder / f"expected.{flavor}.json"
        path = own if own.exists() else self.folder / "expected.json"
        return {target: in_order(items) for target, items in json.loads(path.read_text(encoding="utf-8")).items()}

    def dead(self) -> list[str]:
        """Of each reason for a dead letter, the part that matters."""
        path = self.folder / "dead.json"
        return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def all_cases(flavor: str, wanted: str = "") -> list[Case]:
    """Those that the server can have; only the ones named in ``wanted``, separated by commas, if it names any."""
    names = [name for name in wanted.split(",") if name] or sorted(
        path.parent.name for path in CASES.glob("*/schema.sql")
    )
    return [case for case in (Case(CASES / name) for name in names) if case.is_for(flavor)]


def run_script(server: SqlServer, database: str, script: str) -> None:
    """Many statements, and compound ones, as the server itself tells them apart."""
    connection = server.connect(database, client_flag=CLIENT.MULTI_STATEMENTS, init_command="SET time_zone = '+00:00'")
    with connection, connection.cursor() as cursor:
        cursor.execute(script)
        while cursor.nextset():
            pass


def in_order(items: Items) -> Items:
    """In one form and one order, so that equal items are equal lists."""
    return sorted((normal_item(item) for item in items), key=lambda item: json.dumps(item, sort_keys=True))


def normal_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: normal(value) for name, value in item.items()}


def normal(value: Mapping[str, Any]) -> dict[str, Any]:
    """DynamoDB's JSON, with what it does not tell apart made equal: 1.0 and 1, the order of a set; binary as base64."""
    [(kind, content)] = value.items()
    if kind == "N":
        return {"N": _number(content)}
    if kind == "B":
        return {"B": content if isinstance(content, str) else b64encode(bytes(content)).decode()}
    if kind == "M":
        return {"M": normal_item(content)}
    if kind == "L":
        return {"L": [normal(each) for each in content]}
    if kind in ("SS", "NS"):
        return {kind: sorted(_number(each) if kind == "NS" else each for each in content)}
    return {kind: content}


def _number(text: str) -> str:
    number = Decimal(text)
    digits = f"{number:f}"
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) if number else "0"

"""A project to be checked: a source database, a mapping, a target, and what check says about it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from demo.servers import DynamoServer, SqlServer
from tests.conftest import unique
from whimbrel.cli.main import main

RECORD = """
shape = "record"
partition_key = { name = "id" }
"""
GROUP = """
shape = "group"
partition_key = { name = "customerid" }
sort_key = { name = "orderid" }
entry = { name = "${productid}", value = "quantity" }
"""
PURCHASE = (
    "CREATE TABLE purchase (customerid VARCHAR(20) NOT NULL, orderid VARCHAR(20) NOT NULL, "
    "productid VARCHAR(40) NOT NULL, "
    "quantity INT NOT NULL, PRIMARY KEY (customerid, orderid, productid))"
)


@dataclass
class Case:
    """``found`` is the last report's findings by code."""

    folder: Path
    source: SqlServer
    database: str
    endpoint: DynamoServer
    target: str = field(default_factory=lambda: unique("target"))
    report: dict[str, Any] = field(default_factory=dict)
    password: str = ""
    user: str = ""

    def execute(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        return self.source.execute("SET sql_mode = ''", *statements, database=self.database)

    def project(self, mapping: str, table: str = "t", *, top: str = "", target: str = "", source: str = "") -> None:
        url = self.source.url(self.database)
        if self.user:
            url = url.replace(f"//{self.source.user}@", f"//{self.user}@")
        (self.folder / "whimbrel.toml").write_text(f"""{top}
[source]
url = "{url}"
{source}
[target]
endpoint = "{self.endpoint.endpoint}"
region = "us-east-1"
{target}
[[table]]
source = "{table}"
target = "{self.target}"
{mapping}
""")

    def call(self, command: str, *options: str) -> Result:
        result = CliRunner().invoke(
            main,
            [command, "--project", str(self.folder / "whimbrel.toml"), *options],
            env={"WHIMBREL_SOURCE_PASSWORD": self.password or self.source.password},
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def check(self, *options: str) -> dict[str, list[dict[str, str]]]:
        """What ``whimbrel check --json`` finds, by code. Its exit code must say whether there are errors."""
        result = self.call("check", "--json", *options)
        self.report = json.loads(result.stdout)
        errors = [each for each in self.report["findings"] if each["severity"] == "error"]
        assert result.exit_code == (2 if errors else 0), self.report["findings"]
        assert self.report["errors"] == len(errors)
        found: dict[str, list[dict[str, str]]] = {}
        for each in self.report["findings"]:
            assert each["reason"]
            assert each["remedy"]
            found.setdefault(each["code"], []).append(each)
        return found

    def reason(self, code: str, *options: str) -> str:
        """The reasons of the findings of ``code``, one a line; there must be one."""
        found = self.check(*options)
        assert code in found, f"no {code} in {found}"
        return "\n".join(f"{each['place']}: {each['reason']}" for each in found[code])

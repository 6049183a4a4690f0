"""What ``cutover``, ``rollback`` and ``finish`` ask of AWS, against their policies: no right is missing, none unused.

Each command's calls are recorded by a proxy. Each may do what ``migrate`` may, and what its own policy says.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from demo.application import allow
from demo.servers import Kinesalite, MariaDB, Ministack
from tests.aws.calls import Call, forbidden, make_marks, of_dynamodb, rights, unused, without_streams
from tests.aws.test_template import written
from tests.conftest import unique
from tests.e2e.work import Work
from tests.faults import FaultProxy
from tests.function.served import Served
from tests.handover.both_sides import CUTOVER
from whimbrel.project import load_project

SESSION = """
partition_key = { name = "id", type = "N" }
[table.ttl]
attribute = "expires"
column = "ends"
"""
PARTS = """
[[table]]
source = "{0}.part"
target = "{1}"
shape = "group"
partition_key = {{ name = "g", type = "N" }}
entry = {{ name = "${{id}}", value = "body" }}
"""


class Shop:
    """Two tables whose cutover is recorded; ``marks`` is their table of marks."""

    def __init__(self, folder: Path, source: MariaDB, target: Ministack, marks: str, served: Served | None) -> None:
        self.marks, self.parts = marks, unique("part")
        self.proxy = FaultProxy(target.endpoint)
        self.client = target.client()
        make_marks(self.client, self.marks)
        database = source.new_database()
        source.execute(
            "CREATE TABLE session (id INT PRIMARY KEY, ends DATETIME)",
            "CREATE TABLE part (g INT, id INT, body TEXT, PRIMARY KEY (g, id))",
            "INSERT INTO session VALUES (1, '2030-01-01'), (2, NULL)",
            "INSERT INTO part VALUES (1, 1, 'a'), (1, 2, 'b')",
            database=database,
        )
        mapping = SESSION + PARTS.format(database, self.parts)
        self.work = Work(folder, source, database, target, unique("session"), mapping, "session")
        self.work.source_settings, self.work.endpoint_url = "", self.proxy.endpoint
        allow(source, database, "back")
        self.work.environment["WHIMBREL_REVERSE_PASSWORD"] = source.password
        more = served.project_lines if served else ""
        self.work.target_settings = f'mark = "{self.marks}"\n{CUTOVER}route_item = true\n{more}'
        self.work.write_project()

    def calls(self, *arguments: str) -> set[Call]:
        """What the command asks."""
        del self.proxy.log[:]
        self.work.call(*arguments)
        return {call for each in self.proxy.log for call in of_dynamodb(each, self.marks)}

    def allowed(self, account: str) -> set[Call]:
        return without_streams(rights(load_project(self.work.folder / "whimbrel.toml"), account))

    def write(self) -> None:
        """As the application does after a cutover."""
        nulls = {name: {"NULL": True} for name in ("ends", "expires")}
        self.client.put_item(TableName=self.work.target, Item={"id": {"N": "7"}, **nulls})
        self.client.update_item(
            TableName=self.parts,
            Key={"g": {"N": "1"}},
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": "3"},
            ExpressionAttributeValues={":value": {"S": "c"}},
        )


@pytest.mark.parametrize(
    "streamed", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["in one process", "streamed"]
)
def test_every_call_is_allowed_and_every_right_is_used(
    tmp_path: Path, mariadb: MariaDB, ministack: Ministack, kinesalite: Kinesalite, streamed: bool
) -> None:
    with ExitStack() as held:
        marks = unique("marks")
        at = replace(ministack.target(), mark=marks)
        served = held.enter_context(Served(kinesalite, ministack, target=at)) if streamed else None
        shop = Shop(tmp_path, mariadb, ministack, marks, served)
        held.callback(shop.proxy.close)
        shop.work.call("migrate", "--until-caught-up")
        shop.work.call("verify")
        made = {"cutover": shop.calls("cutover", "--yes", "--until-open")}
        shop.write()
        made["rollback"] = shop.calls("rollback", "--yes")
        after = shop.calls("migrate", "--until-caught-up")
        shop.work.call("verify")
        made["cutover"] |= shop.calls("cutover", "--yes", "--until-open")
        made["finish"] = shop.calls("finish", "--yes")
    migrate = shop.allowed("migrate")
    for account, calls in made.items():
        own = shop.allowed(account)
        assert forbidden(migrate | own, calls) == set(), account
        assert unused(own, calls) == set(), account
    assert forbidden(migrate | shop.allowed("rollback"), after) == set()


def test_nobody_has_rights_for_a_cutover_that_is_refused(tmp_path: Path) -> None:
    always = {"policy-migrate.json", "policy-verify.json", "template.json"}
    back = 'mark = "off"\n[cutover]\nreverse_user = "back"\n'
    handing_over = {"policy-cutover.json", "policy-rollback.json", "policy-finish.json"}
    for name, lines, expected in (
        ("back", back, handing_over),
        ("without", "", {"policy-cutover.json"}),
        ("shared", 'shared = ["records"]\n', set()),
    ):
        (tmp_path / name).mkdir()
        assert set(written(tmp_path / name, stream=lines)) == always | expected

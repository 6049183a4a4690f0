"""``finish`` switches a table's time to live on, and nothing does before."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from demo.servers import MariaDB, SqlServer
from tests.conftest import unique
from tests.e2e.work import Work
from tests.handover.conftest import set_up

SESSION = """
partition_key = { name = "id", type = "N" }
[table.ttl]
attribute = "expires"
column = "ends"
"""


def status(work: Work) -> str:
    described: Any = work.endpoint.client().describe_time_to_live(TableName=work.target)["TimeToLiveDescription"]
    return f"{described['TimeToLiveStatus']} {described.get('AttributeName', '')}".strip()


def test_items_expire_when_the_way_back_is_given_up(make_shop: Callable[[SqlServer], Work], mariadb: MariaDB) -> None:
    shop = make_shop(mariadb)
    shop.source.execute(
        "CREATE TABLE session (id INT PRIMARY KEY, ends DATETIME)",
        "INSERT INTO session VALUES (1, '2020-01-01'), (2, NULL)",
        database=shop.database,
    )
    work = Work(shop.folder / "own", shop.source, shop.database, shop.endpoint, unique("session"), SESSION, "session")
    work.source_settings = ""
    work.folder.mkdir()
    set_up(work)
    work.call("migrate", "--until-caught-up")
    work.call("verify")
    work.call("cutover", "--yes", "--until-open")
    assert status(work) == "DISABLED"
    said = work.call("finish", "--yes").output
    assert f"expires  items of {work.target}, by expires" in said
    assert status(work) in ("ENABLED expires", "ENABLING expires")
    assert json.loads((work.state / "finished.json").read_text())["expiring"] == {work.target: "expires"}
    work.call("finish", "--yes")  # again

"""Two tables of one project are handed over as one; one of them has triggers of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from demo.servers import SqlServer
from tests.conftest import unique
from tests.e2e.work import GROUP, Work
from tests.handover.test_cutover import cut, step, triggers
from tests.handover.test_fence import CLOSED, tried

LINES = """
[[table]]
source = "{database}.line"
target = "{target}"
shape = "record"
partition_key = {{ name = "id", type = "N" }}
"""


@pytest.mark.slow
@pytest.mark.parametrize("server", ["mariadb", "mysql"])
def test_all_tables_are_closed_at_one_position_or_none(
    request: pytest.FixtureRequest, make_shop: Callable[[SqlServer], Work], server: str
) -> None:
    work = make_shop(request.getfixturevalue(server))
    work.source.execute(
        "CREATE TABLE line (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
        "CREATE TRIGGER theirs BEFORE INSERT ON line FOR EACH ROW SET NEW.v = NEW.v + 1",
        "INSERT INTO line (v) VALUES (1), (2)",
        database=work.database,
    )
    other = Work(work.folder / "both", work.source, work.database, work.endpoint, unique("purchase"))
    other.folder.mkdir()
    other.mapping = GROUP + LINES.format(database=work.database, target=unique("line"))
    other.source_settings = ""
    other.target_settings = 'mark = "off"\n[cutover]\nmax_stall = 0.001'
    other.write_project()
    other.call("migrate", "--until-caught-up")
    other.call("verify")
    assert "error[CutoverUndone]" in other.call("cutover", "--yes", code=3).output
    assert (triggers(other), step(other)) == (0, "FOLLOWING")
    with closing(work.source.connect(work.database, user="app")) as app:
        assert tried(app, "INSERT INTO line (v) VALUES (3)") == 0
        other.call("migrate", "--until-caught-up")  # the triggers in the binlog are no obstacle
        other.target_settings = 'mark = "off"\n[cutover]\nmax_stall = 20'
        other.write_project()
        assert cut(other)["tables"] == [f"{work.database}.line", f"{work.database}.purchase"]
        assert triggers(other) == 6
        assert tried(app, "INSERT INTO line (v) VALUES (4)") == CLOSED
        assert tried(app, "DELETE FROM purchase") == CLOSED
    items = other.endpoint.client().scan(TableName=other.mapping.split('target = "')[1].split('"')[0])["Items"]
    assert sorted(int(item["v"]["N"]) for item in items) == [2, 3, 4]
    refused = work.call("cutover", "--yes", code=3).output  # another project, with one of the tables
    assert "error[HandoverTaken]" in refused

"""Exports of a table that a migration writes: everything up to the Position that they say is in them, while apply
continues.
"""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.work import RECORD, Work

LAKE = '[lake]\nconsistent = true\n[[dataset]]\ntable = "{target}"\nname = "lines"\n'


def prepared(work: Work) -> None:
    work.mapping = RECORD
    work.source.execute(
        f"CREATE TABLE `{work.database}`.purchase (orderid VARCHAR(20), customerid VARCHAR(20), productid VARCHAR(20), "
        "quantity INT, PRIMARY KEY (customerid, orderid, productid))"
    )
    insert(work, 0)
    work.write_project()
    project = work.folder / "whimbrel.toml"
    project.write_text(project.read_text() + LAKE.format(target=work.target))


def insert(work: Work, number: int) -> tuple[str, int]:
    """A Position that has the row's change before it."""
    work.source.execute(f"INSERT INTO `{work.database}`.purchase VALUES ('o', 'c', 'p{number}', {number})")
    [[file, offset, *_]] = work.source.execute("SHOW MASTER STATUS")
    return file, int(offset)


def exported(work: Work) -> tuple[tuple[str, int], set[int]]:
    """The Position that the data set says, and the numbers that it has."""
    said = json.loads(work.call("export", work.target, "--json").stdout)
    made = json.loads(work.call("convert", work.target, "--json").stdout)
    assert said["position"] == made["position"]
    file, _, offset = said["position"].rpartition(":")
    rows = work.call("query", "-f", "json", "SELECT quantity FROM lines").stdout.splitlines()
    return (file, int(offset)), {json.loads(row)["quantity"] for row in rows}


def test_everything_up_to_the_position_is_in_the_export(work: Work) -> None:
    prepared(work)
    done: dict[int, tuple[str, int]] = {}
    seen: list[tuple[str, int]] = []
    with work.running("migrate") as process:
        work.wait_for(lambda: work.checkpoint()["applied_position"], process)
        for turn in range(3):
            for number in range(turn * 20 + 1, turn * 20 + 21):
                done[number] = insert(work, number)
            work.wait_for(lambda: _applied(work) >= done[turn * 20 + 5], process)  # noqa: B023
            position, rows = exported(work)
            assert {number for number, at in done.items() if at <= position} <= rows
            seen.append(position)
    assert seen == sorted(seen)
    assert seen[0] >= done[5]
    work.call("migrate", "--until-caught-up")
    position, rows = exported(work)
    assert position == _applied(work)
    assert rows == {0, *done}
    asked = f"{seen[0][0]}:{seen[0][1]}"
    found = work.call("query", "-f", "json", "--as-of-position", asked, "SELECT max(quantity) AS n FROM lines").stdout
    assert 5 <= json.loads(found)["n"] <= 20
    said = json.loads(work.call("status", "--json").stdout)
    assert said["data_sets"][0]["position"] == f"{position[0]}:{position[1]}"
    assert f"up to {position[0]}:{position[1]}" in work.call("status").stdout


def _applied(work: Work) -> tuple[str, int]:
    found: dict[str, Any] = work.checkpoint()["applied_position"]
    return found["file"], found["offset"]


def test_nothing_is_said_that_is_not_certain(work: Work) -> None:
    prepared(work)
    work.call("migrate", "--until-caught-up")
    assert exported(work)[1] == {0}
    project = work.folder / "whimbrel.toml"
    text = project.read_text()

    def position() -> str:
        return str(json.loads(work.call("export", work.target, "--json", "--compare").stdout)["position"])

    assert position()
    project.write_text(text.replace("consistent = true\n", ""))
    assert position() == "", "an eventually consistent read may miss what was acknowledged"
    project.write_text(text)
    (work.state / "dead.jsonl").write_bytes(b"{}\n")
    assert position() == "", "a row that became no item"
    (work.state / "dead.jsonl").unlink()
    checkpoint = (work.state / "checkpoint.json").read_bytes()
    (work.state / "checkpoint.json").unlink()
    assert position() == "", "nothing is known of a migration"
    (work.state / "checkpoint.json").write_bytes(checkpoint)
    assert position()

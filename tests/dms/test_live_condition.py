"""A condition that changes are written under, on real servers: what somebody else took over is left to them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack
from tests.conftest import unique
from tests.dms.test_live import DmsWork, change, init, selection
from tests.e2e import judge

OWNED = {
    "expression": "attribute_not_exists(#o) OR #o <> :app",
    "expression-attribute-names": [{"name": "#o", "value": "owner"}],
    "expression-attribute-values": [{"name": ":app", "value": {"S": "app"}}],
    "apply-during-cdc": True,
}


@pytest.fixture
def work(tmp_path: Path, mariadb: MariaDB, ministack: Ministack) -> DmsWork:
    made = DmsWork(tmp_path, mariadb, mariadb.new_database(), ministack, unique("people"))
    made.write_project()
    made.source.execute("CREATE TABLE people (id INT PRIMARY KEY, name VARCHAR(20))", database=made.database)
    change(made, "INSERT INTO people VALUES (1,'Ada'),(2,'Bo'),(3,'Cy')")
    made.write_rules(
        selection(made.database, "people"),
        {
            "rule-type": "object-mapping",
            "rule-id": "2",
            "rule-name": "2",
            "rule-action": "map-record-to-record",
            "object-locator": {"schema-name": "%", "table-name": "people"},
            "target-table-name": made.target,
            "mapping-parameters": {"partition-key-name": "id", "condition-expression": OWNED},
        },
    )
    return made


def put(work: DmsWork, key: int, **attributes: str) -> None:
    item = {"id": {"N": str(key)}, **{name: {"S": value} for name, value in attributes.items()}}
    work.endpoint.client().put_item(TableName=work.target, Item=item)


def people(work: DmsWork) -> dict[int, dict[str, Any]]:
    found = judge.items(work.endpoint, work.target, "id")
    return {int(key[0]): {name: value for name, value in item.items() if name != "id"} for key, item in found.items()}


def verified(work: DmsWork, code: int = 0) -> dict[str, Any]:
    report = json.loads(work.dms("verify", "--json", code=code).stdout.splitlines()[-1])
    found: dict[str, Any] = report["tables"][0]
    return found


def test_what_the_application_took_over_is_left_to_it(work: DmsWork) -> None:
    work.dms("migrate", "--until-caught-up")
    saved = (work.state / "checkpoint.json").read_bytes()
    put(work, 1, name="Ada L", owner="app")
    put(work, 2, name="Bo B", owner="app")
    put(work, 3, name="Cy", owner="somebody")
    put(work, 9, name="New", owner="app")
    change(
        work,
        "UPDATE people SET name = 'Eve' WHERE id = 1",
        "DELETE FROM people WHERE id = 2",
        "UPDATE people SET name = 'Cyd' WHERE id = 3",
        "UPDATE people SET name = 'Cyn' WHERE id = 3",
        "INSERT INTO people VALUES (4,'Di'),(9,'Flo')",
    )
    told = work.dms("migrate", "--until-caught-up").output
    assert "3 writes skipped by their table's condition" in told
    wanted = {
        1: {"name": "Ada L", "owner": "app"},
        2: {"name": "Bo B", "owner": "app"},
        3: {"name": "Cyn"},
        4: {"name": "Di"},
        9: {"name": "New", "owner": "app"},
    }
    assert people(work) == wanted
    assert "skipped    3 writes" in work.call("status").output
    report = verified(work)
    assert (report["held"], report["counts"]) == (3, {})
    assert "3 items were written by another application" in work.dms("verify").output

    work.set_back(saved)  # as after a crash: the log is played again
    work.dms("migrate", "--until-caught-up")
    assert people(work) == wanted
    put(work, 4, name="wrong")  # which nothing protects
    assert verified(work, code=5)["counts"] == {"changed": 1}
    put(work, 4, name="Di")

    put(work, 1, name="Ada L")  # handed back
    assert verified(work, code=5)["counts"] == {"changed": 1}
    change(work, "UPDATE people SET name = 'Eva' WHERE id = 1")
    work.dms("migrate", "--until-caught-up")
    assert people(work)[1] == {"name": "Eva"}
    assert verified(work)["held"] == 2


def test_a_load_into_a_table_in_use_leaves_it_what_it_has(work: DmsWork) -> None:
    work.dms("migrate", "--until-caught-up")  # makes the table
    shutil.rmtree(work.state)
    work.remove_marks()
    put(work, 2, name="Bo B", owner="app")
    put(work, 3, name="stale")
    told = work.dms("migrate", "--until-caught-up", "--into-existing").output
    assert "1 writes skipped" in told
    assert people(work) == {1: {"name": "Ada"}, 2: {"name": "Bo B", "owner": "app"}, 3: {"name": "Cy"}}
    assert verified(work)["held"] == 1


def test_a_refill_and_a_retry_are_held_back_too(work: DmsWork) -> None:
    work.dms("migrate", "--until-caught-up")
    put(work, 1, name="Ada L", owner="app")
    work.dms("refill", f"{work.database}.people")
    assert people(work)[1] == {"name": "Ada L", "owner": "app"}
    assert "skipped    1 writes" in work.call("status").output
    assert verified(work)["held"] == 1


def test_the_project_file_made_from_it_has_the_condition(work: DmsWork) -> None:
    output = work.folder / "made.toml"
    init(work, work.source.url("").rstrip("/"), output)
    assert "[table.condition]" in output.read_text()
    (work.folder / "whimbrel.toml").write_text(output.read_text())
    work.call("migrate", "--until-caught-up")
    put(work, 1, name="Ada L", owner="app")
    change(work, "UPDATE people SET name = 'Eve' WHERE id = 1")
    assert "1 writes skipped" in work.call("migrate", "--until-caught-up").output

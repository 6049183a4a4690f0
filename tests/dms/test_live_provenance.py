"""Headers, before images and soft deletes of a DMS file on real servers: load, log, replay, verification and retry."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.servers import DynamoServer, MariaDB, Ministack, MySQL, SqlServer
from tests.conftest import unique
from tests.dms.test_live import DmsWork, change, init, on_columns, selection
from tests.e2e import judge

CREATE = "CREATE TABLE people (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, note LONGTEXT) CHARACTER SET utf8mb4"
HEADERS = {
    "op": "$AR_H_OPERATION",
    "at": "$AR_H_STREAM_POSITION",
    "seq": "$AR_H_CHANGE_SEQ",
    "committed": "$AR_H_COMMIT_TIMESTAMP",
    "state": "operation_indicator('D', 'U', 'I')",
}


@pytest.fixture
def work(tmp_path: Path, mariadb: MariaDB, ministack: Ministack) -> DmsWork:
    return loaded(tmp_path, mariadb, ministack)


def loaded(folder: Path, source: SqlServer, endpoint: DynamoServer) -> DmsWork:
    """Three people, loaded, by a file with everything that says how a row came."""
    made = DmsWork(folder, source, source.new_database(), endpoint, unique("people"))
    made.write_project()
    made.source.execute(CREATE, database=made.database)
    change(made, "INSERT INTO people VALUES (1,'Ada','x'),(2,'Bo',NULL),(3,'Cy','z')")
    text = {"data-type": {"type": "string", "length": 50}}
    before = {"before-image-def": {"column-filter": "non-lob"}}
    made.write_rules(
        selection(made.database, "people"),
        *(
            on_columns(number, "add-column", "", value=name, expression=expression, **text)  # type: ignore[arg-type]
            for number, (name, expression) in enumerate(HEADERS.items(), 2)
        ),
        on_columns(8, "add-before-image-columns", "", **before),  # type: ignore[arg-type]
        {
            "rule-type": "object-mapping",
            "rule-id": "9",
            "rule-name": "9",
            "rule-action": "map-record-to-record",
            "object-locator": {"schema-name": "%", "table-name": "people"},
            "target-table-name": made.target,
            "mapping-parameters": {"partition-key-name": "id"},
        },
    )
    made.dms("migrate", "--until-caught-up")
    return made


def people(work: DmsWork) -> dict[int, dict[str, Any]]:
    return {int(key[0]): item for key, item in judge.items(work.endpoint, work.target, "id").items()}


def without_headers(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in ("at", "seq", "committed")}


def verified(work: DmsWork, *, equal: bool = True) -> dict[str, Any]:
    report = json.loads(work.dms("verify", "--json", code=0 if equal else 5).stdout.splitlines()[-1])
    found: dict[str, Any] = report["tables"][0]
    return found


CHANGES = (
    "BEGIN",
    "UPDATE people SET name = 'Eve' WHERE id = 1",
    "UPDATE people SET note = 'y' WHERE id = 1",
    "DELETE FROM people WHERE id = 2",
    "UPDATE people SET id = 30 WHERE id = 3",
    "INSERT INTO people VALUES (4,'Di',NULL),(5,'Ed',NULL)",
)


def test_each_item_says_how_its_row_came_and_a_deleted_one_stays(work: DmsWork) -> None:
    loaded = people(work)
    start = work.checkpoint()["start"]
    assert {item["at"] for item in loaded.values()} == {f"{start['file']}:{start['offset']}"}
    assert without_headers(loaded[1]) == {"id": 1, "name": "Ada", "note": "x", "op": "INSERT", "state": "I"}
    saved = (work.state / "checkpoint.json").read_bytes()

    change(work, *CHANGES)
    work.dms("migrate", "--until-caught-up")
    found = people(work)
    assert [without_headers(found[key]) for key in sorted(found)] == [
        {"id": 1, "name": "Eve", "note": "y", "op": "UPDATE", "state": "U", "BI_id": 1, "BI_name": "Eve"},
        {"id": 2, "name": "Bo", "op": "DELETE", "state": "D"},
        {"id": 3, "name": "Cy", "note": "z", "op": "DELETE", "state": "D"},
        {"id": 4, "name": "Di", "op": "INSERT", "state": "I"},
        {"id": 5, "name": "Ed", "op": "INSERT", "state": "I"},
        {"id": 30, "name": "Cy", "note": "z", "op": "UPDATE", "state": "U", "BI_id": 3, "BI_name": "Cy"},
    ]
    in_log_order = [found[key] for key in (1, 2, 3, 4, 5)]
    numbers = [int(item["seq"][16:]) for item in in_log_order]
    assert numbers == [2, 3, 4, 5, 6]
    assert found[30]["seq"] == found[3]["seq"]  # one change
    assert {item["seq"][:16] for item in found.values()} == {loaded[1]["seq"][:16]}
    assert found[4]["at"] == found[5]["at"]  # one event
    [committed] = {item["committed"] for item in found.values()}
    now = datetime.now(UTC)
    assert now - timedelta(minutes=2) < datetime.fromisoformat(committed) <= now

    report = verified(work)
    assert report["softly_deleted"] == 2
    assert report["not_compared"] == ["BI_id", "BI_name", "at", "committed", "op", "seq", "state"]
    told = work.dms("verify").output
    assert "2 items are kept although their rows are gone" in told
    assert "not compared (change metadata): BI_id, BI_name, at" in told

    work.set_back(saved)  # as after a crash: the log is played again
    work.dms("migrate", "--until-caught-up")
    assert people(work) == found

    change(work, "INSERT INTO people VALUES (2,'Bob',NULL)")
    work.dms("migrate", "--until-caught-up")
    assert without_headers(people(work)[2]) == {"id": 2, "name": "Bob", "op": "INSERT", "state": "I"}
    assert verified(work)["softly_deleted"] == 1


@pytest.mark.slow
def test_mysql_says_when_a_change_was_committed_to_the_microsecond(
    tmp_path: Path, mysql: MySQL, ministack: Ministack
) -> None:
    work = loaded(tmp_path, mysql, ministack)
    change(work, *CHANGES)
    work.dms("migrate", "--until-caught-up")
    found = people(work)
    assert [found[key]["state"] for key in (1, 2, 3, 4, 5, 30)] == ["U", "D", "D", "I", "I", "U"]
    [committed] = {item["committed"] for item in found.values()}
    assert datetime.fromisoformat(committed) <= datetime.now(UTC)
    assert not committed.endswith(".000000Z")
    assert verified(work)["softly_deleted"] == 2


def test_a_refill_is_no_change(work: DmsWork) -> None:
    change(work, "UPDATE people SET name = 'Eve' WHERE id = 1", "DELETE FROM people WHERE id = 2")
    work.dms("migrate", "--until-caught-up")
    found = people(work)
    output = work.folder / "made.toml"
    init(work, work.source.url("").rstrip("/"), output)
    text = output.read_text().replace('new_columns = "stop"', 'new_columns = "include"')
    (work.folder / "whimbrel.toml").write_text(text)
    work.source.execute("ALTER TABLE people ADD COLUMN age INT NOT NULL DEFAULT 7", database=work.database)
    work.call("refill", f"{work.database}.people")
    assert people(work) == {key: item | ({"age": 7} if item["state"] != "D" else {}) for key, item in found.items()}


def test_what_verify_does_not_compare_hides_no_difference(work: DmsWork) -> None:
    change(work, "DELETE FROM people WHERE id = 2")
    work.dms("migrate", "--until-caught-up")
    client = work.endpoint.client()

    def set_attribute(key: int, name: str, value: str) -> None:
        client.update_item(
            TableName=work.target,
            Key={"id": {"N": str(key)}},
            UpdateExpression="SET #n = :v",
            ExpressionAttributeNames={"#n": name},
            ExpressionAttributeValues={":v": {"S": value}},
        )

    set_attribute(3, "op", "anything")
    assert verified(work)["counts"] == {}
    set_attribute(1, "state", "D")  # its row is there
    assert verified(work, equal=False)["counts"] == {"changed": 1}
    set_attribute(1, "state", "I")
    set_attribute(1, "name", "other")
    assert verified(work, equal=False)["counts"] == {"changed": 1}
    set_attribute(1, "name", "Ada")
    set_attribute(2, "state", "U")  # its row is not
    assert verified(work, equal=False)["counts"] == {"extra": 1}


@pytest.mark.parametrize("applied_first", [False, True], ids=["retry then apply", "apply then retry"])
def test_a_retry_says_what_the_log_would_have_said(work: DmsWork, applied_first: bool) -> None:
    change(work, "UPDATE people SET name = 'Eve', note = REPEAT('x', 410 * 1024) WHERE id = 1")
    change(work, "UPDATE people SET note = REPEAT('x', 410 * 1024) WHERE id = 2", "DELETE FROM people WHERE id = 3")
    work.dms("migrate", "--until-caught-up", code=4)
    assert [people(work)[key]["state"] for key in (1, 2, 3)] == ["D", "D", "D"]
    assert [letter["came"]["operation"] for letter in work.letters()] == ["UPDATE", "UPDATE"]

    change(work, "UPDATE people SET note = 'short' WHERE id = 1")
    if applied_first:
        work.dms("migrate", "--until-caught-up", code=4)
    work.dms("retry-dead", code=4)  # that of 2 is still too large
    if not applied_first:
        retried = people(work)[1]
        assert (retried["note"], retried["state"], retried["BI_name"]) == ("short", "U", "Ada")
        assert int(retried["seq"][16:]) == 1
        work.dms("migrate", "--until-caught-up", code=4)
    found = people(work)
    assert without_headers(found[1]) == {
        "id": 1, "name": "Eve", "note": "short", "op": "UPDATE", "state": "U", "BI_id": 1, "BI_name": "Eve",
    }  # fmt: skip
    assert int(found[1]["seq"][16:]) == 4
    assert found[2]["state"] == "D"
    assert verified(work, equal=False)["counts"] == {"unmappable": 1}


def test_the_project_file_made_from_it_goes_on_with_the_same_migration(work: DmsWork) -> None:
    """What init writes makes the same items: the state folder takes it for the same rules."""
    output = work.folder / "made.toml"
    init(work, work.source.url("").rstrip("/"), output)
    shutil.copy(output, work.folder / "whimbrel.toml")
    change(work, *CHANGES)
    work.call("migrate", "--until-caught-up")
    assert [people(work)[key]["state"] for key in (1, 2, 3, 4, 30)] == ["U", "D", "D", "I", "U"]

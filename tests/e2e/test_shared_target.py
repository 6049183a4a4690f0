"""Several projects write into one table: each owns the keys of its templates, and looks at no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from demo.servers import Ministack, SqlServer
from tests.conftest import unique
from tests.e2e.work import Work

KEYS = """
partition_key = {{ name = "pk", value = "{0}#${{id}}" }}
sort_key = {{ name = "sk", value = "{0}" }}
"""


def new_work(folder: Path, source: SqlServer, endpoint: Ministack, target: str, word: str, shared: bool = True) -> Work:
    folder.mkdir()
    settings = f'shared = ["{target}"]' if shared else ""
    work = Work(folder, source, source.new_database(), endpoint, target, target_settings=settings, table="t")
    work.mapping = KEYS.format(word)
    work.write_project()
    source.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t VALUES (1, 1), (2, 2)", database=work.database
    )
    return work


def keys(work: Work) -> set[str]:
    return {item["pk"]["S"] for item in work.endpoint.client().scan(TableName=work.target)["Items"]}


@pytest.mark.parametrize("source_server", ["mariadb", pytest.param("mysql", marks=pytest.mark.slow)], indirect=True)
def test_each_looks_at_its_own_keys(source_server: SqlServer, ministack: Ministack, tmp_path: Path) -> None:
    target = unique("shared")
    one = new_work(tmp_path / "one", source_server, ministack, target, "A")
    one.call("migrate", "--until-caught-up")
    ministack.client().put_item(TableName=target, Item={"pk": {"S": "APP#1"}, "sk": {"S": "A"}})
    two = new_work(tmp_path / "two", source_server, ministack, target, "B")
    assert "target-not-empty" not in two.call("check").output
    two.call("migrate", "--until-caught-up")
    for work in (one, two):
        source_server.execute("UPDATE t SET v = 5", "DELETE FROM t WHERE id = 2", database=work.database)
        work.call("migrate", "--until-caught-up")
        assert work.verify()["counts"] == {}
    assert keys(one) == {"A#1", "B#1", "APP#1"}
    ministack.client().put_item(TableName=target, Item={"pk": {"S": "B#7"}, "sk": {"S": "B"}})
    one.verify()
    assert two.verify(equal=False)["counts"] == {"extra": 1}
    assert "others write to" in one.call("cutover", "--plan", code=2).output
    assert "others write to" in one.call("cutover", "--yes", code=2).output


@pytest.mark.parametrize("source_server", ["mariadb", pytest.param("mysql", marks=pytest.mark.slow)], indirect=True)
def test_keys_of_ones_own_must_not_be_there_yet(source_server: SqlServer, ministack: Ministack, tmp_path: Path) -> None:
    target = unique("shared")
    one = new_work(tmp_path / "one", source_server, ministack, target, "A")
    one.call("migrate", "--until-caught-up")
    ministack.client().put_item(TableName=target, Item={"pk": {"S": "B#1"}, "sk": {"S": "B"}})
    two = new_work(tmp_path / "two", source_server, ministack, target, "B")
    found = json.loads(two.call("check", "--json", code=2).stdout)["findings"]
    said = "it is shared, and has an item of one of our keys that this migration did not write: "
    assert [each["reason"] for each in found if each["code"] == "target-not-empty"] == [
        f'{said}{{"pk":{{"S":"B#1"}},"sk":{{"S":"B"}}}}'
    ]
    assert "TargetNotEmpty" in two.call("migrate", "--until-caught-up", code=3).output
    two.call("migrate", "--until-caught-up", "--into-existing")
    two.verify()


@pytest.mark.parametrize(
    ("word", "shared", "why"),
    [("A", True, "has keys that ours could meet"), ("B", False, "does not say that it shares it")],
)
def test_keys_that_could_meet_are_refused(
    source_server: SqlServer, ministack: Ministack, tmp_path: Path, word: str, shared: bool, why: str
) -> None:
    target = unique("shared")
    one = new_work(tmp_path / "one", source_server, ministack, target, word, shared)
    one.call("migrate", "--until-caught-up")
    two = new_work(tmp_path / "two", source_server, ministack, target, "A")
    refused = two.call("migrate", "--until-caught-up", "--into-existing", code=3).output
    assert "error[TargetTaken]" in refused
    assert why in refused

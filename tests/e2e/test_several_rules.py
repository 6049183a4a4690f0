"""One table in several [[table]] sections: each makes items of its own, and is repaired by itself, by its number."""

from __future__ import annotations

import json
from typing import Any

import pytest

from demo.servers import MariaDB, Ministack, SqlServer
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work

MAPPING = """
partition_key = {{ name = "pk", value = "USER#${{follower}}" }}
sort_key = {{ name = "sk", value = "FOLLOWS#${{followed}}" }}

[[table]]
source = "{database}.follow"
target = "{target}"
partition_key = {{ name = "pk", value = "USER#${{followed}}" }}
sort_key = {{ name = "sk", value = "BY#${{rank:03d}}#${{follower}}" }}
exclude = ["since"]

[[table]]
source = "{database}.follow"
target = "{target}.days"
shape = "group"
partition_key = {{ name = "day", value = "${{since}}" }}
entry = {{ name = "${{follower}}>${{followed}}", value = "rank", as = "map", into = "follows" }}
filter = "rank >= 0"
"""


def expected(work: Work) -> dict[tuple[str, ...], dict[str, Any]]:
    """Of all three sections; of the second, what its format can carry."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for follower, followed, since, rank in work.source.execute(
        "SELECT follower, followed, CAST(since AS CHAR), `rank` FROM follow", database=work.database
    ):
        both = {"follower": {"S": follower}, "followed": {"S": followed}, "rank": {"N": str(rank)}}
        one = {"pk": {"S": f"USER#{follower}"}, "sk": {"S": f"FOLLOWS#{followed}"}, "since": {"S": since}, **both}
        found[one["pk"]["S"], one["sk"]["S"]] = one
        if 0 <= rank < 1000:
            two = {"pk": {"S": f"USER#{followed}"}, "sk": {"S": f"BY#{rank:03d}#{follower}"}, **both}
            found[two["pk"]["S"], two["sk"]["S"]] = two
        if rank >= 0:
            day = found.setdefault((since,), {"day": {"S": since}, "follows": {"M": {}}})
            day["follows"]["M"][f"{follower}>{followed}"] = {"N": str(rank)}
    return found


def items(work: Work) -> dict[tuple[str, ...], dict[str, Any]]:
    client = work.endpoint.client()
    scanned = [item for name in (work.target, f"{work.target}.days") for item in client.scan(TableName=name)["Items"]]
    return {tuple(item[name]["S"] for name in ("pk", "sk", "day") if name in item): item for item in scanned}


@pytest.mark.parametrize("source_server", ["mariadb", pytest.param("mysql", marks=pytest.mark.slow)], indirect=True)
def test_each_section_is_followed_repaired_and_verified_by_itself(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack
) -> None:
    work = make_work(source_server, ministack, table="follow")
    work.mapping = MAPPING.format(database=work.database, target=work.target)
    work.write_project()
    table = f"{work.database}.follow"
    work.source.execute(
        "CREATE TABLE follow (follower VARCHAR(20), followed VARCHAR(20), since DATE NOT NULL, `rank` INT NOT NULL, "
        "PRIMARY KEY (follower, followed))",
        "INSERT INTO follow VALUES ('a', 'b', '2026-01-01', 1), ('b', 'a', '2026-01-01', 2)",
        "INSERT INTO follow VALUES ('c', 'a', '2026-01-02', 3)",
        database=work.database,
    )
    looked_at(work, table)
    work.call("migrate", "--until-caught-up")
    assert items(work) == expected(work)
    work.source.execute(
        "INSERT INTO follow VALUES ('d', 'a', '2026-01-02', 1000), ('d', 'b', '2026-01-03', -1)",
        "UPDATE follow SET followed = 'c', since = '2026-01-03' WHERE follower = 'a'",
        "UPDATE follow SET `rank` = 4 WHERE follower = 'b'",
        "DELETE FROM follow WHERE follower = 'c'",
        database=work.database,
    )
    work.call("migrate", "--until-caught-up", code=4)
    assert items(work) == expected(work)
    assert {(each["table"], each["source_key"]["followed"]) for each in work.letters()} == {
        (f"{table}#2", "a"),
        (f"{table}#2", "b"),
    }
    assert "2 dead letters" in work.call("status", code=4).output
    report = json.loads(work.call("verify", "--json", code=5).stdout.splitlines()[-1])
    assert [each["counts"] for each in report["tables"]] == [{"unmappable": 2}, {}]
    work.source.execute("UPDATE follow SET `rank` = 9 WHERE `rank` = 1000", database=work.database)
    work.source.execute("DELETE FROM follow WHERE follower = 'd' AND followed = 'b'", database=work.database)
    work.call("migrate", "--until-caught-up", code=4)
    work.call("retry-dead")
    assert (work.letters(), items(work)) == ([], expected(work))
    work.call("verify")
    spoiled(work)
    assert (
        sum(json.loads(work.call("verify", "--json", code=5).stdout.splitlines()[-1])["tables"][0]["counts"].values())
        == 2
    )
    work.call("refill", "follow#2")
    work.call("refill", "follow#1")
    assert items(work) == expected(work)
    work.call("verify")
    assert "could be" in work.call("refill", "follow", code=2).output


def looked_at(work: Work, table: str) -> None:
    checked = work.call("check").output
    assert all(f"table    {table}#{number} → " in checked for number in (1, 2, 3)), checked
    shown = work.call("preview", "--rows", "1", "--table", "follow#2").output
    assert f"{table}#2" in shown
    assert f"{table}#1" not in shown


def spoiled(work: Work) -> None:
    """One item of each of the first two sections is gone."""
    keys = [key for key in items(work) if len(key) == 2]
    for kind in ("FOLLOWS", "BY"):
        pk, sk = next(key for key in keys if key[1].startswith(kind))
        work.endpoint.client().delete_item(TableName=work.target, Key={"pk": {"S": pk}, "sk": {"S": sk}})


@pytest.mark.slow
def test_what_a_killed_run_left_is_the_same_in_all_sections(
    make_work: MakeWork, source_server: SqlServer, ministack: Ministack
) -> None:
    """The checkpoint of before the last changes: they are applied once more."""
    work = make_work(source_server, ministack, table="follow", target_settings='mark = "off"')
    work.mapping = MAPPING.format(database=work.database, target=work.target)
    work.write_project()
    rows = ", ".join(f"('u{n}', 'v{n % 7}', '2026-01-{n % 28 + 1:02d}', {n})" for n in range(300))
    work.source.execute(
        "CREATE TABLE follow (follower VARCHAR(20), followed VARCHAR(20), since DATE NOT NULL, `rank` INT NOT NULL, "
        "PRIMARY KEY (follower, followed))",
        f"INSERT INTO follow VALUES {rows}",
        database=work.database,
    )
    work.call("migrate", "--until-caught-up")
    before = (work.state / "checkpoint.json").read_bytes()
    for change in (
        "UPDATE follow SET followed = 'w', since = '2026-02-01' WHERE `rank` % 3 = 0",
        "DELETE FROM follow WHERE `rank` % 5 = 0",
        "UPDATE follow SET `rank` = `rank` + 1000 WHERE `rank` % 7 = 0",
        "UPDATE follow SET `rank` = `rank` - 1000 WHERE `rank` >= 1000",
    ):
        work.source.execute(change, database=work.database)
    work.call("migrate", "--until-caught-up", code=4)
    (work.state / "checkpoint.json").write_bytes(before)
    work.call("migrate", "--until-caught-up", code=4)
    work.call("retry-dead")
    assert items(work) == expected(work)
    work.call("verify")


def test_an_alter_with_which_keys_could_meet_stops_it_by_name(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack
) -> None:
    """An ENUM tells the two apart, as long as it has no member that is the other's text."""
    work = make_work(mariadb, ministack, table="stock")
    sort = '\nsort_key = {{ name = "sk", value = "{}" }}\n'
    keys = 'partition_key = { name = "pk", value = "${size}" }' + sort.format("${id}")
    more = f'[[table]]\nsource = "{work.database}.other"\ntarget = "{work.target}"\n'
    work.mapping = keys + more + 'partition_key = { name = "pk", value = "L${id}" }' + sort.format("${id}")
    work.write_project()
    work.source.execute(
        "CREATE TABLE stock (id INT PRIMARY KEY, size ENUM('small', 'large') NOT NULL)",
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "INSERT INTO stock VALUES (1, 'small')",
        "INSERT INTO other VALUES (1)",
        database=work.database,
    )
    work.call("migrate", "--until-caught-up")
    alter = "ALTER TABLE stock MODIFY size ENUM('small', 'large'{}) NOT NULL"
    work.source.execute(alter.format(", 'huge'"), "INSERT INTO stock VALUES (2, 'huge')", database=work.database)
    work.call("migrate", "--until-caught-up")
    work.source.execute(alter.format(", 'huge', 'L1'"), "INSERT INTO stock VALUES (3, 'L1')", database=work.database)
    refused = work.call("migrate", "--until-caught-up", code=2).output
    assert f"a row of {work.database}.stock and one of {work.database}.other could have the same key" in refused
    assert "both have pk = 'L1'" in refused

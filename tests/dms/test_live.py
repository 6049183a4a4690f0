"""DMS files on real servers: the post's own while an application writes, and the commands as a person meets them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from demo.servers import DynamoServer, MariaDB, Ministack, SqlServer
from demo.shop import LiveWriter, fill
from tests.conftest import unique
from tests.dms.test_cases import CASES
from tests.e2e import judge
from tests.e2e.work import Work
from whimbrel.cli.main import main
from whimbrel.project import load_project


class DmsWork(Work):
    """A project without a ``[[table]]``."""

    def write_project(self) -> None:
        super().write_project()
        path = self.folder / "whimbrel.toml"
        path.write_text(path.read_text().partition("[[table]]")[0])

    def write_rules(self, *rules: dict[str, Any]) -> None:
        (self.folder / "rules.json").write_text(json.dumps({"rules": rules}))

    def dms(self, *arguments: str, code: int = 0) -> Any:
        return self.call(*arguments, "--dms", str(self.folder / "rules.json"), code=code)


@pytest.fixture
def work(tmp_path: Path, mariadb: MariaDB, ministack: Ministack) -> DmsWork:
    made = DmsWork(tmp_path, mariadb, mariadb.new_database(), ministack, unique("dms"))
    made.write_project()
    return made


def selection(database: str, table: str, number: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "rule-type": "selection",
        "rule-id": str(number),
        "rule-name": str(number),
        "rule-action": "include",
        "object-locator": {"schema-name": database.replace("_", "[_]"), "table-name": table},
        **more,
    }


def on_columns(number: int, action: str, column: str, table: str = "%", **more: Any) -> dict[str, Any]:
    return {
        "rule-type": "transformation",
        "rule-id": str(number),
        "rule-name": str(number),
        "rule-action": action,
        "rule-target": "column",
        "object-locator": {"schema-name": "%", "table-name": table, "column-name": column},
        **more,
    }


def test_the_posts_file_as_printed_migrates_a_live_table(
    tmp_path: Path, mariadb: MariaDB, ministack: Ministack
) -> None:
    mariadb.execute("DROP DATABASE IF EXISTS mydatabase", "CREATE DATABASE mydatabase CHARACTER SET utf8mb4")
    drop_table(ministack, "purchase")
    work = DmsWork(tmp_path, mariadb, "mydatabase", ministack, "purchase")
    work.write_project()
    dms = ("--dms", str(CASES / "post-purchase" / "rules.json"))
    rows = fill(mariadb, "mydatabase", 2_000)
    writer = LiveWriter(mariadb, "mydatabase", orders=rows // 4, rate=300)
    writer.start()
    with work.running("migrate", *dms) as process:
        work.wait_for(work.in_phase("apply"), process)
        work.wait_for(lambda: writer.changes > 200, process)
    writer.stop()
    work.run("migrate", "--until-caught-up", *dms)
    expected = judge.lines(mariadb, "mydatabase")
    found = judge.items(ministack, "purchase", "customer_orderid", "productid")
    assert found == expected, judge.differences(expected, found)
    assert len(found) > rows // 2
    report = json.loads(work.call("verify", "--json", *dms).stdout.splitlines()[-1])
    assert report["equal"]


def drop_table(endpoint: DynamoServer, name: str) -> None:
    client = endpoint.client()
    if name in client.list_tables()["TableNames"]:
        client.delete_table(TableName=name)


EVERYTHING = """
CREATE TABLE people (id INT PRIMARY KEY, first VARCHAR(20) NOT NULL, last VARCHAR(20), pay DECIMAL(9,2), born DATE,
  active BIT(1) NOT NULL, note TEXT, seen TIMESTAMP(3) NULL) CHARACTER SET utf8mb4
"""
# What the target must hold, as MariaDB itself works it out.
WANTED = """
SELECT CONCAT('P#', id), pay, first, IF(last IS NULL, NULL, CONCAT(first, '_', last)), SHA2(note, 256), active + 0,
  IF(seen IS NULL, NULL, CONCAT(DATE_FORMAT(seen, '%Y-%m-%dT%H:%i:%s.'), LPAD(MICROSECOND(seen) DIV 1000, 3, '0'), 'Z'))
FROM people WHERE pay >= 10.5 AND (born < '2000-01-01' OR born = '2000-01-01')
"""


def people_of(work: DmsWork) -> judge.Expected:
    with work.source.connect(work.database) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(WANTED)
        rows = cursor.fetchall()
    wanted: judge.Expected = {}
    for key, pay, first, full, digest, active, seen in rows:
        item = {
            "pk": key,
            "NAME": first,
            "full": full,
            "salary": pay,
            "digest": digest,
            "on": bool(active),
            "SEEN": seen,
        }
        tree = {"n": Decimal(pay), "who": [first]}
        wanted[(key,)] = {name: value for name, value in item.items() if value is not None} | {"tree": tree}
    return wanted


def test_filters_transformations_and_mappings_through_load_and_log(work: DmsWork) -> None:
    """Rows enter and leave the filter; each path is judged against what MariaDB makes of the same rules."""
    work.source.execute(EVERYTHING, database=work.database)
    change(
        work,
        "INSERT INTO people VALUES (1,'Ada','L',10.50,'1999-12-31',b'1','x','2026-01-01 00:00:00.005'),"
        "(2,'Bo',NULL,99.99,'2000-01-01',b'0','é',NULL),(3,'Cy','M',10.49,'1990-01-01',b'1','n',NULL),"
        "(4,'Di','N',50,'2001-01-01',b'1','n',NULL),(5,'Ed','O',NULL,'1990-01-01',b'1',NULL,NULL)",
    )
    work.write_rules(*rules_of_everything(work))
    work.dms("migrate", "--until-caught-up")
    assert found_people(work) == people_of(work)
    assert len(people_of(work)) == 2
    change(
        work,
        "UPDATE people SET pay = 10.50 WHERE id = 3",
        "UPDATE people SET born = '1980-05-05' WHERE id = 4",
        "UPDATE people SET pay = 1 WHERE id = 1",
        "UPDATE people SET id = 20, last = 'Z' WHERE id = 2",
        "INSERT INTO people VALUES (6,'Fy','P',11,'1970-01-01',b'0',NULL,'2026-02-03 04:05:06.789')",
    )
    work.dms("migrate", "--until-caught-up")
    assert found_people(work) == people_of(work)
    assert set(people_of(work)) == {("P#20",), ("P#3",), ("P#4",), ("P#6",)}
    assert json.loads(work.dms("verify", "--json").stdout.splitlines()[-1])["equal"]


FILTERS = [
    {
        "filter-type": "source",
        "column-name": "pay",
        "filter-conditions": [{"filter-operator": "gte", "value": "10.5"}],
    },
    {
        "filter-type": "source",
        "column-name": "born",
        "filter-conditions": [
            {"filter-operator": "lte", "value": "1999-12-31"},
            {"filter-operator": "eq", "value": "2000-01-01"},
        ],
    },
]
MAPPING = {
    "partition-key-name": "pk",
    "exclude-columns": ["id", "born", "last"],
    "attribute-mappings": [
        {
            "target-attribute-name": "pk",
            "attribute-type": "scalar",
            "attribute-sub-type": "string",
            "value": "P#${id}",
        },
        {
            "target-attribute-name": "tree",
            "attribute-type": "document",
            "attribute-sub-type": "dynamodb-map",
            "value": {"M": {"n": {"N": "${salary}"}, "who": {"L": [{"S": "${NAME}"}]}}},
        },
    ],
}


def rules_of_everything(work: DmsWork) -> list[dict[str, Any]]:
    return [
        selection(work.database, "people", filters=FILTERS),
        on_columns(2, "rename", "first", value="NAME"),
        on_columns(3, "rename", "pay", value="salary"),
        on_columns(4, "data-masking-hash-mask", "note"),
        on_columns(5, "rename", "note", value="digest"),
        on_columns(6, "convert-uppercase", "seen"),
        on_columns(7, "rename", "active", value="on"),
        on_columns(
            8,
            "add-column",
            "",
            value="full",
            expression="$first||'_'||$last",
            **{"data-type": {"type": "string"}},  # type: ignore[arg-type]
        ),
        {
            "rule-type": "object-mapping",
            "rule-id": "9",
            "rule-name": "9",
            "rule-action": "map-record-to-record",
            "object-locator": {"schema-name": "%", "table-name": "people"},
            "target-table-name": work.target,
            "mapping-parameters": MAPPING,
        },
    ]


def change(work: DmsWork, *statements: str) -> None:
    with work.source.connect(work.database) as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        for statement in statements:
            cursor.execute(statement)
        connection.commit()


def found_people(work: DmsWork) -> judge.Expected:
    return judge.items(work.endpoint, work.target, "pk")


@pytest.fixture
def three_tables(work: DmsWork) -> DmsWork:
    return with_three_tables(work)


def with_three_tables(work: DmsWork) -> DmsWork:
    work.source.execute(
        *(f"CREATE TABLE {name} (id INT PRIMARY KEY)" for name in ("aaa", "bbb", "ccc")),
        "CREATE VIEW a_view AS SELECT 1 AS id",
        database=work.database,
    )
    work.write_rules(
        selection(work.database, "%", **{"load-order": "1"}),  # type: ignore[arg-type]
        selection(work.database, "ccc", 2, **{"load-order": 2}),
    )
    return work


@pytest.mark.parametrize("source_server", ["mariadb", pytest.param("mysql", marks=pytest.mark.slow)], indirect=True)
def test_tables_are_loaded_in_their_order(tmp_path: Path, source_server: SqlServer, ministack: Ministack) -> None:
    work = DmsWork(tmp_path, source_server, source_server.new_database(), ministack, unique("dms"))
    work.write_project()
    plan = json.loads(with_three_tables(work).dms("migrate", "--dry-run", "--json").stdout)
    assert [table["target"] for table in plan["tables"]] == ["ccc", "aaa", "bbb"]


def test_init_from_dms_says_the_same_as_the_file(three_tables: DmsWork) -> None:
    work = three_tables
    work.source.execute(EVERYTHING, database=work.database)
    work.write_rules(*rules_of_everything(work))
    output = work.folder / "made.toml"
    url = work.source.url("").rstrip("/")
    made = init(work, url, output)
    assert "with 1 table from" in made.output
    assert f'url = "{url}"' in output.read_text()
    [rule] = load_project(output).tables
    assert rule.source == f"{work.database}.people"
    assert rule.columns["full"] == '"first"||\'_\'||"last"'
    plan = json.loads(work.dms("migrate", "--dry-run", "--json").stdout)
    (work.folder / "whimbrel.toml").write_text(output.read_text())
    assert json.loads(work.call("migrate", "--dry-run", "--json").stdout)["tables"] == plan["tables"]
    assert "is there already" in init(work, url, output).output


def init(work: DmsWork, url: str, output: Path) -> Result:
    options = ["--from-dms", str(work.folder / "rules.json"), "-o", str(output), "--endpoint", work.endpoint.endpoint]
    environment = {"WHIMBREL_SOURCE_PASSWORD": work.source.password}
    return CliRunner().invoke(main, ["init", url, *options], env=environment)


def test_the_project_file_may_name_the_dms_file(three_tables: DmsWork) -> None:
    path = three_tables.folder / "whimbrel.toml"
    path.write_text('dms = "rules.json"\n' + path.read_text())
    plan = json.loads(three_tables.call("migrate", "--dry-run", "--json").stdout)
    assert len(plan["tables"]) == 3
    path.write_text(path.read_text() + '[[table]]\nsource = "a"\ntarget = "aaa"\npartition_key = { name = "id" }\n')
    assert "use one or the other" in three_tables.call("check", code=2).output


def test_tables_of_the_project_stand_aside_and_that_is_said(three_tables: DmsWork) -> None:
    path = three_tables.folder / "whimbrel.toml"
    path.write_text(path.read_text() + '[[table]]\nsource = "x"\ntarget = "xxx"\npartition_key = { name = "id" }\n')
    result = three_tables.dms("migrate", "--dry-run", "--json")
    assert "are ignored" in result.stderr
    assert len(json.loads(result.stdout)["tables"]) == 3


def test_every_fault_is_said_at_once_and_nothing_is_done(three_tables: DmsWork) -> None:
    work = three_tables
    work.write_rules(
        selection(work.database, "%"),
        selection(work.database, "nothing_here", 2),
        on_columns(3, "rename", "id"),
        on_columns(4, "add-column", "", value="x", expression="$AR_H_TIMESTAMP"),
        {"rule-type": "selction", "rule-id": "5", "rule-name": "5"},
    )
    for command in ("check", "preview", "migrate", "snapshot"):
        output = work.dms(command, code=2).output
        for fault in ("rule 2: there is no table", "rule 3: value is missing", "rule 5: rule-type must be one of"):
            assert fault in output
        assert "Traceback" not in output
    assert not (work.state / "checkpoint.json").exists()


def test_what_is_wrong_with_the_file_is_said_without_the_source_too(work: DmsWork) -> None:
    work.write_rules({"rule-type": "selection"})
    path = work.folder / "whimbrel.toml"
    path.write_text(path.read_text().replace(f":{work.source.port}/", ":1/"))
    assert "rule-id is missing" in work.dms("check", code=2).output


def test_a_condition_and_a_table_with_items_do_not_go_together(three_tables: DmsWork) -> None:
    work = three_tables
    work.write_rules(
        selection(work.database, "%"),
        {
            "rule-type": "object-mapping",
            "rule-id": "2",
            "rule-name": "2",
            "rule-action": "map-record-to-record",
            "object-locator": {"schema-name": "%", "table-name": "aaa"},
            "mapping-parameters": {"condition-expression": {"expression": "attribute_not_exists(id)"}},
        },
    )
    assert "cannot be kept with --into-existing" in work.dms("migrate", "--into-existing", code=2).output


def test_a_table_and_a_column_that_come_later_do_not_stop_it(work: DmsWork) -> None:
    """The file's wildcards mean the tables that were there when the migration began; a new column is an attribute."""
    work.source.execute(
        "CREATE TABLE things (id INT PRIMARY KEY, pay INT)", "INSERT INTO things VALUES (1, 5)", database=work.database
    )
    work.write_rules(
        selection(work.database, "%"),
        {
            "rule-type": "object-mapping",
            "rule-id": "2",
            "rule-name": "2",
            "rule-action": "map-record-to-record",
            "object-locator": {"schema-name": "%", "table-name": "things"},
            "target-table-name": work.target,
        },
    )
    work.dms("migrate", "--until-caught-up")
    change(
        work,
        "CREATE TABLE came_later (id INT PRIMARY KEY)",
        "ALTER TABLE things ADD COLUMN note VARCHAR(10)",
        "INSERT INTO things VALUES (2, 6, 'new')",
        "INSERT INTO came_later VALUES (1)",
    )
    work.dms("migrate", "--until-caught-up")
    assert judge.items(work.endpoint, work.target, "id") == {
        (1,): {"id": 1, "pay": 5},
        (2,): {"id": 2, "pay": 6, "note": "new"},
    }


def test_check_and_preview_speak_of_the_files_tables(work: DmsWork) -> None:
    work.source.execute(EVERYTHING, database=work.database)
    change(
        work,
        "INSERT INTO people VALUES (1,'Ada','L',10.50,'1999-12-31',b'1','x',NULL),(2,'Bo',NULL,1,NULL,b'0',NULL,NULL)",
    )
    rules = rules_of_everything(work)
    work.write_rules(*rules, {**rules[0], "rule-type": "validation", "rule-id": "20", "rule-action": "x"})
    preview = work.dms("preview", "--json")
    assert '"P#1"' in preview.stdout
    assert "P#2" not in preview.stdout
    assert "rule 20: rule-type validation does nothing here" in preview.stderr
    assert f"{work.database}.people" in work.dms("check").stdout

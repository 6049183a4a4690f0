"""check and preview go the way of migrate: shared items with their family, DMS files with their filters."""

from __future__ import annotations

import json
from typing import Any

from tests.checks.case import Case


def rules(case: Case, table: str, parameters: dict[str, Any], **selection: Any) -> tuple[str, str]:
    locator = {"schema-name": case.database.replace("_", "[_]"), "table-name": table}
    written = [
        {
            "rule-type": "selection",
            "rule-id": "1",
            "rule-name": "1",
            "object-locator": locator,
            "rule-action": "include",
        }
        | selection,
        {
            "rule-type": "object-mapping",
            "rule-id": "9",
            "rule-name": "9",
            "rule-action": "map-record-to-record",
            "object-locator": locator,
            "target-table-name": case.target,
            "mapping-parameters": parameters,
        },
    ]
    path = case.folder / "rules.json"
    path.write_text(json.dumps({"rules": written}))
    case.project("")
    project = case.folder / "whimbrel.toml"
    project.write_text(project.read_text().partition("[[table]]")[0])
    return "--dms", str(path)


def attribute(name: str, value: str) -> dict[str, str]:
    kind = {"attribute-type": "scalar", "attribute-sub-type": "string"}
    return {"target-attribute-name": name, **kind, "value": value}


def test_keys_that_are_shared_under_a_filter_are_found(on_mariadb: Case) -> None:
    """No server can count what SQLite's filter leaves: the rows go through the mapping itself."""
    case = on_mariadb
    case.execute(
        "CREATE TABLE alias (movie VARCHAR(9), n INT, region VARCHAR(3) NOT NULL, PRIMARY KEY (movie, n))",
        "INSERT INTO alias VALUES ('m1',1,'US'),('m1',2,'US'),('m1',3,'GB'),('m2',1,'US')",
    )
    keys = {"partition-key-name": "pk", "sort-key-name": "sk"}
    parameters = keys | {"attribute-mappings": [attribute("pk", "${movie}"), attribute("sk", "REGN|${region}")]}

    def only(movie: str) -> dict[str, Any]:
        condition = {"filter-operator": "eq", "value": movie}
        return {"filters": [{"filter-type": "source", "column-name": "movie", "filter-conditions": [condition]}]}

    options = rules(case, "alias", parameters, **only("m1"))
    assert "1 of all rows: another row has the same item key" in case.reason("key-shared", *options)
    options = rules(case, "alias", parameters, **only("m2"))
    assert "key-shared" not in case.check(*options)
    assert case.call("migrate", "--until-caught-up", *options).exit_code == 0


def test_a_null_in_a_scalar_attribute_of_a_dms_file_is_no_error(on_mariadb: Case) -> None:
    case = on_mariadb
    case.execute(
        "CREATE TABLE person (id INT PRIMARY KEY, first VARCHAR(9), last VARCHAR(9))",
        "INSERT INTO person VALUES (1,'Ann',NULL),(2,'Bo','Ek')",
    )
    mapped = [attribute("full", "${first} ${last}")]
    parameters = {"partition-key-name": "id", "exclude-columns": ["first", "last"], "attribute-mappings": mapped}
    options = rules(case, "person", parameters)
    found = case.check(*options)
    assert not case.report["errors"]
    assert "needs last" not in str(found)
    assert "it has last, which is NULL" in found["template-null"][0]["reason"]
    assert case.call("migrate", "--until-caught-up", *options).exit_code == 0
    assert case.call("verify", *options).exit_code == 0


SHARED = """
shape = "record"
item = "shared"
partition_key = { name = "id", type = "N" }
attributes = { kind = "order" }
[[table]]
source = "line"
target = "%s"
item = "shared"
shape = "group"
partition_key = { name = "id", value = "${order_id}", type = "N" }
entry = { name = "%s${n}", value = "v" }
attributes = { kind = "order" }
"""


def test_what_a_family_refuses_of_a_row_check_and_preview_know(on_mariadb: Case) -> None:
    """An entry that has the name of another table's attribute: alone, the group would have taken it."""
    case = on_mariadb
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, l7 INT)",
        "CREATE TABLE line (order_id INT, n INT, v INT, PRIMARY KEY (order_id, n))",
        "INSERT INTO t VALUES (1, 1)",
        "INSERT INTO line VALUES (1, 1, 1), (1, 7, 1)",
    )
    case.project(SHARED % (case.target, "l"))
    assert "'l7' is the name of an attribute of the whole item or of another table" in case.reason("row-refused")
    assert case.call("preview").exit_code == 4
    case.project(SHARED % (case.target, "line-"))
    assert not [each for each in case.check().values() if each[0]["severity"] == "error"]
    assert case.call("preview").exit_code == 0
    assert case.call("migrate", "--until-caught-up").exit_code == 0


def test_sections_of_one_table_whose_keys_meet_are_refused_with_what_to_do(on_mariadb: Case) -> None:
    case = on_mariadb
    case.execute("CREATE TABLE t (a INT, b INT, PRIMARY KEY (a, b))")
    section = 'partition_key = { name = "pk", value = "S#${a}" }\nsort_key = { name = "sk", value = "C#${b}" }\n'
    case.project(section + f'[[table]]\nsource = "{case.database}.t"\ntarget = "{case.target}"\n' + section)
    for command in ("check", "migrate"):
        refused = case.call(command)
        assert refused.exit_code == 2
        said = refused.output + refused.stderr
        assert f"value = 'C#${{b}}#T' for key 'sk' of {case.database}.t#1" in said
        assert "both have pk = 'S#" in said

"""What check promises, migrate keeps: over random schemas, data and mappings, on real servers.

No error: migrate takes the project, makes no dead letter of this data, and verify finds no difference. An error:
migrate refuses, or makes dead letters, or verify finds the difference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st

from demo.servers import Ministack, SqlServer
from tests.check.case import Case
from tests.conftest import unique
from whimbrel.dms.toml import value

COLUMNS: dict[str, tuple[str, list[str]]] = {  # name: type, literals
    "id": ("INT NOT NULL", ["1", "2", "3", "10", "-1"]),
    "big": ("BIGINT UNSIGNED", ["0", "18446744073709551615", "7", "NULL"]),
    "code": (
        "VARCHAR(20) CHARACTER SET utf8mb4 NOT NULL",
        ["'a'", "'A'", "'a|b'", "''", "'b#'", "'é'", "'12'", "'1e2'"],
    ),
    "note": ("TEXT CHARACTER SET utf8mb4", ["'x'", "''", "NULL", "'pk'", "REPEAT('y', 3000)"]),
    "price": ("DECIMAL(10,2)", ["1.50", "0", "-3.25", "NULL"]),
    "huge": ("DECIMAL(50,10)", ["1.5", "12345678901234567890123456789012345678901.5", "NULL"]),
    "ratio": ("DOUBLE", ["0.1", "1e300", "-0e0", "NULL"]),
    "day": ("DATE", ["'2026-01-02'", "'0000-00-00'", "NULL"]),
    "at": ("DATETIME(3)", ["'2026-01-02 03:04:05.125'", "NULL"]),
    "size": ("ENUM('small','large','')", ["'small'", "'large'", "''", "NULL"]),
    "flag": ("TINYINT", ["0", "1", "2", "NULL"]),
    "raw": ("VARBINARY(20)", ["x'00ff'", "''", "NULL"]),
}
TYPES = {
    "id": ["S", "N"], "big": ["N", "S"], "code": ["N", "B"], "note": ["N"], "price": ["S"], "huge": ["S"],
    "ratio": ["S"],
    "day": ["EPOCH"], "at": ["EPOCH_MS"], "flag": ["BOOL"],
}  # fmt: skip
COMPUTED = [
    "upper(code)",
    "id * 2",
    "coalesce(note, code)",
    "CASE WHEN id > 1 THEN code END",
    "price",
    "'k'",
    "length(note)",
]
FILTERS = ["id > 1", "code <> 'a'", "note IS NOT NULL", "id > 99", "price"]
SEPARATORS = ["|", "#", "", "-"]
names = st.sampled_from(sorted(COLUMNS))


@st.composite
def templates(draw: st.DrawFn, columns: list[str], most: int = 3) -> str:
    used = draw(st.lists(st.sampled_from(columns), min_size=1, max_size=most, unique=True))
    text = draw(st.sampled_from(SEPARATORS)).join(f"${{{name}}}" for name in used)
    return draw(st.sampled_from(["", "", "K#"])) + text + draw(st.sampled_from(["", "", "#END"]))


@st.composite
def keys(draw: st.DrawFn, name: str, columns: list[str], fitting: list[str]) -> dict[str, str]:
    """Often of the primary key, so that many mappings are taken."""
    few = draw(st.sampled_from([fitting, fitting, columns]))
    if draw(st.booleans()):
        return {"name": name, "value": draw(templates(few))}
    column = draw(st.sampled_from(few))
    kind = "N" if column in ("id", "big", "price", "ratio", "flag") else "B" if column == "raw" else "S"
    return {"name": draw(st.sampled_from([name, column])), "value": f"${{{column}}}", "type": kind}


@st.composite
def tables(draw: st.DrawFn, name: str) -> dict[str, Any]:
    columns = ["id", *draw(st.lists(names.filter(lambda each: each != "id"), min_size=1, max_size=5, unique=True))]
    key = draw(st.sampled_from([["id"], ["id"], ["id", columns[1]]]))
    key = [each for each in key if "NOT NULL" in COLUMNS[each][0]]
    row = st.tuples(*(st.sampled_from(COLUMNS[each][1]) for each in columns))
    return {"name": name, "columns": columns, "key": key, "rows": draw(st.lists(row, max_size=6))}


@st.composite
def sections(draw: st.DrawFn, table: dict[str, Any], shape: str) -> dict[str, Any]:
    columns, key = list(table["columns"]), table["key"]
    rule: dict[str, Any] = {"source": table["name"], "shape": shape}
    if draw(st.booleans()):
        rule["columns"] = {"made": draw(st.sampled_from([each for each in COMPUTED if fits(each, columns)]))}
        columns.append("made")
        if rule["columns"]["made"] == "price" and draw(st.booleans()):
            rule["types"] = {"made": "S"}
    if draw(st.integers(0, 3)) == 0:
        rule["filter"] = draw(st.sampled_from([each for each in FILTERS if fits(each, columns)]))
    typed = draw(st.lists(st.sampled_from(columns), max_size=2, unique=True))
    rule["types"] = {each: draw(st.sampled_from(TYPES[each])) for each in typed if each in TYPES} | rule.get(
        "types", {}
    )
    rule["partition_key"] = draw(keys("pk", columns, key))
    if draw(st.booleans()):
        rule["sort_key"] = draw(keys("sk", columns, key))
    if draw(st.booleans()):
        rule["attributes"] = {"extra": draw(st.one_of(st.just("constant"), templates(columns, 2)))}
    if shape == "group":
        carried = draw(st.sampled_from(columns))
        entry = {
            "name": draw(templates(columns, 2)),
            "as": draw(st.sampled_from(["attribute", "map"])),
            "value": carried,
        }
        if draw(st.booleans()):
            del entry["value"]
        else:
            rule["exclude"] = [each for each in columns if each != carried]  # nothing carries the others
        rule["entry"] = entry | ({"into": "rows"} if entry["as"] == "map" else {})
    else:
        rule["nulls"] = draw(st.sampled_from(["null", "null", "omit"]))
        rule["exclude"] = draw(st.lists(st.sampled_from(columns), max_size=1))
    if draw(st.integers(0, 4)) == 0:
        indexed = draw(st.sampled_from(columns))
        rule["index"] = [{"name": draw(st.sampled_from(["by-it", "g"])), "partition_key": {"name": indexed}}]
    rule["assert_unique"] = draw(st.booleans())
    return rule


def fits(expression: str, columns: list[str]) -> bool:
    return all(name in columns for name in COLUMNS if name in expression.replace("decimal", ""))


@st.composite
def projects(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Tables, and a [[table]] for each; two of them often into one target."""
    first = draw(tables("first"))
    made = [draw(sections(first, draw(st.sampled_from(["record", "record", "document", "group"]))))]
    if draw(st.booleans()):
        return [first], made
    second = draw(tables("second"))
    made.append(draw(sections(second, draw(st.sampled_from(["record", "group"])))))
    together = draw(st.sampled_from(["apart", "beside", "shared"]))
    for rule in made if together != "apart" else ():
        rule["target"] = "both"
        rule["item"] = "shared" if together == "shared" else "own"
    if together != "apart" and draw(st.booleans()):
        made[1]["partition_key"] = dict(made[0]["partition_key"])
        made[1].pop("sort_key", None)
        made[1] |= {"sort_key": dict(made[0]["sort_key"])} if "sort_key" in made[0] else {}
    return [first, second], made


def promised(server: SqlServer, endpoint: Ministack, folder: Path, found: Any) -> None:
    there, rules = found
    database = server.new_database()
    target = unique("promise")
    path = folder / target
    path.mkdir()
    case = Case(path, server, database, endpoint, target)
    for table in there:
        columns = ", ".join(f"`{each}` {COLUMNS[each][0]}" for each in table["columns"])
        case.execute(f"CREATE TABLE {table['name']} ({columns}, PRIMARY KEY ({', '.join(table['key'])}))")
        for row in table["rows"]:
            case.execute(f"INSERT IGNORE INTO {table['name']} VALUES ({', '.join(row)})")
    targets = [f"{target}-{rule.get('target', rule['source'])}" for rule in rules]
    case.project("")
    head = (path / "whimbrel.toml").read_text().partition("[[table]]")[0]
    written = [section(rule | {"target": name}) for rule, name in zip(rules, targets, strict=True)]
    note("\n".join(written))
    note(str(there))
    (path / "whimbrel.toml").write_text(head + "\n".join(written))
    kept(case)


def kept(case: Case, *options: str) -> None:
    checked = case.call("check", "--json", *options)
    errors = (
        [each for each in json.loads(checked.stdout)["findings"] if each["severity"] == "error"]
        if checked.stdout
        else []
    )
    moved = case.call("migrate", "--until-caught-up", *options)
    verified = case.call("verify", *options) if moved.exit_code in (0, 4) else moved
    note(f"check {checked.exit_code}: {errors}\nmigrate {moved.exit_code}: {moved.output}\nverify: {verified.output}")
    codes = sorted({each["code"] for each in errors})
    event(f"check {checked.exit_code}, migrate {moved.exit_code}, verify {verified.exit_code}: {codes}")
    if checked.exit_code == 0:
        assert moved.exit_code == 0, moved.output
        assert verified.exit_code == 0, verified.output
    else:
        assert (moved.exit_code, verified.exit_code) != (0, 0), errors


def section(rule: dict[str, Any]) -> str:
    lines = [
        "[[table]]",
        *(f"{name} = {value(each)}" for name, each in rule.items() if each not in ({}, []) and name != "index"),
    ]
    for index in rule.get("index", ()):
        lines += ["[[table.index]]", *(f"{name} = {value(each)}" for name, each in index.items())]
    return "\n".join(lines) + "\n"


def over(examples: int, phases: tuple[Phase, ...] = (Phase.explicit, Phase.generate)) -> settings:
    checks = list(HealthCheck)
    return settings(
        max_examples=examples, deadline=None, phases=phases, suppress_health_check=checks, derandomize=False
    )


@over(3)
@given(found=projects())
def test_what_check_promises_migrate_keeps(
    source_server: SqlServer, ministack: Ministack, tmp_path: Path, found: Any
) -> None:
    promised(source_server, ministack, tmp_path, found)


@pytest.mark.slow
@over(30)
@given(found=projects())
def test_what_check_promises_migrate_keeps_often(
    source_server: SqlServer, ministack: Ministack, tmp_path: Path, found: Any
) -> None:
    promised(source_server, ministack, tmp_path, found)

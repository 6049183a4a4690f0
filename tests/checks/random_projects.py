"""Random projects: tables with their rows, and what is to become of them. Most are such that check finds nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Rule = dict[str, Any]
Tables = list[dict[str, Any]]

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
def wild(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Anything; more than half of it is refused."""
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


# -- projects that are meant to be taken -------------------------------------------------------------------------------

# Without the values that no item can have where a careful mapping puts them.
SAFE = {name: literals for name, (_, literals) in COLUMNS.items()} | {
    "code": ["'a'", "'A'", "'b c'", "'é'", "'12'", "'1e2'"],
    "huge": ["1.5", "NULL"],
    "ratio": ["0.1", "-2.5e10", "NULL"],
    "day": ["'2026-01-02'", "NULL"],
    "flag": ["0", "1", "NULL"],
}
CAREFUL_TYPES = {"big": ["N", "S"], "price": ["S"], "huge": ["S"], "ratio": ["S"], "at": ["EPOCH_MS"], "flag": ["BOOL"]}
CAREFUL_FILTERS = ["id > 1", "code <> 'a'", "note IS NOT NULL", "id > 99"]


@st.composite
def careful_tables(draw: st.DrawFn, name: str, key: list[str]) -> dict[str, Any]:
    others = draw(st.lists(names.filter(lambda each: each not in key), min_size=1, max_size=5, unique=True))
    row = st.tuples(*(st.sampled_from(SAFE[each]) for each in [*key, *others]))
    rows = draw(st.lists(row, min_size=1, max_size=6))
    return {"name": name, "columns": [*key, *others], "key": key, "rows": rows}


@st.composite
def careful_keys(draw: st.DrawFn, key: list[str], mark: str) -> Rule:
    """Of the whole primary key. With a ``mark``, which tells tables in one target apart, all in one text."""
    if mark:
        return {"partition_key": {"name": "pk", "value": mark + "|".join(f"${{{each}}}" for each in key)}}
    order = draw(st.permutations(key))
    first = draw(st.sampled_from(["column", "text"]))
    if len(key) == 1 and first == "text":
        return {"partition_key": {"name": "pk", "value": f"K#${{{key[0]}}}#END"}}
    if len(key) == 1 or draw(st.booleans()):
        rule = {"partition_key": column_key("pk", order[0])}
        return rule | ({"sort_key": column_key("sk", order[1])} if len(key) == 2 else {})
    return {"partition_key": {"name": "pk", "value": "|".join(f"${{{each}}}" for each in order)}}


def column_key(name: str, column: str) -> dict[str, str]:
    return {"name": name, "value": f"${{{column}}}", "type": "N" if column == "id" else "S"}


def texts_of(columns: list[str]) -> list[str]:
    """Bytes have no text."""
    return [each for each in columns if each != "raw"]


@st.composite
def careful_records(draw: st.DrawFn, table: dict[str, Any], shape: str, mark: str) -> Rule:
    columns = table["columns"]
    rule: Rule = {"source": table["name"], "shape": shape} | draw(careful_keys(table["key"], mark))
    others = [each for each in columns if each not in table["key"]]
    if draw(st.booleans()):
        rule["columns"] = {"made": draw(st.sampled_from([each for each in COMPUTED if fits(each, columns)]))}
    if draw(st.integers(0, 2)) == 0:
        rule["filter"] = draw(st.sampled_from([each for each in CAREFUL_FILTERS if fits(each, columns)]))
    typed = draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
    rule["types"] = {each: draw(st.sampled_from(CAREFUL_TYPES[each])) for each in typed if each in CAREFUL_TYPES}
    if draw(st.booleans()):
        rule["attributes"] = {"extra": draw(st.one_of(st.just("constant"), templates(texts_of(columns), 2)))}
    rule["nulls"] = draw(st.sampled_from(["null", "omit"]))
    rule["exclude"] = draw(
        st.lists(st.sampled_from([each for each in others if each not in rule["types"]]), max_size=1)
        if len(others) > len(rule["types"])
        else st.just([])
    )
    if not mark and "code" in columns and draw(st.integers(0, 2)) == 0:
        rule["index"] = [{"name": "by-it", "partition_key": {"name": "code"}}]
        rule["exclude"] = []
    return rule


@st.composite
def careful_groups(draw: st.DrawFn, table: dict[str, Any], mark: str) -> Rule:
    """By one column of the primary key, which has two; the entries by the other."""
    by, rest = draw(st.permutations(table["key"])) if not mark else ("id", "code")
    others = [each for each in table["columns"] if each not in (by, rest)]
    value = draw(st.sampled_from(others))
    entries: dict[str, Rule] = {
        "attribute": {"name": f"e-${{{rest}}}", "value": value, "as": "attribute"},
        "values": {"name": f"${{{rest}}}", "value": value, "as": "map", "into": "within"},
        "rows": {"name": f"${{{rest}}}", "as": "map", "into": "within"},
        "list": {"as": "list", "into": "within", "order": [draw(st.sampled_from([rest, f"{rest} desc"]))]},
        "set": {"value": rest, "as": "number-set" if rest == "id" else "string-set", "into": "within"},
    }
    kind = draw(st.sampled_from(sorted(entries)))
    carried = {"attribute": [value], "values": [value], "set": [rest]}.get(kind, [rest, *others])
    key = {"name": "pk", "value": f"{mark}${{{by}}}"} if mark else column_key("pk", by)
    rule: Rule = {"source": table["name"], "shape": "group", "partition_key": key, "entry": entries[kind]}
    rule["exclude"] = [each for each in others if each not in carried]
    if draw(st.booleans()):
        rule["attributes"] = {"kind": "constant"}
    if draw(st.integers(0, 2)) == 0:
        rule["filter"] = draw(st.sampled_from([each for each in CAREFUL_FILTERS if fits(each, table["columns"])]))
    return rule


@st.composite
def careful(draw: st.DrawFn) -> tuple[Tables, list[Rule]]:
    together = draw(st.sampled_from(["one", "one", "one", "apart", "beside", "shared"]))
    marks = {"beside": ("A#", "B#"), "shared": ("K#", "K#")}.get(together, ("", ""))
    made: list[tuple[dict[str, Any], Rule]] = []
    for number, mark in enumerate(marks if together != "one" else marks[:1]):
        name = ("first", "second")[number]
        shape = draw(st.sampled_from(["record", "document", "group", "group"]))
        if together == "shared":
            shape = ("record", "group")[number]
        key = ["id", "code"] if shape == "group" or (together != "shared" and draw(st.booleans())) else ["id"]
        table = draw(careful_tables(name, key))
        rule = draw(careful_groups(table, mark) if shape == "group" else careful_records(table, shape, mark))
        if together in ("beside", "shared"):
            rule |= {"target": "both", "item": "shared" if together == "shared" else "own"}
            rule.pop("attributes", None)
        made.append((table, rule))
    return [table for table, _ in made], [rule for _, rule in made]


projects = st.integers(0, 7).flatmap(lambda number: wild() if number == 0 else careful())


# -- AWS DMS files -----------------------------------------------------------------------------------------------------

DMS_COMPUTED = ["upper($code)", "$id * 2 + 1", "coalesce($note, $code)", "CASE WHEN $id > 1 THEN $code END"]
DMS_ACTIONS = ["add-prefix", "add-suffix", "rename", "remove-column", "convert-uppercase", "change-data-type"]


@st.composite
def dms_files(draw: st.DrawFn) -> tuple[dict[str, Any], list[Rule]]:
    """A table, and the rules of a file over it, with DATABASE and TARGET to be filled in."""
    table = draw(careful_tables("first", draw(st.sampled_from([["id"], ["id", "code"]]))))
    key, others = table["key"], table["columns"][len(table["key"]) :]
    place = {"schema-name": "DATABASE", "table-name": "first"}
    selection: Rule = {"rule-type": "selection", "rule-action": "include", "object-locator": place}
    if draw(st.integers(0, 2)) == 0:
        operator, number = draw(st.sampled_from(["eq", "gte", "ste", "noteq"])), draw(st.sampled_from(["1", "2", "10"]))
        condition = {"filter-operator": operator, "value": number}
        selection["filters"] = [{"filter-type": "source", "column-name": "id", "filter-conditions": [condition]}]
    rules: list[Rule] = [selection]
    column = draw(st.sampled_from(others))
    if draw(st.booleans()):
        rules.append(draw(dms_columns(place, column)))
    if draw(st.integers(0, 2)) == 0:
        made = draw(st.sampled_from([each for each in DMS_COMPUTED if fits(each.replace("$", ""), table["columns"])]))
        kind = {"type": "int8"} if "*" in made else {"type": "string", "length": 50}
        transformation = {"rule-type": "transformation", "rule-target": "column", "rule-action": "add-column"}
        rules.append(transformation | {"object-locator": place, "value": "made", "expression": made, "data-type": kind})
    rules.append(draw(dms_mapping(place, key, [each for each in others if each != column])))
    for at, rule in enumerate(rules, 1):
        rule |= {"rule-id": str(at), "rule-name": str(at)}
    return table, rules


@st.composite
def dms_columns(draw: st.DrawFn, place: dict[str, str], column: str) -> Rule:
    action = draw(st.sampled_from(DMS_ACTIONS))
    rule = {"rule-type": "transformation", "rule-target": "column", "rule-action": action}
    rule["object-locator"] = place | {"column-name": column}  # type: ignore[assignment]
    if action in ("add-prefix", "add-suffix", "rename"):
        rule["value"] = "renamed"
    elif action == "change-data-type":
        rule["data-type"] = {"type": "string", "length": 3000}  # type: ignore[assignment]
    return rule


@st.composite
def dms_mapping(draw: st.DrawFn, place: dict[str, str], key: list[str], others: list[str]) -> Rule:
    texts = [("pk", "K#" + "|".join(f"${{{each}}}" for each in key))]
    if len(key) == 2 and draw(st.booleans()):
        texts = [("pk", f"${{{key[0]}}}"), ("sk", f"${{{key[1]}}}")]
    if others and draw(st.booleans()):  # type: ignore[arg-type]
        texts.append(("extra", draw(templates(texts_of([*key, *others]), 2))))
    mappings = [
        {"target-attribute-name": name, "attribute-type": "scalar", "attribute-sub-type": "string", "value": value}
        for name, value in texts
    ]
    parameters: Rule = {"partition-key-name": "pk", "attribute-mappings": mappings}
    if texts[-1][0] == "sk" or len(texts) == 3:
        parameters["sort-key-name"] = "sk"
    if others and draw(st.booleans()):  # type: ignore[arg-type]
        parameters["exclude-columns"] = [others[-1]]
    action = draw(st.sampled_from(["map-record-to-record", "map-record-to-document"]))
    return {
        "rule-type": "object-mapping",
        "rule-action": action,
        "object-locator": place,
        "target-table-name": "TARGET",
        "mapping-parameters": parameters,
    }

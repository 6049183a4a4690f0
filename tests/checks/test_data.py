"""What the data holds against the mapping: each finding appears when it should, and none does for clean data."""

# ruff: noqa: E501
from __future__ import annotations

import re

import pytest

from tests.checks.case import GROUP, PURCHASE, RECORD, Case
from whimbrel.checks import groups

TEMPLATE = """
shape = "record"
partition_key = { name = "pk", value = "${a}|${b}" }
"""
NAMED = """
shape = "group"
partition_key = { name = "a" }
entry = { name = "${b}", value = "n" }
"""
BY_CUSTOMER = """
shape = "record"
partition_key = { name = "customer" }
sort_key = { name = "id", type = "N" }
"""


def test_a_template_that_two_rows_share(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (a VARCHAR(9), b VARCHAR(9), PRIMARY KEY (a, b))", "INSERT INTO t VALUES ('x', 'y'), ('x', 'z')"
    )
    case.project('shape = "record"\npartition_key = { name = "pk", value = "${a}${b}" }')
    assert "nothing stands between a and b" in case.reason("key-unproven")
    case.execute("INSERT INTO t VALUES ('a|', 'b'), ('a', '|b'), ('1|', '2'), ('1', '|2')")
    reason = case.reason("key-shared")
    assert "2 rows share the item of another: " in reason
    assert "2 rows at a|b" in reason
    assert "key-unproven" not in case.check()


def test_a_text_that_runs_into_its_separator(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (a VARCHAR(9), b VARCHAR(9), n INT, PRIMARY KEY (a, b, n))",
        "INSERT INTO t VALUES ('x', 'y|', 1), ('x', '|y', 2)",
    )
    case.project('shape = "record"\npartition_key = { name = "pk", value = "${a}||${b}-${n}" }')
    assert not {"key-separator", "key-unproven", "key-asserted"} & case.check().keys()
    case.execute("INSERT INTO t VALUES ('x|', 'y', 3), ('é|||', 'y', 4), ('x', 'y', -5)")
    number, text = [each["reason"] for each in case.check()["key-separator"]]
    assert number == "1 rows: key 'pk' has '-' beside n, which has it too (a=x, b=y, n=-5)"
    assert text.startswith("2 rows: key 'pk' has '||' beside a, which has it too (a=")
    assert "a=x|, b=y, n=3" in text
    assert "a=é|||, b=y, n=4" in text


def test_a_key_without_all_of_the_primary_key(case: Case) -> None:
    case.execute("CREATE TABLE t (a INT NOT NULL, b INT, PRIMARY KEY (b))", "INSERT INTO t VALUES (1, 1), (2, 2)")
    rule = 'shape = "record"\npartition_key = { name = "a", type = "N" }'
    case.project(rule)
    assert "b of the primary key is not in the key" in case.reason("key-unproven")
    case.project(f"{rule}\nassert_unique = true")
    assert "b of the primary key is not in the key" in case.reason("key-asserted")
    case.execute("INSERT INTO t VALUES (1, 3), (1, 4)")
    assert "2 rows share the item of another: 3 rows at 1" in case.reason("key-shared")


def test_another_unique_key_of_the_source_proves_it_too(case: Case) -> None:
    case.execute("CREATE TABLE t (a INT NOT NULL, b INT, PRIMARY KEY (b), UNIQUE (a))", "INSERT INTO t VALUES (1, 1)")
    case.project('shape = "record"\npartition_key = { name = "a", type = "N" }')
    assert "key-unproven" not in case.check()
    case.execute("ALTER TABLE t MODIFY a INT NULL")  # any number of rows may have NULL
    assert "key-unproven" in case.check()


def test_entries_and_groups_that_meet(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (a VARCHAR(9), b VARCHAR(9), c VARCHAR(9), n INT, PRIMARY KEY (a, b, c))",
        "INSERT INTO t VALUES ('xy', 'z', 'one', 1), ('x', 'yz', 'two', 2), ('p', 'q', 'r', 3)",
    )
    case.project(
        'shape = "group"\npartition_key = { name = "pk", value = "${a}${b}" }\nentry = { name = "${c}", value = "n" }'
    )
    assert "1 groups share the item of another: 2 groups at xyz" in case.reason("key-shared")
    case.execute("INSERT INTO t VALUES ('xy', 'z', 'two', 4)")
    assert "1 rows share the entry of another: 2 rows at xyz / two" in case.reason("key-shared")


def test_keys_that_the_collation_calls_equal(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (customer VARCHAR(9) COLLATE utf8mb4_general_ci, id INT, PRIMARY KEY (customer, id))",
        "INSERT INTO t VALUES ('ann', 1), ('Ann', 2), ('ann ', 3), ('bob', 4)",
    )
    case.project(BY_CUSTOMER)
    reason = case.reason("key-collation")
    assert (
        "2 values of customer differ as bytes from one that they are equal to under utf8mb4_general_ci: 'Ann' and 'ann '"
        in reason
    )
    case.execute(
        "ALTER TABLE t MODIFY customer VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_german1_ci",
        "INSERT INTO t VALUES ('ü', 1), ('Ü', 2)",
    )
    reason = case.reason("key-collation")
    assert "3 values of customer" in reason
    assert "'Ü' and 'ü'" in reason
    case.execute("DELETE FROM t WHERE id <> 4")
    assert "key-collation" not in case.check()


def test_null_and_empty_keys(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9), b VARCHAR(9), n INT)",
        "INSERT INTO t VALUES (1, 'x', 'y', 1)",
    )
    case.project('shape = "record"\npartition_key = { name = "a" }\nsort_key = { name = "id", type = "N" }')
    clean = case.check()
    assert {"key-null", "key-empty"}.isdisjoint(clean)
    case.execute("INSERT INTO t VALUES (2, NULL, 'y', 1), (3, '', 'y', 1), (4, '', 'z', 1)")
    found = case.check()
    assert found["key-null"][0]["reason"] == "1 rows: key 'a' needs a, which is NULL (id=2)"
    assert found["key-empty"][0]["reason"] == "2 rows: key 'a' is empty (id=3; id=4)"
    assert "row-refused" not in found


def test_what_an_index_does_not_take(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a ENUM('x') NOT NULL, b TEXT NOT NULL)",
        "INSERT INTO t VALUES (1, 'x', 'y')",
    )
    index = """[[table.index]]
name = "by_a"
partition_key = { name = "a" }
sort_key = { name = "b" }
"""
    case.project(RECORD + index)
    assert {"key-empty", "key-too-long"}.isdisjoint(case.check())
    case.execute("INSERT INTO t VALUES (2, '', 'y'), (3, 'x', ''), (4, 'x', REPEAT('z', 1025))")
    found = case.check()
    reasons = [each["reason"] for each in found["key-empty"]]
    assert reasons == ["1 rows: 'a' of index by_a is empty (id=2)", "1 rows: 'b' of index by_a is empty (id=3)"]
    assert found["key-too-long"][0]["reason"] == "1 rows: 'b' of index by_a has over 1024 bytes (id=4)"


def test_names_of_entries(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (a VARCHAR(9) NOT NULL, b VARCHAR(9), n INT, PRIMARY KEY (a, n))",
        "INSERT INTO t VALUES ('x', 'y', 1), ('x', 'z', 2)",
    )
    case.project(NAMED + "exclude = []\n")
    assert {"entry-clash", "key-null", "key-empty"}.isdisjoint(case.check())
    case.execute("INSERT INTO t VALUES ('x', 'a', 3), ('x', 'A', 4), ('x', NULL, 5), ('x', '', 6)")
    found = case.check()
    assert found["entry-clash"][0]["reason"].startswith("1 rows: the entry's name is one of 'a' (a=x, n=3)")
    assert "the entry's name needs b" in found["key-null"][0]["reason"]
    assert "the entry's name is empty" in found["key-empty"][0]["reason"]


def test_long_keys(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(3000) CHARACTER SET latin1 NOT NULL)",
        "INSERT INTO t VALUES (1, REPEAT('x', 2048))",
    )
    case.project('shape = "record"\npartition_key = { name = "a" }')
    assert "key-too-long" not in case.check()
    case.execute("INSERT INTO t VALUES (2, CONCAT('ü', REPEAT('x', 2047)))")  # 2049 bytes in UTF-8
    assert "1 rows: key 'a' has over 2048 bytes (id=2)" in case.reason("key-too-long")


def test_large_records(on_mariadb: Case) -> None:
    on_mariadb.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a MEDIUMTEXT, b MEDIUMBLOB)",
        "INSERT INTO t VALUES (1, REPEAT('x', 200000), REPEAT('y', 200000))",
    )
    on_mariadb.project(RECORD)
    assert "item-too-large" not in on_mariadb.check()
    on_mariadb.execute("INSERT INTO t VALUES (2, REPEAT('x', 200000), REPEAT('y', 210000)), (3, NULL, NULL)")
    assert "1 rows: their items have over 400 KB (id=2)" in on_mariadb.reason("item-too-large")


def test_large_groups(case: Case) -> None:
    digits = "(SELECT 0 AS d" + "".join(f" UNION ALL SELECT {n}" for n in range(1, 10)) + ")"
    many = f"FROM {digits} a, {digits} b, {digits} c, {digits} d"
    case.execute(
        PURCHASE, f"INSERT INTO purchase SELECT 'c1', 'o1', CONCAT(REPEAT('p', 26), a.d, b.d, c.d, d.d), 1 {many}"
    )
    case.project(GROUP, "purchase")
    found = case.check()
    assert "item-too-large" not in found
    assert "customerid=c1, orderid=o1 has 320,021 bytes in 10,000 rows" in found["item-large"][0]["reason"]
    case.execute(f"INSERT INTO purchase SELECT 'c1', 'o2', CONCAT(REPEAT('q', 36), a.d, b.d, c.d, d.d), 1 {many}")
    assert "customerid=c1, orderid=o2: the item has 420021 bytes" in case.reason("item-too-large")


# What a column can hold, what it cannot as an item, and why. NULL is always fine.
NUMBERS = [
    ("DECIMAL(65,30)", "1.5", "12345678901234567890.1234567890123456789", "has over 38 digits", ""),
    ("DECIMAL(65,0)", "1" + "0" * 60, "1" * 39, "has over 38 digits", ""),
    ("DOUBLE", "1e-120", "1e-200", "is outside", ""),
    ("DOUBLE", "0", "-1e200", "is outside", ""),
    ("VARCHAR(80)", "'-12.50e3'", "'12,50'", "must be N, and is not a number", "N"),
    ("VARCHAR(80)", "'0.00'", f"'{'1' * 39}'", "has over 38 digits", "N"),
    ("TINYINT", "1", "2", "must be BOOL", "BOOL"),
]


def test_numbers(case: Case) -> None:
    names = [f"c{n}" for n in range(len(NUMBERS))]
    columns = ", ".join(f"{name} {each[0]}" for name, each in zip(names, NUMBERS, strict=True))
    goods = ", ".join(each[1] for each in NUMBERS)
    case.execute(f"CREATE TABLE t (id INT PRIMARY KEY, {columns})", f"INSERT INTO t VALUES (1, {goods})")
    case.execute("INSERT INTO t (id) VALUES (2)")
    types = ", ".join(f'{name} = "{each[4]}"' for name, each in zip(names, NUMBERS, strict=True) if each[4])
    case.project(RECORD + f"types = {{ {types} }}")
    assert case.check().keys() <= {"row-metadata", "triggers-unknown"}
    for number, (name, each) in enumerate(zip(names, NUMBERS, strict=True), 10):
        case.execute(f"INSERT INTO t (id, {name}) VALUES ({number}, {each[2]})")
    found = case.check()
    reasons = "".join(each["reason"] for code in ("number-range", "type-refused") for each in found[code])
    for number, (name, each) in enumerate(zip(names, NUMBERS, strict=True), 10):
        assert re.search(rf"1 rows: {name} {each[3]}[^(]*\(id={number}\)", reasons), f"{name} in {reasons}"
    assert len(found["number-range"]) + len(found["type-refused"]) == len(NUMBERS)
    texts = ", ".join(f'{name} = "S"' for name in names)
    case.project(RECORD + f"types = {{ {texts} }}")
    assert {"number-range", "type-refused", "row-refused"}.isdisjoint(case.check())


def test_remarks(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9), b VARBINARY(9), d DATE, e DATETIME(3))",
        "INSERT INTO t VALUES (1, 'x', 'x', '2026-01-02', '2026-01-02 00:00:00'), (2, NULL, NULL, NULL, NULL)",
    )
    case.project(RECORD)
    assert {"empty-value", "zero-date"}.isdisjoint(case.check())
    case.execute("INSERT INTO t VALUES (3, '', 'x', '0000-00-00', NULL), (4, 'x', '', NULL, '2026-02-00 00:00:00')")
    found = case.check()
    assert "2 rows: empty in one of a, b (id=3; id=4)" in found["empty-value"][0]["reason"]
    assert "2 rows: a zero or partial date in one of d, e (id=3; id=4)" in found["zero-date"][0]["reason"]


def test_hot_partitions(on_mariadb: Case) -> None:
    digits = "(SELECT 0 AS d" + "".join(f" UNION ALL SELECT {n}" for n in range(1, 10)) + ")"
    on_mariadb.execute(
        "CREATE TABLE t (customer VARCHAR(9), id INT, PRIMARY KEY (customer, id))",
        f"INSERT INTO t SELECT 'hot', 1000 + a.d * 100 + b.d * 10 + c.d FROM {digits} a, {digits} b, {digits} c",
        f"INSERT INTO t SELECT CONCAT('c', a.d, b.d), c.d FROM {digits} a, {digits} b, {digits} c",
    )
    on_mariadb.project(BY_CUSTOMER)
    assert "customer=hot has 1,000 rows, 50% of all" in on_mariadb.reason("hot-partition")
    heaviest = on_mariadb.report["tables"][0]["heaviest"]
    assert heaviest[0] == {"key": "customer=hot", "rows": 1000, "share": 0.5}
    on_mariadb.execute("DELETE FROM t WHERE customer = 'hot' AND id > 1900")
    assert "hot-partition" not in on_mariadb.check()


def test_a_load_that_one_partition_would_take_alone(on_mariadb: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "ROWS_OF_A_HOT_LOAD", 3)
    on_mariadb.execute(
        "CREATE TABLE t (customer VARCHAR(9), id INT, PRIMARY KEY (customer, id))",
        "INSERT INTO t VALUES ('a', 1), ('a', 2), ('a', 3), ('b', 1)",
    )
    on_mariadb.project(BY_CUSTOMER)
    assert "customer=a has 3 rows" in on_mariadb.reason("hot-load")
    on_mariadb.project(BY_CUSTOMER + 'load_order = "spread"\n')
    found = on_mariadb.check()
    assert "hot-load" not in found
    assert 'load_order = "spread"' in found["regrouped"][0]["reason"]


def test_the_heaviest_keys_that_no_index_has(case: Case) -> None:
    """Found by way of buckets, exactly: rows of a partition, and bytes of an item."""
    digits = "(SELECT 0 AS d" + "".join(f" UNION ALL SELECT {n}" for n in range(1, 10)) + ")"
    many = f"{digits} a, {digits} b, {digits} c, {digits} d"
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, k VARCHAR(9) NOT NULL, v VARCHAR(99))",
        f"INSERT INTO t SELECT a.d * 1000 + b.d * 100 + c.d * 10 + d.d, CONCAT('k', b.d, c.d, d.d), '' FROM {many}",
        "UPDATE t SET k = 'heavy', v = REPEAT('x', 90) WHERE id < 3500",
    )
    case.project('shape = "group"\npartition_key = { name = "k" }\nentry = { name = "e${id}", value = "v" }')
    found = case.check()
    assert "k=heavy has 3,500 rows, 35% of all" in found["hot-partition"][0]["reason"]
    assert "k=heavy has 331,396 bytes in 3,500 rows" in found["item-large"][0]["reason"]
    assert len(found["item-large"]) == 1
    table = case.report["tables"][0]
    assert table["items"] == 1001
    assert table["sizes"]["rows"] * 1001 == 10_000  # what was counted corrects what was sampled


def test_hot_writes(case: Case) -> None:
    case.execute("CREATE TABLE t (customer VARCHAR(9), id INT, PRIMARY KEY (customer, id))", "FLUSH BINARY LOGS")
    spread = ", ".join(f"('c{n}', {n})" for n in range(400))
    case.execute(f"INSERT INTO t VALUES {spread}")
    case.project(BY_CUSTOMER)
    assert "hot-writes" not in case.check()
    case.execute("INSERT INTO t VALUES " + ", ".join(f"('hot', {n})" for n in range(600)))
    reason = case.reason("hot-writes")
    assert "customer=hot had 600 of 1,000 recent changes (60%)" in reason
    writes = case.report["recent_writes"]
    assert writes["changes"] == {f"{case.database}.t": 1000}
    assert "the binlog since bin." in writes["origin"]
    assert not writes["ended"]
    assert writes["changes_per_second"] > 0


def test_reserved_names(on_mariadb: Case) -> None:
    on_mariadb.execute(PURCHASE, "INSERT INTO purchase VALUES ('c1', 'o1', 'name', 1), ('c1', 'o1', 'p1', 1)")
    on_mariadb.project(GROUP, "purchase")
    assert on_mariadb.reason("reserved-name").endswith(": name")
    on_mariadb.execute("UPDATE purchase SET productid = 'p-2' WHERE productid = 'name'")
    assert on_mariadb.reason("reserved-name").endswith(": p-2")
    on_mariadb.execute("UPDATE purchase SET productid = 'p2' WHERE productid = 'p-2'")
    assert "reserved-name" not in on_mariadb.check()


def test_rows_of_the_sample_that_are_refused(on_mariadb: Case) -> None:
    """An attribute of a text that does not fit: what no count foresaw is found by mapping."""
    on_mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO t VALUES (1, '1e999')")
    on_mariadb.project(RECORD + 'types = { v = "N" }')
    assert "1 of all rows: column 'v' is '1e999', which is outside the range" in on_mariadb.reason("row-refused")


def test_a_text_that_its_character_set_does_not_have(case: Case) -> None:
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9) CHARACTER SET hebrew)",
        "INSERT INTO t VALUES (1, 'x'), (2, _hebrew x'a1')",
    )
    case.project(RECORD)
    assert "text is not valid in its character set" in case.reason("table-unsupported")
    refused = case.call("preview")
    assert (refused.exit_code, "Repair the row" in refused.output) == (3, True)


def test_a_group_that_is_regrouped(on_mariadb: Case) -> None:
    on_mariadb.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(9) NOT NULL, n INT)",
        "INSERT INTO t VALUES (1, 'x', 1), (2, 'y', 2), (3, 'x', 3)",
    )
    on_mariadb.project('shape = "group"\npartition_key = { name = "a" }\nentry = { name = "e${id}", value = "n" }')
    assert "regrouped" in on_mariadb.check()
    assert on_mariadb.report["tables"][0]["items"] == 2


def test_what_was_sampled_is_said(case: Case) -> None:
    digits = "(SELECT 0 AS d" + "".join(f" UNION ALL SELECT {n}" for n in range(1, 10)) + ")"
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9))",
        f"INSERT INTO t SELECT a.d * 1000 + b.d * 100 + c.d * 10 + d.d, '' FROM {digits} a, {digits} b, {digits} c, {digits} d",
        "ANALYZE TABLE t",
    )
    case.project(RECORD)
    found = case.check("--sample", "1000")
    assert "20 slices spread over id" in found["sampled"][0]["reason"]
    read = int(found["empty-value"][0]["reason"].partition(" rows")[0].replace(",", ""))
    assert 800 <= read <= 1200
    assert not case.report["tables"][0]["exact"]
    found = case.check("--full")
    assert "sampled" not in found
    assert "10,000 rows: empty" in found["empty-value"][0]["reason"]
    assert (case.report["tables"][0]["rows"], case.report["tables"][0]["exact"]) == (10_000, True)


def test_a_key_of_text_is_sampled_from_its_beginning(on_mariadb: Case) -> None:
    on_mariadb.execute(
        "CREATE TABLE t (id VARCHAR(9) PRIMARY KEY)",
        "INSERT INTO t VALUES ('a'), ('b'), ('c'), ('d')",
        "ANALYZE TABLE t",
    )
    on_mariadb.project(RECORD)
    assert "the first ones by its key" in on_mariadb.reason("sampled", "--sample", "2")


def test_what_takes_too_long_is_given_up_and_said(case: Case) -> None:
    case.execute(PURCHASE, "INSERT INTO purchase VALUES ('c1', 'o1', 'p1', 1)")
    case.project(GROUP, "purchase")
    found = case.check("--seconds", "0.000001")
    assert {each["reason"].partition(":")[0] for each in found["not-checked"]} >= {"rows", "keys", "groups", "sample"}


def test_a_filter_leaves_it_to_the_mapping_and_of_a_large_table_to_the_sample(on_mariadb: Case) -> None:
    on_mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9))", "INSERT INTO t VALUES (1, ''), (2, 'x')")
    on_mariadb.project(RECORD + "filter = \"v <> ''\"")
    found = on_mariadb.check()
    assert "sample-only" not in found
    assert "empty-value" not in found
    on_mariadb.execute("INSERT INTO t VALUES (3, 'y'), (4, 'z')", "ANALYZE TABLE t")
    assert "sample-only" in on_mariadb.check("--sample", "1")

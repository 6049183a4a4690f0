"""The formats of templates as the server counts them: the same texts as the mapping's, and rows that they refuse."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.checks.case import Case
from whimbrel.checks.sql import template_text
from whimbrel.mapping.design import compile_mapping
from whimbrel.mysql.connect import connect
from whimbrel.mysql.points import read_rows
from whimbrel.mysql.schema import read_table
from whimbrel.project import KeyRule, TableRule

TABLE = """CREATE TABLE t (
  id BIGINT PRIMARY KEY, n BIGINT UNSIGNED NOT NULL, y YEAR NOT NULL, flag BIT(5) NOT NULL, name VARCHAR(20) CHARACTER SET latin1,
  price DECIMAL(8,3) NOT NULL, day DATE NOT NULL, at DATETIME NOT NULL, at3 DATETIME(3) NOT NULL, at6 TIMESTAMP(6) NOT NULL,
  k BINARY(16) NOT NULL, size ENUM('small', 'größer') NOT NULL)"""
ROWS = """INSERT INTO t VALUES
  (1, 0, 1999, 1, 'Zoë', 1.5, '2026-01-31', '2026-01-31 01:02:03', '2026-01-31 01:02:03.045', '2026-01-31 01:02:03.000456', x'123e4567e89b12d3a456426655440000', 'größer'),
  (-7, 18446744073709551615, 2026, 31, NULL, -1.5, '1970-01-01', '1970-01-01', '2286-11-20 17:46:39.999', '1970-01-02', x'00', 'small'),
  (9999, 35, 2155, 0, 'XX', 0, '2026-02-28', '2286-11-20 17:46:39', '1970-01-01 00:00:00.001', '2038-01-19 03:14:07.999999', x'ff', 'small'),
  (123456, 5, 1901, 2, 'none', 12345.678, '2026-02-28', '2286-11-20 17:46:40', '1969-12-31 23:59:59.999', '2038-01-19 03:14:07', x'ff', 'small'),
  (2, 5, 1901, 2, 'z', 1, '0000-00-00', '2026-00-00 00:00:00', '0000-00-00 00:00:00', '2038-01-19 03:14:07', x'ff', 'small')
"""
TEMPLATES = (
    *("${id:04d}", "${id%16}", "${id:bucket16}", "${n:020d}", "${n%7}", "${n:bucket9}", "${y:06d}", "${y%7}"),
    *("${flag:03d}", "${flag%4}", "${name:bucket100}", "${name:-XX}", "${name:bucket100:-none}", "${price:bucket16}"),
    *("${day:%Y-%m}", "${day:%d.%m.%Y}", "${day:epoch}", "${day:reversed_ms}", "${day:bucket16}"),
    *("${at:%Y%m%dT%H%M%SZ}", "${at:%f}", "${at:epoch}", "${at:reversed}", "${at:epoch_us}", "${at:bucket16}"),
    *("${at3:%H:%M:%S.%f}", "${at3:epoch_ms}", "${at3:reversed_ms}", "${at3:reversed_us}", "${at3:bucket16}"),
    *("${at6:%Y/%m/%d %H:%M:%S.%f}", "${at6:epoch_us}", "${at6:reversed_us}", "${at6:bucket16}"),
    *("${k:uuid}", "${k:uuid_swapped}", "${k:bucket16}", "${size:bucket16}", "A${id:010d}|${at6:%Y}|"),
)


def test_the_server_makes_the_mapping_s_texts(case: Case) -> None:
    case.execute(TABLE, ROWS)
    source = case.source.source(case.database, tls="off")
    with connect(source) as connection:
        table = read_table(connection, case.database, "t")
        rows = {row[0]: row for row in read_rows(connection, table, "1")}
        for template in TEMPLATES:
            rule = TableRule("t", "ttt", "record", KeyRule("p", template), assert_unique=True)
            mapping = compile_mapping(rule, table)
            text = template_text(mapping.design.keys[0].template, mapping.design)
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT id, {text} FROM `{case.database}`.t")
                found = dict(cursor.fetchall())
            made = {key: mapping.item_key(row) for key, row in rows.items()}
            wanted = {key: item["p"]["S"] if item else None for key, item in made.items()}
            if ":-XX" in template:
                wanted[9999] = "XX"  # refused, as another row has it
            found = {key: each.decode() if isinstance(each, bytes) else each for key, each in found.items()}
            assert found == wanted, template


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("${id:04d}", "2 rows: key 'pk' has id, which 04d cannot carry"),
        ("${at:reversed}", "2 rows: key 'pk' has at, which reversed cannot carry"),
        ("${at3:epoch_ms}", "2 rows: key 'pk' has at3, which epoch_ms cannot carry"),
        ("${name:-XX}", "1 rows: key 'pk' has name, which is the text that stands for NULL (id=9999)"),
    ],
)
def test_rows_that_a_format_refuses_are_counted(on_mariadb: Case, template: str, reason: str) -> None:
    case = on_mariadb
    case.execute(TABLE, ROWS)
    case.project(f'partition_key = {{ name = "pk", value = "{template}" }}\nsort_key = {{ name = "id", type = "N" }}')
    assert reason in case.reason("key-format")
    case.execute("DELETE FROM t WHERE id NOT IN (1)")
    assert "key-format" not in case.check()


@pytest.mark.slow
def test_zeros_with_a_sign_are_counted(on_mysql: Case) -> None:
    """MariaDB stores none."""
    case = on_mysql
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, high DOUBLE NOT NULL, low FLOAT)",
        "INSERT INTO t VALUES (1, 0, 0e0), (2, -0e0, 1), (3, -1.5, -0e0), (4, 1e-300, NULL)",
    )
    sort = 'sort_key = { name = "sk", value = "L#${low:-none}" }'
    case.project(f'partition_key = {{ name = "pk", value = "${{id}}#${{high}}" }}\n{sort}')
    reasons = case.reason("key-format")
    assert "1 rows: key 'pk' has high, which is -0.0: the source takes it for 0.0 (id=2)" in reasons
    assert "1 rows: key 'sk' has low, which is -0.0: the source takes it for 0.0 (id=3)" in reasons
    case.execute("UPDATE t SET high = 0, low = 0")
    assert "key-format" not in case.check()


def test_values_without_a_code_are_counted(on_mariadb: Case) -> None:
    case = on_mariadb
    case.execute(TABLE, ROWS)
    case.project(
        'partition_key = { name = "id", type = "N" }\n'
        'codes = { name = { "Zoë" = 1, XX = 2, none = 3 }, flag = { 0 = "a", 1 = "b", 2 = "c" } }'
    )
    reasons = case.reason("type-refused").replace(f"{case.database}.t: ", "")
    assert reasons.splitlines() == ["1 rows: flag has no code (id=-7)", "1 rows: name has no code (id=2)"]
    case.execute("DELETE FROM t WHERE id IN (-7, 2)")
    assert "type-refused" not in case.check()


def test_a_hot_partition_is_found_by_the_text_that_a_lossy_format_gives(on_mariadb: Case) -> None:
    case = on_mariadb
    case.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, day DATETIME NOT NULL)",
        "INSERT INTO t SELECT seq, IF(seq <= 1500, '2026-01-31', '2026-02-01') + INTERVAL seq SECOND FROM seq_1_to_2000",
    )
    sort = 'sort_key = { name = "id", type = "N" }'
    case.project(f'partition_key = {{ name = "pk", value = "DAY#${{day:%Y-%m-%d}}" }}\n{sort}')
    assert "DAY#2026-01-31 has 1,500 rows, 75% of all" in case.reason("hot-partition")
    case.project(f'partition_key = {{ name = "pk", value = "DAY#${{day:%Y-%m-%d}}#${{id%4}}" }}\n{sort}')
    assert "hot-partition" not in case.check()

"""Keys of every type, with values at their edges: rows are changed, deleted, given each other's keys, added again, and
are found by their keys in the warehouse.
"""

from __future__ import annotations

import pytest

from demo.servers import MySQL, SqlServer
from tests.warehouse.places import Place

# A column, and four values as SQL, which are keys in turn.
KEYS: dict[str, tuple[str, str, str, str]] = {
    "TINYINT": ("-128", "0", "1", "127"),
    "BIGINT UNSIGNED": ("0", "9223372036854775808", "18446744073709551614", "18446744073709551615"),
    "BIGINT": ("-9223372036854775808", "-1", "0", "9223372036854775807"),
    "DECIMAL(38,0)": ("-99999999999999999999999999999999999999", "0", "1", "99999999999999999999999999999999999999"),
    "DECIMAL(65,30)": ("-0.5", "0", "99999999999999999999999999999999999.999999999999999999999999999999", "1e-30"),
    "FLOAT": ("-3.4e38", "0.1", "1e-45", "16777216"),
    "DOUBLE": ("-1.7976931348623157e308", "0.1", "5e-324", "0.30000000000000004"),
    "BIT(64)": ("b'0'", "b'1'", "0x7fffffffffffffff", "0xffffffffffffffff"),
    "YEAR": ("0", "1901", "2000", "2155"),
    "DATE": ("'1000-01-01'", "'0001-01-01'", "'2024-02-29'", "'9999-12-31'"),
    "DATETIME(6)": ("'1000-01-01'", "'1969-12-31 23:59:59.999999'", "'2024-02-29 1:2:3.000001'", "'9999-12-31'"),
    "TIMESTAMP(6)": (
        "'1970-01-01 00:00:01'",
        "'2024-03-31 02:30:00.5'",
        "'2024-10-27 02:30:00'",
        "'2038-01-19 03:14:07'",
    ),
    "TIME(6)": ("'-838:59:59'", "'-00:00:00.000001'", "'24:00:00'", "'838:59:59'"),
    "CHAR(5)": ("''", "'a'", "'é'", "'a b'"),
    "VARCHAR(60) COLLATE utf8mb4_bin": ("''", "'a'", "'A'", "'null'"),
    "VARCHAR(60) CHARACTER SET utf16 COLLATE utf16_bin": ("''", "'\"'", "'\\\\'", "'😀\\n\\t'"),
    "VARCHAR(60) CHARACTER SET latin1 COLLATE latin1_bin": ("'ÿ'", "'€'", "'],['", "','"),
    "BINARY(4)": ("0x00", "0x01", "0xff", "0x5c785c30"),
    "VARBINARY(9)": ("''", "0x00", "0x0000", "0xff"),
    "ENUM('a','B','it''s','')": ("'a'", "'B'", "'it''s'", "''"),
    "SET('a','b','c')": ("''", "'a'", "'a,c'", "'a,b,c'"),
}
MARIADB = {
    "UUID": ("UUID()", "'00000000-0000-0000-0000-000000000000'", "UUID()", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"),
    "INET4": ("'0.0.0.0'", "'10.0.0.1'", "'127.0.0.1'", "'255.255.255.255'"),
    "INET6": ("'::'", "'::1'", "'::ffff:10.0.0.1'", "'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'"),
}
UTC = "SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'"


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("keeps", ["", "history = true", 'deletes = "mark"'])
def test_rows_are_found_by_keys_of_every_type(
    place: Place, source_server: SqlServer, database: str, keeps: str
) -> None:
    keys = KEYS | ({} if isinstance(source_server, MySQL) else MARIADB)
    made, changed = [UTC, "SET NAMES utf8mb4"], [UTC, "SET NAMES utf8mb4", "BEGIN"]
    for number, (kind, values) in enumerate(keys.items()):
        made.append(f"CREATE TABLE k{number} (k {kind} NOT NULL, p INT, v INT UNIQUE, PRIMARY KEY (k, p))")
        made += [f"INSERT INTO k{number} VALUES ({value}, 1, {v})" for v, value in enumerate(values[:3])]
        # The second and third change their keys with each other; the first gets another one, and comes again.
        changed += [
            f"UPDATE k{number} SET p = 2 WHERE v = 1",
            f"UPDATE k{number} a JOIN (SELECT k FROM k{number} WHERE v = 1) b SET a.k = b.k WHERE a.v = 2",
            f"UPDATE k{number} SET k = {values[2]}, p = 1 WHERE v = 1",
            f"UPDATE k{number} SET k = {values[3]} WHERE v = 0",
            f"INSERT INTO k{number} VALUES ({values[0]}, 1, 3)",
            f"UPDATE k{number} SET v = v + 10",
            f"DELETE FROM k{number} WHERE v = 13",
            f"INSERT INTO k{number} VALUES ({values[0]}, 1, 4)",
        ]
    source_server.execute(*made, database=database)
    place.add("keys", source_server, database, keeps)
    place.converge()
    source_server.execute(*changed, "COMMIT", database=database)
    place.converge()
    source_server.execute(
        UTC, *(f"DELETE FROM k{number} WHERE v IN (11, 12)" for number in range(len(keys))), database=database
    )
    place.converge()
    now = {"": "", "history = true": "WHERE valid_to IS NULL"}.get(keeps, "WHERE deleted_at IS NULL")
    for number, kind in enumerate(keys):
        assert place.rows(f"SELECT v FROM keys.k{number} {now} ORDER BY v") == [(4,), (10,)], kind
    report = place.verify()
    assert report.equal, [table for table in report.tables if not table.equal]

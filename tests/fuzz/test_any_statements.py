"""Whatever stands in a file of statements, each is served somehow, or listed as not understood."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from tests.checks.test_access import MAPPINGS, SIZES
from tests.fuzz.any import often
from whimbrel.checks.access.served import access_findings, access_json, access_of
from whimbrel.checks.access.statements import from_file
from whimbrel.cli.check_lines import access_lines

PIECES = [
    *("SELECT * FROM orders", "SELECT name, COUNT(*) FROM customer c", "UPDATE orders SET status = 'x'", "DELETE FROM line"),
    *("INSERT INTO customer VALUES (1, 'a', NULL), (2, 'b', 'c')", "REPLACE INTO customer SET id = 1", "WITH x AS ("),
    *(" WHERE customer = 'c1'", " AND day BETWEEN '2026-01-01' AND ?", " OR number IN (1, 2, ...)", " LIKE 'a%b'", " NOT"),
    *(" JOIN line USING (customer, number)", " GROUP BY status", " ORDER BY day DESC", " LIMIT 5 OFFSET 2", " UNION ALL "),
    *(";", "\n", "'", '"', "`", "/*", "*/", "-- ", "(", ")", "?", " FOR UPDATE", "CALL p(1)", "use shop;", "DELIMITER //"),
    *("# Query_time: 0.1  Lock_time: 0.0\n", "# User@Host: a[a] @ b []\n", "SET timestamp=1;\n", "# Time: 261125 22:02:58\n"),
    *("2026-01-01T00:00:00.000000Z\t 7 Query\t", "2026-01-01T00:00:00.000000Z\t 7 Init DB\tshop\n", "\t\t 8 Connect\ta@b on shop\n"),
    *("\0", "\ufeff", "\udc80", "é", "0x", "1e", "$", "@@x", ":=", "->>'$.a'", "{fn x}", "\\"),
]  # fmt: skip
# ruff: noqa: E501


@often(150)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=9).map("".join))
@example("SELECT " + "(" * 2000)
@example("SELECT * FROM orders WHERE " + " OR ".join(["customer = 'a'"] * 3000))
def test_statements_of_any_kind(tmp_path: Path, text: str) -> None:
    file = tmp_path / "statements.sql"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    access = access_of("x", from_file(file, "shop"), list(MAPPINGS.values()), SIZES)
    assert access_json(access)
    assert all(isinstance(line, str) for line in access_lines(access))
    list(access_findings(access))


@often(30)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "statements.sql"
    file.write_bytes(data)
    access_of("x", from_file(file, "shop"), list(MAPPINGS.values()), SIZES)

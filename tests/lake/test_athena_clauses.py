"""Clauses of a question to Athena, over more than one table: what is sent is of Trino's grammar, and DuckDB, reading it
as Athena's SQL, gives the answer that it gives to the original.

That Athena itself takes a clause as DuckDB does is what its documents say of standard SQL. ``test_athena_meaning`` has
functions and operators, with another engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from tests.lake.catalog import MACROS
from tests.lake.test_athena_meaning import ODD, Judge, for_athena
from whimbrel.lake.duck import connect

SAME = [
    "SELECT yes, sum(n) FROM odd GROUP BY ALL ORDER BY ALL DESC",
    "SELECT length(text) AS size, yes, count(*) FROM odd GROUP BY ALL HAVING count(*) > 0 ORDER BY 1, 2 NULLS FIRST",
    "SELECT 1, count(*) FROM odd GROUP BY ALL",
    "SELECT yes AS y, count(*) FROM odd GROUP BY ROLLUP (y)",
    "SELECT yes, pk, sum(n) FROM odd GROUP BY CUBE (yes, pk)",
    "SELECT -n AS n, n + 1 AS b FROM odd WHERE n > 0",
    "SELECT abs(n) AS n, count(*) FROM odd GROUP BY n ORDER BY 1, 2",
    "SELECT -n AS n, count(*) AS c FROM odd GROUP BY 1 HAVING n > 0 ORDER BY n",
    "SELECT n, 2 AS k, count(*) FROM odd GROUP BY n, k ORDER BY n",
    "SELECT n AS a FROM odd ORDER BY a + 1 DESC, pk",
    "SELECT row_number() OVER (ORDER BY pk) AS r, r + 1 AS s FROM odd ORDER BY r",
    "SELECT n AS a, l FROM odd QUALIFY row_number() OVER (PARTITION BY yes ORDER BY n) = 1 ORDER BY a LIMIT 2",
    "SELECT pk, count(*) AS c FROM odd GROUP BY pk QUALIFY row_number() OVER (ORDER BY pk) < 3 ORDER BY pk DESC",
    "SELECT DISTINCT n FROM odd QUALIFY count(*) OVER (PARTITION BY n) > 1",
    "WITH t AS (SELECT * FROM odd QUALIFY rank() OVER (ORDER BY n) < 3) SELECT count(*), min(text) FROM t",
    "SELECT pk FROM odd QUALIFY rank() OVER (ORDER BY n) = 1 UNION ALL SELECT 'z' ORDER BY 1",
    "SELECT pk, u FROM odd, UNNEST(l) AS t(u) WHERE u <> 'a' ORDER BY pk, u",
    "SELECT u, count(*) AS c FROM odd CROSS JOIN UNNEST(li) AS t(u) GROUP BY ALL ORDER BY ALL",
    "SELECT o.pk, sum(t.u) FROM odd o, UNNEST(o.li) AS t(u) GROUP BY o.pk ORDER BY 1",
    "SELECT pk, (SELECT count(*) FROM odd b WHERE b.n < a.n) AS below FROM odd a ORDER BY pk",
    "SELECT a.pk, b.pk FROM odd a FULL JOIN odd b ON a.n = b.n + 1 ORDER BY 1, 2",
    "SELECT pk, a.n FROM odd a JOIN odd b USING (pk) ORDER BY pk",
    "SELECT a.pk FROM odd a, odd b WHERE a.n = b.n AND a.pk <> b.pk ORDER BY 1",
    "SELECT a.pk FROM odd a WHERE NOT EXISTS (SELECT 1 FROM odd b WHERE b.n = a.n AND b.pk < a.pk) ORDER BY 1",
    "SELECT pk FROM odd WHERE n NOT IN (SELECT n FROM odd WHERE n > 5 AND n IS NOT NULL) ORDER BY pk",
    "SELECT n FROM odd EXCEPT SELECT length(text) FROM odd ORDER BY 1",
    "SELECT sum(a) FROM (SELECT n AS a FROM odd UNION ALL SELECT p FROM odd) t",
    "(SELECT pk FROM odd ORDER BY n LIMIT 1) UNION ALL (SELECT pk FROM odd ORDER BY n DESC LIMIT 1)",
    "SELECT pk, ntile(3) OVER (ORDER BY pk), percent_rank() OVER (ORDER BY n), cume_dist() OVER (ORDER BY n) FROM odd",
    "SELECT pk, lag(n, 1, 0) OVER w, sum(p) OVER (w ROWS 1 PRECEDING) FROM odd WINDOW w AS (ORDER BY pk)",
    "SELECT pk, last_value(n) OVER (ORDER BY pk ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) FROM odd",
    "SELECT pk, sum(n) FILTER (WHERE yes) OVER (PARTITION BY yes ORDER BY pk) FROM odd",
    "SELECT pk, sum(n) OVER (ORDER BY n RANGE BETWEEN 5 PRECEDING AND CURRENT ROW) FROM odd WHERE n < 100",
    "SELECT count(DISTINCT m), count(DISTINCT l), count(DISTINCT bin) FROM odd",
    "SELECT CAST(substr(t, 1, 10) AS DATE) AS day, count(*) FROM (SELECT '2024-02-03T10:00:00Z' AS t) GROUP BY ALL",
    "SELECT 99999999999999999999 + 1, 18446744073709551616",
    "FROM odd SELECT pk, m.a, * EXCLUDE (pk, m, l, li, bin) ORDER BY pk LIMIT 3 OFFSET 1",
]


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with connect() as connection:
        connection.register("odd", ODD)
        connection.execute(MACROS)
        yield connection


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with Judge(tmp_path_factory.mktemp("clauses")) as found:
        yield found


@pytest.mark.parametrize("sql", SAME)
def test_what_is_sent_has_the_answer(judge: Judge, database: duckdb.DuckDBPyConnection, sql: str) -> None:
    ours, said = for_athena(database, sql)
    plain = said.replace(" FOR VERSION AS OF 1", "")
    assert not judge.ask(plain).get("error", "").startswith("SyntaxError"), plain
    theirs = database.sql(_read_back(plain)).to_arrow_table()
    first, second = (list(map(str, _rows(each))) for each in (ours, theirs))
    assert second == first if "ORDER BY" in sql.rsplit(")", 1)[-1] else Counter(second) == Counter(first)


def _read_back(sql: str) -> str:
    tree = sqlglot.parse_one(sql, read="athena")
    for table in tree.find_all(exp.Table):
        table.set("db", None)
    return tree.sql("duckdb")


def _rows(table: object) -> list[list[object]]:
    """Without the names, and with lists as the JSON that Athena gives."""
    import pyarrow as pa

    assert isinstance(table, pa.Table)
    columns = [
        [str(each).replace("'", '"') if isinstance(each, list) else each for each in found.to_pylist()]
        for found in table.columns
    ]
    return [list(row) for row in zip(*columns, strict=True)]

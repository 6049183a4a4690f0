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
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlglot import exp

from tests.lake.catalog import MACROS
from tests.lake.test_athena_meaning import ODD, Judge, for_athena
from whimbrel.errors import UserError
from whimbrel.lake.athena_sql import translated
from whimbrel.lake.athena_types import Shown
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
    "SELECT pk, sum(CASE WHEN yes THEN n END) OVER (PARTITION BY yes ORDER BY pk) FROM odd",
    "SELECT a.pk, u, b.n FROM odd a, UNNEST(a.l) AS t(u) JOIN odd b ON a.n = b.n ORDER BY 1, 2, 3",
    "SELECT DISTINCT n, p FROM odd ORDER BY odd.n, 2",
    "SELECT coalesce(n), greatest(p), least(n) FROM odd",
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


NAMES = st.sampled_from(["n", "p", "pk", "text", "yes", "k", "c"])  # those of columns too, and two that no column has
VALUES = st.sampled_from(["n", "p", "-n", "n + 1", "abs(p)", "length(text)", "li[1]", "m.a", "k", "c", "1"])
TOTALS = st.sampled_from(["count(*)", "sum(n)", "min(p)", "max(length(text))", "count_if(yes)", "sum(n) + 1"])
OVER = st.sampled_from(
    ["row_number() OVER (ORDER BY pk)", "sum(n) OVER (PARTITION BY yes)", "lag(p) OVER (ORDER BY pk)"]
)
CONDITIONS = st.tuples(st.one_of(NAMES, VALUES), st.sampled_from(["> 0", "IS NOT NULL", "<> 2", "= 'a'"])).map(" ".join)
SOURCES = st.sampled_from(
    [
        "odd",
        "odd AS a",
        "(SELECT *, -n AS k FROM odd) AS odd",
        "odd, UNNEST(li) AS t(k)",
        "odd JOIN (SELECT pk, p AS c FROM odd) AS b USING (pk)",
        "(SELECT n, p, pk, text, yes, li FROM odd UNION ALL SELECT n, -p, pk || 'z', text, yes, li FROM odd) AS t",
    ]
)


@st.composite
def questions(draw: st.DrawFn) -> str:
    """With names that may be those of the table's columns and of the answer's."""
    totals = draw(st.booleans())
    columns = draw(st.lists(st.tuples(st.one_of(VALUES, TOTALS if totals else OVER), NAMES), min_size=1, max_size=3))
    said = [f"{value} AS {name}" if draw(st.booleans()) else value for value, name in columns]
    distinct = "DISTINCT " if draw(st.integers(0, 5)) == 0 else ""
    text = f"SELECT {distinct}{', '.join(said)} FROM {draw(SOURCES)}"
    if draw(st.booleans()):
        text += f" WHERE {draw(CONDITIONS)}"
    if totals:
        groups = draw(st.sampled_from(["", " GROUP BY ALL", " GROUP BY 1", " GROUP BY ROLLUP (yes)", "{}", "{}, {}"]))
        text += groups if " " in groups or not groups else f" GROUP BY {groups}".format(draw(NAMES), draw(NAMES))
        text += f" HAVING {draw(CONDITIONS)}" if draw(st.booleans()) else ""
    elif draw(st.booleans()):
        text += f" QUALIFY {draw(st.one_of(CONDITIONS, OVER.map(lambda each: f'{each} < 5')))}"
    if draw(st.booleans()):
        text += f" ORDER BY {draw(st.one_of(NAMES, VALUES, st.sampled_from(['ALL', '1', '1 DESC', 'n + 0', '-k'])))}"
    return text


@pytest.mark.slow
def test_names_are_of_the_same_columns(judge: Judge, database: duckdb.DuckDBPyConnection) -> None:
    examples, answered = 600, 0

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(questions())
    def check(sql: str) -> None:
        nonlocal answered
        try:
            ours, said = for_athena(database, sql)
        except (duckdb.Error, UserError):
            assume(False)
        plain = said.replace(" FOR VERSION AS OF 1", "")
        assert not judge.ask(plain).get("error", "").startswith("SyntaxError"), plain
        theirs = database.sql(_read_back(plain)).to_arrow_table()
        assert Counter(map(str, _rows(theirs))) == Counter(map(str, _rows(ours))), (sql, plain)
        answered += 1

    check()
    assert answered > examples / 8, "many questions are answered"


def test_a_float_of_32_bits_is_cast_before_anything_is_made_of_it() -> None:
    """An external table may have it. Athena adds such floats up to another one."""
    shown = {"ext": Shown({"f": "FLOAT"}, 0)}
    with pytest.raises(UserError, match=r"not known of float of 32 bits in Athena\. Cast it to DOUBLE"):
        translated("SELECT sum(f) FROM ext", shown, "w", ["DOUBLE"])
    said = translated("SELECT f, CAST(f AS DOUBLE) > 1 FROM ext", shown, "w", ["FLOAT", "BOOLEAN"])
    assert 'IS_NAN(CAST("ext"."f" AS DOUBLE))' in said


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

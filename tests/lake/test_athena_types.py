"""The types that are found in a statement for Athena are those that DuckDB tells of it."""

from __future__ import annotations

from itertools import product

import duckdb
import pytest
import sqlglot

from tests.lake.test_athena_meaning import ODD
from whimbrel.errors import UserError
from whimbrel.lake.athena_types import Shown, check_outputs, typed
from whimbrel.lake.duck import connect

VALUES = (
    "n",
    "p",
    "d",
    "1",
    "2.5",
    "1e3",
    "m.a",
    "yes::INT",
    "9223372036854775807",
    "99999999999999999999",
    "length(text)",
)
FORMS = (
    "coalesce({}, {})",
    "greatest({}, {})",
    "nullif({}, {})",
    "coalesce(nullif({}, 1), {})",
    "CASE WHEN yes THEN {} ELSE {} END",
    "if(yes, {}, {})",
    "{} + {}",
    "{} * {}",
    "{} % {}",
    "{} / {}",
    "round({}) + {}",
    "round({}, 1) * {}",
    "abs({}) - {}",
    "floor({}) * {}",
    "ceil(-{}) - {}",
    "power({}, {})",
    "length(text) + {} * {}",
    "sum({}) + sum({})",
    "sum(DISTINCT {}) * sum({})",
    "max({}) - min({})",
    "avg({}) + avg({})",
    "count_if(yes) + sum({}) + sum({})",
    "sum({}) OVER () - {}",
    "lag({}, 1, {}) OVER ()",
    "first_value({}) OVER () + {}",
)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_type_is_as_duckdb_has_it(form: str) -> None:
    checked = 0
    with connect() as connection:
        connection.register("odd", ODD)
        shown = {"odd": Shown(dict(zip(ODD.column_names, _types(connection, "SELECT * FROM odd"), strict=True)), 1)}
        for first, second in product(VALUES, VALUES):
            sql = f"SELECT {form.format(first, second)} AS x FROM odd"
            try:
                outputs = _types(connection, sql)
            except duckdb.Error:
                continue
            check_outputs(typed(sqlglot.parse_one(sql, read="duckdb"), shown), outputs)
            checked += 1
    assert checked > len(VALUES)


def test_a_type_that_is_not_duckdbs_is_refused() -> None:
    tree = typed(sqlglot.parse_one("SELECT n FROM odd", read="duckdb"), {"odd": Shown({"n": "BIGINT"}, 1)})
    check_outputs(tree, ["BIGINT"])
    with pytest.raises(UserError, match="is DOUBLE in DuckDB, and its type was taken for a whole number"):
        check_outputs(tree, ["DOUBLE"])


def _types(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    return [str(each) for each in connection.sql(sql).types]

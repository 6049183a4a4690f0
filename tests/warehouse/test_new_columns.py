"""Columns that come while a silo is followed, under names that the warehouse has already, or cannot have."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from demo.servers import MariaDB
from tests.warehouse.places import Place, assert_same
from whimbrel.errors import SchemaDrift

LONG = "ü" * 40
CASES = {
    "another case": ("CHANGE a A INT", "A", "the same name as t.a", "", "postgres"),
    "dropped before": ("DROP a, ADD A INT DEFAULT 5", "A", "the same name as t.a", "", "duckdb"),
    "the engine's": ("ADD rowid INT DEFAULT 5", "rowid", "has 'rowid' for itself", "", "duckdb"),
    "PostgreSQL's": ("ADD xmin INT DEFAULT 5", "xmin", "has 'xmin' for itself", "", "postgres"),
    "too long": (f"ADD `{LONG}` INT DEFAULT 5", LONG, "80 bytes", "", "postgres"),
    "of a version": ("ADD valid_to INT DEFAULT 5", "valid_to", "has 'valid_to' for itself", "history = true", "duckdb"),
    "of a mark": ("ADD deleted_at INT", "deleted_at", "has 'deleted_at' for itself", 'deletes = "mark"', "duckdb"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_name_that_is_taken_is_refused_until_it_has_another(
    make_place: Callable[[str], Place], mariadb: MariaDB, case: str
) -> None:
    alteration, column, said, setting, engine = CASES[case]
    place, database = make_place(engine), mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE t (id INT PRIMARY KEY, a INT)", "INSERT INTO t VALUES (1, 10), (2, 20)", database=database
    )
    place.add("shop", mariadb, database, setting)
    place.converge()
    mariadb.execute(f"ALTER TABLE t {alteration}", f"UPDATE t SET `{column}` = 7 WHERE id = 2", database=database)
    with pytest.raises(SchemaDrift, match=said) as found:
        place.converge()
    assert f'names = {{ "t.{column}" = "…" }}' in found.value.hint
    assert found.value.place == f"shop: t.{column}"
    place.silos.clear()
    place.add("shop", mariadb, database, f'{setting}\nnames = {{ "t.{column}" = "other" }}')
    place.converge()
    present = {"history = true": " WHERE valid_to IS NULL", 'deletes = "mark"': " WHERE deleted_at IS NULL"}
    wanted = mariadb.execute(f"SELECT id, `{column}` FROM t ORDER BY id", database=database)
    assert place.rows(f"SELECT id, other FROM shop.t{present.get(setting, '')} ORDER BY id") == list(map(tuple, wanted))
    assert place.verify().equal


def test_a_column_that_is_ignored_may_have_any_name(make_place: Callable[[str], Place], mariadb: MariaDB) -> None:
    place, database = make_place("duckdb"), mariadb.new_database()
    mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY)", database=database)
    place.add("shop", mariadb, database, 'new_columns = "ignore"')
    place.converge()
    mariadb.execute("ALTER TABLE t ADD rowid INT", "INSERT INTO t VALUES (1, 2)", database=database)
    place.converge()
    assert_same(place, "shop.t", mariadb, database, "t", "id")

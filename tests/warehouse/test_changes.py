"""What changes of a source become in the warehouse: keys that move, altered tables, transactions of any size."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from demo.servers import MariaDB
from tests.warehouse.places import Place, assert_same
from whimbrel.errors import SchemaDrift, StateError, UnsupportedSource, WarehouseError, WarehouseTaken, WhimbrelError


@pytest.fixture
def shop(mariadb: MariaDB) -> str:
    """A database with one small table."""
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE Item (Id INT, Kind VARCHAR(20), amount DECIMAL(8,2), PRIMARY KEY (Id, Kind))",
        "INSERT INTO Item SELECT seq, CONCAT('k', seq % 3), seq / 3 FROM seq_1_to_300",
        database=database,
    )
    return database


def test_last_images_moved_keys_and_rows_that_come_again(place: Place, mariadb: MariaDB, shop: str) -> None:
    place.add("shop", mariadb, shop)
    place.converge()
    assert_same(place, "shop.item", mariadb, shop, "Item", "*")
    mariadb.execute(
        "UPDATE Item SET Id = Id + 1000 WHERE Id < 20",
        "UPDATE Item SET Kind = UPPER(Kind) WHERE Id BETWEEN 30 AND 40",  # one key to the source's collation
        "DELETE FROM Item WHERE Id BETWEEN 50 AND 60",
        "INSERT INTO Item VALUES (55, 'back\\\\slash\\ttab', 1)",
        "UPDATE Item SET amount = amount + 1",
        "DELETE FROM Item WHERE Id = 299",
        database=shop,
    )
    done = place.converge()
    assert done.silos[0].changes_applied > 300
    assert_same(place, "shop.item", mariadb, shop, "Item", "*")
    assert place.verify().equal


def test_a_transaction_that_is_larger_than_a_portion_is_there_wholly(
    place: Place, mariadb: MariaDB, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whimbrel.warehouse.apply.PORTION", 7)
    monkeypatch.setattr("whimbrel.warehouse.apply.PORTIONS", 2)
    place.add("shop", mariadb, shop)
    place.converge()
    mariadb.execute(
        "BEGIN", "UPDATE Item SET Id = -Id", "UPDATE Item SET Id = -Id, amount = 0", "COMMIT", database=shop
    )
    mariadb.execute("UPDATE Item SET amount = 2 WHERE Id = 2", database=shop)
    place.converge()
    assert_same(place, "shop.item", mariadb, shop, "Item", "*")


def test_columns_that_come_are_filled_and_those_that_go_stay(place: Place, mariadb: MariaDB, shop: str) -> None:
    place.add("shop", mariadb, shop)
    place.converge()
    mariadb.execute(
        "UPDATE Item SET amount = 5 WHERE Id = 5",
        "ALTER TABLE Item ADD note VARCHAR(10) NOT NULL DEFAULT 'old', ADD seen DATE",
        "UPDATE Item SET note = 'new' WHERE Id = 6",
        database=shop,
    )
    place.converge()
    assert_same(place, "shop.item", mariadb, shop, "Item", "Id, Kind, amount, note, seen")
    mariadb.execute("ALTER TABLE Item DROP amount", "UPDATE Item SET note = '-' WHERE Id = 7", database=shop)
    place.converge()
    assert place.rows("SELECT COUNT(*), COUNT(amount) FROM shop.item") == [(300, 299)]
    assert_same(place, "shop.item", mariadb, shop, "Item", "Id, Kind, note, seen")
    found = place.verify()
    assert found.equal
    assert found.tables[0].not_compared == ["amount"]


def test_a_column_of_a_table_that_nobody_writes_to_is_there(place: Place, mariadb: MariaDB, shop: str) -> None:
    place.add("shop", mariadb, shop)
    place.converge()
    mariadb.execute("ALTER TABLE Item ADD more INT NOT NULL DEFAULT 3", database=shop)
    place.converge()
    assert_same(place, "shop.item", mariadb, shop, "Item", "*")


def test_a_column_under_another_name_has_its_values(place: Place, mariadb: MariaDB, shop: str) -> None:
    place.add("shop", mariadb, shop)
    place.converge()
    mariadb.execute("ALTER TABLE Item CHANGE amount total DECIMAL(9,2)", database=shop)
    mariadb.execute("UPDATE Item SET total = 1 WHERE Id = 1", database=shop)
    place.converge()
    assert_same(place, "shop.item", mariadb, shop, "Item", "Id, Kind, total")


def test_a_wider_type_is_followed(place: Place, mariadb: MariaDB, shop: str) -> None:
    place.add("shop", mariadb, shop)
    place.converge()
    mariadb.execute("ALTER TABLE Item MODIFY Id BIGINT, MODIFY amount DECIMAL(20,2)", database=shop)
    mariadb.execute(f"INSERT INTO Item VALUES ({2**40}, 'k', {10**16})", database=shop)
    place.converge()
    assert_same(place, "shop.item", mariadb, shop, "Item", "*")


@pytest.mark.slow
def test_a_view_that_keeps_a_column_from_becoming_wider_is_named(
    make_place: Callable[[str], Place], mariadb: MariaDB, shop: str
) -> None:
    """PostgreSQL alters no column that a view asks."""
    place = make_place("postgres")
    place.add("shop", mariadb, shop)
    place.silos.append('[[report]]\nname = "ids"\nsql = "SELECT id FROM shop.item"\nview = true\n')
    place.write()
    place.converge()
    mariadb.execute("ALTER TABLE Item MODIFY Id BIGINT", database=shop)
    mariadb.execute(f"INSERT INTO Item VALUES ({2**40}, 'k', 1)", database=shop)
    with pytest.raises(WarehouseError, match="used by a view") as found:
        place.converge()
    assert "Drop the view" in found.value.hint
    place.execute("DROP VIEW reports.ids")
    place.converge()
    assert place.rows("SELECT MAX(id) FROM reports.ids") == [(2**40,)]


def test_a_silo_is_begun_again_as_the_hint_says(place: Place, mariadb: MariaDB, shop: str) -> None:
    """Its schema is dropped and its state folder removed; another silo stays as it is."""
    place.add("shop", mariadb, shop)
    place.add("other", mariadb, shop)
    place.converge()
    mariadb.execute(
        "ALTER TABLE Item MODIFY amount INT NOT NULL, MODIFY Kind VARCHAR(20) CHARACTER SET latin1", database=shop
    )
    with pytest.raises(SchemaDrift, match=r"'Kind' was varchar\(20\) CHARACTER SET utf8mb4 NOT NULL, and is .*latin1"):
        place.converge()
    place.silos.pop()
    place.write()
    place.execute("DROP SCHEMA shop CASCADE")
    shutil.rmtree(place.folder / ".whimbrel" / "silos" / "shop")
    place.converge()
    assert_same(place, "shop.item", mariadb, shop, "Item", "*")
    assert place.rows("SELECT COUNT(*) FROM other.item") == [(300,)]
    assert place.rows("SELECT silo, COUNT(*) FROM whimbrel.stored GROUP BY silo ORDER BY silo") == [
        ("other", 1),
        ("shop", 1),
    ]


REFUSED = {
    "a column that comes": ('new_columns = "stop"', ["ADD a INT"], "new columns"),
    "a column that goes": ('dropped_columns = "stop"', ["DROP amount"], "were dropped or renamed"),
    "another type": ("", ["MODIFY amount INT"], "column 'amount' was"),
    "another key": ("", ["CHANGE Id Number INT"], "the key that tells its rows apart"),
    "a column that goes and comes": ("", ["DROP amount", "ADD amount DECIMAL(8,2)"], "amount"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_silo_does_not_decide_stops_by_name(
    make_place: Callable[[str], Place], mariadb: MariaDB, shop: str, case: str
) -> None:
    place = make_place("duckdb")
    setting, alterations, said = REFUSED[case]
    place.add("shop", mariadb, shop, setting)
    place.converge()
    for each in alterations[:-1]:
        mariadb.execute(f"ALTER TABLE Item {each}", database=shop)
        place.converge()
    mariadb.execute(f"ALTER TABLE Item {alterations[-1]}", "DELETE FROM Item LIMIT 1", database=shop)
    for _ in range(2):  # and again, as nobody has decided
        with pytest.raises(SchemaDrift, match=said):
            place.converge()
    assert place.rows("SELECT COUNT(*) FROM shop.item") == [(300,)]


def test_a_truncated_table_stops_the_silo(make_place: Callable[[str], Place], mariadb: MariaDB, shop: str) -> None:
    place = make_place("duckdb")
    place.add("shop", mariadb, shop)
    place.converge()
    mariadb.execute("TRUNCATE Item", database=shop)
    with pytest.raises(WhimbrelError, match=r"^shop: .*TRUNCATE"):  # which of the silos, too
        place.converge()


def test_what_cannot_be_a_table_there_is_refused_all_at_once(
    make_place: Callable[[str], Place], mariadb: MariaDB
) -> None:
    place = make_place("postgres")
    database = mariadb.new_database()
    mariadb.execute(
        "CREATE TABLE keyless (a INT)",
        "CREATE TABLE `Orders` (id INT PRIMARY KEY, xmin INT)",
        "CREATE TABLE orders (id INT PRIMARY KEY)",
        f"CREATE TABLE `{'ü' * 32}` (id INT PRIMARY KEY)",
        database=database,
    )
    place.add("shop", mariadb, database)
    with pytest.raises(UnsupportedSource) as found:
        place.converge()
    said = str(found.value)
    for words in ("keyless: has no primary key", "the same name as", "'xmin'", "64 bytes"):
        assert words in said
    place.silos.clear()
    names = '{ Orders = "orders_2", "Orders.xmin" = "x" }'
    more = f'names = {names}\nexclude = ["keyless", "{"ü" * 32}"]'
    place.add("shop", mariadb, database, more)
    place.converge()
    assert place.rows("SELECT id, x FROM shop.orders_2") == []


def test_reserved_words_and_awkward_names(place: Place, mariadb: MariaDB) -> None:
    database = mariadb.new_database()
    mariadb.execute(
        'CREATE TABLE `select` (`from` INT PRIMARY KEY, `a"b` INT, `50%` INT, `Großes ?` INT)',
        "INSERT INTO `select` VALUES (1, 2, 3, 4)",
        database=database,
    )
    place.add("words", mariadb, database)
    place.converge()
    mariadb.execute("INSERT INTO `select` VALUES (2, 3, 4, 5)", database=database)
    place.converge()
    assert place.rows('SELECT "from", "a""b", "50%", "großes ?" FROM words."select" ORDER BY 1') == [
        (1, 2, 3, 4),
        (2, 3, 4, 5),
    ]
    assert place.verify().equal


def test_a_schema_of_somebody_else_is_refused(place: Place, mariadb: MariaDB, shop: str) -> None:
    place.execute("CREATE SCHEMA shop", "CREATE TABLE shop.theirs (id INT)")
    place.add("shop", mariadb, shop)
    for ask in (place.check, place.converge):
        with pytest.raises(WarehouseTaken, match="theirs"):
            ask()


def test_a_second_state_folder_is_refused(place: Place, mariadb: MariaDB, shop: str) -> None:
    place.add("shop", mariadb, shop)
    place.converge()
    state = place.folder / ".whimbrel"
    state.rename(place.folder / "first")
    with pytest.raises(StateError, match="its state folder is empty"):
        place.check()
    with pytest.raises(WarehouseTaken, match="begun by another state folder"):
        place.converge()
    copy = place.folder / ".whimbrel"
    for path in sorted(copy.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    copy.rmdir()
    (place.folder / "first").rename(state)
    place.converge()


def test_a_warehouse_that_is_gone_is_noticed(make_place: Callable[[str], Place], mariadb: MariaDB, shop: str) -> None:
    place = make_place("duckdb")
    place.add("shop", mariadb, shop)
    place.converge()
    place.file.unlink()
    with pytest.raises(StateError, match="nothing of this silo any more"):
        place.check()
    assert not place.file.exists()
    for ask in (place.converge, place.check):
        with pytest.raises(StateError, match="nothing of this silo any more"):
            ask()


def test_rows_that_somebody_took_away_during_the_load_are_missed(
    place: Place, mariadb: MariaDB, shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whimbrel.warehouse.load import SiloTableLoad

    whole = SiloTableLoad._write_some

    def write(self: SiloTableLoad, *arguments: object) -> None:
        whole(self, *arguments)  # type: ignore[arg-type]
        place.execute("DELETE FROM shop.item WHERE id = 3")

    monkeypatch.setattr(SiloTableLoad, "_write_some", write)
    place.add("shop", mariadb, shop)
    with pytest.raises(WarehouseError, match="300 rows were exported, 300 loaded, and the table has 299"):
        place.converge()


def test_settings_that_say_something_else_than_at_the_start_are_refused(
    place: Place, mariadb: MariaDB, shop: str
) -> None:
    place.add("shop", mariadb, shop)
    place.converge()
    place.silos.clear()
    place.add("shop", mariadb, shop, 'types = { "Item.amount" = "text" }')
    for ask in (place.check, place.converge):
        with pytest.raises(StateError, match="amount"):
            ask()

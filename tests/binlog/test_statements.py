"""What a statement in the binlog means for the captured table shop.purchase."""

from __future__ import annotations

import pytest

from whimbrel.mysql.binlog.alterations import Alteration
from whimbrel.mysql.binlog.lexer import Dialect
from whimbrel.mysql.binlog.statements import Meaning, Statement, read_statement

CAPTURED = {("shop", "purchase"), ("shop", "odd`na.me"), ("shop", "a-b@c")}
MARIADB, MYSQL = Dialect(mariadb=True, version=101106), Dialect(mariadb=False, version=90701)


def test_a_name_by_a_file_that_is_not_known_is_not_understood() -> None:
    assert read("TRUNCATE `#mysql50#@4e2d`").meaning is Meaning.UNKNOWN
    assert read("TRUNCATE `#mysql50#a@002d`").meaning is Meaning.HARMLESS


def read(sql: str, schema: str = "shop", dialect: Dialect = MARIADB) -> Statement:
    return read_statement(sql, schema, CAPTURED, dialect)


TRUNCATED = [
    "--\nTRUNCATE TABLE purchase",
    "--\x01x\nTRUNCATE TABLE purchase",
    "# x\rTRUNCATE other\nTRUNCATE TABLE purchase",
    "SET STATEMENT max_statement_time = 60 FOR TRUNCATE TABLE purchase",
    "SET STATEMENT a = substring('FOR' FROM 1 FOR 2), b = 1 FOR TRUNCATE purchase",
    "CREATE OR REPLACE /* release 7 */ TABLE purchase (id INT PRIMARY KEY)",
    "CREATE OR REPLACE/**/TABLE/**/purchase (id INT PRIMARY KEY)",
    "CREATE OR REPLACE DATABASE shop",
    "TRUNCATE\v\fpurchase;",
    "/*!TRUNCATE*/ purchase",
    "/*!50101TRUNCATE*/ purchase",
    "/*!99999 nothing /* at */ all */ TRUNCATE purchase",
    "/*M!100100 TRUNCATE */ purchase",
    "truncate .purchase",
    "TRUNCATE `shop`/* */./* */`purchase`",
    "ALTER IGNORE TABLE purchase ADD UNIQUE KEY u (a)",
    "DROP TABLE IF EXISTS other.a, b WAIT 10, purchase",
    "RENAME TABLE a TO b, purchase WAIT 5 TO c",
    "DROP SEQUENCE purchase",
    "TRUNCATE `#mysql50#purchase`",
    "TRUNCATE `#mysql50#a@002db@0040c`",
    "DROP TABLE `#mysql50#shop`.`#mysql50#a@002Db@0040c`",
]

CASES = [
    ("BEGIN", Meaning.BEGIN),
    ("COMMIT", Meaning.COMMIT),
    ("ROLLBACK", Meaning.ROLLBACK),
    ("rollback to savepoint a", Meaning.PARTIAL_ROLLBACK),
    ("ROLLBACK TO `a`", Meaning.PARTIAL_ROLLBACK),
    ("SAVEPOINT a", Meaning.SAVEPOINT),
    ("XA START X'61',X'',1", Meaning.XA),
    ("INSERT INTO purchase VALUES (1)", Meaning.DATA),
    ("/* app */ insert into other.t values (1)", Meaning.DATA),
    ("-- note\nUPDATE t SET a = 1", Meaning.DATA),
    ("# note\nDELETE FROM t", Meaning.DATA),
    ("REPLACE INTO t VALUES (1)", Meaning.DATA),
    ("WITH a AS (SELECT 1) UPDATE t SET b = 1", Meaning.DATA),
    ("SELECT f()", Meaning.DATA),
    ("ANALYZE UPDATE t SET a = 1", Meaning.DATA),
    ("SET STATEMENT max_statement_time = 1 FOR DELETE FROM t", Meaning.DATA),
    ("CREATE TABLE copy AS SELECT f(a) FROM t", Meaning.DATA),
    ("CREATE TABLE copy (a INT) PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (3))", Meaning.HARMLESS),
    ("CREATE SEQUENCE s START WITH 5 INCREMENT BY 2", Meaning.HARMLESS),
    ("CREATE OR REPLACE SEQUENCE purchase START WITH 5", Meaning.GONE),
    ("TRUNCATE purchase", Meaning.GONE),
    ("TRUNCATE TABLE `shop` . `purchase`", Meaning.GONE),
    ("TRUNCATE TABLE other.purchase", Meaning.HARMLESS),
    ("TRUNCATE TABLE basket", Meaning.HARMLESS),
    ("ALTER TABLE purchase ADD a INT", Meaning.ALTERED),
    ("alter /* x */ online table if exists PURCHASE drop a", Meaning.ALTERED),
    ("alter /* x */ online ignore table if exists PURCHASE drop a", Meaning.GONE),
    ("ALTER TABLE `odd``na.me` ADD a INT", Meaning.ALTERED),
    ("/*!50001 ALTER TABLE purchase */ ADD a INT", Meaning.ALTERED),
    ("ALTER TABLE basket RENAME TO shop.purchase", Meaning.GONE),
    ("ALTER TABLE basket RENAME AS purchase", Meaning.GONE),
    ("ALTER TABLE basket EXCHANGE PARTITION p WITH TABLE purchase", Meaning.GONE),
    ("ALTER TABLE basket RENAME COLUMN a TO purchase", Meaning.HARMLESS),
    *[
        (f"ALTER TABLE `shop`.`purchase` {clauses}", Meaning.KEYS)
        for clauses in (
            "ADD INDEX (a), DROP KEY b",
            "ADD UNIQUE KEY u (a, b), ALGORITHM=INPLACE, LOCK=NONE",
            "ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES d (e) ON DELETE CASCADE",
            "DROP FOREIGN KEY c, RENAME INDEX a TO b",
            "COMMENT = 'DROP COLUMN a, ADD b INT'",
            "ENGINE=InnoDB",
            "engine innodb",
            "FORCE",
            "AUTO_INCREMENT = 7, ROW_FORMAT=DYNAMIC",
            "ALTER COLUMN a SET DEFAULT 5, ALTER b DROP DEFAULT",
            "ALTER INDEX a INVISIBLE",
            "DEFAULT CHARACTER SET latin1",
            "WAIT 10 ADD INDEX (a)",
            "PARTITION BY HASH (a) PARTITIONS 3",
            "ADD PARTITION (PARTITION p VALUES LESS THAN (3))",
            "REORGANIZE PARTITION p INTO (PARTITION q VALUES LESS THAN (3))",
            "REMOVE PARTITIONING",
        )
    ],
    *[
        (f"ALTER TABLE purchase {clauses}", Meaning.ALTERED)
        for clauses in (
            "ADD INDEX (a), ADD b INT",
            "ADD (b INT, c INT)",
            "ADD CONSTRAINT p PRIMARY KEY (a)",
            "DROP PRIMARY KEY",
            "MODIFY a BIGINT",
            "CHANGE a b INT",
            "RENAME COLUMN a TO b",
            "DROP `index`",
            "ADD `key` INT",
            "CONVERT TO CHARACTER SET utf8mb4",
            "NOWAIT DROP a",
            "SOMETHING NEW",
            "COMMENT 'x', ADD b INT",
            "ADD SYSTEM VERSIONING",
        )
    ],
    *[
        (f"ALTER TABLE purchase {clauses}", Meaning.GONE)
        for clauses in (
            "RENAME TO other",
            "RENAME other",
            "RENAME = other",
            "ADD a INT, RENAME AS other",
            "DROP PARTITION p",
            "TRUNCATE PARTITION ALL",
            "EXCHANGE PARTITION p WITH TABLE other",
            "DISCARD TABLESPACE",
            "ENGINE = BLACKHOLE",
            "COMMENT = 'x' ENGINE = 'MEMORY'",
            "AUTO_INCREMENT 7 ENGINE blackhole",
        )
    ],
    ("ALTER TABLE basket ADD FOREIGN KEY (a) REFERENCES purchase (id)", Meaning.HARMLESS),
    ("ALTER TABLE basket COMMENT 'not TABLE purchase'", Meaning.HARMLESS),
    ("ALTER TABLE other.purchase ADD a INT", Meaning.HARMLESS),
    ("DROP TABLE IF EXISTS a, b, `purchase` /* generated by server */", Meaning.GONE),
    ("DROP TABLES a, shop.purchase", Meaning.GONE),
    ("DROP TABLE a, b", Meaning.HARMLESS),
    ("DROP TEMPORARY TABLE IF EXISTS purchase", Meaning.HARMLESS),
    ("RENAME TABLE a TO b, purchase TO old", Meaning.GONE),
    ("RENAME TABLE purchase_new TO `shop`.`purchase`, c TO d", Meaning.GONE),
    ("RENAME TABLE a TO b", Meaning.HARMLESS),
    ("DROP DATABASE shop", Meaning.GONE),
    ("drop schema if exists `shop`", Meaning.GONE),
    ("DROP DATABASE other", Meaning.HARMLESS),
    ("CREATE TABLE purchase (a INT)", Meaning.HARMLESS),
    ("CREATE OR REPLACE TABLE purchase (a INT)", Meaning.GONE),
    ("CREATE OR REPLACE VIEW purchases AS SELECT * FROM purchase", Meaning.HARMLESS),
    ("CREATE INDEX a ON purchase (b)", Meaning.KEYS),
    ("DROP INDEX a ON purchase", Meaning.KEYS),
    ("CREATE DEFINER=`root`@`%` TRIGGER a BEFORE INSERT ON purchase FOR EACH ROW SET @a = 1", Meaning.HARMLESS),
    ("GRANT SELECT ON shop.purchase TO a", Meaning.HARMLESS),
    ("ANALYZE TABLE purchase", Meaning.HARMLESS),
    ("SOMETHING NEW", Meaning.UNKNOWN),
    ("BEGIN NOT ATOMIC TRUNCATE purchase; END", Meaning.UNKNOWN),
    ("/* no end TRUNCATE purchase", Meaning.UNKNOWN),
    ("DROP TABLE a, 'purchase'", Meaning.UNKNOWN),
    ("CREATE NONSENSE purchase", Meaning.UNKNOWN),
    *[(sql, Meaning.GONE) for sql in TRUNCATED],
]


@pytest.mark.parametrize(("sql", "wanted"), CASES)
def test_meaning(sql: str, wanted: Meaning) -> None:
    assert read(sql).meaning is wanted


def test_the_default_schema_decides_about_a_plain_name() -> None:
    assert read("DROP TABLE purchase", "other").meaning is Meaning.HARMLESS
    assert read("DROP TABLE shop.purchase", "other").meaning is Meaning.GONE


@pytest.mark.parametrize(
    ("sql", "mariadb", "mysql"),
    [
        ("/*M! TRUNCATE */ /*!99998 no */ purchase", Meaning.GONE, Meaning.UNKNOWN),
        ("DROP /*!50700 TEMPORARY */ TABLE purchase", Meaning.GONE, Meaning.HARMLESS),
        ("DROP /*M!100000 TEMPORARY */ TABLE purchase", Meaning.HARMLESS, Meaning.GONE),
        ("DROP /*!40005 TEMPORARY */ TABLE purchase", Meaning.HARMLESS, Meaning.HARMLESS),
    ],
)
def test_the_server_decides_what_a_version_comment_is(sql: str, mariadb: Meaning, mysql: Meaning) -> None:
    assert (read(sql).meaning, read(sql, dialect=MYSQL).meaning) == (mariadb, mysql)


def test_the_sql_mode_decides_what_quotes_are() -> None:
    ansi, plain = Dialect(mariadb=False, version=90701, sql_mode=4), Dialect(False, 90701, sql_mode=1 << 20)
    assert read('TRUNCATE "purchase"', dialect=ansi).meaning is Meaning.GONE
    assert read('TRUNCATE "purchase"', dialect=MYSQL).meaning is Meaning.UNKNOWN
    hidden = "ALTER TABLE other COMMENT 'a\\', RENAME TO purchase, COMMENT '"
    assert read(hidden + "'", dialect=plain).meaning is Meaning.GONE
    assert read(hidden + "\\'' ", dialect=MYSQL).meaning is Meaning.HARMLESS


def test_the_character_set_decides_what_is_blank() -> None:
    latin1 = Dialect(mariadb=True, version=101106, charset="latin1")
    assert read("TRUNCATE\xa0purchase", dialect=latin1).meaning is Meaning.GONE
    assert read("TRUNCATE\xa0purchase").meaning is Meaning.UNKNOWN


@pytest.mark.parametrize(
    ("sql", "dropped", "cascades"),
    [
        ("ALTER TABLE purchase DROP PRIMARY KEY, ADD PRIMARY KEY (a, b)", {"PRIMARY"}, []),
        ("ALTER TABLE purchase DROP KEY IF EXISTS `a b`, DROP INDEX c", {"a b", "c"}, []),
        ("ALTER TABLE purchase DROP CONSTRAINT u", {"u"}, []),
        ("DROP INDEX u ON purchase", {"u"}, []),
        ("CREATE UNIQUE INDEX u ON purchase (a)", set(), []),
        (
            "ALTER TABLE purchase ADD FOREIGN KEY (a) REFERENCES d (e) ON DELETE CASCADE ON UPDATE SET NULL",
            set(),
            ["ON DELETE CASCADE", "ON UPDATE SET NULL"],
        ),
        ("ALTER TABLE purchase ADD b INT REFERENCES d (e) ON DELETE CASCADE", set(), ["ON DELETE CASCADE"]),
        ("ALTER TABLE purchase ADD FOREIGN KEY (a) REFERENCES d (e) ON DELETE RESTRICT", set(), []),
        ("ALTER TABLE purchase ADD t TIMESTAMP ON UPDATE CURRENT_TIMESTAMP", set(), []),
    ],
)
def test_keys_that_the_text_names(sql: str, dropped: set[str], cascades: list[str]) -> None:
    found = alteration(sql)
    assert (found.dropped_keys, found.cascades) == (dropped, cascades)


def alteration(sql: str) -> Alteration:
    found = read(sql.replace("TABLE t ", "TABLE purchase ")).alteration
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("sql", "replaced", "modified"),
    [
        ("ALTER TABLE t DROP a, ADD a INT", {"a"}, set()),
        ("ALTER TABLE t DROP COLUMN IF EXISTS `a``b`", {"a`b"}, set()),
        ("ALTER TABLE t RENAME COLUMN a TO b, RENAME COLUMN b TO a", {"a", "b"}, set()),
        ("ALTER TABLE t CHANGE COLUMN a b INT, MODIFY c BIGINT", {"a", "b"}, {"b", "c"}),
        ("ALTER TABLE t CHANGE a A INT", set(), {"A"}),
        ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a)", set(), set()),
        ("ALTER TABLE t ADD g INT AS (a + b) VIRTUAL AFTER a", set(), set()),
    ],
)
def test_columns_that_the_text_names(sql: str, replaced: set[str], modified: set[str]) -> None:
    found = alteration(sql)
    assert (found.columns, found.replaced, found.modified) == (True, replaced, modified)


@pytest.mark.parametrize(("name", "other"), [("\u0130tem", "item"), ("ΟΔΟΣ", "οδος"), ("ΟΔΟΣ", "οδοσ"), ("Ä", "ä")])
def test_names_that_servers_may_take_for_one(name: str, other: str) -> None:
    captured = {("shop", other)}
    assert read_statement(f"TRUNCATE `{name}`", "shop", captured, MARIADB).meaning is Meaning.GONE


def test_the_altered_table_is_spelled_as_captured() -> None:
    assert read("ALTER TABLE PURCHASE ADD a INT").table == ("shop", "purchase")
    assert read("ALTER TABLE Shop.`ODD``na.me` ADD a INT", "other").table == ("shop", "odd`na.me")

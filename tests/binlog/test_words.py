"""Words and signs of statements, one by one: what each decides, for the captured table shop.purchase."""

from __future__ import annotations

import pytest

from tests.binlog.test_statements import MARIADB, MYSQL, read
from whimbrel.mysql.binlog.lexer import Dialect, NotUnderstood, Token, tokens
from whimbrel.mysql.binlog.statements import Meaning
from whimbrel.mysql.binlog.token_reader import TokenReader, same_name


def texts(sql: str, dialect: Dialect = MARIADB) -> list[str]:
    return [token.text for token in tokens(sql, dialect)]


CASES = [
    # Transactions
    ("START TRANSACTION", Meaning.BEGIN),
    ("START TRANSACTION READ WRITE", Meaning.BEGIN),
    ("START REPLICA", Meaning.UNKNOWN),
    ("BEGIN WORK", Meaning.BEGIN),
    ("BEGIN WORK;;", Meaning.BEGIN),
    ("BEGIN WORK AGAIN", Meaning.UNKNOWN),
    ("ROLLBACK WORK", Meaning.ROLLBACK),
    ("ROLLBACK WORK TO SAVEPOINT a", Meaning.PARTIAL_ROLLBACK),
    ("ROLLBACK AND CHAIN", Meaning.ROLLBACK),
    ("RELEASE SAVEPOINT a", Meaning.SAVEPOINT),
    ("", Meaning.HARMLESS),
    (";", Meaning.HARMLESS),
    ("/* nothing */ ; ;", Meaning.HARMLESS),
    # Files, servers, maintenance
    ("LOAD INDEX INTO CACHE purchase", Meaning.HARMLESS),
    ("LOAD DATA INFILE 'x' INTO TABLE purchase", Meaning.DATA),
    ("LOAD INDEX", Meaning.DATA),
    ("LOAD INDEX INTO purchase", Meaning.DATA),
    ("ANALYZE NO_WRITE_TO_BINLOG TABLE purchase", Meaning.HARMLESS),
    ("OPTIMIZE LOCAL TABLES purchase, b", Meaning.HARMLESS),
    ("REPAIR VIEW v", Meaning.HARMLESS),
    ("CHECK TABLE purchase", Meaning.HARMLESS),
    ("CHECKSUM TABLE purchase", Meaning.HARMLESS),
    ("ANALYZE SELECT 1", Meaning.DATA),
    ("ANALYZE LOCAL UPDATE purchase SET a = 1", Meaning.DATA),
    ("FLUSH TABLES", Meaning.HARMLESS),
    ("REVOKE ALL ON shop.* FROM a", Meaning.HARMLESS),
    ("SET PASSWORD FOR a = 'x'", Meaning.HARMLESS),
    ("INSTALL PLUGIN a SONAME 'b'", Meaning.HARMLESS),
    ("UNINSTALL PLUGIN a", Meaning.HARMLESS),
    ("USE shop", Meaning.HARMLESS),
    ("CALL p()", Meaning.DATA),
    ("DO f()", Meaning.DATA),
    ("HANDLER purchase OPEN", Meaning.DATA),
    ("VALUES (1)", Meaning.DATA),
    ("TABLE purchase", Meaning.DATA),
    ("(SELECT 1)", Meaning.DATA),
    # Names
    ("RENAME USER a TO b", Meaning.HARMLESS),
    ("RENAME TABLES a TO b, purchase TO c", Meaning.GONE),
    ("RENAME TABLE IF EXISTS purchase TO c", Meaning.GONE),
    ("RENAME TABLE a TO b c", Meaning.UNKNOWN),
    ("RENAME SOMETHING purchase TO c", Meaning.UNKNOWN),
    ("TRUNCATE purchase NOWAIT", Meaning.GONE),
    ("TRUNCATE purchase WAIT 5", Meaning.GONE),
    ("TRUNCATE purchase WAIT 5.5", Meaning.GONE),
    ("TRUNCATE other WAIT 5.5;", Meaning.HARMLESS),
    ("TRUNCATE other WAIT x", Meaning.UNKNOWN),
    ("TRUNCATE other, purchase", Meaning.UNKNOWN),
    ("TRUNCATE", Meaning.UNKNOWN),
    ("TRUNCATE shop.", Meaning.UNKNOWN),
    ("TRUNCATE (purchase)", Meaning.UNKNOWN),
    ("TRUNCATE shop.table", Meaning.HARMLESS),
    ("DROP TABLE purchase CASCADE", Meaning.GONE),
    ("DROP TABLE other RESTRICT", Meaning.HARMLESS),
    ("DROP TABLE other ALSO", Meaning.UNKNOWN),
    ("DROP TABLE other NOWAIT, purchase", Meaning.GONE),
    ("DROP SCHEMA IF EXISTS other", Meaning.HARMLESS),
    ("DROP SEQUENCE IF EXISTS other", Meaning.HARMLESS),
    ("DROP VIEW purchase", Meaning.HARMLESS),
    ("DROP USER a", Meaning.HARMLESS),
    ("DROP AGGREGATE FUNCTION f", Meaning.HARMLESS),
    ("DROP NONSENSE purchase", Meaning.UNKNOWN),
    ("DROP INDEX IF EXISTS a ON purchase", Meaning.KEYS),
    ("DROP INDEX a ON other.purchase", Meaning.HARMLESS),
    ("DROP INDEX a", Meaning.UNKNOWN),
    # Definitions
    ("CREATE TABLE IF NOT EXISTS a (b INT)", Meaning.HARMLESS),
    ("CREATE OR REPLACE TABLE IF EXISTS purchase (b INT)", Meaning.GONE),
    ("CREATE OR REPLACE TEMPORARY TABLE purchase (a INT)", Meaning.HARMLESS),
    ("CREATE TEMPORARY TABLE purchase AS SELECT 1", Meaning.DATA),
    ("CREATE OR REPLACE TABLE other.purchase (a INT)", Meaning.HARMLESS),
    ("CREATE SCHEMA IF NOT EXISTS shop", Meaning.HARMLESS),
    ("CREATE OR REPLACE SCHEMA other", Meaning.HARMLESS),
    ("CREATE OR REPLACE DATABASE `SHOP`", Meaning.GONE),
    ("CREATE TABLE a LIKE purchase", Meaning.HARMLESS),
    ("CREATE TABLE a (b INT) WITH SYSTEM VERSIONING", Meaning.HARMLESS),
    ("CREATE TABLE a (b INT CHECK (b IN (SELECT 1)))", Meaning.DATA),
    ("CREATE TABLE a (b INT) WITH x AS (VALUES (1)) TABLE x", Meaning.DATA),
    ("CREATE TABLE a WITH x AS (VALUES (1)) (b INT)", Meaning.DATA),
    ("CREATE TABLE a VALUES ROW(1)", Meaning.DATA),
    ("CREATE TABLE a (b INT) TABLE c", Meaning.DATA),
    ("CREATE TABLE a (b INT) COMMENT = 'x', ENGINE = InnoDB TABLE c", Meaning.DATA),
    ("CREATE TABLE a VALUE ROW(1)", Meaning.DATA),
    ("CREATE TABLE a (`table` INT, `select` INT) COMMENT 'VALUES'", Meaning.HARMLESS),
    ("CREATE TABLE a (b INT, KEY (b)) PARTITION BY LIST (b) (PARTITION p VALUES IN (1))", Meaning.HARMLESS),
    ("CREATE TABLE a (b INT DEFAULT (1 + (2))) SELECT 1", Meaning.DATA),
    ("CREATE DEFINER=`a`@`b` PROCEDURE p() TRUNCATE purchase", Meaning.HARMLESS),
    ("CREATE DEFINER = a@10.0.0.1 SQL SECURITY INVOKER VIEW v AS SELECT 1", Meaning.HARMLESS),
    ("CREATE DEFINER=CURRENT_USER() EVENT e ON SCHEDULE EVERY 1 DAY DO TRUNCATE purchase", Meaning.HARMLESS),
    ("CREATE DEFINER=CURRENT_USER FUNCTION f() RETURNS INT RETURN 1", Meaning.HARMLESS),
    ("CREATE ALGORITHM=MERGE DEFINER=a@b SQL SECURITY DEFINER VIEW v AS SELECT 1", Meaning.HARMLESS),
    ("CREATE AGGREGATE FUNCTION f RETURNS INT SONAME 'x'", Meaning.HARMLESS),
    ("CREATE OR REPLACE UNIQUE INDEX i ON purchase (a)", Meaning.KEYS),
    ("CREATE FULLTEXT INDEX i ON purchase (a)", Meaning.KEYS),
    ("CREATE SPATIAL INDEX IF NOT EXISTS i USING BTREE ON shop.purchase (a)", Meaning.KEYS),
    ("CREATE UNIQUE INDEX i ON purchases (a)", Meaning.HARMLESS),
    ("CREATE DEFINER = x", Meaning.UNKNOWN),
    ("CREATE", Meaning.UNKNOWN),
    *((f"CREATE {kind} x y", Meaning.HARMLESS) for kind in ("USER", "ROLE", "SERVER", "TABLESPACE", "TRIGGER")),
    *((f"ALTER {kind} x y", Meaning.HARMLESS) for kind in ("USER", "EVENT", "INSTANCE", "VIEW", "RESOURCE")),
    ("ALTER DATABASE shop CHARACTER SET latin1", Meaning.HARMLESS),
    ("ALTER SCHEMA shop READ ONLY = 1", Meaning.HARMLESS),
    ("ALTER SEQUENCE IF EXISTS purchase RESTART", Meaning.GONE),
    ("ALTER SEQUENCE s RESTART", Meaning.HARMLESS),
    ("ALTER NONSENSE purchase", Meaning.UNKNOWN),
    ("ALTER DEFINER=a@b SQL SECURITY INVOKER VIEW v AS SELECT 1", Meaning.HARMLESS),
    ("ALTER OFFLINE TABLE purchase ADD a INT", Meaning.ALTERED),
    ("ALTER IGNORE ONLINE TABLE purchase ADD a INT", Meaning.GONE),
    ("ALTER TABLE basket RENAME TO", Meaning.HARMLESS),
    ("ALTER TABLE basket RENAME purchase", Meaning.GONE),
    ("ALTER TABLE basket RENAME TABLE TO purchase", Meaning.GONE),
    # Prefixes
    ("SET STATEMENT a = (SELECT 1 FOR), b = 1 FOR SET STATEMENT c = 1 FOR TRUNCATE purchase", Meaning.GONE),
    ("SET STATEMENT sql_mode = '' FOR TRUNCATE other", Meaning.UNKNOWN),
    ("SET STATEMENT character_set_client = utf8mb4 FOR TRUNCATE other", Meaning.UNKNOWN),
    ("SET STATEMENT a = 1", Meaning.UNKNOWN),
]


@pytest.mark.parametrize(("sql", "wanted"), CASES)
def test_what_a_word_decides(sql: str, wanted: Meaning) -> None:
    assert read(sql).meaning is wanted
    assert read(sql.lower() if "'" not in sql and "`" not in sql else sql).meaning is wanted


def test_the_verb_and_the_table_are_named() -> None:
    altered = read("ALTER TABLE PURCHASE ADD a INT")
    assert (altered.verb, altered.table) == ("ALTER", ("shop", "purchase"))
    index = read("CREATE INDEX i ON Purchase (a)")
    assert (index.verb, index.table) == ("INDEX", ("shop", "purchase"))
    assert read("truncate purchase").verb == "TRUNCATE"
    assert read("TRUNCATE other").verb == "TRUNCATE"
    assert read("SOMETHING NEW").why == "SOMETHING begins no statement that is known"
    assert read("'text'").why == "it begins no statement that is known"
    assert read("/* open").verb == ""
    assert read("DROP TABLE 'x'").verb == "DROP"


# Where names are the same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a", "A", True),
        ("a", "b", False),
        ("#mysql50#a", "a", True),
        ("a", "#mysql50#A", True),
        ("a#mysql50#", "a", False),
        ("\u0130x", "ix", True),
        ("straße", "STRASSE", True),
    ],
)
def test_names_that_servers_may_take_for_one(one: str, other: str, same: bool) -> None:
    assert same_name(one, other) is same
    assert same_name(other, one) is same


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("TRUNCATE `#mysql50#purchase`", Meaning.GONE),
        ("TRUNCATE `#mysql50#pur@0063hase`", Meaning.GONE),
        ("TRUNCATE `#mysql50#pur@00e4`", Meaning.UNKNOWN),
        ("TRUNCATE `#mysql50#pur@1x`", Meaning.UNKNOWN),
        ("TRUNCATE `pur@0063hase`", Meaning.HARMLESS),
    ],
)
def test_names_by_their_files(sql: str, wanted: Meaning) -> None:
    assert read(sql).meaning is wanted


# Tokens


def test_kinds_of_tokens() -> None:
    assert tokens("a `b``c` 'd''e' \"f\" .", MARIADB) == [
        Token("a", "word"), Token("b`c", "name"), Token("d'e", "text"), Token("f", "text"), Token(".", "sign")
    ]  # fmt: skip
    assert tokens('"a""b"', Dialect(True, 101106, sql_mode=4)) == [Token('a"b', "name")]
    assert tokens(r"'a\'b'", MARIADB) == [Token(r"a\'b", "text")]
    assert texts(r"'a\' b", Dialect(True, 101106, sql_mode=1 << 20)) == ["a\\", "b"]


@pytest.mark.parametrize("sql", ["'a", '"a', "`a", "/* a", "/*! a", "a\0b", "'a\\'", "/*!99999 /* a */"])
def test_what_no_server_can_have_carried_out(sql: str) -> None:
    with pytest.raises(NotUnderstood):
        tokens(sql, MARIADB)


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("5--1", ["5", "-", "-", "1"]),
        ("5-- 1", ["5"]),
        ("5--\n1", ["5", "1"]),
        ("5--\x011\n2", ["5", "2"]),
        ("5--", ["5"]),
        ("5--\x7f1\n2", ["5", "2"]),
        ("5 # 1\n2", ["5", "2"]),
        ("5/**/6", ["5", "6"]),
        ("5/*/6*/7", ["5", "7"]),
        ("5/* /* 6 */7", ["5", "7"]),
        ("a\0", ["a"]),
        ("a; ;", ["a"]),
        ("a ;\n", ["a"]),
        ("/*!99999 a /* b */ c */ d", ["d"]),
        ("/*!50101 a */ b", ["a", "b"]),
        ("/*! a */ b", ["a", "b"]),
        ("/*!a */ b", ["a", "b"]),
        ("/*!5 a */ b", ["5", "a", "b"]),
    ],
)
def test_comments_on_both_servers(sql: str, words: list[str]) -> None:
    assert texts(sql, MARIADB) == texts(sql, MYSQL) == words


@pytest.mark.parametrize(
    ("sql", "mariadb", "mysql"),
    [
        ("/*!50700 a */ b", ["b"], ["a", "b"]),
        ("/*!50699 a */ b", ["a", "b"], ["a", "b"]),
        ("/*!99999 a */ b", ["b"], ["b"]),
        ("/*!90701 a */ b", ["b"], ["a", "b"]),
        ("/*!90702 a */ b", ["b"], ["b"]),
        ("/*!100000 a */ b", ["a", "b"], ["b"]),
        ("/*!101106 a */ b", ["a", "b"], ["b"]),
        ("/*!101107 a */ b", ["b"], ["b"]),
        ("/*!101106a */ b", ["a", "b"], ["6a", "b"]),
        ("/*M! a */ b", ["a", "b"], ["b"]),
        ("/*M!50700 a */ b", ["a", "b"], ["b"]),
        ("/*M!999999 a */ b", ["b"], ["b"]),
        ("/*M a */ b", ["b"], ["b"]),
    ],
)
def test_version_comments(sql: str, mariadb: list[str], mysql: list[str]) -> None:
    assert (texts(sql, MARIADB), texts(sql, MYSQL)) == (mariadb, mysql)


def test_characters_of_other_sets() -> None:
    latin1, cp1250, cp1251 = (Dialect(True, 101106, charset=charset) for charset in ("latin1", "cp1250", "cp1251"))
    assert texts("a\xa0b", latin1) == ["a", "b"]
    assert texts("a\xa0b", cp1251) == ["a\xa0b"]
    assert texts("a--\xa0b\nc", latin1) == ["a", "c"]
    with pytest.raises(NotUnderstood, match="may be a control character in cp1250"):
        tokens("a--\x81b", cp1250)
    assert texts("a--\x81b", cp1251) == ["a", "-", "-", "\x81b"]
    assert texts("a--\x7fb", cp1251) == ["a", "-", "-", "\x7f", "b"]
    assert texts("a--\xa0b\nc", cp1250) == ["a", "c"]
    assert texts("a--\x7fb\nc", cp1250) == ["a", "c"]
    assert texts("a--b\nc", cp1250) == ["a", "-", "-", "b", "c"]


def test_a_reader_of_tokens() -> None:
    reader = TokenReader(tokens("a.b, .c `d` 'e' WAIT 5", MARIADB), "shop", set())
    assert [reader.word(ahead) for ahead in range(3)] == ["A", ".", "B"]
    assert reader.names() == [("a", "b"), ("shop", "c")]
    assert (reader.word(), reader.word(1)) == ("", "")
    assert not reader.took("D")
    assert [reader.take().text for _ in range(2)] == ["d", "e"]
    assert not reader.at_end()
    assert reader.pass_waiting()
    assert reader.at_end()
    assert reader.word() == reader.word(5) == ""
    with pytest.raises(NotUnderstood, match="ends too early"):
        reader.take()

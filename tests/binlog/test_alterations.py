"""What the text of an ALTER TABLE says of keys, columns and rows: also where words of it are names."""

from __future__ import annotations

import pytest

from tests.binlog.test_statements import MARIADB, alteration, read
from whimbrel.mysql.binlog.alterations import Alteration
from whimbrel.mysql.binlog.lexer import NotUnderstood, tokens
from whimbrel.mysql.binlog.statements import Meaning, statement_text
from whimbrel.mysql.binlog.token_reader import TokenReader


def found(clauses: str) -> Alteration:
    return alteration(f"ALTER TABLE purchase {clauses}")


@pytest.mark.parametrize(
    ("clauses", "keys"),
    [
        ("ADD UNIQUE KEY u (a, b)", {("a", "b")}),
        ("add unique index u using hash (a)", {("a",)}),
        ("ADD UNIQUE (a ASC, b desc)", {("a", "b")}),
        ("ADD UNIQUE (`asc`, `DESC`)", {("asc", "DESC")}),
        ("ADD UNIQUE (a) COMMENT 'x (y)' INVISIBLE", {("a",)}),
        ("ADD CONSTRAINT c UNIQUE (a), ADD INDEX (b), ADD UNIQUE (c)", {("a",), ("c",)}),
        ("ADD CONSTRAINT c PRIMARY KEY USING BTREE (b, a)", {("b", "a")}),
        ("ADD UNIQUE u (a(10), b)", {()}),  # not the whole column
        ("ADD UNIQUE u ((lower(a)))", {()}),
        ("ADD UNIQUE u (b, (lower(a)))", {()}),
        ("ADD PRIMARY KEY (a(10), b)", {("a", "b")}),
        ("ADD a INT PRIMARY KEY", {("a",)}),
        ("ADD COLUMN a INT UNIQUE", {("a",)}),
        ("ADD a DECIMAL(9, 2) UNIQUE", {("a",)}),
        ("ADD COLUMN IF NOT EXISTS a INT UNIQUE KEY AFTER b", {("a",)}),
        ("ADD `column` INT UNIQUE", {("column",)}),
        ("ADD INDEX (a)", set()),
        ("ADD INDEX `unique` (a), ADD KEY `primary` (b)", set()),
        ("ADD a VARCHAR(9) DEFAULT 'unique'", set()),
        ("MODIFY a INT UNIQUE", set()),
        ("DROP INDEX u", set()),
    ],
)
def test_unique_keys_that_are_added(clauses: str, keys: set[tuple[str, ...]]) -> None:
    assert found(clauses).added_keys == keys


@pytest.mark.parametrize(
    ("clauses", "dropped"),
    [
        ("DROP PRIMARY KEY", {"PRIMARY"}),
        ("drop primary key, drop index `a b`", {"PRIMARY", "a b"}),
        ("DROP KEY IF EXISTS u", {"u"}),
        ("DROP FOREIGN KEY IF EXISTS f", {"f"}),
        ("DROP FOREIGN KEY f, DROP CONSTRAINT IF EXISTS c", {"f", "c"}),
        ("DROP INDEX `key`", {"key"}),
        ("DROP CONSTRAINT c RESTRICT", {"c"}),
        ("DROP CHECK c", set()),
        ("DROP COLUMN a", set()),
        ("DROP a", set()),
        ("RENAME INDEX a TO b", set()),
    ],
)
def test_keys_that_are_dropped(clauses: str, dropped: set[str]) -> None:
    assert found(clauses).dropped_keys == dropped


@pytest.mark.parametrize(
    ("clauses", "cascades"),
    [
        ("ADD FOREIGN KEY (a) REFERENCES d (e) ON DELETE CASCADE", ["ON DELETE CASCADE"]),
        ("ADD FOREIGN KEY (a) REFERENCES d (e) on update cascade", ["ON UPDATE CASCADE"]),
        ("ADD FOREIGN KEY (a) REFERENCES d (e) ON DELETE SET NULL", ["ON DELETE SET NULL"]),
        ("ADD FOREIGN KEY (a) REFERENCES d (e) ON UPDATE SET DEFAULT", ["ON UPDATE SET DEFAULT"]),
        (
            "ADD FOREIGN KEY (a) REFERENCES d (e) ON DELETE SET NULL ON UPDATE CASCADE",
            ["ON DELETE SET NULL", "ON UPDATE CASCADE"],
        ),
        ("ADD FOREIGN KEY (a) REFERENCES d (e) ON DELETE NO ACTION ON UPDATE CASCADE", ["ON UPDATE CASCADE"]),
        ("ADD FOREIGN KEY (a) REFERENCES d (e) ON DELETE RESTRICT ON UPDATE NO ACTION", []),
        ("ADD FOREIGN KEY (a) REFERENCES `cascade` (`delete`)", []),
        ("ADD a INT COMMENT 'REFERENCES d ON DELETE CASCADE'", []),
        (
            "ADD FOREIGN KEY (a) REFERENCES d (e) ON DELETE CASCADE, ADD b INT REFERENCES d ON UPDATE CASCADE",
            ["ON DELETE CASCADE", "ON UPDATE CASCADE"],
        ),
    ],
)
def test_actions_by_which_the_server_changes_rows_itself(clauses: str, cascades: list[str]) -> None:
    assert found(clauses).cascades == cascades


@pytest.mark.parametrize(
    ("clauses", "replaced", "modified"),
    [
        ("DROP COLUMN a, ADD COLUMN a INT", {"a"}, set()),
        ("drop a", {"a"}, set()),
        ("DROP COLUMN IF EXISTS `not`", {"not"}, set()),
        ("DROP SYSTEM VERSIONING", set(), set()),
        ("DROP PERIOD FOR SYSTEM_TIME", set(), set()),
        ("DROP PRIMARY KEY", set(), set()),
        ("RENAME COLUMN a TO b", {"a", "b"}, set()),
        ("RENAME COLUMN `column` TO `to`", {"column", "to"}, set()),
        ("CHANGE COLUMN IF EXISTS a b INT", {"a", "b"}, {"b"}),
        ("CHANGE a a BIGINT", set(), {"a"}),
        ("CHANGE a A BIGINT", set(), {"A"}),
        ("MODIFY COLUMN IF EXISTS a BIGINT", set(), {"a"}),
        ("MODIFY a BIGINT, MODIFY b INT", set(), {"a", "b"}),
        ("DROP a, DROP COLUMN b CASCADE, DROP c RESTRICT", {"a", "b", "c"}, set()),
        ("DROP c, RENAME COLUMN a TO b", {"a", "b", "c"}, set()),
        ("RENAME COLUMN a TO b, RENAME COLUMN c TO d", {"a", "b", "c", "d"}, set()),
        ("CHANGE a b INT, CHANGE c d INT, MODIFY e INT", {"a", "b", "c", "d"}, {"b", "d", "e"}),
        ("MODIFY e INT, CHANGE a b", {"a", "b"}, {"b", "e"}),
        ("CHANGE a", set(), set()),
        ("RENAME COLUMN", set(), set()),
        ("ADD COLUMN IF NOT EXISTS a INT", set(), set()),
        ("ADD a INT", set(), set()),
        ("WAIT 5 DROP a", {"a"}, set()),
        ("NOWAIT DROP a", {"a"}, set()),
    ],
)
def test_columns_that_may_hold_other_values(clauses: str, replaced: set[str], modified: set[str]) -> None:
    alteration = found(clauses)
    assert (alteration.columns, alteration.replaced, alteration.modified) == (True, replaced, modified)


@pytest.mark.parametrize(
    ("clauses", "meaning"),
    [
        ("COMMENT 'x' ENGINE", Meaning.GONE),
        ("ENGINE = InnoDB COMMENT 'x'", Meaning.KEYS),
        ("ENGINE InnoDB, ENGINE = MEMORY", Meaning.GONE),
        ("COMMENT = 'ENGINE' ROW_FORMAT = DYNAMIC", Meaning.KEYS),
        ("PARTITION BY LIST (a) (PARTITION p VALUES IN (1) ENGINE = MEMORY)", Meaning.KEYS),
        ("COMMENT 'x' `ENGINE` 'y'", Meaning.KEYS),
        ("ALTER COLUMN a TYPE INT", Meaning.ALTERED),
        ("ALTER a TYPE INT", Meaning.ALTERED),
        ("ALTER `type` SET DEFAULT 1", Meaning.KEYS),
        ("ALTER CHECK c NOT ENFORCED", Meaning.KEYS),
        ("ADD INDEX (`primary`)", Meaning.KEYS),
        ("ADD CONSTRAINT PRIMARY KEY (a)", Meaning.ALTERED),
        ("ADD PRIMARY KEY (a)", Meaning.ALTERED),
        ("DROP CHECK c", Meaning.KEYS),
        ("DROP `check`", Meaning.ALTERED),
        ("DROP (a)", Meaning.ALTERED),
        ("ADD (a INT)", Meaning.ALTERED),
        ("REBUILD PARTITION ALL", Meaning.KEYS),
        ("COALESCE PARTITION 2", Meaning.KEYS),
        ("CONVERT PARTITION p TO TABLE other", Meaning.GONE),
        ("CONVERT TABLE other TO PARTITION p", Meaning.GONE),
        ("IMPORT TABLESPACE", Meaning.GONE),
        ("TRUNCATE PARTITION p", Meaning.GONE),
        ("IMPORT PARTITION p TABLESPACE", Meaning.GONE),
        ("RENAME KEY a TO b", Meaning.KEYS),
        ("RENAME COLUMN a TO b", Meaning.ALTERED),
        ("RENAME TO purchases", Meaning.GONE),
        ("", Meaning.KEYS),
        ("ADD INDEX (a, b), LOCK = NONE", Meaning.KEYS),
        ("ADD INDEX (a), , ADD b INT", Meaning.ALTERED),
    ],
)
def test_what_each_clause_does_to_the_table(clauses: str, meaning: Meaning) -> None:
    assert read(f"ALTER TABLE purchase {clauses}").meaning is meaning


def test_a_statement_in_the_character_set_of_its_session() -> None:
    assert statement_text(b"TRUNCATE \xe9", "latin1") == ("TRUNCATE é", "latin1")
    assert statement_text(b"TRUNCATE \x83\x5c", "sjis") == ("TRUNCATE ソ", "sjis")
    assert statement_text("TRUNCATE é".encode(), "utf8mb4") == ("TRUNCATE é", "utf8mb4")
    assert statement_text("TRUNCATE é".encode(), "not known here") == ("TRUNCATE é", "not known here")


def test_bytes_that_are_invalid_in_it_are_no_letters_unless_they_could_hide_a_quote() -> None:
    for charset in ("utf8mb4", "euckr", "not known here"):
        assert statement_text(b"a\xffb", charset) == ("a\ufffdb", charset)
    for charset in ("big5", "cp932", "gb18030", "gbk", "sjis"):
        with pytest.raises(ValueError, match=f"^a statement that is not valid {charset}: "):
            statement_text(b"a\x81", charset)  # half a character


def test_a_definer_and_an_algorithm_are_passed_only_where_an_equals_sign_follows() -> None:
    """Else they are names."""
    for sql, rest in (
        ("DEFINER = a@b VIEW", ["VIEW"]),
        ("DEFINER VIEW", ["DEFINER", "VIEW"]),
        ("X = Y", ["X", "=", "Y"]),
        ("ALGORITHM VIEW", ["ALGORITHM", "VIEW"]),
        ("ALGORITHM = MERGE VIEW", ["VIEW"]),
        ("SQL SECURITY INVOKER VIEW", ["VIEW"]),
    ):
        reader = TokenReader(tokens(sql, MARIADB), "shop", set())
        reader.pass_definition()
        assert [token.text for token in reader.rest()] == rest


@pytest.mark.parametrize(
    ("sql", "meaning"),
    [
        ("CREATE TABLE IF NOT EXISTS purchase (a INT)", Meaning.HARMLESS),
        ("CREATE OR REPLACE TABLE `if` (a INT)", Meaning.HARMLESS),
        ("CREATE TABLE IF NOT EXISTS a AS SELECT 1", Meaning.DATA),
        ("DROP TABLE IF EXISTS purchase", Meaning.GONE),
        ("CREATE INDEX IF NOT EXISTS i ON purchase (a)", Meaning.KEYS),
        ("DROP INDEX IF EXISTS i ON purchase", Meaning.KEYS),
        ("ALTER TABLE IF EXISTS purchase ADD a INT", Meaning.ALTERED),
        ("RENAME TABLE IF EXISTS a TO purchase", Meaning.GONE),
    ],
)
def test_if_exists_is_passed(sql: str, meaning: Meaning) -> None:
    assert read(sql).meaning is meaning


@pytest.mark.parametrize("sql", ["/*!99999 a /* b", "/*!99999 a /* b */", "/* a", "/*!99999 /*/ a"])
def test_comments_that_do_not_end(sql: str) -> None:
    with pytest.raises(NotUnderstood, match="a comment without an end"):
        tokens(sql, MARIADB)


def test_a_comment_in_one_that_is_not_carried_out_ends_it_late() -> None:
    """``/*/`` begins one there, and is not its end as well."""
    assert [token.text for token in tokens("/*!99999 a /*/ b */ c */ d", MARIADB)] == ["d"]
    assert [token.text for token in tokens("/*!99999 a /**/ b */ c", MARIADB)] == ["c"]
    assert [token.text for token in tokens("/*!99999 a /* b /* c */ d */ e", MARIADB)] == ["e"]
    assert [token.text for token in tokens("/*!99999 a */ b /* c */ d", MARIADB)] == ["b", "d"]
    assert [token.text for token in tokens("/* a /* b */ c", MARIADB)] == ["c"]

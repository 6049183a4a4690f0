"""What a source table is: its columns in the order of the binlog's row images, and the key that identifies a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from whimbrel.errors import PrivilegeError, UnsupportedSource
from whimbrel.mysql.connect import Mysql, connect, quoted, rows_as_dicts
from whimbrel.mysql.facts import Fact, Facts, Question
from whimbrel.mysql.members import read_members
from whimbrel.mysql.types import COLUMN_FACTS, KINDS, column_from
from whimbrel.project import Source
from whimbrel.records import Column, Filled, Table

TOGETHER = 20  # tables that are asked for at once: their columns are in memory together
_COLUMNS = Question(COLUMN_FACTS, "COLUMNS", "ORDINAL_POSITION")
_FILLED = Question(
    "COLUMN_NAME, COLUMN_DEFAULT, IS_NULLABLE, EXTRA, GENERATION_EXPRESSION", "COLUMNS", "ORDINAL_POSITION"
)
_DESCRIBED = Question("COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME", "COLUMNS", "ORDINAL_POSITION")
_INDEXES = Question(
    "INDEX_NAME, COLUMN_NAME, SUB_PART, NON_UNIQUE, COLLATION, INDEX_TYPE",
    "STATISTICS",
    "INDEX_NAME = 'PRIMARY' DESC, INDEX_NAME, SEQ_IN_INDEX",
)
_ESTIMATE = Question("TABLE_ROWS", "TABLES", "TABLE_NAME")
_ROW_BYTES = Question("AVG_ROW_LENGTH", "TABLES", "TABLE_NAME")


def read_table(connection: Mysql, schema: str, name: str, facts: Facts | None = None) -> Table:
    """The table as the server has it now, under the server's own spelling of its name. ``facts`` may have been asked
    for beforehand, with those of other tables: see ``facts_of``.

    Generated and invisible columns are columns: both the row images and a snapshot have them. Raises
    UnsupportedSource if there is no such base table, if it has neither a primary key nor a unique key without NULLs,
    or a column that cannot be carried exactly.
    """
    if facts is None or not facts.has(schema, name):
        schema, name = _own_spelling(connection, schema, name)
        facts = Facts(connection, [(schema, name)])
    place = f"{schema}.{name}"
    texts = facts.json_texts(schema, name)
    found = facts.of(_COLUMNS, schema, name)
    members = _members(connection, (schema, name), found)
    columns = tuple(
        column_from(fact, place, json_text=fact["COLUMN_NAME"] in texts, members=members.get(fact["COLUMN_NAME"], ()))
        for fact in found
    )
    key = _row_key(facts, schema, name, {column.name for column in columns if not column.nullable})
    if not key:
        raise UnsupportedSource(
            "has no primary key and no unique key without NULLs: its rows cannot be told apart",
            place=place,
            hint=f"ALTER TABLE {quoted(schema)}.{quoted(name)} ADD id BIGINT AUTO_INCREMENT PRIMARY KEY",
        )
    return Table(schema, name, columns, key)


def _members(connection: Mysql, table: tuple[str, str], facts: list[dict[str, Any]]) -> dict[str, tuple[str, ...]]:
    return {
        fact["COLUMN_NAME"]: read_members(
            connection, table, fact["COLUMN_NAME"], fact["COLUMN_TYPE"], _charset(fact["CHARACTER_SET_NAME"])
        )
        for fact in facts
        if KINDS.get(fact["DATA_TYPE"].lower()) in ("enum", "set")
    }


def find_table(connection: Mysql, source: str, facts: Facts | None = None) -> Table:
    """The table that ``source`` means, a schema and a table joined by a dot; both may have dots in them, too.

    Raises what ``read_table`` raises, and UnsupportedSource where two tables are meant.
    """
    dots = [place for place, character in enumerate(source) if character == "."]
    splits = [(source[:dot], source[dot + 1 :]) for dot in dots]
    there = [each for each in splits if len(splits) > 1 and _is_there(connection, *each)]
    if len(there) > 1:
        meant = " or ".join(f"{quoted(schema)}.{quoted(name)}" for schema, name in there)
        raise UnsupportedSource(f"could be {meant}", place=source, hint="Rename one of them: no name can tell which.")
    schema, name = (there or splits)[0]
    return read_table(connection, schema, name, facts)


def facts_of(connection: Mysql, names: Sequence[tuple[str, str]]) -> Iterator[Facts]:
    """For each of ``names`` (schema, table) what ``read_table`` needs to know, asked for TOGETHER of them at a time:
    the server answers a question about twenty tables almost as soon as one about one.
    """
    for start in range(0, len(names), TOGETHER):
        some = names[start : start + TOGETHER]
        facts = Facts(connection, some)
        yield from (facts for _ in some)


def _is_there(connection: Mysql, schema: str, name: str) -> bool:
    statement = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    return bool(rows_as_dicts(connection, statement, (schema, name)))


def table_names(connection: Mysql, schema: str) -> list[str]:
    """The tables of ``schema`` by name, those too that ``read_table`` refuses; no views."""
    rows = rows_as_dicts(
        connection,
        "SELECT TABLE_NAME AS name, TABLE_SCHEMA AS in_schema, @@lower_case_table_names AS folds "
        "FROM information_schema.TABLES "
        "WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
        (schema,),
    )
    return sorted(row["name"] for row in rows if row["in_schema"] == schema or row["folds"])


def names_fold(connection: Mysql) -> bool:
    """Whether names of schemas and tables are the same one in any letter case."""
    [row] = rows_as_dicts(connection, "SELECT @@lower_case_table_names AS folds")
    return bool(int(row["folds"]))


def tables_and_views(connection: Mysql) -> list[tuple[str, str, bool]]:
    """(schema, name, whether it is a view) of all that the account may see, the server's own schemas included."""
    rows = rows_as_dicts(
        connection,
        "SELECT TABLE_SCHEMA AS in_schema, TABLE_NAME AS name, TABLE_TYPE AS kind FROM information_schema.TABLES "
        "WHERE TABLE_TYPE NOT IN ('SYSTEM VIEW', 'SEQUENCE', 'TEMPORARY')",
    )
    return [(row["in_schema"], row["name"], row["kind"] == "VIEW") for row in rows]


def view_definition(connection: Mysql, schema: str, name: str) -> str:
    """The statement that makes a view, as the server keeps it; "" if the account may not see it. MariaDB's
    information_schema does not show it to one that may.
    """
    try:
        [row] = rows_as_dicts(connection, f"SHOW CREATE VIEW {quoted(schema)}.{quoted(name)}")
    except PrivilegeError:
        return ""
    return str(row["Create View"])


def estimated_rows(connection: Mysql, tables: Sequence[Table]) -> dict[str, int]:
    """By full name the server's own estimates, which may be off by half; 0 where it has none."""
    facts = Facts(connection, [(table.schema, table.name) for table in tables])
    found = {table.full_name: facts.of(_ESTIMATE, table.schema, table.name) for table in tables}
    return {name: int(rows[0]["TABLE_ROWS"] or 0) if rows else 0 for name, rows in found.items()}


def average_row_bytes(connection: Mysql, table: Table, facts: Facts | None = None) -> int:
    """What a row takes at the server, by its own estimate; 0 when it has none. ``facts`` as for ``read_table``."""
    rows = _facts(connection, table, facts).of(_ROW_BYTES, table.schema, table.name)
    return int(rows[0]["AVG_ROW_LENGTH"] or 0) if rows else 0


def leading_index(connection: Mysql, table: Table, columns: tuple[str, ...], facts: Facts | None = None) -> str | None:
    """An ordered index that begins with ``columns`` in their whole length and one direction, or None. The primary key
    goes first. ``facts`` as for ``read_table``.
    """
    for index, parts in _indexes_of(connection, table, facts).items():
        leading = parts[: len(columns)]
        names = tuple(part["COLUMN_NAME"] for part in leading)
        whole = all(part["SUB_PART"] is None for part in leading)
        one_direction = len({part["COLLATION"] for part in leading} - {None}) == 1
        if names == columns and whole and one_direction and parts[0]["INDEX_TYPE"] == "BTREE":
            return index
    return None


def _own_spelling(connection: Mysql, schema: str, name: str) -> tuple[str, str]:
    """information_schema may compare without regard to case; so look at what came back, and take another case only if
    the server would.
    """
    rows = rows_as_dicts(
        connection,
        "SELECT TABLE_SCHEMA AS in_schema, TABLE_NAME AS name, TABLE_TYPE AS kind, @@lower_case_table_names AS folds "
        "FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (schema, name),
    )
    exact = [row for row in rows if (row["in_schema"], row["name"]) == (schema, name)]
    found = exact or [row for row in rows if row["folds"]]
    place = f"{schema}.{name}"
    if not found:
        others = ", ".join(table_names(connection, schema)[:10]) or "none"
        raise UnsupportedSource(
            "does not exist, or may not be read",
            place=place,
            hint=f"Check its name and the grants. Tables there: {others}",
        )
    if found[0]["kind"] != "BASE TABLE":
        raise UnsupportedSource(
            f"is a {found[0]['kind'].lower()}, not a plain table", place=place, hint="Choose a base table"
        )
    return found[0]["in_schema"], found[0]["name"]


def unique_keys(connection: Mysql, table: Table, facts: Facts | None = None) -> list[tuple[str, ...]]:
    """Every key that tells the table's rows apart: primary, or unique over whole columns without NULLs. ``facts`` as
    for ``read_table``.
    """
    return list(named_unique_keys(connection, table, facts).values())


def named_unique_keys(connection: Mysql, table: Table, facts: Facts | None = None) -> dict[str, tuple[str, ...]]:
    """The same by the names of their indexes. ``facts`` as for ``read_table``."""
    not_null = {column.name for column in table.columns if not column.nullable}
    return _unique_keys(_indexes_of(connection, table, facts), not_null)


def other_unique_keys(connection: Mysql, table: Table) -> dict[str, tuple[str, ...] | None]:
    """Every unique index but the primary key, by name, NULLs or not; None for one with an expression or a prefix."""
    found: dict[str, tuple[str, ...] | None] = {}
    for index, parts in _indexes_of(connection, table).items():
        if index != "PRIMARY" and not parts[0]["NON_UNIQUE"]:
            plain = all(part["COLUMN_NAME"] and part["SUB_PART"] is None for part in parts)
            found[index] = tuple(part["COLUMN_NAME"] for part in parts) if plain else None
    return found


def foreign_keys(connection: Mysql, schema: str) -> list[tuple[str, str, str, str]]:
    """Of ``schema``, those of one column within it: a table, its column, and the table and column that it refers to."""
    statement = (
        "SELECT TABLE_NAME AS a, MIN(COLUMN_NAME) AS b, MIN(REFERENCED_TABLE_NAME) AS c, "
        "MIN(REFERENCED_COLUMN_NAME) AS d FROM information_schema.KEY_COLUMN_USAGE "
        "WHERE TABLE_SCHEMA = %s AND REFERENCED_TABLE_SCHEMA = %s GROUP BY CONSTRAINT_NAME, TABLE_NAME "
        "HAVING COUNT(*) = 1 ORDER BY a, b, c"
    )
    rows = rows_as_dicts(connection, statement, (schema, schema))
    return [(str(row["a"]), str(row["b"]), str(row["c"]), str(row["d"])) for row in rows]


def filled_by_server(connection: Mysql, table: Table) -> Filled:
    """What the server puts into the table's columns by itself."""
    facts = Facts(connection, [(table.schema, table.name)]).of(_FILLED, table.schema, table.name)
    extra = {fact["COLUMN_NAME"]: str(fact["EXTRA"]).upper() for fact in facts}
    generated = {fact["COLUMN_NAME"] for fact in facts if fact["GENERATION_EXPRESSION"]}
    by_itself = ("AUTO_INCREMENT", "DEFAULT_GENERATED")
    return Filled(
        generated=frozenset(generated),
        required=frozenset(
            fact["COLUMN_NAME"]
            for fact in facts
            if fact["IS_NULLABLE"] == "NO"
            and fact["COLUMN_DEFAULT"] is None
            and fact["COLUMN_NAME"] not in generated
            and not any(word in extra[fact["COLUMN_NAME"]] for word in by_itself)
        ),
        updated=frozenset(name for name, words in extra.items() if "ON UPDATE" in words),
    )


def _row_key(facts: Facts, schema: str, name: str, not_null: Collection[str]) -> tuple[str, ...]:
    """The primary key, else the unique key without NULLs that has the fewest columns; () if there is none."""
    keys = _unique_keys(_by_index(facts.of(_INDEXES, schema, name)), not_null)
    shortest = min(((len(columns), index) for index, columns in keys.items()), default=(0, ""))[1]
    return keys.get("PRIMARY") or keys.get(shortest, ())


def _unique_keys(indexes: Mapping[str, list[Fact]], not_null: Collection[str]) -> dict[str, tuple[str, ...]]:
    """A primary key may be of prefixes: where these differ, the whole values do."""
    return {
        index: tuple(part["COLUMN_NAME"] for part in parts)
        for index, parts in indexes.items()
        if not parts[0]["NON_UNIQUE"]
        and all(part["COLUMN_NAME"] in not_null and (index == "PRIMARY" or part["SUB_PART"] is None) for part in parts)
    }


def _indexes_of(connection: Mysql, table: Table, facts: Facts | None = None) -> dict[str, list[Fact]]:
    return _by_index(_facts(connection, table, facts).of(_INDEXES, table.schema, table.name))


def _facts(connection: Mysql, table: Table, facts: Facts | None) -> Facts:
    return facts or Facts(connection, [(table.schema, table.name)])


def _by_index(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    """Each index's parts in order. A part that is an expression has no COLUMN_NAME."""
    indexes: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        indexes[fact["INDEX_NAME"]].append(fact)
    return dict(indexes)


def described(connection: Mysql, table: Table) -> list[tuple[str, str, str]]:
    """What the source says now of each of the table's columns; none if the table is gone. See ``description``."""
    facts = Facts(connection, [(table.schema, table.name)]).of(_DESCRIBED, table.schema, table.name)
    return [(fact["COLUMN_NAME"], fact["COLUMN_TYPE"], _charset(fact["CHARACTER_SET_NAME"])) for fact in facts]


def description(column: Column) -> tuple[str, str, str]:
    """What decides how its values are read: name, type in the source's words, character set."""
    return column.name, column.type_name, _charset(column.charset)


def _charset(name: str | None) -> str:
    return "" if name in (None, "binary") else str(name)


def hidden_columns(source: Source, table: Table) -> int:
    """How many columns MariaDB keeps behind those that it names: the hash of each unique key that is too long to be
    ordered. They are in row images only.
    """
    with closing(connect(source)) as connection:
        indexes = _indexes_of(connection, table).values()
    return sum(parts[0]["INDEX_TYPE"] == "HASH" and not parts[0]["NON_UNIQUE"] for parts in indexes)

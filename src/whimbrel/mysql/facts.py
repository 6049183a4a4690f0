"""What information_schema says of tables, asked for several of them at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from whimbrel.mysql.connect import Mysql, NamedRow, quoted, rows_as_dicts

Fact = dict[str, Any]  # a row, by the names of its columns in capitals
Name = tuple[str, str]  # schema and table


class Question(NamedTuple):
    """The columns ``what`` of a view of information_schema, in the order ``by``."""

    what: str
    view: str
    by: str


class Facts:
    """Of the tables ``names``. A question is asked once, about all of them, when the first answer is wanted."""

    def __init__(self, connection: Mysql, names: Sequence[Name]) -> None:
        self._connection = connection
        self._names: dict[str, list[str]] = defaultdict(list)  # by schema
        for schema, name in names:
            self._names[schema].append(name)
        self._named: bool | None = None
        self._answers: dict[tuple[Question, str], dict[Name, list[Fact]]] = {}

    def of(self, question: Question, schema: str, name: str) -> list[Fact]:
        """The rows about exactly this table, not one whose name differs in case."""
        if (question, schema) not in self._answers:
            self._answers[question, schema] = self._ask(question, schema)
        return self._answers[question, schema].get((schema, name), [])

    def has(self, schema: str, name: str) -> bool:
        """Whether there is a base table of exactly this name, which was asked for."""
        if name not in self._names.get(schema, ()):
            return False
        return [fact["TABLE_TYPE"] for fact in self.of(_KIND, schema, name)] == ["BASE TABLE"]

    def json_texts(self, schema: str, name: str) -> set[str]:
        """The columns that MariaDB made for JSON: LONGTEXT with the check json_valid(column)."""
        if not self._checks_have_tables:
            return set()
        checks = self.of(_CHECKS, schema, name)
        names = [(fact["CONSTRAINT_NAME"], fact["CHECK_CLAUSE"].lower()) for fact in checks]
        return {column for column, clause in names if clause == f"json_valid({quoted(column.lower())})"}

    @property
    def _checks_have_tables(self) -> bool:
        """MySQL's do not name their tables, and its JSON is a type of its own."""
        if self._named is None:
            statement = "SHOW COLUMNS FROM information_schema.CHECK_CONSTRAINTS LIKE 'TABLE_NAME'"
            self._named = bool(rows_as_dicts(self._connection, statement))
        return self._named

    def _ask(self, question: Question, schema: str) -> dict[Name, list[Fact]]:
        found: dict[Name, list[Fact]] = {}
        for names in _apart(self._names[schema]):
            found |= self._asked(question, schema, names)
        return found

    def _asked(self, question: Question, schema: str, names: Sequence[str]) -> dict[Name, list[Fact]]:
        of_schema = "CONSTRAINT_SCHEMA" if question is _CHECKS else "TABLE_SCHEMA"
        wanted = f"TABLE_NAME IN ({', '.join(['%s'] * len(names))})" if len(names) > 1 else "TABLE_NAME = %s"
        statement = (
            f"SELECT {of_schema} AS IN_SCHEMA, TABLE_NAME, {question.what} FROM information_schema.{question.view} "
            f"WHERE {of_schema} = %s AND {wanted} ORDER BY {question.by}"
        )
        found: dict[Name, list[Fact]] = defaultdict(list)
        for row in rows_as_dicts(self._connection, statement, (schema, *names)):
            fact = NamedRow({key.upper(): value for key, value in row.items()})
            found[fact["IN_SCHEMA"], fact["TABLE_NAME"]].append(fact)
        return dict(found)


def _apart(names: Sequence[str]) -> Iterator[list[str]]:
    """In as few lists as need be, none of which has two names that differ in case alone: MariaDB finds only one of the
    two that a list of them names.
    """
    left = list(names)
    while left:
        some = list({name.casefold(): name for name in left}.values())
        left = [name for name in left if name not in some]
        yield some


_KIND = Question("TABLE_TYPE", "TABLES", "TABLE_NAME")
_CHECKS = Question("CONSTRAINT_NAME, CHECK_CLAUSE", "CHECK_CONSTRAINTS", "CONSTRAINT_NAME")

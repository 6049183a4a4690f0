"""A warehouse in Amazon Redshift: rows go to S3 as Parquet with a manifest, and by COPY into a temporary table, from
which deletes and inserts take them. It is reached by psycopg, or by its Data API.

Every column of the temporary table is a text, and each value is cast where it is used: so one form of file serves all
types. No TRUNCATE is ever used, as it commits. A table that is altered in a way for which Redshift has no statement
within a transaction stops the silo by name.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from typing import Any, Protocol

from whimbrel.bucket import Bucket
from whimbrel.errors import BEGIN_AGAIN, SchemaDrift
from whimbrel.lake.need import need
from whimbrel.project import Target, Warehouse
from whimbrel.records import Row, Table
from whimbrel.warehouse.json_value import NULL
from whimbrel.warehouse.layout import layout
from whimbrel.warehouse.lines import rows_of_lines
from whimbrel.warehouse.names import quoted
from whimbrel.warehouse.postgres import PostgresSession, connected
from whimbrel.warehouse.reading import row_reader
from whimbrel.warehouse.redshift_data import data_session
from whimbrel.warehouse.stored import StoredColumn, StoredTable
from whimbrel.warehouse.types import LONGEST_TEXT
from whimbrel.warehouse.values import Values, columns_of, refused

_ROWS = "whimbrel_rows"
_TEXT = "VARCHAR("
_SETTINGS = (
    "SET timezone TO 'UTC'",
    "SET datestyle TO 'ISO'",
    "SET statement_timeout TO 0",
    "SET extra_float_digits TO 2",
)
READ_ROWS = 1_000  # as many as a cluster of one node gives at a time


class Statements(Protocol):
    """How Redshift is asked: by a connection, or by the Data API."""

    def transaction(self) -> AbstractContextManager[None]: ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int: ...

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def answer(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]: ...

    def parts(self, statement: str, size: int) -> Iterator[list[tuple[Any, ...]]]: ...


class Redshift:
    """An Engine. Each session is a connection."""

    name, in_parts, exists = "redshift", False, True

    def __init__(self, warehouse: Warehouse, target: Target) -> None:
        """``target`` says how AWS is reached."""
        assert warehouse.stage is not None, "a warehouse in Redshift has a stage"
        self._warehouse, self._target = warehouse, target
        self._stage = Bucket(warehouse.stage, target)

    def prove(self) -> None:
        if self._warehouse.by_data_api:
            with data_session(self._warehouse, self._target) as statements:
                statements.prove()
            return
        with self.session() as session:
            session.fetch("SELECT 1")

    @contextmanager
    def session(self) -> Iterator[RedshiftSession]:
        with self.statements() as statements:
            yield RedshiftSession(statements, self._stage, self._warehouse)

    @contextmanager
    def statements(self) -> Iterator[Statements]:
        """For a program that only asks SQL."""
        by = data_session(self._warehouse, self._target) if self._warehouse.by_data_api else self._by_psycopg()
        with by as statements:
            for setting in _SETTINGS:
                statements.execute(setting)
            yield statements

    @contextmanager
    def _by_psycopg(self) -> Iterator[Statements]:
        psycopg = need("psycopg", "warehouse")
        connection = connected(psycopg, self._warehouse, {"cursor_factory": psycopg.ClientCursor})
        try:
            yield PostgresSession(psycopg, connection, self._warehouse.place)
        finally:
            connection.close()


class RedshiftSession:
    """An EngineSession."""

    text = f"VARCHAR({LONGEST_TEXT})"  # its TEXT has 256 bytes

    def __init__(self, statements: Statements, stage: Bucket, warehouse: Warehouse) -> None:
        self._statements, self._stage, self._role = statements, stage, warehouse.role
        self._asked = [report.sql for report in warehouse.reports]
        self._arrow, self._parquet = need("pyarrow", "warehouse"), need("pyarrow.parquet", "warehouse")

    def transaction(self) -> AbstractContextManager[None]:
        return self._statements.transaction()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._statements.execute(sql, values)

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._statements.fetch(sql, values)

    def create(self, table: StoredTable) -> None:
        self.execute(f"{table.create_statement()} {layout(table, self._asked).clause}")

    def widen(self, table: StoredTable, column: StoredColumn) -> None:
        raise SchemaDrift(
            f"column {column.source.name!r} is {column.sql} now, and Redshift cannot alter it within a transaction",
            place=table.full_name,
            hint=f"{BEGIN_AGAIN.capitalize()}.",
        )

    def insert(self, table: StoredTable, rows: Sequence[Row]) -> int:
        with self._rows(table, table.columns, rows):
            casts = ", ".join(_cast(column, number) for number, column in enumerate(table.columns))
            return self.execute(f"INSERT INTO {table.quoted} ({table.listed()}) SELECT {casts} FROM {_ROWS}")

    def load(self, table: StoredTable, version: Table, lines: Sequence[bytes], added: Row) -> int:
        return self.insert(table.written, rows_of_lines(table, version, lines, added))

    def delete(self, table: StoredTable, keys: Sequence[Row], *, only: str = "") -> int:
        with self._rows(table, table.key_columns, keys):
            return self.execute(f"DELETE FROM {table.quoted} USING {_ROWS} WHERE {_same(table, only)}")

    def fill(self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row], *, only: str = "") -> int:
        more = len(table.key)
        with self._rows(table, (*table.key_columns, *columns), rows):
            sets = ", ".join(f"{column.quoted} = {_cast(column, more + n)}" for n, column in enumerate(columns))
            return self.execute(f"UPDATE {table.quoted} SET {sets} FROM {_ROWS} WHERE {_same(table, only)}")

    def read(self, table: StoredTable, keys: Sequence[Row] | None = None, *, only: str = "") -> Iterator[list[Row]]:
        selected = ", ".join(_selected(table, column) for column in table.columns)
        statement = f"SELECT {selected} FROM {table.quoted}"
        if keys is None:
            yield from self._read(table, f"{statement} WHERE {only}" if only else statement)
            return
        with self._rows(table, table.key_columns, keys):
            yield from self._read(table, f"{statement}, {_ROWS} WHERE {_same(table, only)}")

    def after_load(self, table: StoredTable) -> None:
        """Its distribution and sort keys are what finds rows."""

    def _read(self, table: StoredTable, statement: str) -> Iterator[list[Row]]:
        read = row_reader(table.columns)
        hexed = [number for number, column in enumerate(table.columns) if column.form == "bytes"]
        for rows in self._statements.parts(statement, READ_ROWS):
            yield [read(_with_bytes(row, hexed)) for row in rows]

    @contextmanager
    def _rows(self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row]) -> Iterator[None]:
        """A temporary table _ROWS with these rows as texts, its columns v0, v1 and so on."""
        defined = ", ".join(f"v{number} {self.text}" for number in range(len(columns)))
        self.execute(f"CREATE TEMPORARY TABLE {_ROWS} ({defined})")
        if rows:
            names = self._put(table, columns, rows)
            try:
                manifest = self._stage.url(names[-1])
                self.execute(f"COPY {_ROWS} FROM '{manifest}' IAM_ROLE '{self._role}' FORMAT AS PARQUET MANIFEST")
            finally:
                self._stage.remove(names)
        yield
        self.execute(f"DROP TABLE {_ROWS}")

    def _put(self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row]) -> list[str]:
        """The names of a file in S3 and of the manifest that names it."""
        values = columns_of(table, columns, rows)
        texts = [_texts(table, columns, place, values[place], rows) for place in range(len(columns))]
        arrays = [self._arrow.array(each, self._arrow.string()) for each in texts]
        named = self._arrow.Table.from_arrays(arrays, [f"v{number}" for number in range(len(arrays))])
        out = BytesIO()
        self._parquet.write_table(named, out, compression="snappy")
        data, name = out.getvalue(), f"{table.schema}/{secrets.token_hex(16)}"
        file, manifest = f"{name}.parquet", f"{name}.manifest"
        entry = {"url": self._stage.url(file), "mandatory": True, "meta": {"content_length": len(data)}}
        self._stage.put_new(file, data)
        self._stage.put_new(manifest, json.dumps({"entries": [entry]}).encode())
        return [file, manifest]


def _texts(
    table: StoredTable, columns: Sequence[StoredColumn], place: int, values: Values, rows: Sequence[Row]
) -> list[str | None]:
    """As COPY and CAST take them. A text that is longer than any may be is refused by name."""
    form = columns[place].form
    if form == "bytes":
        made = [None if value is None else value.hex() for value in values]
    elif form in ("float", "double"):
        made = [None if value is None else repr(value) for value in values]
    elif form == "timestamp":
        made = [None if value is None else f"{value}+00" for value in values]
    else:
        made = [None if value is None else str(value) for value in values]
    for number, text in enumerate(made):
        if text is not None and (fault := _fault(table, columns[place], text)):
            raise refused(table, columns, place, rows[number], *fault)
    return made


def _fault(table: StoredTable, column: StoredColumn, text: str) -> tuple[str, str] | None:
    """Why Redshift does not have this value, and what to do about it."""
    most = int(column.sql[len(_TEXT) : -1]) if column.sql.startswith(_TEXT) else LONGEST_TEXT
    if len(text) > most // 4 and len(text.encode()) > most:  # a CAST would cut it off without a word
        reason = f"it has {len(text.encode()):,} bytes, and its text in Redshift {most:,} at most"
        return reason, "Leave the table out with exclude."
    if column.form == "super" and text == NULL:
        hint = f'Say types = {{ "{table.source[1]}.{column.source.name}" = "text" }}, and {BEGIN_AGAIN}.'
        return "Redshift does not tell the JSON value null from NULL", hint
    return None


def _cast(column: StoredColumn, number: int) -> str:
    if column.form == "bytes":
        return f"TO_VARBYTE({_ROWS}.v{number}, 'hex')"
    if column.form == "super":
        return f"CASE WHEN {_ROWS}.v{number} IS NULL THEN NULL ELSE JSON_PARSE({_ROWS}.v{number}) END"
    if column.form == "bool":  # a text has no CAST to BOOLEAN
        return f"CASE {_ROWS}.v{number} WHEN '{True}' THEN TRUE WHEN '{False}' THEN FALSE END"
    return f"CAST({_ROWS}.v{number} AS {column.sql})"


def _same(table: StoredTable, only: str) -> str:
    same = []
    for number, column in enumerate(table.key_columns):
        stored, given = f"{quoted(table.name)}.{column.quoted}", _cast(column, number)
        same.append(f"{stored} = {given}")
        if column.form == "text":  # = ignores spaces at the end of texts, and LENGTH counts them
            same.append(f"LENGTH({stored}) = LENGTH({given})")
    return " AND ".join([*same, *([only] if only else [])])


def _selected(table: StoredTable, column: StoredColumn) -> str:
    name = f"{quoted(table.name)}.{column.quoted}"
    if column.form == "bytes":
        return f"FROM_VARBYTE({name}, 'hex')"
    if column.form == "super":
        return f"CASE WHEN {name} IS NULL THEN NULL ELSE JSON_SERIALIZE({name}) END"
    return name if column.form in ("int", "float", "double", "bool", "text") else f"CAST({name} AS VARCHAR)"


def _with_bytes(row: Sequence[Any], hexed: Sequence[int]) -> Sequence[Any]:
    if not hexed:
        return row
    made = list(row)
    for place in hexed:
        made[place] = None if made[place] is None else bytes.fromhex(made[place])
    return made

"""A warehouse in PostgreSQL, by psycopg: rows come by COPY, deletes find theirs by a temporary table and the primary
key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from whimbrel.errors import BEGIN_AGAIN, PrivilegeError, UnsupportedSource, WarehouseError, WarehouseUnreachable
from whimbrel.lake.need import need
from whimbrel.project import Warehouse
from whimbrel.records import Row, Table
from whimbrel.warehouse import by_key
from whimbrel.warehouse.lines import rows_of_lines
from whimbrel.warehouse.reading import row_reader, so_many
from whimbrel.warehouse.stored import StoredColumn, StoredTable
from whimbrel.warehouse.values import Values, columns_of, refused

CONNECT_TIMEOUT = 10  # seconds
_VIEW = "Drop the view, and run the same command again. That of a [[report]] is made again by itself."
READ_ROWS = 2_000
READ_BYTES = 8 << 20  # of texts and bytes in the rows that are read at a time
FIRST_ROWS = 32
LONGEST_KEY = 2_600  # bytes that an entry of a B-tree may have, with some to spare
# Another transaction was in the way, and this one is over: in PostgreSQL, by its codes; in Redshift, by its words.
IN_THE_WAY, ISOLATION = ("40001", "40P01", "55P03"), "serializable isolation violation"
_MODES = {"preferred": "prefer", "off": "disable", "required": "require", "verify": "verify-full"}
_ROWS = "whimbrel_rows"
# All on which it depends how values are read and written, and that no statement is ended or left undone. Only for a
# lock nobody waits without end: a table that somebody reads cannot be altered, and whoever wants to stop could not.
_SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": "on",
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "client_min_messages": "warning",
    "row_security": "off",
    "search_path": "pg_catalog",
}


class Postgres:
    """An Engine. Each session is a connection."""

    name, in_parts, exists = "postgres", False, True

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._psycopg = need("psycopg", "warehouse")

    def prove(self) -> None:
        with self.session() as session:
            [(may,)] = session.fetch("SELECT has_database_privilege(current_database(), 'CREATE')")
        if not may:
            warehouse = self._warehouse
            raise PrivilegeError(
                f"{warehouse.user} may not make schemas",
                place=warehouse.place,
                hint=f"GRANT CREATE ON DATABASE {warehouse.database} TO {warehouse.user}",
            )

    @contextmanager
    def session(self) -> Iterator[PostgresSession]:
        connection = connected(self._psycopg, self._warehouse, {})
        session = PostgresSession(self._psycopg, connection, self._warehouse.place)
        try:
            session.settle()
            yield session
        finally:
            connection.close()


class PostgresSession:
    """An EngineSession."""

    text, float_as = "TEXT", "TEXT"

    def __init__(self, psycopg: Any, connection: Any, place: str) -> None:
        self._psycopg, self._connection, self._place = psycopg, connection, place

    def settle(self) -> None:
        """Set what the session depends on. Raises UnsupportedSource where the database is not in UTF-8."""
        for name, value in _SETTINGS.items():
            self.execute(f"SET {name} TO {_literal(value)}")
        [(encoding,)] = self.fetch("SHOW server_encoding")
        if encoding != "UTF8":
            raise UnsupportedSource(
                f"the database is in {encoding}, which has not every character",
                place=self._place,
                hint="Make one with ENCODING 'UTF8'.",
            )

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            with suppress(self._psycopg.Error):  # the connection is lost, and with it the transaction
                self._connection.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        with self._translated():
            count: int = self._executed(sql, values).rowcount
        return max(0, count)

    def fetch(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._translated():
            rows: list[tuple[Any, ...]] = self._executed(sql, values).fetchall()
        return rows

    def answer(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        """The names of the columns, none where there are none, and all rows."""
        with self._translated():
            cursor = self._connection.execute(statement)
            if cursor.description is None:
                return [], []
            return [column.name for column in cursor.description], cursor.fetchall()

    def _executed(self, sql: str, values: Sequence[Any]) -> Any:
        if not values:
            return self._connection.execute(sql)
        return self._connection.execute(sql.replace("?", "%s"), list(values))

    def create(self, table: StoredTable) -> None:
        self.execute(table.create_statement())

    def widen(self, table: StoredTable, column: StoredColumn) -> None:
        self.execute(f"ALTER TABLE {table.quoted} ALTER COLUMN {column.quoted} TYPE {column.sql}")

    def insert(self, table: StoredTable, rows: Sequence[Row]) -> int:
        return self._copy(f"{table.quoted} ({table.listed()})", table, table.columns, rows)

    def load(self, table: StoredTable, version: Table, lines: Sequence[bytes], added: Row) -> int:
        return self.insert(table.written, rows_of_lines(table, version, lines, added))

    def delete(self, table: StoredTable, keys: Sequence[Row], *, only: str = "") -> int:
        return by_key.delete(self, table, keys, only)

    def fill(self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row], *, only: str = "") -> int:
        return by_key.fill(self, table, columns, rows, only)

    def read(self, table: StoredTable, keys: Sequence[Row] | None = None, *, only: str = "") -> Iterator[list[Row]]:
        return by_key.read(self, table, keys, only)

    def after_load(self, table: StoredTable) -> None:
        """The primary key, or its columns where a key has several versions; for one that may be longer than an entry of
        its index, a hash of its longest column.
        """
        columns = table.key_columns
        sizes = [_most_bytes(column) for column in columns]
        if sum(sizes) <= LONGEST_KEY:
            listed = ", ".join(column.quoted for column in columns)
            if table.keeps == "history":
                self.execute(f"CREATE INDEX ON {table.quoted} ({listed})")
            else:
                self.execute(f"ALTER TABLE {table.quoted} ADD PRIMARY KEY ({listed})")
        else:
            longest = columns[sizes.index(max(sizes))]
            self.execute(f"CREATE INDEX ON {table.quoted} USING hash ({longest.quoted})")

    def parts(self, statement: str, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of ``statement``, so many at a time, by a cursor of the server: the client would have all of them in
        memory.
        """
        idle = self._connection.info.transaction_status == self._psycopg.pq.TransactionStatus.IDLE
        # Within a transaction it would be a savepoint, which Redshift does not have.
        transaction = self._connection.transaction() if idle else nullcontext()
        with self._translated(), transaction, self._connection.cursor("whimbrel_read") as cursor:
            cursor.execute(statement)
            some = min(size, FIRST_ROWS)
            while rows := cursor.fetchmany(some):
                yield rows
                some = so_many(rows, most=min(size, 2 * some), size=READ_BYTES)

    def rows_of(self, statement: str, _values: Sequence[Any], columns: Sequence[StoredColumn]) -> Iterator[list[Row]]:
        """What ``given`` gives has no parameters."""
        read = row_reader(columns)
        return (list(map(read, rows)) for rows in self.parts(statement, READ_ROWS))

    @contextmanager
    def given(
        self, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row]
    ) -> Iterator[tuple[str, Sequence[Any]]]:
        """In a temporary table."""
        defined = ", ".join(f"v{number} {column.sql}" for number, column in enumerate(columns))
        self.execute(f"CREATE TEMPORARY TABLE {_ROWS} ({defined})")
        self._copy(_ROWS, table, columns, rows)
        self.execute(f"ANALYZE {_ROWS}")
        yield f"{_ROWS} AS given", ()
        self.execute(f"DROP TABLE {_ROWS}")  # after an error the transaction is over, and so is the table

    def _copy(self, into: str, table: StoredTable, columns: Sequence[StoredColumn], rows: Sequence[Row]) -> int:
        values = columns_of(table, columns, rows)
        for place, column in enumerate(columns):
            if column.form in ("text", "json"):
                _refuse_nul(table, columns, place, values[place], rows)
        texts = [_copied(column, each) for column, each in zip(columns, values, strict=True)]
        data = "".join([line + "\n" for line in map("\t".join, zip(*texts, strict=True))])
        with self._translated(), self._connection.cursor() as cursor:
            with cursor.copy(f"COPY {into} FROM STDIN (FORMAT text)") as copy:
                copy.write(data.encode())
            count: int = cursor.rowcount
        return count

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            if isinstance(error, self._psycopg.errors.InsufficientPrivilege):
                hint = "Grant it: whimbrel makes a schema for each silo, and one for itself."
                raise PrivilegeError(said, place=self._place, hint=hint) from error
            lost = isinstance(error, self._psycopg.OperationalError) and error.sqlstate is None
            if self._connection.broken or lost or error.sqlstate in IN_THE_WAY or ISOLATION in str(error).lower():
                hint = "Run the same command again: it continues from what is there."
                raise WarehouseUnreachable(said, place=self._place, hint=hint) from error
            raise WarehouseError(said, place=self._place, hint=_VIEW if "used by a view" in said else "") from error


def connected(psycopg: Any, warehouse: Warehouse, more: Mapping[str, Any]) -> Any:
    """What the environment and files of the person's own could say is said here."""
    tls = {"sslrootcert": warehouse.tls_ca or "system"} if warehouse.tls == "verify" else {}
    try:
        return psycopg.connect(
            host=warehouse.host,
            port=warehouse.port,
            user=warehouse.user,
            dbname=warehouse.database,
            password=warehouse.password,
            passfile=os.devnull,
            sslmode=_MODES[warehouse.tls],
            gssencmode="disable",
            client_encoding="UTF8",
            application_name="whimbrel",
            options="",
            connect_timeout=CONNECT_TIMEOUT,
            keepalives_idle=30,
            autocommit=True,
            **tls,
            **more,
        )
    except psycopg.Error as error:
        said = str(error).strip().splitlines()[-1]
        if "password" in said or "authentication" in said or "does not exist" in said:
            hint = "Check warehouse.url and the password in WHIMBREL_WAREHOUSE_PASSWORD."
            raise PrivilegeError(said, place=warehouse.place, hint=hint) from error
        hint = "Check that the server is up, and warehouse.url and warehouse.tls."
        raise WarehouseUnreachable(said, place=warehouse.place, hint=hint) from error


def _copied(column: StoredColumn, values: Values) -> list[str]:
    """As COPY's text format has them."""
    form = column.form
    if form == "bytes":
        return ["\\N" if value is None else "\\\\x" + value.hex() for value in values]
    if form == "timestamp":
        return ["\\N" if value is None else value + "+00" for value in values]
    if form in ("float", "double"):
        return ["\\N" if value is None else repr(value) for value in values]
    if form in ("text", "json"):
        return _escaped(values)
    return ["\\N" if value is None else str(value) for value in values]


_SPECIAL = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _escaped(values: Values) -> list[str]:
    joined = "".join([value for value in values if value is not None])
    if any(mark in joined for mark in "\\\t\n\r"):
        return ["\\N" if value is None else value.translate(_SPECIAL) for value in values]
    return ["\\N" if value is None else value for value in values]


def _refuse_nul(
    table: StoredTable, columns: Sequence[StoredColumn], place: int, values: Values, rows: Sequence[Row]
) -> None:
    for number, value in enumerate(values):
        if value is not None and "\0" in value:
            name = f"{table.source[1]}.{columns[place].source.name}"
            hint = f'Say types = {{ "{name}" = "bytes" }} in its [[silo]], and {BEGIN_AGAIN}.'
            reason = "PostgreSQL has no texts with a NUL character"
            raise refused(table, columns, place, rows[number], reason, hint)


def _most_bytes(column: StoredColumn) -> int:
    """Of a value in an index, at most."""
    length = column.source.length
    if column.form == "text":
        return 4 * max(length, 64) if column.source.kind in ("text", "enum", "set") else 100
    return length if column.form == "bytes" else 40


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

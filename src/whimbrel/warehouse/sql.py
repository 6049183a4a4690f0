"""SQL over all silos, as the warehouse's engine understands it. Nothing can be changed by it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from whimbrel.errors import UserError, WarehouseUnreachable, WhimbrelError
from whimbrel.lake.need import need
from whimbrel.lake.statements import statements
from whimbrel.notes import note
from whimbrel.project import Project, Warehouse
from whimbrel.warehouse.converge import warehouse_of
from whimbrel.warehouse.duckdb_file import in_use, is_in_use, refused
from whimbrel.warehouse.postgres import Postgres
from whimbrel.warehouse.redshift import Redshift, Statements

if TYPE_CHECKING:
    import pyarrow

WAITS = 60.0  # seconds for a writer to close the file
_COPY = {"csv": "FORMAT csv, HEADER true", "json": "FORMAT json", "parquet": "FORMAT parquet, COMPRESSION zstd"}


class Answering(Protocol):
    """An engine that answers one statement."""

    def arrow(self, statement: str) -> pyarrow.Table | None: ...


class WarehouseSql:
    """``arrow(statement)`` gives a table, ``copy(statement, kind, file)`` writes one as csv, json or parquet."""

    def __init__(self, asking: Answering) -> None:
        self._asking = asking

    def arrow(self, statement: str) -> pyarrow.Table | None:
        """None where the statement has no rows. Raises UserError."""
        return self._asking.arrow(statement)

    def copy(self, statement: str, kind: str, out: BinaryIO) -> None:
        found = self.arrow(statement)
        if found is None:
            return
        with TemporaryDirectory() as folder, need("duckdb", "warehouse").connect() as connection:
            path = Path(folder) / "rows"
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("found", found)
            connection.execute(f"COPY found TO '{path}' ({_COPY[kind]})")
            out.write(path.read_bytes())


@contextmanager
def open_sql(project: Project) -> Iterator[WarehouseSql]:
    """Raises ProjectError where there is no warehouse, WarehouseError where it cannot be opened."""
    warehouse = warehouse_of(project)
    if warehouse.path is not None:
        connection = _file(warehouse, warehouse.path)
        try:
            _note_parts(connection)
            yield WarehouseSql(_OfDuckDB(connection))
        finally:
            connection.close()
        return
    if warehouse.engine == "redshift":
        with Redshift(warehouse, project.target).statements() as statements:
            yield WarehouseSql(_OfServer(statements, "BEGIN READ ONLY"))
        return
    with Postgres(warehouse).session() as session:
        session.execute("SET default_transaction_read_only TO on")
        yield WarehouseSql(_OfServer(session))


def query(project: Project, sql: str) -> pyarrow.Table:
    """The rows of the last statement in ``sql``. Raises UserError."""
    found = None
    with open_sql(project) as asking:
        for statement in statements(sql):
            found = asking.arrow(statement)
    if found is None:
        raise UserError("the SQL returns no rows", hint="End it with a SELECT.")
    return found


def _file(warehouse: Warehouse, path: Path) -> Any:
    """Whoever writes has the file for a moment only."""
    duckdb = need("duckdb", "warehouse")
    if not path.exists():
        raise UserError("there is no warehouse yet", place=str(path), hint="Begin with: whimbrel converge")
    began = time.monotonic()
    while True:
        try:
            connection = duckdb.connect(str(path), read_only=True)
            break
        except duckdb.Error as error:
            if not is_in_use(error):
                raise refused(error, warehouse.place) from error
            if time.monotonic() - began > WAITS:
                raise in_use(error, warehouse.place) from error
            time.sleep(0.05)
    connection.execute("SET enable_progress_bar = false")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _note_parts(connection: Any) -> None:
    """Whoever asks now sees a silo in the middle of a transaction of its source."""
    try:
        found = connection.execute("SELECT name FROM whimbrel.silo WHERE part > 0 ORDER BY name").fetchall()
    except need("duckdb", "warehouse").CatalogException:  # before anything has begun
        return
    for (name,) in found:
        note(f"{name}: a large transaction of the source is there in part; `whimbrel converge` writes the rest")


class _OfDuckDB:
    def __init__(self, connection: Any) -> None:
        self._duckdb, self._connection = need("duckdb", "warehouse"), connection

    def arrow(self, statement: str) -> pyarrow.Table | None:
        try:
            relation = self._connection.sql(statement)
            return None if relation is None else relation.to_arrow_table()
        except self._duckdb.Error as error:
            raise _user_error(error) from None


class _OfServer:
    """``begin`` begins a transaction for each statement, where a session cannot be read-only."""

    def __init__(self, statements: Statements, begin: str = "") -> None:
        self._statements, self._begin, self._arrow = statements, begin, need("pyarrow", "warehouse")

    def arrow(self, statement: str) -> pyarrow.Table | None:
        try:
            names, rows = self._answer(statement)
        except WarehouseUnreachable:
            raise
        except WhimbrelError as error:
            raise _user_error(error) from None
        if not names:
            return None
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        return self._arrow.Table.from_arrays([self._array(column) for column in columns], names)

    def _answer(self, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
        if not self._begin:
            return self._statements.answer(statement)
        self._statements.execute(self._begin)
        try:
            return self._statements.answer(statement)
        finally:
            self._statements.execute("ROLLBACK")

    def _array(self, values: tuple[Any, ...]) -> Any:
        try:
            return self._arrow.array(values)
        except (self._arrow.ArrowInvalid, self._arrow.ArrowTypeError):  # of several types, as JSON and arrays may be
            return self._arrow.array([None if value is None else str(value) for value in values])


def _user_error(error: Exception) -> UserError:
    hint = "Tables are named SILO.TABLE; information_schema.tables lists them."
    return UserError(str(error).strip(), place="SQL", hint=hint)

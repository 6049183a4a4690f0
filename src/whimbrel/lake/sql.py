"""SQL over the data sets: DuckDB, with every data set a view under its name, as it is now or was at a time."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from whimbrel.durable import replace_file
from whimbrel.errors import StateError, UserError, WhimbrelError
from whimbrel.lake import datasets
from whimbrel.lake.chain import check_is_as_of
from whimbrel.lake.datasets import literal, quoted
from whimbrel.lake.duck import connect
from whimbrel.lake.external import read_statement, repaired, view, without_rows
from whimbrel.lake.inside import child
from whimbrel.lake.manifest import Manifest
from whimbrel.lake.need import need
from whimbrel.lake.on_athena import OnAthena
from whimbrel.lake.opened import OpenLake, open_lake
from whimbrel.lake.queries_only import NOT_ONE, refuse_other_than_query, refused
from whimbrel.lake.statements import statements
from whimbrel.project import Project

if TYPE_CHECKING:
    import pyarrow

DUCKDB, ATHENA = ENGINES = ("duckdb", "athena")
_PLAIN = re.compile(r"BOOLEAN|U?(TINY|SMALL|BIG)?INT|U?INTEGER|FLOAT|DOUBLE")  # types that need no text
_LONG, _ENOUGH = 10_000, 4_000_000  # characters of a value, and of all first rows
_COPY = {"csv": "FORMAT csv, HEADER true", "json": "FORMAT json", "parquet": "FORMAT parquet, COMPRESSION zstd"}


class Database:
    """A DuckDB connection that sees the lake's data sets; a context manager. ``shown`` has their manifests."""

    def __init__(self, lake: OpenLake, locations: dict[str, str], athena: OnAthena | None = None, **at: str) -> None:
        """``at`` is as ``datasets.at`` has it. With ``athena``, it answers the statements, which DuckDB only reads.

        Raises UserError when no data set is that old, or has that id.
        """
        self._duckdb = need("duckdb", "lake")
        self._athena = athena
        self._lake, self._folder, self._locations = lake, lake.folder, locations
        self._connection = connect()
        self._confined = False
        self.shown: dict[str, Manifest] = {}
        self._in_bucket: set[str] = set()  # data sets whose files were not fetched yet
        self._missing: dict[str, WhimbrelError] = {}  # why a data set is not shown
        try:
            self._show_datasets(**at)
            self._show_external()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def run(self, statement: str) -> Any:
        """The statement's rows as a DuckDB relation; None when it has none. Raises UserError."""
        external, name = read_statement(statement), repaired(statement)
        if self._athena and (external or name is not None):
            self._athena.run(statement)
        if name is not None:
            if not self._athena:
                self._repair(name)
            return None
        if external is not None:
            file = child(self._tables(), f"{external.name}.sql")
            self._create_external(statement)
            replace_file(file, statement.encode())
            return None
        return self._relation(statement)

    def arrow(self, statement: str) -> pyarrow.Table | None:
        """As ``run``, as an Arrow table."""
        if self._athena and not read_statement(statement) and repaired(statement) is None:
            return self._asked(self._athena, statement)
        relation = self.run(statement)
        try:
            return None if relation is None else relation.to_arrow_table()
        except self._duckdb.Error as error:
            raise _user_error(error) from None

    def copy(self, statement: str, kind: str, out: BinaryIO) -> None:
        """Write the statement's rows as csv, json (one object a line) or parquet. Raises UserError."""
        relation = self.run(statement)
        if relation is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows"
            try:
                self._connection.execute(f"COPY ({relation.sql_query()}) TO {literal(str(path))} ({_COPY[kind]})")
            except self._duckdb.Error as error:
                raise _user_error(error) from None
            with path.open("rb") as file:
                shutil.copyfileobj(file, out)

    def first_rows(self, statement: str, most: int) -> tuple[tuple[str, ...], tuple[tuple[Any, ...], ...], bool]:
        """The names of a query's columns, its first rows, and whether there are more. Values that are not numbers or
        truth values are text, which is cut where it is long. Raises UserError.
        """
        if len(found := list(statements(statement))) != 1:
            raise refused(NOT_ONE)
        relation = self._relation(found[0])
        names = tuple(relation.columns)
        try:
            shown = ", ".join(map(_shown, range(1, 1 + len(names)), map(str, relation.types)))
            rows = relation.project(shown).limit(most + 1).fetchall()
        except self._duckdb.Error as error:
            raise _user_error(error) from None
        some = tuple(_until_enough(rows[:most]))
        return names, some, len(some) < len(rows)

    def confine(self, memory: int) -> None:
        """From here on one query at a time is answered that reads the lake, and its locations, and nothing else; in so
        many bytes of memory.
        """
        places = [str(self._folder.resolve()), *self._locations.values()]
        for setting in (
            "temp_directory = ''",
            "threads = 1",
            f"memory_limit = '{memory}B'",
            "python_enable_replacements = false",
            f"allowed_directories = [{', '.join(literal(f'{place}/') for place in places)}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self._connection.execute(f"SET {setting}")
        self._confined = True

    def interrupt(self) -> None:
        """End what is being asked, in whichever thread."""
        self._connection.interrupt()

    def columns(self) -> dict[str, list[str]]:
        """Every table and its columns, for completion and for a person who asks."""
        return {table: sorted(columns) for table, columns in sorted(self._types().items())}

    def scanned(self) -> int:
        """How many bytes Athena has read for the answers so far, as it bills them."""
        return self._athena.scanned if self._athena else 0

    def _show_datasets(self, as_of: str = "", identity: str = "", position: str = "") -> None:
        problem: UserError | None = None
        self._lake.look()
        for name in datasets.names(self._folder):
            try:
                manifest = datasets.at(self._folder, name, as_of, identity, position)
                self._check_name(name)
                if as_of:
                    check_is_as_of(self._lake.native(manifest.table), manifest, as_of)
            except UserError as error:
                problem = error
                self._missing[name.lower()] = error
                continue
            self.shown[name] = manifest
            if self._lake.shared and not self._athena:
                self._in_bucket.add(name)
            self._connection.execute(f"CREATE VIEW {quoted(name)} AS {self._rows_of(manifest)}")
        if problem and not self.shown:
            raise problem

    def _rows_of(self, manifest: Manifest) -> str:
        if self._athena:
            return datasets.typed(manifest, manifest.columns, "base", "")
        return _not_here(manifest) if self._lake.shared else datasets.select(self._folder, manifest)

    def _show_external(self) -> None:
        for path in sorted((self._folder / "tables").glob("*.sql")):
            try:
                self._create_external(path.read_text(encoding="utf-8"))
            except (UserError, StateError) as error:  # a query that names it is told why; others continue
                self._missing[path.stem.lower()] = error

    def _check_name(self, name: str) -> None:
        for other in self.shown:
            if other.lower() == name.lower():
                message = f"the data set {other!r} has the same name in SQL, which ignores letter case"
                raise UserError(message, place=name, hint="Give one of them another name in its [[dataset]].")

    def _create_external(self, statement: str) -> None:
        external = read_statement(statement)
        assert external is not None
        if external.name in self.shown:
            hint = "Give the external table another name."
            raise UserError("a data set has this name already", place=external.name, hint=hint)
        try:
            if self._athena:
                self._connection.execute(without_rows(external))
            else:
                self._connection.execute(view(external, self._folder, self._locations, self._ask))
        except self._duckdb.Error as error:
            raise _user_error(error) from None

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        try:
            found: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        except self._duckdb.Error as error:
            raise _user_error(error) from None
        return found

    def _repair(self, name: str) -> None:
        file = next((path for path in self._tables().glob("*.sql") if path.stem.lower() == name.lower()), None)
        if file is None:
            raise UserError("there is no such external table", place=name, hint="Create it first.")
        self._create_external(file.read_text(encoding="utf-8"))

    def _tables(self) -> Path:
        folder = self._folder / "tables"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _fetch(self, statement: str) -> None:
        """The files of the data sets that the statement may be about: its text has their names. A view of one that it
        names in another way ends the query.
        """
        text = statement.lower()
        for name in sorted(each for each in self._in_bucket if each.lower() in text):
            self._lake.have(self.shown[name])
            query = datasets.select(self._folder, self.shown[name])
            self._connection.execute(f"CREATE OR REPLACE VIEW {quoted(name)} AS {query}")
            self._in_bucket.remove(name)

    def _relation(self, statement: str) -> Any:
        if self._athena:
            return self._connection.from_arrow(self._asked(self._athena, statement))
        self._fetch(statement)
        return self._understood(statement)[0]

    def _asked(self, athena: OnAthena, statement: str) -> pyarrow.Table:
        """What Athena answers, with the columns and types that DuckDB would give."""
        if not statement.lstrip("( \n\t").lower().startswith(("select", "with")):  # DuckDB would do what it says
            raise UserError("it is not a question", place="--engine athena", hint="Begin it with SELECT or WITH.")
        relation, text = self._understood(statement)
        types = [str(each) for each in relation.types]
        return athena.ask(text, self.shown, self._types(), relation.to_arrow_table(), types)

    def _types(self) -> dict[str, dict[str, str]]:
        """The columns of every table, with DuckDB's types."""
        found: dict[str, dict[str, str]] = {}
        for table, column, kind in self._ask(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'main' ORDER BY table_name, ordinal_position"
        ):
            found.setdefault(table, {})[column] = kind
        return found

    def _understood(self, statement: str) -> tuple[Any, str]:
        """The statement as a relation, and its text as DuckDB has understood it."""
        try:
            return self._sql(statement), statement
        except (self._duckdb.ParserException, self._duckdb.CatalogException) as error:
            missing = re.search(r"Table with name (.+?) does not exist", str(error))
            if missing and missing.group(1).lower() in self._missing:
                raise self._missing[missing.group(1).lower()] from None
            translated = _from_athena(statement)
            if translated is None or translated == statement:
                raise _user_error(error) from None
        except self._duckdb.Error as error:
            raise _user_error(error) from None
        try:
            return self._sql(translated), translated
        except self._duckdb.Error as error:
            raise _user_error(error) from None

    def _sql(self, statement: str) -> Any:
        if self._confined:
            refuse_other_than_query(self._connection, statement)
        return self._connection.sql(statement)


@contextmanager
def open_database(project: Project, *, engine: str = DUCKDB, **at: str) -> Iterator[Database]:
    """``at`` is as ``datasets.at`` has it, ``engine`` one of ENGINES."""
    with open_lake(project) as lake:
        athena = OnAthena(project, lake) if engine == ATHENA else None
        with Database(lake, dict(project.lake.locations), athena, **at) as database:
            yield database


def _not_here(manifest: Manifest) -> str:
    """SQL that has the data set's columns, and is an error when it is read."""
    types = datasets.sql_types(manifest)
    columns = ", ".join(f"NULL::{types[name]} AS {quoted(name)}" for name in manifest.columns)
    message = literal(f"the data set {manifest.name} is in S3: write its name as it is")
    return f"SELECT {columns} FROM (SELECT error({message}) AS failed) WHERE failed IS NULL"


def query(project: Project, sql: str, *, engine: str = DUCKDB, **at: str) -> pyarrow.Table:
    """The rows of the last statement in ``sql`` as an Arrow table; the arguments are those of ``open_database``. Raises
    UserError.
    """
    with open_database(project, engine=engine, **at) as database:
        found = None
        for statement in statements(sql):
            found = database.arrow(statement)
        if found is None:
            raise UserError("the SQL returns no rows", hint="End it with a SELECT.")
        return found


def _from_athena(statement: str) -> str | None:
    sqlglot = need("sqlglot", "lake")
    try:
        return ";".join(sqlglot.transpile(statement, read="athena", write="duckdb"))
    except sqlglot.errors.SqlglotError:
        return None


def _shown(place: int, kind: str) -> str:
    if _PLAIN.fullmatch(kind):
        return f"#{place}"
    text = f"CAST(#{place} AS VARCHAR)"
    cut = f"left({text}, {_LONG}) || ' … (' || length({text}) || ' characters)'"
    return f"CASE WHEN length({text}) > {_LONG} THEN {cut} ELSE {text} END"


def _until_enough(rows: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    size = 0
    for row in rows:
        size += sum(len(value) if isinstance(value, str) else 8 for value in row)
        if size > _ENOUGH:
            return
        yield row


def _user_error(error: Exception) -> UserError:
    return UserError(str(error).strip(), place="SQL", hint='\n`whimbrel query "SHOW TABLES"` lists the tables.')

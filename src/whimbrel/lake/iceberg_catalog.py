"""The catalog of a lake in a folder: a file of SQLite with the tables of pyiceberg's SqlCatalog, which reads it, too.

It is not that class itself, since SQLAlchemy takes a quarter of a second to import, and the statements are five.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table

_NAME = "whimbrel"
_TABLES = """
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name));
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL, PRIMARY KEY (catalog_name, namespace, property_key));
"""
_OF_TABLE = "catalog_name = ? AND table_namespace = ? AND table_name = ?"


class FileCatalog(MetastoreCatalog, NoopCatalog):  # type: ignore[misc]  # not everybody has it
    """Of one ``database``, which is made where it is missing. What whimbrel does not ask is not implemented.

    Every method raises sqlite3.Error where the file cannot be used.
    """

    def __init__(self, path: Path, database: str, files: dict[str, Any]) -> None:
        super().__init__(_NAME, **files)
        self._path = path
        with closing(self._open()) as file:
            file.executescript(_TABLES)
            query = "SELECT 1 FROM iceberg_namespace_properties WHERE catalog_name = ? AND namespace = ?"
            there = file.execute(query, (_NAME, database)).fetchone()
        if not there:
            statement = "INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?, ?, 'exists', 'true')"
            self._change(statement, _NAME, database)

    def create_table(self, identifier: tuple[str, str], schema: Schema, **more: Any) -> Table:
        """Raises TableAlreadyExistsError."""
        staged = self._create_staged_table(identifier, schema, **more)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        try:
            statement = "INSERT INTO iceberg_tables VALUES (?, ?, ?, ?, NULL, 'TABLE')"
            self._change(statement, _NAME, *identifier, staged.metadata_location)
        except sqlite3.IntegrityError as error:
            raise TableAlreadyExistsError(f"Table {'.'.join(identifier)} already exists") from error
        return self.load_table(identifier)

    def load_table(self, identifier: tuple[str, str]) -> Table:
        """Raises NoSuchTableError."""
        with closing(self._open()) as file:
            query = f"SELECT metadata_location FROM iceberg_tables WHERE {_OF_TABLE}"
            found = file.execute(query, (_NAME, *identifier)).fetchone()
        if found is None:
            raise NoSuchTableError(f"Table does not exist: {'.'.join(identifier)}")
        [location] = found
        io = self._load_file_io(location=location)
        metadata = FromInputFile.table_metadata(io.new_input(location))
        return Table(identifier, metadata, location, self._load_file_io(metadata.properties, location), self)

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> CommitTableResponse:
        """Raises NoSuchTableError, CommitFailedException where another one was first."""
        identifier = table.name()
        current = self.load_table(identifier)
        staged = self._update_and_stage_table(current, identifier, requirements, updates)
        location = staged.metadata_location
        self._write_metadata(staged.metadata, staged.io, location)
        changed = self._change(
            "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? "
            f"WHERE {_OF_TABLE} AND metadata_location = ?",
            location,
            current.metadata_location,
            _NAME,
            *identifier,
            current.metadata_location,
        )
        if not changed:
            raise CommitFailedException(f"Table {'.'.join(identifier)} has been updated by another process")
        return CommitTableResponse(metadata=staged.metadata, metadata_location=location)

    def drop_table(self, identifier: tuple[str, str]) -> None:
        """Raises NoSuchTableError."""
        if not self._change(f"DELETE FROM iceberg_tables WHERE {_OF_TABLE}", _NAME, *identifier):
            raise NoSuchTableError(f"Table does not exist: {'.'.join(identifier)}")

    def _change(self, statement: str, *values: str) -> int:
        """How many rows it changed, durably."""
        with closing(self._open()) as file, file:
            return file.execute(statement, values).rowcount

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path)

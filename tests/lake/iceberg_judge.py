"""Iceberg tables read without pyiceberg: by the readers of DuckDB, ClickHouse and Spark; and the metadata by its
specification, with fastavro, and the rows with PyArrow.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demo.from_debian import servers_folder

# DuckDB of a version for which PyPI has the extension, in a process of its own: another one is in ours.
DUCKDB = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import duckdb
connection = duckdb.connect()
for name in ("avro", "iceberg"):
    [extension] = Path(sys.argv[1]).glob(f"duckdb_extension_{name}/**/{name}.duckdb_extension")
    connection.execute(f"LOAD '{extension}'")
for snapshot in sys.argv[3:]:
    table = f"iceberg_scan('{sys.argv[2]}', snapshot_from_id = {snapshot})"
    rows = connection.execute(f"SELECT to_json(t)::VARCHAR FROM {table} AS t").fetchall()
    print(json.dumps([json.loads(row) for row, in rows]))
"""
CLICKHOUSE = """
import json, sys
sys.path.append(sys.argv[1])  # PyArrow is ours
import chdb
for snapshot in sys.argv[3:]:
    query = f"SELECT * FROM icebergLocal('{sys.argv[2]}', 'Parquet') SETTINGS iceberg_snapshot_id = {snapshot}"
    rows = str(chdb.query(query, "JSONEachRow")).splitlines()
    print(json.dumps([json.loads(row) for row in rows]))
"""
DATASET = "whimbrel.dataset-id"


Read = Callable[[str], bytes]  # of an address


class Judged:
    """A table by its newest file of metadata."""

    def __init__(self, location: str, read: Read) -> None:
        self.location, self._bytes = location, read
        self.metadata = json.loads(read(location))

    def by_data_set(self, key: str = "pk") -> dict[str, list[dict[str, Any]]]:
        snapshots = self.metadata["snapshots"]
        found = {each["summary"][DATASET]: self.rows(each, key) for each in snapshots}
        assert len(found) == len(snapshots), "no data set is there twice"
        return found

    def by_duckdb(self) -> dict[str, list[dict[str, Any]]]:
        """As ``by_data_set``, with values as DuckDB's JSON has them. Skips the test without DuckDB's reader."""
        return self._by_another("duckdb-iceberg", DUCKDB, path_of(self.location))

    def by_clickhouse(self) -> dict[str, list[dict[str, Any]]]:
        """As ``by_data_set``, with values as ClickHouse's JSON has them: a NULL list is empty there, and a NULL struct
        one of NULLs. Skips the test without ClickHouse.
        """
        return self._by_another("clickhouse", CLICKHOUSE, path_of(self.location).parents[1])

    def by_spark(self) -> dict[str, list[dict[str, Any]]]:
        """As ``by_data_set``, with bytes as hexadecimal digits and exact numbers as texts. Skips the test without
        Spark.
        """
        program = Path(__file__).with_name("iceberg_by_spark.py").read_text()
        if not shutil.which("java"):
            pytest.skip("Spark needs Java: scripts/setup tests")
        return self._by_another("spark-iceberg", program, path_of(self.location), seconds=600)

    def _by_another(self, name: str, program: str, place: Path, seconds: int = 60) -> dict[str, list[dict[str, Any]]]:
        folder = servers_folder() / name
        if not folder.exists():
            pytest.skip(f"{name} is not here: scripts/setup all")
        snapshots = self.metadata["snapshots"]
        ids = [str(each["snapshot-id"]) for each in snapshots]
        command = [sys.executable, "-c", program, str(folder), str(place), *ids]
        there = path_of(self.location).parents[1]  # ClickHouse reads nothing outside of its working folder
        done = subprocess.run(command, capture_output=True, timeout=seconds, cwd=there)
        assert done.returncode == 0, done.stderr.decode()[-4000:]
        said = done.stdout.splitlines()
        rows = [sorted(json.loads(line), key=lambda row: row["pk"]) for line in said]
        return {each["summary"][DATASET]: found for each, found in zip(snapshots, rows, strict=True)}

    def current(self) -> str:
        """The data set of the snapshot that a reader sees."""
        return next(
            each["summary"][DATASET]
            for each in self.metadata["snapshots"]
            if each["snapshot-id"] == self.metadata["current-snapshot-id"]
        )

    def rows(self, snapshot: dict[str, Any], key: str = "pk") -> list[dict[str, Any]]:
        """Sorted by the key."""
        [schema] = [each for each in self.metadata["schemas"] if each["schema-id"] == snapshot["schema-id"]]
        names = json.loads(self.metadata["properties"]["schema.name-mapping.default"])
        found: list[dict[str, Any]] = []
        deleted = self.deleted(snapshot)
        for path, count in self.files(snapshot):
            table = pq.read_table(BytesIO(self._bytes(path)))
            assert len(table) == count
            stored = [row for place, row in enumerate(table.to_pylist()) if (path, place) not in deleted]
            found += [_read(schema["fields"], names, row) for row in stored]
        assert deleted <= {(path, place) for path, count in self.files(snapshot) for place in range(count)}
        totals = {name: int(snapshot["summary"][f"total-{name}"]) for name in ("records", "position-deletes")}
        assert totals == {"records": len(found) + len(deleted), "position-deletes": len(deleted)}
        return sorted(found, key=lambda row: str(row.get(key)))

    def table(self, snapshot: dict[str, Any]) -> pa.Table:
        """The rows with their types."""
        [schema] = [each for each in self.metadata["schemas"] if each["schema-id"] == snapshot["schema-id"]]
        fields = [(each["name"], _arrow(each["type"])) for each in schema["fields"]]
        return pa.Table.from_pylist(self.rows(snapshot), pa.schema(fields))

    def _avro(self, location: str) -> list[Any]:
        return list(fastavro.reader(BytesIO(self._bytes(location))))

    def files(self, snapshot: dict[str, Any]) -> list[tuple[str, int]]:
        """Live data files with their rows."""
        found = [(each["file_path"], each["record_count"]) for each, _ in self._entries(snapshot, 0)]
        assert len(found) == int(snapshot["summary"]["total-data-files"])
        return found

    def deleted(self, snapshot: dict[str, Any]) -> set[tuple[str, int]]:
        """The data files' rows that files of deletions name, by their places."""
        since = {file["file_path"]: sequence for file, sequence in self._entries(snapshot, 0)}
        found, entries = list[tuple[str, int]](), self._entries(snapshot, 1)
        for file, sequence in entries:
            stored = pq.ParquetFile(BytesIO(self._bytes(file["file_path"])))
            ids = {each.name: int(each.metadata[b"PARQUET:field_id"]) for each in stored.schema_arrow}
            assert ids == {"file_path": 2147483546, "pos": 2147483545}
            assert not any(each.nullable for each in stored.schema_arrow)
            rows = [(row["file_path"], row["pos"]) for row in stored.read().to_pylist()]
            assert rows == sorted(rows)
            bounds = [{each["key"]: each["value"] for each in file[name]} for name in ("lower_bounds", "upper_bounds")]
            assert [each[2147483546].decode() for each in bounds] == [rows[0][0], rows[-1][0]]
            assert len(rows) == file["record_count"]
            found += [(path, place) for path, place in rows if since[path] <= sequence]
        assert len(set(found)) == len(found), "no row is deleted twice"
        assert len(entries) == int(snapshot["summary"]["total-delete-files"])
        return set(found)

    def _entries(self, snapshot: dict[str, Any], content: int) -> list[tuple[dict[str, Any], int]]:
        """Live files of a kind: 0 of data, 1 of deletions; each with its sequence number."""
        found = []
        for manifest in self._avro(snapshot["manifest-list"]):
            for entry in self._avro(manifest["manifest_path"]):
                file, sequence = entry["data_file"], entry["sequence_number"]
                assert file["content"] == manifest["content"]
                if entry["status"] != 2 and file["content"] == content:
                    assert len(self._bytes(file["file_path"])) == file["file_size_in_bytes"]
                    found.append((file, manifest["sequence_number"] if sequence is None else sequence))
        return found


def in_sqlite(lake: Path, name: str, database: str = "whimbrel") -> Judged:
    """The table as the catalog of a lake in a folder has it now."""
    with closing(sqlite3.connect(lake / "iceberg.db")) as catalog:
        query = "SELECT metadata_location FROM iceberg_tables WHERE table_namespace = ? AND table_name = ?"
        [(location,)] = catalog.execute(query, (database, name)).fetchall()
    return Judged(location, lambda location: path_of(location).read_bytes())


def path_of(location: str) -> Path:
    return Path(location.removeprefix("file://"))


def _arrow(kind: Any) -> pa.DataType:
    plain = {"long": pa.int64(), "double": pa.float64(), "string": pa.string(), "boolean": pa.bool_()}
    plain |= {"binary": pa.binary()}
    if isinstance(kind, str) and kind.startswith("decimal"):
        precision, scale = kind.removeprefix("decimal(").removesuffix(")").split(",")
        return pa.decimal128(int(precision), int(scale))
    if isinstance(kind, str):
        return plain[kind]
    if kind["type"] == "list":
        return pa.list_(_arrow(kind["element"]))
    return pa.struct([(each["name"], _arrow(each["type"])) for each in kind["fields"]])


def _read(fields: list[dict[str, Any]], names: list[dict[str, Any]], row: dict[str, Any]) -> dict[str, Any]:
    """The row by field ids: the name in the file is whichever the mapping has for the id."""
    stored = {each["field-id"]: each for each in names}
    found = {}
    for field in fields:
        mapped = stored[field["id"]]
        value = next((row[name] for name in mapped["names"] if name in row), None)
        found[field["name"]] = _value(field["type"], mapped.get("fields", []), value)
    return found


def _value(kind: Any, names: list[dict[str, Any]], value: Any) -> Any:
    if value is None or isinstance(kind, str):
        return value
    if kind["type"] == "struct":
        return _read(kind["fields"], names, value)
    assert kind["type"] == "list"
    return [_value(kind["element"], names[0].get("fields", []), each) for each in value]

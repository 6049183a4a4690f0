"""Verify a table of a silo of DynamoDB tables: the warehouse has the rows of the data set that it was made of."""

from __future__ import annotations

import threading
import time
from hashlib import blake2b

import orjson

from whimbrel.errors import StateError, WarehouseError
from whimbrel.notes import note
from whimbrel.project import ItemSilo, Project
from whimbrel.records import Row
from whimbrel.warehouse.engine import Engine
from whimbrel.warehouse.items import current_dataset, dataset_rows, refused_note, refused_of, stored_items
from whimbrel.warehouse.ledger import Ledger, has_ledger
from whimbrel.warehouse.stored import StoredTable
from whimbrel.warehouse.verify import RowReport, expected

_BITS = 256


def verify_items(project: Project, engine: Engine, silo: ItemSilo, table: str, stop: threading.Event) -> RowReport:
    """By the sum of the digests of all rows, which does not depend on their order. The data set is the one that was
    carried. Raises StateError before one was, and UserError where the lake has it no longer.
    """
    began = time.monotonic()
    with engine.session() as session:
        carried = list(Ledger(silo.name).chunks(session, table)) if has_ledger(session) else []
        if not carried:
            hint = "Run `whimbrel converge` first."
            raise StateError("it is not loaded yet", place=f"{silo.name}.{table}", hint=hint)
        manifest = current_dataset(project, table, carried[0])
        if said := refused_note(silo, table, manifest, refused_of(project, manifest)):
            note(said)
        stored = stored_items(engine.name, silo, table, manifest)
        report = RowReport(f"dynamodb.{table}", stored.full_name)
        found = 0
        for rows in session.read(stored):
            report.found += len(rows)
            found += sum(map(_digest, rows))
            if stop.is_set():
                return report
    wanted = 0
    with dataset_rows(project, manifest) as parts:
        for rows in parts:
            report.rows += len(rows)
            wanted += sum(_digest(_as_stored(stored, row)) for row in rows)
    if wanted % 2**_BITS != found % 2**_BITS:
        report.counts["changed"] = max(1, abs(report.rows - report.found))
    if report.rows != manifest.rows:
        raise WarehouseError(f"{report.rows:,} rows were read, of {manifest.rows:,}", place=manifest.name)
    report.seconds = time.monotonic() - began
    return report


def _as_stored(stored: StoredTable, row: Row) -> Row:
    return tuple(expected(column, value) for column, value in zip(stored.columns, row, strict=True))


def _digest(row: Row) -> int:
    text = orjson.dumps([value.hex() if isinstance(value, bytes) else value for value in row])
    return int.from_bytes(blake2b(text, digest_size=_BITS // 8).digest(), "big")

"""The source's rows behind items: by their keys where these tell the columns, else by reading the whole table."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from whimbrel.item import key_id
from whimbrel.mapping.design import TableMapping
from whimbrel.migration.portions import Portions
from whimbrel.migration.prepare import chunk_key
from whimbrel.mysql.connect import Mysql
from whimbrel.mysql.elsewhere import Elsewhere
from whimbrel.mysql.sessions import Sessions
from whimbrel.mysql.snapshot import export_table, rows_where_equal
from whimbrel.mysql.whole_table import RowTaker, read_table
from whimbrel.project import Source
from whimbrel.records import Item, Row
from whimbrel.snapshot_files import ExportFile, read_chunk


def rows_of_items(connection: Mysql, mapping: TableMapping, keys: Iterable[Item]) -> list[Row]:
    """All rows of the items of ``keys``; the mapping must be invertible."""
    keys = list(keys)
    places = [place for key in keys for place in mapping.source_keys(key)]
    rows = rows_where_equal(connection, mapping.table, mapping.lookup_columns, places)
    connection.commit()
    if mapping.lookup_columns == mapping.group_columns:
        return rows
    return rows_within(mapping, rows, {key_id(key) for key in keys})  # a key tells only some of what it is made of


def rows_within(mapping: TableMapping, rows: Iterable[Row], wanted: Collection[bytes]) -> list[Row]:
    """Those of ``rows`` whose items' keys are ``wanted``."""
    return [row for row in rows if (key := mapping.item_key(row)) is not None and key_id(key) in wanted]


def read_whole_table(
    source: Source,
    mapping: TableMapping,
    folder: Path,
    use: Callable[[list[Row]], None],
    count: Callable[[int], None],
    stop: threading.Event,
) -> int:
    """Every row, a chunk at a time through a file in ``folder``, which is this call's own and is removed; how many
    there were. ``use`` gets so many at a time as fit in memory, of an aligned mapping whole items.
    """
    portions = Portions(mapping, folder / "portions")
    divided = portions.of if mapping.aligned else portions.any

    def take(file: ExportFile) -> None:
        for rows in divided(read_chunk(file.path).sized()):
            use(rows)
            del rows  # before the next ones are read
        file.path.unlink()

    result = export_table(source, mapping.table, chunk_key(mapping), folder, on_chunk=take, on_rows=count, stop=stop)
    shutil.rmtree(folder, ignore_errors=True)
    return result.rows


def read_directly(
    source: Source,
    mapping: TableMapping,
    begin: Callable[[], RowTaker],
    count: Callable[[int], None],
    stop: threading.Event,
    sessions: Sessions | None = None,
    elsewhere: Elsewhere | None = None,
) -> int:
    """Every row, those of a chunk into what ``begin`` gives for it, without a file; how many there were. Those that are
    read ``elsewhere`` are only counted.
    """
    key = chunk_key(mapping)
    return read_table(
        source, mapping.table, key, begin, on_rows=count, stop=stop, sessions=sessions, elsewhere=elsewhere
    )

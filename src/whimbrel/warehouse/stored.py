"""A table of the warehouse: its columns, from which of the source's they come, and how both change together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from whimbrel.errors import BEGIN_AGAIN, SchemaDrift, StateError
from whimbrel.mapping.versions import same_values
from whimbrel.mysql.altered import Altered
from whimbrel.project import Silo
from whimbrel.records import Column, Row, Table
from whimbrel.snapshot_files import table_from_json, table_to_json
from whimbrel.warehouse.names import column_name, name_faults, quoted, table_name
from whimbrel.warehouse.types import DATES, TIMESTAMP, carried_as

SINCE, UNTIL, DELETED = "valid_from", "valid_to", "deleted_at"
# What a table has besides the source's columns, by how its rows are kept, and which of its rows the source has now.
_ADDED = {"": (), "deleted": (DELETED,), "history": (SINCE, UNTIL)}
_PRESENT = {"": "", "deleted": f'"{DELETED}" IS NULL', "history": f'"{UNTIL}" IS NULL'}
_START_OVER = f"or {BEGIN_AGAIN}."


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """``source`` is the source's column that it is made of, as it was last seen; ``form`` and ``sql`` say how it is
    carried. ``nulls``: NULL stands for a date that no calendar has. ``gone``: the source has the column no longer, and
    rows that are written from then on have NULL.
    """

    name: str
    source: Column
    form: str
    sql: str
    nulls: bool = False
    gone: bool = False

    @property
    def quoted(self) -> str:
        return quoted(self.name)


@dataclass(frozen=True, slots=True)
class StoredTable:
    """``key`` are the warehouse's names of the columns that tell rows apart. ``source`` is schema and name there.
    ``keeps`` says what of a row stays: "" what it is, "deleted" also once it is gone, "history" all that it was.
    """

    schema: str
    name: str
    source: tuple[str, str]
    columns: tuple[StoredColumn, ...]
    key: tuple[str, ...]
    keeps: str = ""

    @property
    def quoted(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def key_columns(self) -> tuple[StoredColumn, ...]:
        return tuple(column for name in self.key for column in self.columns if column.name == name)

    @property
    def source_key(self) -> tuple[str, ...]:
        """The source's names of the columns of the key."""
        return tuple(column.source.name for column in self.key_columns)

    @property
    def added(self) -> tuple[StoredColumn, ...]:
        """The columns that the source has not."""
        moment = Column("", "timestamp", scale=6)
        return tuple(StoredColumn(name, moment, "timestamp", TIMESTAMP) for name in _ADDED[self.keeps])

    @property
    def written(self) -> StoredTable:
        """The table with all its columns, as rows are written to it."""
        return replace(self, columns=(*self.columns, *self.added)) if self.keeps else self

    @property
    def present(self) -> str:
        """The condition for rows that the source has now, "" where all are."""
        return _PRESENT[self.keeps]

    def matched(self, only: str) -> str:
        """The condition for a row ``stored`` that has the key of a row ``given``, whose columns are v0 and so on, and
        meets ``only``.
        """
        same = [f"stored.{column.quoted} = given.v{number}" for number, column in enumerate(self.key_columns)]
        return " AND ".join([*same, *([only] if only else [])])

    def listed(self) -> str:
        return ", ".join(column.quoted for column in self.columns)

    def create_statement(self) -> str:
        defined = ", ".join(f"{column.quoted} {column.sql}" for column in self.written.columns)
        return f"CREATE TABLE {self.quoted} ({defined})"

    def row_maker(self, version: Table) -> Callable[[Row], Row]:
        """From a row of ``version`` of the source's table to one of this table."""
        places = [version.names.index(c.source.name) if c.source.name in version.names else -1 for c in self.columns]
        if places == list(range(len(version.columns))):
            return lambda row: row
        return lambda row: tuple(row[place] if place >= 0 else None for place in places)


def key_maker(version: Table) -> Callable[[Row], Row]:
    """The values of the key of a row of ``version``, always a tuple."""
    places = [version.index(name) for name in version.primary_key]
    if len(places) == 1:
        [place] = places
        return lambda row: (row[place],)
    return itemgetter(*places)


def stored_table(engine: str, silo: Silo, table: Table) -> StoredTable:
    """The table as it is when it is made. Raises UnsupportedSource."""
    return StoredTable(
        silo.name,
        table_name(silo, table.name),
        (table.schema, table.name),
        tuple(_stored(engine, silo, table, column) for column in table.columns),
        tuple(column_name(silo, table.name, name) for name in table.primary_key),
        silo.keeps,
    )


def _stored(engine: str, silo: Silo, table: Table, column: Column) -> StoredColumn:
    carried = carried_as(engine, column, silo, f"{table.name}.{column.name}")
    nulls = carried.form in DATES and silo.zero_dates == "null" and column.name not in table.primary_key
    return StoredColumn(column_name(silo, table.name, column.name), column, carried.form, carried.sql, nulls)


def same_settings(engine: str, silo: Silo, stored: StoredTable) -> None:
    """Raises StateError where the project file now says something else of a column than when it was made."""
    table = Table(*stored.source, tuple(column.source for column in stored.columns), stored.source_key)
    for column in stored.columns:
        now = replace(_stored(engine, silo, table, column.source), gone=column.gone)
        if now != column or table_name(silo, table.name) != stored.name or silo.keeps != stored.keeps:
            was, now_is = (
                f"{stored.name}.{column.name} {column.sql}",
                f"{table_name(silo, table.name)}.{now.name} {now.sql}",
            )
            raise StateError(
                f"{table.name}.{column.source.name} was {was}, and by the project file is {now_is}",
                place=f"silo {silo.name}",
                hint=f"Put names, types, zero_dates, history and deletes back as they were, {_START_OVER}",
            )


@dataclass(frozen=True, slots=True)
class Evolved:
    """``table`` as it is after the source's was altered: ``added`` are new columns, ``widened`` have another type."""

    table: StoredTable
    added: tuple[StoredColumn, ...]
    widened: tuple[StoredColumn, ...]


def evolved(engine: str, silo: Silo, stored: StoredTable, altered: Altered) -> Evolved:
    """``stored`` after the source's table was ``altered``. Raises SchemaDrift where the silo does not say how to go on,
    or where values that are there already could be others now.
    """
    version = altered.table
    known = {column.source.name: column for column in stored.columns}
    faults = _lasting_faults(known, version, altered.replaced) + _policy_faults(silo, known, version)
    if version.primary_key != stored.source_key:
        faults.append(f"its key was {', '.join(stored.source_key)}, and is {', '.join(version.primary_key)} now")
    if faults:
        raise _drift(version, faults)
    columns, widened = [], []
    for old in stored.columns:
        new = version.column(old.source.name) if old.source.name in version.names else None
        if new is None:
            columns.append(replace(old, gone=True))
            continue
        made = _stored(engine, silo, version, new)
        if made.form != old.form:
            raise _drift(version, [f"column {new.name!r} is {made.sql} in the warehouse now, and was {old.sql}"])
        columns.append(made)
        if made.sql != old.sql:
            widened.append(made)
    new_columns = _new(silo, known, version)
    _names_are_free(engine, silo, version, [column.source for column in columns], new_columns)
    added = tuple(_stored(engine, silo, version, column) for column in new_columns)
    return Evolved(replace(stored, columns=(*columns, *added)), added, tuple(widened))


def _names_are_free(engine: str, silo: Silo, version: Table, old: list[Column], new: list[Column]) -> None:
    """A new column may have the name of another one, or of one that was dropped, or one that the engine has itself."""
    places = {f"{silo.name}: {version.name}.{column.name}" for column in new}
    for fault in name_faults(engine, silo, [replace(version, columns=(*old, *new))]):
        if fault.place in places:
            raise SchemaDrift(f"schema changed: {fault.message}", place=fault.place, hint=fault.hint)


def _new(silo: Silo, known: Mapping[str, StoredColumn], version: Table) -> list[Column]:
    if silo.new_columns == "ignore":
        return []
    return [column for column in version.columns if column.name not in known]


def _policy_faults(silo: Silo, known: Mapping[str, StoredColumn], version: Table) -> list[str]:
    faults = []
    if silo.new_columns == "stop" and (new := [name for name in version.names if name not in known]):
        faults.append(f'new columns {new}: say new_columns = "include" or "ignore"')
    gone = [name for name, column in known.items() if name not in version.names and not column.gone]
    if silo.dropped_columns == "stop" and gone:
        faults.append(f'columns {gone} were dropped or renamed: say dropped_columns = "keep"')
    return faults


def _lasting_faults(known: Mapping[str, StoredColumn], version: Table, replaced: Collection[str]) -> list[str]:
    faults = [f"column {name!r} has other values than before" for name in sorted(known.keys() & set(replaced))]
    for name, old in known.items():
        new = version.column(name) if name in version.names else None
        if new is not None and old.gone:
            faults.append(f"column {name!r} was dropped, and is there again: rows of before have its old values")
        elif new is not None and new != old.source and not same_values(old.source, new):
            faults.append(f"column {name!r} was {_said(old.source)}, and is {_said(new)} now")
    return faults


def _said(column: Column) -> str:
    """As in a CREATE TABLE."""
    charset = f" CHARACTER SET {column.charset}" if column.charset else ""
    return f"{column.type_name}{charset}{'' if column.nullable else ' NOT NULL'}"


def _drift(version: Table, faults: list[str]) -> SchemaDrift:
    hint = f"Decide in its [[silo]], and run the same command again, {_START_OVER}"
    return SchemaDrift(f"schema changed: {'; '.join(faults)}", place=version.full_name, hint=hint)


def to_json(stored: StoredTable) -> dict[str, Any]:
    sources = Table(*stored.source, tuple(column.source for column in stored.columns), ())
    carried = [[each.name, each.form, each.sql, each.nulls, each.gone] for each in stored.columns]
    return {
        "schema": stored.schema,
        "name": stored.name,
        "key": list(stored.key),
        "keeps": stored.keeps,
        "source": table_to_json(sources),
        "columns": carried,
    }


def from_json(fields: Mapping[str, Any]) -> StoredTable:
    source = table_from_json(fields["source"])
    columns = (
        StoredColumn(name, column, form, sql, nulls, gone)
        for (name, form, sql, nulls, gone), column in zip(fields["columns"], source.columns, strict=True)
    )
    return StoredTable(
        fields["schema"],
        fields["name"],
        (source.schema, source.name),
        tuple(columns),
        tuple(fields["key"]),
        fields["keeps"],
    )

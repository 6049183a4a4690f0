"""What converge would do, without doing any of it; and every fault of the sources, as converge would raise it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from whimbrel.mysql.connect import connect
from whimbrel.mysql.preflight import variables
from whimbrel.notes import note
from whimbrel.project import Project, Silo
from whimbrel.warehouse.claim import can_go_on, note_left
from whimbrel.warehouse.converge import prove, warehouse_of
from whimbrel.warehouse.engine import Engine
from whimbrel.warehouse.layout import layout
from whimbrel.warehouse.opened import open_engine
from whimbrel.warehouse.prepared import of_silo, prepare_silo
from whimbrel.warehouse.stored import StoredTable


@dataclass(frozen=True, slots=True)
class PlannedSiloTable:
    """``columns`` are those of the warehouse, with their types; {} of a table of DynamoDB that has no data set yet.
    ``rows`` is the source's own estimate.
    """

    source: str
    target: str
    rows: int
    columns: dict[str, str]
    key: tuple[str, ...]
    layout: str = ""  # in Redshift: how it is distributed and sorted

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ConvergePlan:
    """``silos`` are the tables by the silo's name."""

    engine: str
    place: str
    silos: dict[str, tuple[PlannedSiloTable, ...]]

    def to_dict(self) -> dict[str, Any]:
        silos = {name: [table.to_dict() for table in tables] for name, tables in self.silos.items()}
        return {"engine": self.engine, "place": self.place, "silos": silos}


def plan(project: Project) -> ConvergePlan:
    warehouse = warehouse_of(project)
    engine = open_engine(project, warehouse)
    prove(engine, warehouse)
    note_left(project, engine)
    silos, asked = {}, [report.sql for report in warehouse.reports]
    for silo in project.silos:
        found = prepare_silo(project, silo, warehouse.engine)
        with of_silo(silo.name):
            can_go_on(found, engine)
            _note_metadata(silo)
        rows = found.prepared.estimates
        silos[silo.name] = tuple(
            _planned(engine, table, ".".join(table.source), rows[".".join(table.source)], asked)
            for table in found.stored()
        )
    silos |= _of_items(project, engine, asked)
    return ConvergePlan(warehouse.engine, warehouse.place, silos)


def _note_metadata(silo: Silo) -> None:
    with closing(connect(silo.source)) as connection:
        said = variables(connection, "binlog_row_metadata").get("binlog_row_metadata", "FULL")
    if said.upper() != "FULL":
        note(
            f"{silo.name}: binlog_row_metadata is {said}. A table that is altered twice between two runs, "
            "with rows in between, would stop the silo for good: SET GLOBAL binlog_row_metadata = FULL"
        )


def _planned(engine: Engine, table: StoredTable, source: str, rows: int, asked: list[str]) -> PlannedSiloTable:
    return PlannedSiloTable(
        source=source,
        target=table.full_name,
        rows=rows,
        columns={column.name: column.sql for column in table.columns},
        key=table.key,
        layout=layout(table, asked).clause if engine.name == "redshift" and table.columns else "",
    )


def _of_items(project: Project, engine: Engine, asked: list[str]) -> Iterator[tuple[str, tuple[PlannedSiloTable, ...]]]:
    if not project.item_silos:
        return
    from whimbrel.warehouse.check_items import check_items  # with the lake, which no other silo needs

    for silo in project.item_silos:
        with of_silo(silo.name):
            found = check_items(project, silo, engine)
        yield silo.name, tuple(_planned(engine, table, table.source[1], rows, asked) for table, rows in found)

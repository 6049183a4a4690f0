"""The route: which side applications write to, in a JSON file or an item that they read again within each lease."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import orjson

from whimbrel.durable import publish, writing
from whimbrel.dynamodb.marks import Marks
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import HandoverTaken, StateError
from whimbrel.handover.hooks import Told
from whimbrel.project import OFF, Project
from whimbrel.records import Item

_LATER = "See `whimbrel status`. If no other project writes this route, it is of an earlier one: remove it."
READABLE = 0o644  # by the applications, whoever they run as; there is no secret in it


def write_routes(project: Project, wire: DynamoClient, told: Told, stop: threading.Event) -> None:
    """All that are set. Raises HandoverTaken if one is of a later epoch, StateError, and what the target raises."""
    settings = project.cutover
    if settings.route_file:
        write_route(project.path.parent / settings.route_file, told)
    if settings.route_item and project.target.mark != OFF:
        write_route_item(Marks(wire, project.target, stop), told)


def write_route(path: Path, told: Told) -> None:
    """Replace the file atomically and durably. Raises HandoverTaken if it is of a later epoch, StateError."""
    if (found := _epoch(path)) > told.epoch:
        raise HandoverTaken(
            f"the route is of epoch {found}, and this command of {told.epoch}: another one took over",
            place=str(path),
            hint=_LATER,
        )
    fields = {name: value for name, value in told._asdict().items() if name != "event"}
    with writing(path), path.with_name(path.name + ".new").open("wb") as file:
        os.fchmod(file.fileno(), READABLE)
        file.write(orjson.dumps(fields) + b"\n")
        publish(file, path)


def write_route_item(marks: Marks, told: Told) -> None:
    """One item for each table, in the table of marks. Raises HandoverTaken if it is of a later epoch."""
    for table in told.tables:
        route: Item = {
            "side": {"S": told.side},
            "epoch": {"N": str(told.epoch)},
            "lease_seconds": {"N": f"{told.lease_seconds:g}"},
        }
        if not marks.put_route(table, route):
            raise HandoverTaken(
                f"the route is of a later epoch than {told.epoch}: another command took over",
                place=f"{marks.table} ({table})",
                hint=_LATER,
            )


def _epoch(path: Path) -> int:
    """0 where there is none yet. Raises StateError for a file that is not a route: it may be somebody else's."""
    try:
        return int(orjson.loads(path.read_bytes())["epoch"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"is not a route: {error}", place=str(path), hint="Name another route_file.") from error

"""Verify: prove that the target holds exactly what the mapping makes of the source, while both are live.

Both sides are read once and compared (``first_look``). What differs there is only a candidate: rows change while they
are read. A candidate is read again by key from both sides (``second_look``), the target only after the applier has
passed the Position at which the source was read, and it counts when the two still differ while the source stood still.

Change metadata (``mapping.provenance``) is left out of the comparison, and named in the report.
An item that says that its row went must have no row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import by_target
from whimbrel.migration.differences import TableReport
from whimbrel.migration.dirty import Dirty, dirty_since
from whimbrel.migration.first_look import FirstLook
from whimbrel.migration.lineage import Lineage
from whimbrel.migration.prepare import Prepared, lineage_of
from whimbrel.migration.progress import Progress
from whimbrel.migration.second_look import Applied, SecondLook
from whimbrel.migration.snapshot import small_together
from whimbrel.migration.state import StateFolder
from whimbrel.migration.verified import Verified, read_verified, remove_verified, rules_now, targets_of, write_verified
from whimbrel.migration.waivers import NONE, Waivers
from whimbrel.mysql.connect import Mysql, connect
from whimbrel.mysql.sessions import Sessions
from whimbrel.records import Item, Position


def verify_all(
    prepared: Prepared,
    wire: DynamoClient,
    applied: Callable[[], Position | None],
    stop: threading.Event,
    progress: Progress,
    waivers: Waivers = NONE,
) -> list[TableReport]:
    """Verify every target table of the project, one after the other, and note whether all were equal but for what is
    waived: what else was applied when this began need not be looked at by ``verify_keys``.

    ``applied`` tells the applier's Position at the moment; it must move while a verification waits for it.
    """
    state = StateFolder(prepared.project.state)
    began = _beginning(prepared)  # before either side is read
    lineage, reports = lineage_of(prepared), []
    targets = by_target(list(prepared.mappings.values()))
    rows = {name: sum(prepared.estimates[each.source] for each in mappings) for name, mappings in targets.items()}
    with closing(connect(prepared.project.source)) as connection, Sessions() as sessions:
        for some in small_together(list(targets), rows):
            sessions.expect([each.table for target in some for each in targets[target]])
            for target in some:
                mappings = targets[target]
                report = new_report(mappings)
                applying = Applied(applied)
                look = _second_look(prepared, connection, mappings, wire, applying, stop, report, waivers, lineage)
                first = FirstLook(look, connection, mappings, wire, state.verify, stop, progress, report, sessions)
                reports.append(first.run(rows[target]))
    if stop.is_set():
        return reports
    if not all(report.equal for report in reports):
        remove_verified(state.root)
    elif began and began.rules == rules_now(prepared):
        write_verified(state.root, replace(began, unsettled=_left(reports)))
    return reports


def dirty_items(prepared: Prepared) -> Dirty:
    """The items that ``verify_keys`` must look at so that all are verified; see ``Dirty.everything``."""
    root = prepared.project.state
    verified = read_verified(root)
    if verified and verified.rules != rules_now(prepared):
        reason = "a table was altered, or the project file edited, since the last verification"
        return replace(dirty_since(root, None), everything=reason)
    return dirty_since(root, verified)


def not_quick(prepared: Prepared) -> list[str]:
    """The source tables whose items can only be looked up by reading the whole table: an expression makes their key."""
    return [source for source, mapping in prepared.mappings.items() if not mapping.invertible]


def verify_keys(
    prepared: Prepared,
    dirty: Dirty,
    wire: DynamoClient,
    applied: Callable[[], Position | None],
    stop: threading.Event,
    progress: Progress,
    waivers: Waivers = NONE,
    *,
    still: Position | None = None,
) -> list[TableReport]:
    """Verify the items of ``dirty``, which ``dirty_items`` gave and which is not everything, from both sides.

    Where they are equal, all items are verified as of when ``dirty`` was read; items that did not stand still are left
    to the next call. ``still``: the tables cannot be written after this Position, and one look is enough.
    """
    assert not dirty.everything, dirty.everything
    root = prepared.project.state
    verified = read_verified(root)
    began = time.time()
    lineage, reports = lineage_of(prepared), []
    with closing(connect(prepared.project.source)) as connection:
        for target, mappings in by_target(list(prepared.mappings.values())).items():
            report = new_report(mappings)
            if target in dirty.texts:
                progress.note = f"{len(dirty.texts[target]):,} items of {target}"
                look = _second_look(
                    prepared, connection, mappings, wire, Applied(applied, still), stop, report, waivers, lineage
                )
                look.recheck(dirty.keys(target))
                report.seconds = time.time() - began
            reports.append(report)
    settled = all(report.counts.keys() <= {"unsettled"} for report in reports)
    listed = all(sum(report.counts.values()) == len(report.differences) for report in reports)
    if verified and dirty.place and settled and listed and not stop.is_set():
        unsettled = _left(reports)
        write_verified(
            root, replace(verified, position=dirty.position, time=began, place=dirty.place, unsettled=unsettled)
        )
    return reports


def _beginning(prepared: Prepared) -> Verified | None:
    """What to note of a verification that begins now; None where nobody keeps account of what is written meanwhile."""
    now, at = time.time(), dirty_since(prepared.project.state, None)
    if at.place is None:
        return None
    return Verified(at.position, now, targets_of(prepared), rules_now(prepared), at.place, full=now)


def _left(reports: list[TableReport]) -> dict[str, list[Item]]:
    """The items to be looked at again, by target table."""
    left = {report.target: [*report.differences, *report.waived] for report in reports}
    return {target: [each.key for each in several if each.key] for target, several in left.items() if several}


def new_report(mappings: list[TableMapping]) -> TableReport:
    names = sorted({name for each in mappings for name in each.change_metadata.names})
    sources = ", ".join(each.source for each in mappings)
    return TableReport(sources, mappings[0].target, not_compared=names)


def _second_look(
    prepared: Prepared,
    connection: Mysql,
    mappings: list[TableMapping],
    wire: DynamoClient,
    applied: Applied,
    stop: threading.Event,
    report: TableReport,
    waivers: Waivers,
    lineage: Lineage,
) -> SecondLook:
    folder = StateFolder(prepared.project.state).verify
    return SecondLook(prepared.project, connection, mappings, wire, applied, lineage, folder, stop, report, waivers)

"""The tables of a project by an AWS DMS file, and the live schema that it needs."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

from whimbrel import checkpoint
from whimbrel.dms.read import faulty, load_rules
from whimbrel.dms.rules import DmsRules
from whimbrel.dms.select import SourceObject
from whimbrel.dms.translate import Translated, translate
from whimbrel.errors import ProjectError, WhimbrelError
from whimbrel.migration import history
from whimbrel.migration.state import StateFolder
from whimbrel.mysql.connect import connect
from whimbrel.mysql.schema import read_table, tables_and_views, view_definition
from whimbrel.notes import note
from whimbrel.project import Project, Source


def project_with_rules(project: Project, path: Path, *, into_existing: bool = False) -> Project:
    """The project with the tables of the file instead of its own. Raises ProjectError with all its faults."""
    rules = load_rules(path)
    _refuse_existing(rules, into_existing)
    if not project.source.host:
        raise ProjectError("[source] is missing", place=str(project.path), hint='Write url = "mysql://…" in it.')
    translated = _begun_rules(rules, project.state) or translated_rules(rules, project.source)
    notes = [*translated.notes, *([f"the [[table]] sections of {project.path} are ignored"] if project.tables else [])]
    for each in notes:
        note(f"{path}: note: {each}")
    return replace(project, tables=translated.tables)


def _begun_rules(rules: DmsRules, state: Path) -> Translated | None:
    """For the tables as they were when the migration began: those that came or changed since make it no other one."""
    folder = StateFolder(state)
    if checkpoint.load(folder.checkpoint).phase == "new":
        return None
    starts = history.load(folder.tables).starts()
    return translate(rules, [SourceObject(*name) for name in starts], lambda *name: starts[name], begun=True)


def translated_rules(rules: DmsRules, source: Source) -> Translated:
    """Raises ProjectError with all that is wrong with the rules: also where the source cannot be asked."""
    try:
        connecting = connect(source)
    except WhimbrelError:
        if rules.faults:
            raise faulty(rules.faults, rules.place) from None
        raise
    with closing(connecting) as connection:
        found = [SourceObject(*each) for each in tables_and_views(connection)]
        return translate(rules, found, partial(read_table, connection), read_view=partial(view_definition, connection))


def _refuse_existing(rules: DmsRules, into_existing: bool) -> None:
    """A condition for the load alone was found to hold because the target is empty."""
    conditioned = [str(mapping) for mapping in rules.mappings if mapping.load_condition]
    if into_existing and conditioned:
        raise ProjectError(
            f"{', '.join(conditioned)}: a condition for the full load alone cannot be kept with --into-existing",
            place=rules.place,
            hint="Load into an empty table, take the condition out, or apply it during CDC too.",
        )

"""From a project and its live schema to mappings: one way, that every command goes.

What `check` and `preview` look at is what `migrate`, `verify`, `refill` and `retry-dead` work with, so none of them
takes what another refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from whimbrel import checkpoint
from whimbrel.errors import MappingError, PrivilegeError, ProjectError, UnsupportedSource, WhimbrelError
from whimbrel.mapping.design import TableMapping
from whimbrel.mapping.family import compile_family
from whimbrel.mapping.lookups import Parent, Parents, keys_to_prove
from whimbrel.mapping.versions import Versions
from whimbrel.migration import history
from whimbrel.migration.history import History, Name
from whimbrel.migration.state import StateFolder
from whimbrel.mysql.connect import Mysql
from whimbrel.mysql.schema import facts_of, find_table, unique_keys
from whimbrel.project import Project, TableRule
from whimbrel.records import Table


@dataclass(frozen=True)
class Mappings:
    """``project`` names its tables as the server spells them. ``tables`` are as the source has them now.

    ``mappings`` and ``versions`` are by the rule's name. ``history`` is None before the migration begins.
    ``faults``: why this project cannot be migrated, by its rules and its tables; with any, no item may be written.
    """

    project: Project
    tables: dict[Name, Table]
    mappings: dict[str, TableMapping]
    versions: dict[str, Versions]
    history: History | None
    faults: list[WhimbrelError]


def read_mappings(project: Project, connection: Mysql) -> Mappings:
    """Raises ProjectError for a project without tables, StateError for a state folder that cannot be read, and
    SourceError if the source cannot be asked; what is wrong with rules or tables is in ``faults``, all of it.
    """
    if not project.tables:
        raise ProjectError(
            "there is no [[table]] to migrate", place=str(project.path), hint="Write one for each source table."
        )
    folder = StateFolder(project.state)
    past = history.load(folder.tables) if checkpoint.load(folder.checkpoint).phase != "new" else None
    faults: list[WhimbrelError] = []
    found: list[tuple[TableRule, Table]] = []
    named = (rule.source.partition(".") for rule in project.tables)
    known = facts_of(connection, [(schema, name) for schema, _, name in named])
    for rule, facts in zip(project.tables, known, strict=True):
        try:
            table = find_table(connection, rule.source, facts)
        except (UnsupportedSource, PrivilegeError) as error:
            error.place = error.place or rule.source
            faults.append(error)
        else:
            found.append((replace(rule, source=table.full_name), table))
    faults += _named_otherwise(found)
    parents = _parents(found, past)
    parts = [(_versions(rule, table, past, parents), table) for rule, table in found]
    compiled = compile_family(parts)
    faults += compiled.faults
    faults += _lookup_faults(project, [rule for rule, _ in found], parents, connection)
    faults += _placed_twice(compiled.mappings.values())
    return Mappings(
        replace(project, tables=tuple(rule for rule, _ in found)),
        {(table.schema, table.name): table for _, table in found},
        compiled.mappings,
        compiled.versions,
        past,
        faults,
    )


def refuse(faults: list[WhimbrelError], project: Project) -> None:
    """Raise all faults as one; of those that do not belong to a mapping the first, which may explain the others."""
    for fault in faults:
        if not isinstance(fault, MappingError):
            raise fault
    if faults:
        said = "\n  ".join(map(str, faults))
        raise MappingError(f"\n  {said}", place=str(project.path), hint="\nFix the mapping, then run it again.")


def unproven(connection: Mysql, mapping: TableMapping) -> list[str]:
    """Why two rows could come to one place in the target and overwrite each other, if nobody says that none ever do."""
    if mapping.rule.assert_unique or not mapping.doubts():
        return []  # without a question to the source
    return [
        f"{mapping.source}: {doubt}. Put a key of the source into that of the target, or, if you know that no two rows "
        f"ever do, write assert_unique = true: `whimbrel check` says whether some do now"
        for doubt in mapping.doubts(unique_keys(connection, mapping.table))
    ]


def _versions(rule: TableRule, table: Table, past: History | None, parents: Parents) -> Versions:
    known = past.columns((table.schema, table.name)) if past else ()
    return Versions(rule, _first(table, past), known, parents=parents)


def _first(table: Table, past: History | None) -> Table:
    return past.starts().get((table.schema, table.name), table) if past else table


def _parents(found: Sequence[tuple[TableRule, Table]], past: History | None) -> Parents:
    rules: dict[str, list[TableRule]] = {}
    for rule, table in found:
        rules.setdefault(table.full_name, []).append(rule)
    return {table.full_name: Parent(tuple(rules[table.full_name]), _first(table, past), table) for _, table in found}


def _lookup_faults(
    project: Project, rules: Sequence[TableRule], parents: Parents, connection: Mysql
) -> list[WhimbrelError]:
    """What one rule alone does not say: that these engines can look up, and that a key which is not the primary one
    tells a row.
    """
    faults: list[WhimbrelError] = []
    for rule in rules:
        faults += _engine_faults(project, rule)
        if not rule.lookups:
            continue
        for parent, key in keys_to_prove(rule, parents):
            if not any(set(one) == set(key) for one in unique_keys(connection, parent)):
                message = f"{rule.source} looks up by ({', '.join(key)}), which is not a unique key without NULLs"
                faults.append(MappingError(message, place=parent.full_name, hint="Name a key that tells one row."))
    return faults


def _placed_twice(mappings: Iterable[TableMapping]) -> Iterator[MappingError]:
    """What look-ups keep are the rows that one rule loaded: it knows where the items of that one are."""
    placed: dict[str, list[str]] = {}
    for mapping in mappings:
        if names := mapping.placed_by_others:
            placed.setdefault(mapping.table.full_name, []).append(f"{mapping.source} ({names[0] or 'its filter'})")
    for source, several in placed.items():
        if len(several) > 1:
            message = f"what is looked up decides where the items of several sections are: {', '.join(several)}"
            hint = "Let it decide for one of them: leave it out of the others' keys, names of entries and filters."
            yield MappingError(message, place=source, hint=hint)


def _engine_faults(project: Project, rule: TableRule) -> Iterator[MappingError]:
    """What only a process of our own can do."""
    engines = [
        ("apply", "lambda" if project.stream else ""),
        ("load", "spark" if project.spark else project.loader.removeprefix("process")),
    ]
    for step, engine in engines:
        if engine and rule.lookups:
            yield MappingError(
                f'{rule.source} looks columns up, which {step}.engine = "{engine}" cannot: it has the row alone',
                hint=f'Use {step}.engine = "process", or leave the look-ups out.',
            )
        if engine and rule.oversize == "stop":
            yield MappingError(
                f'{rule.source} has oversize = "stop", and {step}.engine = "{engine}" cannot end the run at an item',
                hint=f'Use {step}.engine = "process", or oversize = "dead".',
            )


def _named_otherwise(found: list[tuple[TableRule, Table]]) -> list[WhimbrelError]:
    """Names that differ in the file may mean one table: to a server that does not tell A from a."""
    names = [rule.name for rule, _ in found]
    return [
        MappingError(
            f"{names.count(name)} [[table]] sections mean this one table, and name it differently",
            place=name,
            hint="Write its name in all of them as the server has it.",
        )
        for name in sorted({name for name in names if names.count(name) > 1})
    ]

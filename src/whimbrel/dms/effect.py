"""Rules that change nothing, because what they name is not there: a mask that is misspelt leaves a column in clear."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from whimbrel.dms.names import means_column
from whimbrel.dms.patterns import literal, matches
from whimbrel.dms.rules import DmsRules, Locator, Transformation
from whimbrel.dms.select import Selected, SourceObject, is_meant
from whimbrel.dms.transform import Shaped


def without_effect(
    rules: DmsRules,
    found: list[SourceObject],
    selected: list[Selected],
    shaped: list[Shaped],
    faults: list[str],
    notes: list[str],
) -> None:
    """A rule for a table that is there and is not moved is noted; one for nothing at all is at fault."""
    for mapping in rules.mappings:
        if mapping.sound and not _tables(mapping.locator, selected):
            _no_table(str(mapping), mapping.locator, found, faults, notes)
    for rule in rules.transformations:
        if not rule.sound or rule.target == "schema":
            continue
        tables = _tables(rule.locator, selected)
        if not tables:
            _no_table(f"{rule}: {rule.action}", rule.locator, found, faults, notes)
            continue
        meant = [one for one in shaped if (one.table.schema, one.table.name) in {each[:2] for each in tables}]
        read_all = len(meant) == len(tables)  # of a table that could not be read, that is said already
        if read_all and rule.locator.column and rule.action != "add-column":
            faults += _no_column(rule, meant)


def _words(locator: Locator, tables: list[SourceObject]) -> str:
    """In words, that no table is meant; with the nearest name, as case and spelling matter."""
    schemas = sorted({table.schema for table in tables})
    if not any(matches(locator.schema, schema) for schema in schemas):
        return f"there is no schema {literal(locator.schema)}{_near(literal(locator.schema), schemas)}"
    name = f"{literal(locator.schema)}.{literal(locator.table)}"
    names = sorted(
        f"{table.schema}.{table.name}" for table in tables if matches(locator.schema, table.schema)
    )  # of other schemas, the nearest would be one of the same name there
    return (
        f"there is no table {name}{_near(name, names) or _near(name, [f'{one.schema}.{one.name}' for one in tables])}"
    )


def _tables(locator: Locator, selected: list[Selected]) -> list[SourceObject]:
    return [one.table for one in selected if is_meant(locator, one.table.schema, one.table.name)]


def _no_table(place: str, locator: Locator, found: list[SourceObject], faults: list[str], notes: list[str]) -> None:
    if any(is_meant(locator, table.schema, table.name) for table in found):
        notes.append(f"{place}: its object-locator means no table that is selected")
    else:
        faults.append(f"{place}: {_words(locator, found)}")


def _no_column(rule: Transformation, tables: list[Shaped]) -> Iterator[str]:
    """A pattern for columns of several tables has an effect if one of them has such a column."""
    name = rule.locator.column
    for one in tables:
        if any(means_column(rule, column.name, column) for column in one.table.columns):
            return
        if any(means_column(rule, image) for image in one.images):
            return
    by_name = [one for one in tables if any(matches(name, each) for each in one.table.names)]
    if by_name:
        yield f"{rule}: {rule.action}: no column {name!r} has the data-type {rule.locator.data_type}"
        return
    where = tables[0].table.full_name if len(tables) == 1 else f"the {len(tables)} tables that it means"
    renamed = [f"{old!r}" for one in tables for old, new in one.names.items() if new != old and matches(name, new)]
    if renamed:
        said = f"; rules go by the source's names, and that is what {renamed[0]} is called afterwards"
    else:
        columns = sorted({each for one in tables for each in one.table.names})
        said = _near(literal(name), columns)
    yield f"{rule}: {rule.action}: {where} has no column {name!r}{said}"


def _near(name: str, names: list[str]) -> str:
    by_folded = {each.lower(): each for each in names}
    nearest = difflib.get_close_matches(name.lower(), by_folded, 1)
    return f"; did you mean {by_folded[nearest[0]]}? Case matters" if nearest else ""

"""What a rule names, templates and columns, checked against its table; what is wrong with it is noted as a fault."""

from __future__ import annotations

import difflib

from whimbrel.errors import MappingError
from whimbrel.mapping.formats import fault
from whimbrel.mapping.templates import Template, parse
from whimbrel.mapping.values import BINARY_KINDS, TYPES
from whimbrel.records import Table

EMPTY = Template("", ())


def template_of(place: str, text: str, table: Table, faults: list[str], *, binary_alone: bool = False) -> Template:
    """The parsed template, or the empty one if it has a fault (which is then noted)."""
    try:
        template = parse(text, table.names)
    except MappingError as error:
        faults.append(f"{place}: {error.message}")
        return EMPTY
    noted = len(faults)
    faults += [
        f"{place}: column {name!r} has a brace in its name, so that no template can name it: compute it under another "
        f"name, as columns = {{ other = '\"{name}\"' }}"
        for name in table.names
        if ("{" in name or "}" in name) and f"${{{name}}}" in text
    ]
    if not template.parts:
        faults.append(f"{place} has an empty template")
    for name in template.columns:
        if name not in table.names:
            faults.append(unknown_column(f"{place} uses", name, table))
        elif table.column(name).kind not in TYPES:
            faults.append(f"{place} uses column {name!r} of kind {table.column(name).kind!r}, which has no text")
    for part in template.references:
        if part.column not in table.names:
            continue
        column = table.column(part.column)
        if not part.form and column.kind in BINARY_KINDS and not (binary_alone and template.alone):
            faults.append(
                f"{place} uses {part.column!r}, a binary column: binary has no text; a key of type B takes it alone, "
                f"and ${{{part.column}:uuid}} makes one of BINARY(16)"
            )
        elif reason := fault(part, column):
            faults.append(f"{place}: {reason}")
    return template if len(faults) == noted else EMPTY


def unknown_column(what: str, name: str, table: Table) -> str:
    folded = {column.lower(): column for column in table.names}
    nearest = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.0)
    return f"{what} column {name!r}, which {table.full_name} does not have; the nearest is {folded[nearest[0]]!r}"

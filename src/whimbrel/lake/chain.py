"""Which exports make up a table as of a moment: a full one, and the incremental ones after it without a gap."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from whimbrel.errors import UserError
from whimbrel.lake.manifest import Manifest, asked_time, read_time
from whimbrel.lake.native import FULL, INCREMENTAL, Export

Gap = tuple[str, str]  # from, to: the changes between these times are in no export


def chain_of(exports: Sequence[Export], *, accepted: Collection[Gap] | None = ()) -> list[Export]:
    """The newest full export and every incremental one after it. Raises UserError for a gap that is not ``accepted``;
    None accepts any.
    """
    full = [each for each in exports if each.kind == FULL]
    if not full:
        raise UserError("there is no full export", hint="Make one with: whimbrel export TABLE --full")
    tables = {each.table for each in exports}
    if len(tables) > 1:
        listed = ", ".join(sorted(tables))
        raise UserError(f"the exports are of several tables: {listed}", hint="Name one export's folder.")
    chain = [full[-1]]
    for each in exports:
        if each.kind == INCREMENTAL and each.as_of > chain[-1].as_of:
            _check_next(chain[-1], each, accepted)
            chain.append(each)
    return chain


def gap_before(as_of: str, export: Export) -> Gap | None:
    """The gap between a table as of that time and the export of what changed."""
    return (as_of, export.since) if export.kind == INCREMENTAL and export.since > as_of else None


def until(exports: Sequence[Export], as_of: str) -> list[Export]:
    """The exports that are not newer than ``as_of``, a time as a person writes it; all where it is "".

    Raises UserError, naming what there is, where none is so old.
    """
    if not as_of:
        return list(exports)
    moment = asked_time(as_of, "--as-of")
    found = [each for each in exports if read_time(each.as_of) <= moment]
    if not found:
        there = ", ".join(each.as_of for each in exports)
        raise UserError(f"there is no export as of {as_of}", hint=f"There are exports as of {there}.")
    return found


def check_is_as_of(exports: Sequence[Export], manifest: Manifest, as_of: str) -> None:
    """Raises UserError where the table's ``exports`` have a later one up to ``as_of`` than the data set was made of:
    ``restore`` would write another table.
    """
    if not manifest.parents or not {each.id for each in exports} & set(manifest.parents):
        return  # made of files or exports that are elsewhere
    last = chain_of(until(exports, as_of), accepted=None)[-1]
    if last.id != manifest.parents[-1]:
        message = f"there is an export as of {last.as_of}, and the data set up to {as_of} is as of {manifest.as_of}"
        hint = f"Make it with: whimbrel convert {manifest.name} --as-of {last.as_of}"
        raise UserError(message, place=manifest.name, hint=hint)


def _check_next(last: Export, export: Export, accepted: Collection[Gap] | None) -> None:
    if last.table_id and export.table_id and last.table_id != export.table_id:
        message = f"the table was recreated after {last.id}"
        raise UserError(message, place=export.id, hint="Make a full export.")
    gap = gap_before(last.as_of, export)
    if gap and accepted is not None and gap not in accepted:
        hint = "Export them, make a full export, or continue without them: --accept-gap."
        raise UserError(f"the changes from {gap[0]} to {gap[1]} are in no export", place=export.id, hint=hint)

"""Of a table that is in several rules, the one from whose items its rows come back."""

from __future__ import annotations

from collections.abc import Sequence

from whimbrel.mapping.inverse import Inverse
from whimbrel.mapping.returns import Obstacle


def parted(inverses: Sequence[Inverse]) -> tuple[list[Inverse], list[Inverse]]:
    """Those whose items are read back, and the copies. A rule bears its table's rows if it has all of them, and every
    column that another rule of the table brings back: else what was written to the others would be lost.
    """
    bearers, copies = list[Inverse](), list[Inverse]()
    by_table: dict[str, list[Inverse]] = {}
    for each in inverses:
        by_table.setdefault(each.table.full_name, []).append(each)
    for several in by_table.values():
        bearer = next((each for each in several if _bears(each, several)), None)
        if len(several) > 1:
            _tell(bearer or several[0], several, found=bearer is not None)
        bearers.append(bearer or several[0])
        copies += [each for each in several if each is not bearers[-1]]
    return bearers, copies


def _bears(one: Inverse, several: Sequence[Inverse]) -> bool:
    if len(several) == 1:
        return True
    every = {name for each in several for name in each.columns}
    return not one.obstacles and not one.mapping.rule.filter and every <= set(one.columns)


def _tell(bearer: Inverse, several: Sequence[Inverse], *, found: bool) -> None:
    table = bearer.table.full_name
    names = ", ".join(each.mapping.source for each in several if each is not bearer)
    if found:
        said = f"its rows come back from the items of {bearer.mapping.source}; those of {names} are copies"
        bearer.notes = (*bearer.notes, Obstacle(table, "", said))
        return
    reason = f"of its {len(several)} rules none has all rows, without a filter, and every column that another has"
    bearer.obstacles = (*bearer.obstacles, Obstacle(table, "", reason))

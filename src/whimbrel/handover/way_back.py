"""What the plan of a cutover says of the way back: whether each table can be read from its items, column by column."""

from __future__ import annotations

from collections.abc import Iterator

from whimbrel.errors import WhimbrelError
from whimbrel.handover.reverse import inverses_of, settings_of
from whimbrel.mapping.returns import Obstacle
from whimbrel.migration.prepare import Prepared
from whimbrel.mysql.connect import Mysql, connect_to_write
from whimbrel.mysql.handover_checks import Fact


def way_back_facts(prepared: Prepared, connection: Mysql) -> Iterator[Fact]:
    """Nothing, where no way back is asked for."""
    if not prepared.project.cutover.reverse_user:
        return
    settings = settings_of(prepared)
    try:
        connect_to_write(settings.account).close()
    except WhimbrelError as error:
        yield Fact(
            "cutover-reverse-account", f"cutover.reverse_user {settings.account.user!r}", error.message, error.hint
        )
    inverses, _ = inverses_of(prepared, connection, settings.rules, None)
    for inverse in (each for several in inverses.values() for each in several.inverses):
        for obstacle in inverse.obstacles:
            yield Fact("cutover-not-readable", _place(obstacle), obstacle.reason)
        for each in inverse.notes:
            yield Fact("cutover-not-returned", _place(each), each.reason)


def _place(obstacle: Obstacle) -> str:
    return f"{obstacle.table}.{obstacle.column}".rstrip(".")

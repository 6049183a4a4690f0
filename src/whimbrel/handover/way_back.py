"""What the plan of a cutover says of the way back: whether each table can be read from its items, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from whimbrel.dynamodb.session import open_client
from whimbrel.dynamodb.tables import stream_of
from whimbrel.errors import Retryable, TargetError, WhimbrelError
from whimbrel.handover.reverse import inverses_of, settings_of
from whimbrel.mapping.returns import Obstacle
from whimbrel.migration.prepare import Prepared
from whimbrel.mysql.barrier import Name
from whimbrel.mysql.connect import Mysql, connect_to_write, quoted
from whimbrel.mysql.grants import grants_of, may
from whimbrel.mysql.handover_checks import Fact
from whimbrel.mysql.triggers import all_triggers, is_ours, may_write

RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def way_back_facts(prepared: Prepared, connection: Mysql) -> Iterator[Fact]:
    """Nothing, where no way back is asked for."""
    if not prepared.project.cutover.reverse_user:
        return
    settings = settings_of(prepared)
    place = f"cutover.reverse_user {settings.account.user!r}"
    try:
        with closing(connect_to_write(settings.account)) as back:
            yield from _privileges(back, place, settings.account.database, sorted(prepared.tables))
    except WhimbrelError as error:
        yield Fact("cutover-reverse-account", place, error.message, error.hint)
    yield from _chained(connection, sorted(prepared.tables))
    yield from _streams(prepared)
    inverses, _ = inverses_of(prepared, connection, settings.rules, None)
    for inverse in (each for several in inverses.values() for each in several.inverses):
        for obstacle in inverse.obstacles:
            yield Fact("cutover-not-readable", _place(obstacle), obstacle.reason)
        for each in inverse.notes:
            yield Fact("cutover-not-returned", _place(each), each.reason)


def _streams(prepared: Prepared) -> Iterator[Fact]:
    """A stream that somebody else turned on may not show enough of an item."""
    client = open_client(prepared.project.target)
    for target in sorted({mapping.target for mapping in prepared.mappings.values()}):
        try:
            stream_of(client, target)
        except TargetError as error:
            if isinstance(error, Retryable):
                raise
            yield Fact("cutover-stream", error.place, error.message, error.hint)


def _chained(connection: Mysql, tables: list[Name]) -> Iterator[Fact]:
    """What is written back to one table would change rows of another whose items nobody wrote, and nobody compares."""
    for row in all_triggers(connection, tables):
        on = (row["schema"], row["on_table"])
        if on not in tables or is_ours(row):
            continue
        for other in tables:
            if other != on and may_write(row, other):
                reason = f"its trigger {row['name']} writes to {'.'.join(other)}, which is migrated too"
                yield Fact("cutover-chained", ".".join(on), reason)


def _privileges(back: Mysql, place: str, database: str, tables: list[Name]) -> Iterator[Fact]:
    """What it lacks would be found out when DynamoDB is open already, and then nobody follows it."""
    grants = grants_of(back)
    wanted = [(right, *table) for table in tables for right in RIGHTS]
    wanted += [(right, database, "*") for right in (*RIGHTS, "CREATE")]
    for right, schema, name in wanted:
        if not may(grants, right, schema=schema, table=name):
            grant = f"GRANT {', '.join(RIGHTS)}, CREATE ON {quoted(schema)}.* to this account"
            yield Fact("cutover-reverse-account", place, f"lacks {right} on {schema}.{name}", grant)


def _place(obstacle: Obstacle) -> str:
    return f"{obstacle.table}.{obstacle.column}".rstrip(".")

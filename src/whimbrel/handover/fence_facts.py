"""What the plan of a cutover says of the fence that is set, and how it is tried for real without effect."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

from whimbrel.errors import WhimbrelError
from whimbrel.handed_over import Handover
from whimbrel.handover.hooks import run_command, told
from whimbrel.handover.state import own_schema
from whimbrel.migration.prepare import Prepared
from whimbrel.mysql.accounts import account_of, exists, writers
from whimbrel.mysql.barrier import Name, execute
from whimbrel.mysql.client import SourceConnection
from whimbrel.mysql.connect import connect, quoted, rows_as_dicts
from whimbrel.mysql.handover_checks import Fact, LockTrial, tried, tried_lock
from whimbrel.mysql.read_only import SINCE, is_read_only, knows_read_only, set_read_only, tables_beside
from whimbrel.mysql.revoking import Revoked, exempt_of, give_back, grant_needed, revoke, under_way, why_not
from whimbrel.mysql.triggers import PREFIX
from whimbrel.project import Project
from whimbrel.project.cutover import COMMAND, READ_ONLY_SCHEMA, REVOKE, TRIGGERS

STEPS = {
    TRIGGERS: "lock all tables for a moment, close them by triggers, and read the last position",
    READ_ONLY_SCHEMA: "make the schema read-only, lock its tables for a moment, and read the last position",
    REVOKE: "revoke what the accounts may write, wait for their statements, lock all tables for a moment, and read the "
    "last position",
    COMMAND: "let the fence command close, lock all tables for a moment, and read the last position",
}
_LISTED = 5  # tables that are named


def fence_facts(prepared: Prepared, connection: SourceConnection) -> Iterator[Fact]:
    """All but what only trying tells."""
    settings, tables = prepared.project.cutover, sorted(prepared.tables)
    if settings.fence == REVOKE:
        yield from _of_accounts(prepared.project, connection, tables)
    elif settings.fence == READ_ONLY_SCHEMA:
        yield from _of_schema(prepared, connection, tables)
    elif settings.fence == COMMAND:
        reason = "closes the tables: that it works shows only if nobody writes"
        yield Fact("cutover-fence-unproved", settings.fence_command[0], reason)


def fence_tried(prepared: Prepared) -> LockTrial:
    """Raises FenceBroken, PrivilegeError, HandoverError and the errors of the source."""
    project, tables = prepared.project, sorted(prepared.tables)
    source, settings = project.source, project.cutover
    schema = source.database or tables[0][0]
    if settings.fence == TRIGGERS:
        return tried(source, schema, settings.reverse_user)
    lock, began = tried_lock(source, own_schema(project, tables)), time.monotonic()
    if settings.fence == REVOKE:
        _try_to_revoke(project, schema, tables)
    elif settings.fence == COMMAND:
        now = replace(Handover(), tables=tuple(tables))
        run_command(settings.fence_command, told("try", "mysql", now, settings))
    elif knows_read_only(prepared.server):
        with closing(connect(source)) as connection:
            is_open = not is_read_only(connection, tables[0][0])
        if is_open:  # as it is: what it takes to change it is found out all the same
            set_read_only(source, tables[0][0], on=False)
    return LockTrial(lock, time.monotonic() - began, 0.0)


def _of_accounts(project: Project, connection: SourceConnection, tables: Sequence[Name]) -> Iterator[Fact]:
    settings = project.cutover
    named, exempt = [account_of(text) for text in settings.revoke_from], exempt_of(connection, settings)
    try:
        found = writers(connection, tables)
        under_way(connection, exempt)
    except WhimbrelError as error:
        yield Fact("cutover-privileges", error.place, error.message, error.hint)
        return
    for each in found:
        said = f"{each.said} ({'.'.join(each.table)})"
        if each.account in exempt.accounts:
            yield Fact("cutover-waived-account", str(each.account), said)
        elif not exempt.has(each.account) and (fault := why_not(each, named)):
            yield Fact("cutover-accounts", str(each.account), f"{said}: {fault}")
    for account in {*named, *exempt.accounts}:
        if not exists(connection, account):
            yield Fact("cutover-accounts", str(account), "there is no such account on the server")


def _of_schema(prepared: Prepared, connection: SourceConnection, tables: list[Name]) -> Iterator[Fact]:
    server, own = prepared.server, own_schema(prepared.project, tables)
    schemas = sorted({schema for schema, _ in tables})
    if not knows_read_only(server):
        version = ".".join(map(str, server.version))
        since = ".".join(map(str, SINCE))
        yield Fact("cutover-fence", "source", f"{server.flavor} {version} has no READ ONLY schemas: MySQL {since} has")
        return
    if len(schemas) > 1:
        yield Fact("cutover-fence", "cutover.fence", f"the tables are in several schemas: {', '.join(schemas)}")
    if own in schemas:
        yield Fact(
            "cutover-fence", "cutover.schema", f"{own} would be read-only, too: whimbrel's own must be elsewhere"
        )
    if not rows_as_dicts(connection, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (own,)):
        yield Fact("cutover-fence", "cutover.schema", f"there is no schema {own}, or the account may not see it")
    if is_read_only(connection, schemas[0]):
        yield Fact("cutover-fence", schemas[0], "is read-only already, and not by whimbrel")
    if beside := tables_beside(connection, schemas[0], tables):
        more = f" and {len(beside) - _LISTED:,} more" if len(beside) > _LISTED else ""
        yield Fact("cutover-closed-too", schemas[0], f"{', '.join(beside[:_LISTED])}{more}")


def _try_to_revoke(project: Project, schema: str, tables: Sequence[Name]) -> None:
    """On a table of whimbrel's own, as the first account that is there."""
    name = f"{PREFIX}trial_{secrets.token_hex(4)}"
    with closing(connect(project.source)) as connection:
        named = [each for each in map(account_of, project.cutover.revoke_from) if exists(connection, each)]
        if not named:
            return
        run = partial(execute, connection)
        rights = {right for each in writers(connection, tables) if each.account in named for right in each.rights}
        revoked = [Revoked(named[0], (schema, name), tuple(sorted(rights or {"INSERT", "UPDATE", "DELETE"})))]
        run(f"CREATE TABLE {quoted(schema)}.{quoted(name)} (id INT PRIMARY KEY) ENGINE = InnoDB")
        try:
            give_back(connection, run, revoked)
            revoke(run, revoked)
        except WhimbrelError as error:
            error.hint = grant_needed(revoked)
            raise
        finally:
            run(f"DROP TABLE {quoted(schema)}.{quoted(name)}")

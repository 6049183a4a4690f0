"""Taking accounts their right to write to tables, and giving it back exactly.

A statement asks for its rights first, and waits for its tables then. So one that had asked before the REVOKE may still
write after it, also behind a lock of the table: what was under way must have ended before the lock is taken that says
where the last write is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

from whimbrel.errors import FenceBroken, PrivilegeError
from whimbrel.mysql.accounts import TABLE, Account, Name, WriteGrant, account_of, exists, writers
from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts, server_info
from whimbrel.mysql.grants import grants_of, may
from whimbrel.project import Cutover

Execute = Callable[[str], object]
_IDLE = ("Sleep", "Daemon", "Binlog Dump", "Slave_IO", "Slave_SQL", "Slave_worker")  # what MariaDB calls a session


class Revoked(NamedTuple):
    """What one account had on one table."""

    account: Account
    table: Name
    rights: tuple[str, ...]

    @staticmethod
    def of(fields: Sequence[str]) -> Revoked:
        account, schema, table, *rights = fields
        return Revoked(account_of(account), (schema, table), tuple(rights))

    def as_fields(self) -> tuple[str, ...]:
        return (str(self.account), *self.table, *self.rights)

    @property
    def grant(self) -> str:
        return f"GRANT {', '.join(self.rights)} ON {self._on} TO {self.account.sql}"

    @property
    def revoke(self) -> str:
        return f"REVOKE {', '.join(self.rights)} ON {self._on} FROM {self.account.sql}"

    @property
    def _on(self) -> str:
        return f"{quoted(self.table[0])}.{quoted(self.table[1])}"


class RunningStatement(NamedTuple):
    """One that is being executed. ``number`` tells it from the session's next one."""

    session: int
    number: int
    user: str


class Exempt(NamedTuple):
    """Who may write on: ``users`` whatever their host (whimbrel's own and the reverse stream's), and ``accounts``.
    ``unawaited``: the users whose statements are theirs alone, as a session does not say which account of a user it is.
    """

    users: frozenset[str]
    accounts: frozenset[Account]
    unawaited: frozenset[str]

    def has(self, account: Account) -> bool:
        return account.user in self.users or account in self.accounts


def exempt_of(connection: Mysql, settings: Cutover) -> Exempt:
    [row] = rows_as_dicts(connection, "SELECT CURRENT_USER() AS user")
    users = {account_of(str(row["user"])).user, settings.reverse_user} - {""}
    waived = frozenset(map(account_of, settings.waived_accounts))
    named = {account_of(text).user for text in settings.revoke_from}
    return Exempt(frozenset(users), waived, frozenset(users | ({account.user for account in waived} - named)))


def others(connection: Mysql, tables: Sequence[Name], exempt: Exempt) -> list[WriteGrant]:
    """Who may write to ``tables`` beside those."""
    return [each for each in writers(connection, tables) if not exempt.has(each.account)]


def to_revoke(connection: Mysql, tables: Sequence[Name], named: Collection[Account], exempt: Exempt) -> list[Revoked]:
    """What the accounts of ``named`` have on the tables. Raises FenceBroken if anybody could still write without it."""
    found = []
    for each in others(connection, tables, exempt):
        if fault := why_not(each, named):
            raise FenceBroken(f"{each.account} {each.said}: {fault}", place=".".join(each.table), hint=_SEE)
        found.append(Revoked(each.account, each.table, each.rights))
    return found


def why_not(writer: WriteGrant, named: Collection[Account]) -> str:
    """Why a REVOKE on the table would not keep this one from writing, "" if it would."""
    if writer.account not in named:
        return "it is neither in revoke_from nor in waived_accounts"
    if writer.role:
        return "sessions that have the role are not whimbrel's to end"
    if writer.level != TABLE:
        return "only what is granted on the table can be taken from connections that are open"
    return ""


def revoke(execute: Execute, revoked: Iterable[Revoked]) -> None:
    """Raises PrivilegeError, and the errors of ``translate``."""
    for each in revoked:
        try:
            execute(each.revoke)
        except PrivilegeError as error:
            raise PrivilegeError(error.message, place=".".join(each.table), hint=grant_needed([each])) from error


def give_back(connection: Mysql, execute: Execute, revoked: Sequence[Revoked]) -> None:
    """May be repeated. An account that was dropped meanwhile has nothing any more. Raises FenceBroken when somebody
    lacks a right afterwards.
    """
    still = [each for each in revoked if exists(connection, each.account)]
    for each in still:
        execute(each.grant)
    has = {
        (each.account, each.table): each.rights
        for each in writers(connection, sorted({r.table for r in still}))
        if each.level == TABLE
    }
    for each in still:
        if lacking := set(each.rights) - set(has.get((each.account, each.table), ())):
            raise FenceBroken(
                f"{each.account} did not get back {', '.join(sorted(lacking))}",
                place=".".join(each.table),
                hint=f"{each.grant};",
            )


def grant_needed(revoked: Sequence[Revoked]) -> str:
    rights = sorted({right for each in revoked for right in each.rights})
    schemas = sorted({each.table[0] for each in revoked})
    return "; ".join(
        f"GRANT {', '.join(rights)} ON {quoted(schema)}.* to whimbrel's account WITH GRANT OPTION" for schema in schemas
    )


def under_way(connection: Mysql, exempt: Exempt) -> set[RunningStatement]:
    """The statements that are being executed for others. Raises PrivilegeError where the account may not see them."""
    own = int(rows_as_dicts(connection, "SELECT CONNECTION_ID() AS number")[0]["number"])
    found = _under_way_mariadb(connection) if server_info(connection).flavor == "mariadb" else _under_way(connection)
    if not any(each.session == own for each in found):
        raise PrivilegeError(
            "cannot see which statements are under way: not even its own",
            place="performance_schema.events_statements_current",
            hint="Switch performance_schema on, with its consumer events_statements_current.",
        )
    return {each for each in found if each.session != own and each.user not in exempt.unawaited}


def _under_way(connection: Mysql) -> set[RunningStatement]:
    try:
        rows = rows_as_dicts(
            connection,
            "SELECT t.PROCESSLIST_ID AS session, e.EVENT_ID AS number, t.PROCESSLIST_USER AS user "
            "FROM performance_schema.events_statements_current e JOIN performance_schema.threads t "
            "ON t.THREAD_ID = e.THREAD_ID WHERE e.END_EVENT_ID IS NULL AND t.PROCESSLIST_ID IS NOT NULL",
        )
    except PrivilegeError as error:
        hint = "GRANT SELECT ON performance_schema.* to whimbrel's account."
        raise PrivilegeError(error.message, place=error.place, hint=hint) from error
    return {RunningStatement(int(row["session"]), int(row["number"]), str(row["user"] or "")) for row in rows}


def _under_way_mariadb(connection: Mysql) -> set[RunningStatement]:
    if not may(grants_of(connection), "PROCESS"):
        raise PrivilegeError(
            "cannot see which statements are under way",
            place="information_schema.PROCESSLIST",
            hint="GRANT PROCESS ON *.* to whimbrel's account.",
        )
    rows = rows_as_dicts(
        connection,
        "SELECT ID AS session, QUERY_ID AS number, USER AS user, COMMAND AS command "
        "FROM information_schema.PROCESSLIST",
    )
    return {
        RunningStatement(int(row["session"]), int(row["number"]), str(row["user"] or ""))
        for row in rows
        if row["command"] not in _IDLE
    }


_SEE = "docs/cutover.md says who may still write while rights are revoked; `cutover --plan` lists them all."

"""Which accounts of the server may write to a table, by the server's own grant tables.

A grant on the table counts from the next statement on, also in connections that are open. One on the schema or on the
server does not: a connection keeps what it had when it was made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from whimbrel.errors import PrivilegeError
from whimbrel.mysql.connect import Mysql, quoted, rows_as_dicts, server_info
from whimbrel.mysql.grants import covers
from whimbrel.mysql.schema import names_fold

Name = tuple[str, str]  # schema and table
TABLE, COLUMNS, SCHEMA, SERVER = "table", "columns", "schema", "server"  # where a right was granted
# By the name in the grant tables. With ALTER and DROP rows can be taken away, too: by TRUNCATE, or a partition.
_WRITES = {"insert": "INSERT", "update": "UPDATE", "delete": "DELETE", "drop": "DROP", "alter": "ALTER"}
_VERSIONS = {"delete versioning rows": "DELETE HISTORY"}  # of MariaDB, as tables_priv calls it
_HINT = "GRANT SELECT ON mysql.* to whimbrel's account, which must see who may write."


class Account(NamedTuple):
    user: str
    host: str

    def __str__(self) -> str:
        return f"{self.user}@{self.host}"

    @property
    def sql(self) -> str:
        return f"{quoted(self.user)}@{quoted(self.host)}"


class WriteGrant(NamedTuple):
    """``rights`` as GRANT spells them, granted on ``level``. ``role``: the account is a role that others may have."""

    account: Account
    table: Name
    level: str
    rights: tuple[str, ...]
    role: bool

    @property
    def said(self) -> str:
        """In words."""
        where = {TABLE: "the table", COLUMNS: "columns of it", SCHEMA: "its schema", SERVER: "the server"}
        rights = f" {', '.join(self.rights)}" if self.rights else ""
        return f"has{rights} on {where[self.level]}{', as a role' if self.role else ''}"


def account_of(text: str) -> Account:
    """Of ``user@host``; a user's name may have an @ in it."""
    user, _, host = text.rpartition("@")
    return Account(user, host)


def writers(connection: Mysql, tables: Sequence[Name]) -> list[WriteGrant]:
    """Everybody who may write to one of ``tables``, once for each table and level. Raises PrivilegeError."""
    try:
        return list(_Accounts(connection).writers(tables))
    except PrivilegeError as error:
        raise PrivilegeError(error.message, place=error.place, hint=_HINT) from error


def exists(connection: Mysql, account: Account) -> bool:
    return bool(rows_as_dicts(connection, "SELECT 1 FROM mysql.user WHERE User = %s AND Host = %s", account))


class _Accounts:
    def __init__(self, connection: Mysql) -> None:
        self._connection = connection
        self._mariadb = server_info(connection).flavor == "mariadb"
        self._folds = names_fold(connection)
        self._roles = self._all_roles()
        self._mandatory = self._mandatory_roles()

    def writers(self, tables: Sequence[Name]) -> Iterator[WriteGrant]:
        wide = ", ".join(f"{name.capitalize()}_priv" for name in self._wide)
        users = rows_as_dicts(self._connection, f"SELECT User, Host, {wide} FROM mysql.user")
        schemas = rows_as_dicts(self._connection, f"SELECT User, Host, Db, {wide} FROM mysql.db")
        narrow = rows_as_dicts(
            self._connection, "SELECT User, Host, Db, Table_name, Table_priv, Column_priv FROM mysql.tables_priv"
        )
        for table in tables:
            for row in users:
                yield from self._writer(row, table, SERVER, self._granted(row))
            for row in schemas:
                if covers(self._folded(row["Db"]), self._folded(table[0])):
                    yield from self._writer(row, table, SCHEMA, self._granted(row))
            for row in narrow:
                if (self._folded(row["Db"]), self._folded(row["Table_name"])) == tuple(map(self._folded, table)):
                    yield from self._writer(row, table, TABLE, _listed(row["Table_priv"]))
                    yield from self._writer(row, table, COLUMNS, _listed(row["Column_priv"]))

    def _writer(self, row: Mapping[str, Any], table: Name, level: str, rights: tuple[str, ...]) -> Iterator[WriteGrant]:
        account = Account(str(row["User"]), str(row["Host"]))
        if rights:
            role = account in self._roles or bool(account.user and account.user in self._mandatory)
            yield WriteGrant(account, table, level, rights, role)

    @property
    def _wide(self) -> dict[str, str]:
        """By the beginning of the column's name."""
        return _WRITES | ({"delete_history": "DELETE HISTORY"} if self._mariadb else {})

    def _granted(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(right for name, right in self._wide.items() if row[f"{name.capitalize()}_priv"] == "Y")

    def _folded(self, name: Any) -> str:
        return str(name).lower() if self._folds else str(name)

    def _all_roles(self) -> set[Account]:
        """To MySQL any account is one that was granted to another."""
        if self._mariadb:
            rows = rows_as_dicts(self._connection, "SELECT User AS user, Host AS host FROM mysql.user WHERE Host = ''")
        else:
            rows = rows_as_dicts(self._connection, "SELECT FROM_USER AS user, FROM_HOST AS host FROM mysql.role_edges")
        return {Account(str(row["user"]), str(row["host"])) for row in rows}

    def _mandatory_roles(self) -> str:
        """Those that every account has: in no table, and here as one text."""
        if self._mariadb:
            return ""
        [row] = rows_as_dicts(self._connection, "SELECT @@mandatory_roles AS roles")
        return str(row["roles"] or "")


def _listed(text: Any) -> tuple[str, ...]:
    """Of a SET column."""
    found = {part.strip().lower() for part in str(text or "").split(",")}
    return tuple(right for name, right in (_WRITES | _VERSIONS).items() if name in found)

"""Private MariaDB and MySQL servers that keep a row-format binlog."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from demo import from_debian
from demo.certificates import make_certificates
from demo.servers.process import (
    Server,
    ServerFailed,
    ServerUnavailable,
    find_program,
    give_to_unprivileged,
    program,
    unprivileged,
)
from whimbrel.project import Source

# Survive a SIGKILL of the server, which the tests deal out freely, but not a power cut: no fsync for each commit.
FAST = ("--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0")

# What a migration needs and no more: the user that `Source` names.
GRANTS = "SELECT, LOCK TABLES, REPLICATION SLAVE, REPLICATION CLIENT"

MARIADB_PACKAGE = "apt-get install mariadb-server-core"


class SqlServer(Server):
    """What MariaDB and MySQL have in common: row-format binlog, two users, TCP and a socket.

    ``admin`` may do everything, ``user`` only what a migration needs; both have ``password``, new at each start of a
    new object. ``options`` are more ``--name=value`` of the server's own, and win over ours. With ``tls`` it has a
    certificate that ``ca`` vouches for; without, MySQL and MariaDB 11.4 make one of their own, and an older MariaDB
    speaks no TLS.
    """

    flavor = ""

    def __init__(
        self, folder: Path | str | None = None, *, options: Sequence[str] = (), server_id: int = 1, tls: bool = False
    ) -> None:
        super().__init__(folder)
        self.options = tuple(options)
        self.tls = tls
        self.ca = self.folder / "ca.pem"
        self.server_id = server_id
        self.admin = "admin"
        self.user = "whimbrel"
        self.password = secrets.token_hex(8)
        self.data = self.folder / "data"
        self.socket = self.folder / "s"  # a socket's whole path may only have 107 bytes

    def connect(self, database: str | None = None, **more: Any) -> pymysql.connections.Connection[Cursor]:
        """As ``admin``, in autocommit; without TLS, whose setting up would take longer than all the rest."""
        options: dict[str, Any] = {
            "user": self.admin,
            "password": self.password,
            "charset": "utf8mb4",
            "autocommit": True,
            "ssl_disabled": True,
            **more,
        }
        return pymysql.connect(host=self.host, port=self.port, database=database, **options)

    def execute(self, *statements: str, database: str | None = None) -> tuple[tuple[Any, ...], ...]:
        """Run the statements as ``admin`` and return the rows of the last one."""
        with self.connect(database) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return tuple(cursor.fetchall())

    def new_database(self, prefix: str = "test") -> str:
        """Create an empty database with a name of its own, and return the name."""
        name = f"{prefix}_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE `{name}`")
        return name

    def source(self, database: str, **more: Any) -> Source:
        """The project settings with which whimbrel reads this server."""
        return Source(host=self.host, port=self.port, user=self.user, database=database, password=self.password, **more)

    def url(self, database: str) -> str:
        """For ``whimbrel init``. The password is not in it: it goes into WHIMBREL_SOURCE_PASSWORD or what the project
        file says."""
        return f"mysql://{self.user}@{self.host}:{self.port}/{database}"

    def _as_user(self) -> list[str]:
        return unprivileged()

    def _prepare(self) -> None:
        if not self.data.exists():
            self.data.mkdir()
            give_to_unprivileged(self.folder)
            self._initialise()
        self._write_init_file()
        if self.tls and not self.ca.exists():
            make_certificates(self.folder)
        give_to_unprivileged(self.folder)

    def _write_init_file(self) -> None:
        """Run by the server at every start, before it answers anybody: the users exist from its first moment."""
        who = {f"'{user}'@'%'": rights for user, rights in ((self.admin, "ALL"), (self.user, GRANTS))}
        lines = [
            "SET SESSION sql_log_bin = 0;",
            f"ALTER USER IF EXISTS root@localhost IDENTIFIED BY '{self.password}';",
        ]
        for user, rights in who.items():
            lines += [
                f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY '{self.password}';",
                f"ALTER USER {user} IDENTIFIED BY '{self.password}';",
                f"GRANT {rights} ON *.* TO {user}{' WITH GRANT OPTION' if rights == 'ALL' else ''};",
            ]
        file = self.folder / "init.sql"
        file.touch(mode=0o600)
        file.write_text("\n".join(lines) + "\n")

    def _common_options(self) -> list[str]:
        return [
            f"--datadir={self.data}",
            f"--tmpdir={self.folder}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            f"--bind-address={self.host}",
            f"--pid-file={self.folder / 'pid'}",
            f"--init-file={self.folder / 'init.sql'}",
            f"--secure-file-priv={self.folder}",
            f"--server-id={self.server_id}",
            f"--log-bin={self.data / 'bin'}",
            "--binlog-format=ROW",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--local-infile=1",
            "--max-connections=200",
            *FAST,
            *self._tls_options(),
            *self.options,
        ]

    def _tls_options(self) -> list[str]:
        names = {"ca": "ca.pem", "cert": "server.pem", "key": "server.key"}
        return [f"--ssl-{option}={self.folder / file}" for option, file in names.items()] if self.tls else []

    def _initialise(self) -> None:
        raise NotImplementedError

    def _run(self, command: list[str], statements: str = "") -> None:
        with self.log.open("ab") as log:
            whole = ["setpriv", "--pdeathsig=KILL", *self._as_user(), "--", *command]
            done = subprocess.run(whole, input=statements.encode(), stdout=log, stderr=log, check=False)
        if done.returncode:
            shutil.rmtree(self.data)  # half a data folder must not be taken for a whole one
            raise ServerFailed(f"{self.name} did not make its data folder:\n{self.log_tail()}")

    def _answers(self) -> bool:
        try:
            self.connect(connect_timeout=5).close()
        except pymysql.err.OperationalError:
            return False
        return True


class MariaDB(SqlServer):
    """The distribution's own ``mariadb-server-core``."""

    name = flavor = "mariadb"

    def _initialise(self) -> None:
        # What mariadb-install-db does, less its need for programs of other packages, the help texts and the sys schema.
        tables = _mariadb_system_tables(self._share())
        statements = f"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n{tables}"
        options = [
            "--bootstrap",
            f"--datadir={self.data}",
            f"--tmpdir={self.folder}",
            "--enforce-storage-engine=",
        ]
        self._run([*self._mariadbd(), *options, "--max-allowed-packet=8M"], statements)

    def _command(self) -> list[str]:
        return [*self._mariadbd(), "--gtid-strict-mode=ON", *self._common_options()]

    def _mariadbd(self) -> list[str]:
        return [program("mariadbd", MARIADB_PACKAGE), "--no-defaults"]

    def _share(self) -> Path:
        return Path("/usr/share")


class MariaDB118(MariaDB):
    """MariaDB 11.8, from the packages of Debian 13, unpacked by ``from_debian``."""

    name = "mariadb-11.8"

    def __init__(self, folder: Path | str | None = None, **settings: Any) -> None:
        try:
            self._program = from_debian.MARIADB_11_8.command()
        except from_debian.Unavailable as reason:
            raise ServerUnavailable(f"MariaDB 11.8: {reason}") from None
        super().__init__(folder, **settings)

    def _mariadbd(self) -> list[str]:
        share = self._share() / "mariadb"
        return [
            *self._program,
            "--no-defaults",
            f"--basedir={self._share().parent}",
            f"--lc-messages-dir={share}",
            f"--character-sets-dir={share / 'charsets'}",
            f"--plugin-dir={self._share().parent / 'lib/mysql/plugin'}",
        ]

    def _share(self) -> Path:
        return from_debian.MARIADB_11_8.root / "usr/share"


class MySQL(SqlServer):
    """Genuine MySQL: the system's, if that is what ``mysqld`` is, else Debian sid's, unpacked by ``from_debian``."""

    name = flavor = "mysql"

    def __init__(
        self, folder: Path | str | None = None, *, options: Sequence[str] = (), server_id: int = 2, tls: bool = False
    ) -> None:
        try:
            self._mysqld = _mysqld()
        except from_debian.Unavailable as reason:
            raise ServerUnavailable(f"MySQL: {reason}") from None
        super().__init__(folder, options=options, server_id=server_id, tls=tls)

    def _initialise(self) -> None:
        options = [
            "--initialize-insecure",
            f"--datadir={self.data}",
            f"--tmpdir={self.folder}",
            f"--secure-file-priv={self.folder}",
        ]
        self._run([*self._mysqld, *options])

    def _command(self) -> list[str]:
        return [
            *self._mysqld,
            "--mysqlx=OFF",
            "--gtid-mode=ON",
            "--enforce-gtid-consistency=ON",
            *self._common_options(),
        ]


def any_sql_server(folder: Path | str | None = None, *, options: Sequence[str] = ()) -> MariaDB | MySQL:
    """What this machine has, not started yet: MariaDB, else MySQL. Raises ServerUnavailable."""
    if find_program("mariadbd"):
        return MariaDB(folder, options=options)
    return MySQL(folder, options=options)


def _mysqld() -> list[str]:
    """What starts MySQL, up to where the options of a folder begin. Raises Unavailable."""
    if system := from_debian.system_mysqld():
        return [system, "--no-defaults"]
    command, share = from_debian.MYSQL.command(), from_debian.MYSQL.root / "usr/share/mysql"
    return [
        *command,
        "--no-defaults",
        f"--basedir={from_debian.MYSQL.root / 'usr'}",
        f"--lc-messages-dir={share}",
        f"--character-sets-dir={share / 'charsets'}",
        f"--plugin-dir={from_debian.MYSQL.root / 'usr/lib/mysql/plugin'}",
    ]


def _mariadb_system_tables(share: Path) -> str:
    """The SQL that makes them, from the server's package: in share/mysql before MariaDB 11, in share/mariadb since."""
    for folder, prefix in ((share / "mysql", "mysql"), (share / "mariadb", "mariadb")):
        names = ("system_tables", "performance_tables", "system_tables_data")
        files = [Path(folder, f"{prefix}_{name}.sql") for name in names]
        if all(file.exists() for file in files):
            return "".join(file.read_text() for file in files)
    raise ServerUnavailable(f"MariaDB's system tables are not where its package keeps them. `{MARIADB_PACKAGE}`")

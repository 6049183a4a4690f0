"""Private servers for the demo and the tests: MariaDB, MySQL and three stand-ins for DynamoDB.

Each is used with ``with``, or with ``start()`` and ``stop()``. It keeps everything that it writes in its folder,
listens on a free port of 127.0.0.1 and nowhere else, never runs as root, is ready when ``start()`` returns, and dies
with the thread that started it::

    with MariaDB(folder) as server, Ministack(folder / "aws") as aws:
        server.execute("CREATE DATABASE shop")
        source, target = server.source("shop"), aws.target()

``restart()``, ``kill()`` (SIGKILL) and ``start()`` again keep the port, the data and the passwords; only Ministack
forgets its tables. ``ServerUnavailable`` says why a server cannot be had on this machine.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import botocore.config
import pymysql
from pymysql.cursors import Cursor

from demo import mysql_from_sid
from demo.certificates import make_certificates
from whimbrel.project import Source, Target

READY_WITHIN = 120.0  # seconds; a loaded machine is slow, a server that will not start says so at once

# Survive a SIGKILL of the server, which the tests deal out freely, but not a power cut: no fsync for each commit.
FAST = ("--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0")

# What a migration needs and no more: the user that `Source` names.
GRANTS = "SELECT, RELOAD, LOCK TABLES, REPLICATION SLAVE, REPLICATION CLIENT"


MARIADB_PACKAGE = "apt-get install mariadb-server-core"


class ServerUnavailable(Exception):
    """The server cannot be had on this machine, and why."""


class ServerFailed(Exception):
    """The server did not start, and the last lines of its log."""


class Server:
    """One server process: ``start``, ``stop``, ``kill``, ``restart``, and ``with``.

    ``folder`` is made if missing. Without one, or with one that the server could not reach, it is a new one under the
    system's temporary folder, which goes with this process. A subclass says how to make the data (``_prepare``), the
    command (``_command``) and whether it answers (``_answers``).
    """

    name = "server"

    def __init__(self, folder: Path | str | None = None) -> None:
        self.folder = _usable_folder(folder, self.name)
        if folder is None or self.folder != Path(folder).resolve():
            atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.host = "127.0.0.1"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start and wait until it answers. Raises ServerFailed with the end of its log."""
        if self.running:
            return self
        self._prepare()
        command = ["setpriv", "--pdeathsig=KILL", *self._as_user(), "--", *self._command()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_ready(self._process)
        return self

    def stop(self) -> None:
        """Ask it to end and wait for it; SIGKILL when it has not ended after a while."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """SIGKILL: it ends at once, between any two instructions."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def restart(self) -> Self:
        self.stop()
        return self.start()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process to send signals to, e.g. SIGSTOP and SIGCONT."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        return self._process.pid

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        give_up = time.monotonic() + READY_WITHIN
        while not self._answers():
            if process.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise ServerFailed(f"{self.name} did not start:\n{self.log_tail()}")
            time.sleep(0.02)

    def log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _as_user(self) -> list[str]:
        return []

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _prepare(self) -> None: ...

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError


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
        """As ``admin``, in autocommit."""
        options: dict[str, Any] = {
            "user": self.admin,
            "password": self.password,
            "charset": "utf8mb4",
            "autocommit": True,
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
        statements = f"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n{_mariadb_system_tables()}"
        options = [
            "--no-defaults",
            "--bootstrap",
            f"--datadir={self.data}",
            f"--tmpdir={self.folder}",
            "--enforce-storage-engine=",
        ]
        self._run([_program("mariadbd", MARIADB_PACKAGE), *options, "--max-allowed-packet=8M"], statements)

    def _command(self) -> list[str]:
        server = _program("mariadbd", MARIADB_PACKAGE)
        return [server, "--no-defaults", "--gtid-strict-mode=ON", *self._common_options()]


class MySQL(SqlServer):
    """Genuine MySQL: the system's, if that is what ``mysqld`` is, else Debian sid's, unpacked by ``mysql_from_sid``."""

    name = flavor = "mysql"

    def __init__(
        self, folder: Path | str | None = None, *, options: Sequence[str] = (), server_id: int = 2, tls: bool = False
    ) -> None:
        try:
            self._mysqld = mysql_from_sid.server_command()
        except mysql_from_sid.Unavailable as reason:
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
    if _find("mariadbd"):
        return MariaDB(folder, options=options)
    return MySQL(folder, options=options)


class DynamoServer(Server):
    """What the stand-ins for DynamoDB have in common: an HTTP endpoint, any credentials, any region."""

    region = "us-east-1"

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    def target(self, **more: Any) -> Target:
        """The project settings with which whimbrel writes to this server."""
        return Target(endpoint=self.endpoint, region=self.region, **more)

    def client(self) -> Any:
        """boto3's client, with credentials that work here and nowhere else."""
        return boto3.client(
            "dynamodb",
            endpoint_url=self.endpoint,
            region_name=self.region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=botocore.config.Config(retries={"max_attempts": 1}),
        )

    def _answers(self) -> bool:
        headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
        try:
            urllib.request.urlopen(urllib.request.Request(self.endpoint, b"{}", headers), timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code < 500  # unsigned, and refused by a server that is up
        except OSError:
            return False
        return True


class Ministack(DynamoServer):
    """ministack from PyPI, with nothing but DynamoDB. In memory: its tables are gone when it ends, however it ends."""

    name = "ministack"

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "ministack"]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "BIND_HOST": self.host,
            "GATEWAY_PORT": str(self.port),
            "SERVICES": "dynamodb",
            "LOG_LEVEL": "ERROR",
            "TMPDIR": str(self.folder),
            "S3_DATA_DIR": str(self.folder),
            "DOCKER_HOST": f"unix://{self.folder}/none",  # it would look for containers of its own to remove
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        }


class Dynalite(DynamoServer):
    """dynalite from npm, on LevelDB: strict, and keeps its tables through a SIGKILL."""

    name = "dynalite"

    def _command(self) -> list[str]:
        node = _program("node", "apt-get install nodejs npm")
        here = Path(__file__).parent / "dynalite"
        packages = servers_folder() / "dynalite"
        if not (packages / "node_modules" / "dynalite").is_dir():
            raise ServerUnavailable(f"dynalite: not in {packages}. `make setup-tests` installs it")
        return [node, str(here / "serve.js"), str(packages), str(self.port), str(self.folder / "data")]


class DynamoDBLocal(DynamoServer):
    """Amazon's DynamoDB Local, from the person's own copy: WHIMBREL_DYNAMODB_LOCAL names the folder with
    DynamoDBLocal.jar.

    Its licence asks for an AWS account, so nothing here fetches it. It has no setting for the address that it listens
    on.
    """

    name = "dynamodb-local"

    def _command(self) -> list[str]:
        home = os.environ.get("WHIMBREL_DYNAMODB_LOCAL", "")
        if not (Path(home) / "DynamoDBLocal.jar").is_file():
            raise ServerUnavailable(f"DynamoDB Local: no DynamoDBLocal.jar in WHIMBREL_DYNAMODB_LOCAL={home!r}")
        java = [
            _program("java", "apt-get install default-jre-headless"),
            f"-Djava.library.path={home}/DynamoDBLocal_lib",
        ]
        return [
            *java,
            "-jar",
            f"{home}/DynamoDBLocal.jar",
            "-port",
            str(self.port),
            "-sharedDb",
            "-dbPath",
            str(self.folder),
        ]


def free_port() -> int:
    """A port below those that the kernel hands to outgoing connections: it is still free when the server is started
    again."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 1_000):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerFailed("no free port between 20000 and 32000")


def servers_folder() -> Path:
    """Where fetched servers are kept: WHIMBREL_SERVERS, else .servers in the checkout."""
    return mysql_from_sid.servers_folder()


def unprivileged() -> list[str]:
    """What setpriv is told when we are root: no database server should have root's rights."""
    if os.geteuid() != 0:
        return []
    nobody = pwd.getpwnam("nobody")
    return [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]


def give_to_unprivileged(folder: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _usable_folder(folder: Path | str | None, name: str) -> Path:
    """``folder``, made; or a new one where ``nobody`` can reach it, when it was None or lies e.g. under /root."""
    if folder is not None:
        path = Path(folder).resolve()
        path.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in path.parents):
            return path
    path = Path(tempfile.mkdtemp(prefix=f"whimbrel-{name}-"))
    path.chmod(0o755)
    return path


def _mariadb_system_tables() -> str:
    """The SQL that makes them, from the server's package: in share/mysql before MariaDB 11, in share/mariadb since."""
    for folder, prefix in (("/usr/share/mysql", "mysql"), ("/usr/share/mariadb", "mariadb")):
        names = ("system_tables", "performance_tables", "system_tables_data")
        files = [Path(folder, f"{prefix}_{name}.sql") for name in names]
        if all(file.exists() for file in files):
            return "".join(file.read_text() for file in files)
    raise ServerUnavailable(f"MariaDB's system tables are not where its package keeps them. `{MARIADB_PACKAGE}`")


def _program(name: str, how: str) -> str:
    if path := _find(name):
        return path
    raise ServerUnavailable(f"{name} is not installed. `{how}`")


def _find(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")

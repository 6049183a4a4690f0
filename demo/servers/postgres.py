"""A private PostgreSQL, of Debian's own package: a warehouse for the demo and the tests."""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from demo.servers.process import Server, ServerFailed, ServerUnavailable, give_to_unprivileged, unprivileged
from whimbrel.project import Warehouse

PROGRAMS = Path("/usr/lib/postgresql")  # Debian: a folder for each version, and none on PATH


class PostgreSQL(Server):
    """``user`` may make schemas in the databases of ``new_database``, which are its own. It survives a SIGKILL, but not
    a power cut: nothing is synced.
    """

    name = "postgres"

    def __init__(self, folder: Path | str | None = None) -> None:
        super().__init__(folder)
        self.user = "whimbrel"
        self.password = secrets.token_hex(8)
        self.data = self.folder / "data"

    def warehouse(self, database: str, **more: Any) -> Warehouse:
        """The project settings with which whimbrel writes to this server."""
        return Warehouse(
            "postgres",
            host=self.host,
            port=self.port,
            user=self.user,
            database=database,
            password=self.password,
            tls="off",
            **more,
        )

    def url(self, database: str) -> str:
        """The password is not in it: it goes into WHIMBREL_WAREHOUSE_PASSWORD."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{database}"

    def connect(self, database: str = "postgres", **more: Any) -> Any:
        """psycopg's connection, in autocommit."""
        import psycopg

        return psycopg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            dbname=database,
            sslmode="disable",
            autocommit=True,
            **more,
        )

    def new_database(self, prefix: str = "test") -> str:
        name = f"{prefix}_{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        return name

    def _as_user(self) -> list[str]:
        return unprivileged()

    def _prepare(self) -> None:
        if self.data.exists():
            return
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self.password)
        give_to_unprivileged(self.folder)
        made = subprocess.run(
            [
                *("setpriv", *unprivileged(), "--reset-env", "--", _program("initdb"), f"--pgdata={self.data}"),
                *(f"--username={self.user}", f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8"),
                *("--locale=C", "--no-sync", "--no-instructions"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise ServerFailed(f"initdb: {made.stderr}")

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")}

    def _command(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": self.host,
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "50",
            "shared_buffers": "32MB",
            "autovacuum": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [_program("postgres"), "-D", str(self.data), *options]

    def _answers(self) -> bool:
        import psycopg

        try:
            self.connect(connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """SIGTERM would wait for everybody to leave."""
        self.kill()


def _program(name: str) -> str:
    found = sorted(PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: float(path.parents[1].name))
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise ServerUnavailable("PostgreSQL: psycopg is not installed. `make setup-tests` does it") from error
    if not found:
        raise ServerUnavailable("PostgreSQL: not installed. apt-get install postgresql")
    return str(found[-1])

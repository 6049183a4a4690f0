"""``[source]``, and what each ``[[silo]]`` has of it: how to reach MySQL or MariaDB, and how gently to read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from whimbrel.errors import ProjectError
from whimbrel.project.password import read_password
from whimbrel.project.section import Section, without_password

PASSWORD_VARIABLE = "WHIMBREL_SOURCE_PASSWORD"


@dataclass(frozen=True, slots=True)
class Source:
    """How to reach MySQL or MariaDB, and how gently to read it."""

    host: str
    port: int
    user: str
    database: str
    password: str = field(default="", repr=False)
    socket: str = ""
    tls: str = "preferred"  # off | preferred | required | verify
    tls_ca: str = ""
    tls_cert: str = ""  # our own certificate, and its key; the key may be in the same file
    tls_key: str = ""
    server_public_key: str = ""  # a file: with it the password is encrypted where there is no TLS
    read_timeout: int = 360  # seconds that the server may be silent
    server_id: int = 0  # ours as a replica; 0 picks one
    connections: int = 4  # snapshot connections
    chunk_rows: int = 40_000
    max_rows_per_second: int = 0  # 0: no cap
    max_threads_running: int = 0  # pause the snapshot above it; 0: never
    max_replica_lag: float = 0.0  # seconds; pause the snapshot above it; 0: never


NO_SOURCE = Source(host="", port=0, user="", database="")


def split_url(url: str) -> tuple[dict[str, Any], str]:
    """``mysql://user:password@host:port/database`` as settings for Source, and the password apart.

    Raises ProjectError when it is not such a URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 3306
    except ValueError:  # the port is not a number, an address is not whole; what exactly could be a part of a password
        raise ProjectError(
            "the host or port in this source URL cannot be read",
            place=without_password(url),
            hint="Write mysql://user@host:3306/database; a password's @ : / ? # % are written as %40 and so on.",
        ) from None
    if parts.scheme not in ("mysql", "mariadb") or not parts.hostname or not parts.username:
        raise ProjectError(
            "this is not a source URL", place=without_password(url), hint="Write mysql://user@host:port/database."
        )
    database = unquote(parts.path.lstrip("/"))
    settings = {"host": parts.hostname, "port": port, "user": unquote(parts.username), "database": database}
    return settings, unquote(parts.password or "")


def read_source(section: Section, chunk_rows: int = NO_SOURCE.chunk_rows) -> Source:
    """``chunk_rows`` is the default. What is wrong goes to the section's faults; the caller finishes it."""
    url = section.string("url", "")
    settings: dict[str, Any] = {"host": "", "port": 3306, "user": "", "database": ""}
    if not url:
        section.fault("url", 'is missing; write url = "mysql://user@host:port/database"')
    else:
        try:
            settings, password = split_url(url)
        except ProjectError as error:
            section.fault("url", str(error))
        else:
            if password:
                section.fault(
                    "url", f"has a password in it; take it out and set the environment variable {PASSWORD_VARIABLE}"
                )
    password_variable = section.string("password_env", PASSWORD_VARIABLE)
    default = NO_SOURCE
    source = Source(
        **settings,
        password=read_password(section, "password_file", password_variable),
        socket=section.string("socket", default.socket),
        tls=section.one_of("tls", ("preferred", "off", "required", "verify")),
        tls_ca=section.string("tls_ca", default.tls_ca),
        tls_cert=section.string("tls_cert", default.tls_cert),
        tls_key=section.string("tls_key", default.tls_key),
        server_public_key=section.string("server_public_key", default.server_public_key),
        read_timeout=section.integer("read_timeout", default.read_timeout, least=1),
        server_id=section.integer("server_id", default.server_id),
        connections=section.integer("connections", default.connections, least=1),
        chunk_rows=section.integer("chunk_rows", chunk_rows, least=1),
        max_rows_per_second=section.integer("max_rows_per_second", default.max_rows_per_second),
        max_threads_running=section.integer("max_threads_running", default.max_threads_running),
        max_replica_lag=section.number("max_replica_lag", default.max_replica_lag),
    )
    for key, reason in _tls_faults(source):
        section.fault(key, reason)
    return source


def _tls_faults(source: Source) -> Iterator[tuple[str, str]]:
    """A setting that would mean nothing as the others are: somebody may rely on it."""
    if source.tls_ca and source.tls != "verify":
        yield "tls_ca", f'has no effect with tls = "{source.tls}": it needs tls = "verify"'
    if source.tls_key and not source.tls_cert:
        yield "tls_key", "needs tls_cert, the certificate it belongs to"
    if source.tls_cert and (source.tls == "off" or source.socket):
        yield "tls_cert", 'has no effect without TLS (with a socket, or with tls = "off")'

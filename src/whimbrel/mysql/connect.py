"""Connections to the source, what the server is, and where its binlog stands.

Nothing about a session is left to the server: ``settings`` sets each of them, and reads it back.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import pymysql
from asyncmy import errors as asyncmy_errors
from pymysql.connections import Connection
from pymysql.constants import CLIENT, FIELD_TYPE
from pymysql.cursors import Cursor, DictCursor

from whimbrel.errors import (
    PrivilegeError,
    SchemaDrift,
    SourceError,
    SourceUnreachable,
    UnsupportedSource,
    WhimbrelError,
)
from whimbrel.memory import out_of_memory
from whimbrel.mysql.client import SourceConnection
from whimbrel.mysql.errors import DENIED, DRIFTED, UNREACHABLE, Code, code_of
from whimbrel.mysql.login import OTHER_SERVER
from whimbrel.mysql.settings import Rows, settle, settle_writing
from whimbrel.project import Source
from whimbrel.records import Position

Result = TypeVar("Result")
Mysql: TypeAlias = "Connection[Cursor]"  # PyMySQL's own class has no parameters when it runs

CONNECT_TIMEOUT = 10  # seconds
LONGEST_STATEMENT = 86_400.0  # seconds

# What the server at the other end of a connection is, and the statement that it knows for the end of its binlog.
_flavors: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_statements: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
# Values arrive in the form of records.py: numbers as int and float, all else as the text that the server prints.
_NUMBERS = {
    **dict.fromkeys((FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.INT24, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG), int),
    FIELD_TYPE.YEAR: int,
    FIELD_TYPE.FLOAT: float,
    FIELD_TYPE.DOUBLE: float,
}
DECODERS: dict[Any, Any] = {**pymysql.converters.encoders, **_NUMBERS}


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """``flavor`` is ``mariadb`` or ``mysql``. ``server_uuid`` is stable text that tells one server from another.

    MariaDB has no UUID of its own: ``server_id:gtid_domain_id`` stands in. ``gtid`` says if its transactions have
    GTIDs.
    """

    flavor: str
    version: tuple[int, int, int]
    server_uuid: str
    server_id: int
    gtid: bool


def connect(source: Source, like: SourceConnection | None = None, **more: Any) -> SourceConnection:
    """A connection in autocommit that gives values as records.py has them. ``more`` goes to PyMySQL.

    It is set up sooner when there is one ``like`` it already.

    Raises SourceUnreachable, PrivilegeError, PasswordWithheld, ProjectError (a file of TLS's), SourceError (what
    answers is not such a server), or UnsupportedSource when the session cannot be set as it must be.
    """
    connection = _connected(source, more)
    try:
        with translated(place_of(source)):
            connection.changed = _settle(connection, settle(place_of(source), like.changed if like else {}))
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_write(source: Source) -> SourceConnection:
    """A connection whose statements change rows: it counts those that they find, changed or not. Raises as above."""
    connection = connect(source, client_flag=CLIENT.FOUND_ROWS)
    try:
        with translated(place_of(source)):
            _settle(connection, settle_writing(place_of(source)))
    except BaseException:
        connection.close()
        raise
    return connection


def _settle(connection: Mysql, steps: Generator[str, Rows, Result]) -> Result:
    with connection.cursor() as cursor:
        try:
            statement = next(steps)
            while True:
                try:
                    cursor.execute(statement)
                except pymysql.err.Error as error:
                    statement = steps.throw(error)
                else:
                    statement = steps.send(list(cursor.fetchall()))
        except StopIteration as settled:
            returned: Result = settled.value
            return returned


def _connected(source: Source, more: dict[str, Any]) -> SourceConnection:
    options: dict[str, Any] = {
        "host": source.host,
        "port": source.port,
        "unix_socket": source.socket or None,
        "user": source.user,
        "database": source.database or None,
        "charset": "utf8mb4",
        "autocommit": True,
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": source.read_timeout,
        "write_timeout": source.read_timeout,
        "conv": DECODERS,
        **more,
    }
    with translated(place_of(source)):
        return SourceConnection(source, place_of(source), **options)


def place_of(source: Source) -> str:
    return source.socket or f"{source.host}:{source.port}"


@contextlib.contextmanager
def patient(connection: Any) -> Iterator[None]:
    """For a statement that goes through a whole table before its first byte: silence is not a sign of a lost connection
    for longer. A dead peer is still noticed, by TCP keepalive.
    """
    before = connection._read_timeout
    connection._read_timeout = max(before or LONGEST_STATEMENT, LONGEST_STATEMENT)
    try:
        yield
    finally:
        connection._read_timeout = before


@contextlib.contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise the client libraries' errors as ours."""
    try:
        yield
    except (pymysql.err.Error, asyncmy_errors.Error, OSError) as error:
        raise translate(error, place) from error


def translate(error: Exception, place: str) -> WhimbrelError:
    """A client library's error, or an OSError, as one of ours; one of ours as it is."""
    if isinstance(error, WhimbrelError):
        return error
    if used_up := out_of_memory(error):
        return used_up  # of this process: to connect again does not help
    code = code_of(error)
    message = str(error.args[1]) if len(error.args) > 1 else str(error) or type(error).__name__
    said = f"{message} (error {code})" if code else message
    if "init_connect command failed" in message:
        return UnsupportedSource(
            f"the server's init_connect fails, and so it ends every session: {said}",
            place=place,
            hint="Correct or empty init_connect on the server (SELECT @@GLOBAL.init_connect)",
        )
    if code in DENIED:
        return PrivilegeError(
            said,
            place=place,
            hint="Check the user, its password (and tls_cert, if it must show a certificate) and its grants: see "
            "`whimbrel check`",
        )
    if "[SSL" in said:
        return SourceUnreachable(said, place=place, hint="Check `tls` and `tls_ca` in the project file")
    if code in UNREACHABLE or isinstance(error, OSError) or _is_broken_connection(error, code):
        return SourceUnreachable(said, place=place, hint="Check that the server is up and that host and port are right")
    if code in DRIFTED:
        return SchemaDrift(said, place=place, hint="The table was changed or removed: run `whimbrel check`")
    return SourceError(said, place=place, code=code)


def _is_broken_connection(error: Exception, code: int) -> bool:
    """InterfaceError(0, …) is a closed connection; InternalError without a server's number is a cut or mixed-up
    packet stream.
    """
    kinds = (
        pymysql.err.InterfaceError,
        pymysql.err.InternalError,
        asyncmy_errors.InterfaceError,
        asyncmy_errors.InternalError,
    )
    return code == 0 and isinstance(error, kinds)


def server_info(connection: Mysql) -> ServerInfo:
    text, server_id = _one(connection, "SELECT VERSION(), @@GLOBAL.server_id")
    version = version_number(text)
    if "mariadb" in text.lower():
        (domain,) = _one(connection, "SELECT @@GLOBAL.gtid_domain_id")
        return ServerInfo("mariadb", version, f"{server_id}:{domain}", server_id, gtid=True)
    uuid, mode = _one(connection, "SELECT @@server_uuid, @@gtid_mode")
    return ServerInfo("mysql", version, uuid, server_id, gtid=mode == "ON")


def version_number(text: str) -> tuple[int, int, int]:
    """``5.5.5-10.11.6-MariaDB`` is 10.11.6: MariaDB before 11 puts a 5.5.5 in front for old replicas."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text.removeprefix("5.5.5-"))
    major, minor, patch = found.groups() if found else ("0", "0", "0")
    return int(major), int(minor), int(patch)


def current_position(connection: Mysql) -> Position:
    """Where the source's binlog ends now. Raises UnsupportedSource without a binlog, PrivilegeError without the right
    to ask.
    """
    place = "binlog position"
    if connection not in _flavors:
        _flavors[connection] = server_info(connection).flavor
    if _flavors[connection] == "mysql":
        return mysql_position(connection)
    # Two statements: read the GTID first and again, so that it never stands for more than the file and offset do.
    gtid = _one(connection, "SELECT @@gtid_binlog_pos")[0]
    for _ in range(5):
        status = binlog_status(connection)
        again = _one(connection, "SELECT @@gtid_binlog_pos")[0]
        if again == gtid:
            return Position(status["File"], int(status["Position"]), gtid)
        gtid, earlier = again, gtid
    if not status["File"]:
        raise UnsupportedSource("the server gave no binlog file", place=place)
    return Position(status["File"], int(status["Position"]), earlier)


def mysql_position(connection: Mysql) -> Position:
    """As ``current_position``, of a server that is known to be MySQL."""
    status = binlog_status(connection)
    return Position(status["File"], int(status["Position"]), status["Executed_Gtid_Set"].replace("\n", ""))


def clock(connection: Mysql) -> float:
    """The source's clock: whole seconds since the epoch, as commits have them at least. This machine's may differ."""
    return float(_one(connection, "SELECT UNIX_TIMESTAMP(SYSDATE())")[0])


def binlog_status(connection: Mysql) -> dict[str, Any]:
    """SHOW BINARY LOG STATUS (MySQL 8.2 and later), else SHOW MASTER STATUS."""
    known = _statements.get(connection)
    for statement in [known] if known else ["SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"]:
        try:
            rows = rows_as_dicts(connection, statement)
        except SourceError as error:
            if error.code != Code.PARSE_ERROR:
                raise
            continue
        _statements[connection] = statement
        if rows:
            return rows[0]
    raise UnsupportedSource("the server writes no binlog", place="log_bin", hint="Start it with --log-bin")


def replica_status(connection: Mysql) -> list[dict[str, Any]]:
    """One row for each source that this server replicates from; none when it is not a replica."""
    # MariaDB first: its SHOW REPLICA STATUS only has the connection without a name.
    for statement in ("SHOW ALL SLAVES STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE STATUS"):
        try:
            return rows_as_dicts(connection, statement)
        except SourceError as error:
            if error.code != Code.PARSE_ERROR:
                raise
    return []


class NamedRow(dict[str, Any]):
    """A row by the names of its columns. Raises SourceError for one that the server's answer does not have."""

    def __missing__(self, column: str) -> Any:
        raise SourceError(f"the server's answer has no column {column!r}, but {list(self)}", hint=OTHER_SERVER)


def rows_as_dicts(connection: Mysql, statement: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    with translated(statement.split(" WHERE ")[0]), connection.cursor(DictCursor) as cursor:
        cursor.execute(statement, parameters or None)
        return [NamedRow(row) for row in cursor.fetchall()]


def _one(connection: Mysql, statement: str) -> tuple[Any, ...]:
    with translated(statement), connection.cursor() as cursor:
        cursor.execute(statement)
        row = cursor.fetchone()
    if row is None:
        raise SourceError("no row", place=statement)
    return tuple(row)


def quoted(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("`", "``") + "`"

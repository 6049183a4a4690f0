"""The snapshot's connections: asyncmy's, because it streams rows for a tenth of PyMySQL's CPU, set up as connect.py
does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from asyncmy import errors as asyncmy_errors
from asyncmy.connection import Connection
from asyncmy.constants import CLIENT
from asyncmy.cursors import SSCursor
from asyncmy.protocol import FieldDescriptorPacket, MysqlPacket

from whimbrel.errors import SourceError, SourceUnreachable
from whimbrel.mysql.client import LARGEST_GREETING, MOST_COLUMNS, understood
from whimbrel.mysql.connect import (
    CONNECT_TIMEOUT,
    DECODERS,
    Mysql,
    place_of,
    rows_as_dicts,
    translated,
)
from whimbrel.mysql.login import OTHER_SERVER, SECONDS, Login, peer_of, starts_tls
from whimbrel.mysql.settings import CHARSET, settle
from whimbrel.mysql.tls import tls_context
from whimbrel.project import Source

TRIES = 8  # failures of one connection in a row, about 35 seconds of them, before SourceUnreachable
LONGEST_BACK_OFF = 15.0  # seconds
SHORT = 10_000  # rows
NEXT = "COMMIT AND CHAIN NO RELEASE"  # ends a reader's transaction, and begins its next one


if TYPE_CHECKING:

    class _Base(Connection):  # what the library's own stubs leave out
        connected: bool
        server_capabilities: int
        _client_flag: int
        _ssl_context: Any
        _transport: Any

        def __init__(self, **options: Any) -> None: ...
        async def _get_server_information(self) -> None: ...
        def _fill_buffer(self, need: int) -> Coroutine[Any, Any, None]: ...
        async def read_packet(self, packet_type: Any = ...) -> Any: ...
        async def query(self, sql: str, unbuffered: bool = ...) -> Any: ...
else:
    _Base = Connection


class SourceReader(_Base):
    """asyncmy's connection without the password, and with limits, as client.py makes PyMySQL's.

    ``largest`` is the largest packet that is taken, in bytes.
    """

    def __init__(self, source: Source, context: ssl.SSLContext | None, **options: Any) -> None:
        super().__init__(password=b"", ssl=context, **options)
        self._source, self._place = source, place_of(source)
        self._login = Login(source, self._place)
        self._columns = 0
        self._room = self.largest = LARGEST_GREETING

    async def _get_server_information(self) -> None:
        await super()._get_server_information()
        wanted = self._ssl_context is not None
        if wanted and not starts_tls(self._source, self.server_capabilities, self._place, wanted=wanted):
            self._ssl_context = None
            self._client_flag &= ~CLIENT.SSL
        self._auth_plugin_name = ""  # so that the server asks for the account's method, which _process_auth answers

    async def _process_auth(self, plugin_name: bytes, auth_packet: Any) -> Any:
        tls = self._transport.get_extra_info("ssl_object")
        peer = peer_of(self._transport.get_extra_info("socket"), tls.context if tls else None)
        steps = self._login.steps(plugin_name.decode("ascii", "replace"), auth_packet.read_all(), peer)
        answer = next(steps)
        while True:
            if answer is not None:
                self.write_packet(answer)
            packet = await self.read_packet()
            try:
                answer = steps.send(packet.get_all_data())
            except StopIteration:
                return packet

    def read_packet(self, packet_type: Any = MysqlPacket) -> Coroutine[Any, Any, Any]:
        """Not a coroutine of its own, like ``_fill_buffer``: both are called whenever the rows that came are used
        up, and for each row where the rows are long.
        """
        if packet_type is FieldDescriptorPacket:
            self._columns += 1
            if self._columns > MOST_COLUMNS:
                raise self._too_much(f"more than {MOST_COLUMNS:,} columns")
        else:
            self._columns = 0
        self._room = self.largest
        return _Base.read_packet(self, packet_type)

    def _fill_buffer(self, need: int) -> Coroutine[Any, Any, None]:
        self._room -= need  # of a packet that comes in several parts, the sum
        if self._room < 0:
            raise self._too_much(f"a packet of more than {self.largest:,} bytes")
        return _Base._fill_buffer(self, need)

    def _too_much(self, what: str) -> SourceError:
        self.close()
        return SourceError(f"the server sends {what}", place=self._place, hint=OTHER_SERVER)


async def open_reader(source: Source) -> SourceReader:
    """A streaming connection within a transaction, which sees and holds nothing until its first SELECT.

    Raises SourceUnreachable, PrivilegeError, PasswordWithheld, UnsupportedSource.
    """
    place = place_of(source)
    with translated(place):
        reader = SourceReader(
            source,
            tls_context(source),
            host=source.host,
            port=source.port,
            unix_socket=source.socket or None,
            user=source.user,
            charset=CHARSET,
            autocommit=True,
            conv=DECODERS,
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=source.read_timeout,
        )
        try:
            with understood(place):
                async with asyncio.timeout(CONNECT_TIMEOUT + SECONDS):
                    await reader.connect()
                    await _settle(reader, place)
                    await reader.query("START TRANSACTION READ ONLY")
        except TimeoutError:
            reader.close()
            raise SourceUnreachable(f"no login within {CONNECT_TIMEOUT + SECONDS:g} seconds", place=place) from None
        except BaseException:
            reader.close()
            raise
        return reader


async def _settle(reader: Any, place: str) -> None:
    steps = settle(place)
    with contextlib.suppress(StopIteration):
        statement = next(steps)
        while True:
            try:
                rows = await rows_of(reader, statement)
            except asyncmy_errors.Error as error:
                statement = steps.throw(error)
            else:
                statement = steps.send(rows)


async def rows_of(reader: SourceReader, statement: str) -> list[tuple[Any, ...]]:
    """All rows of a statement whose answer is short."""
    cursor = reader.cursor(SSCursor)
    with understood(place_of(reader._source)):
        await cursor.execute(statement)
        rows = await cursor.fetchmany(SHORT + 1)
    if len(rows) > SHORT:
        raise reader._too_much(f"more than {SHORT:,} rows where a few were asked for")
    return [tuple(row) for row in rows]


def uses_tls(connection: Mysql) -> bool:
    return bool(rows_as_dicts(connection, "SHOW SESSION STATUS LIKE 'Ssl_cipher'")[0]["Value"])


async def back_off(error: SourceUnreachable, failures: int) -> None:
    """Wait longer after each failure in a row, at random, so that the connections do not come back all at once."""
    if failures >= TRIES:
        raise SourceUnreachable(f"{error.message} ({TRIES} times in a row)", place=error.place, hint=error.hint)
    await asyncio.sleep(min(LONGEST_BACK_OFF, 0.25 * 2**failures) * random.uniform(0.5, 1.0))

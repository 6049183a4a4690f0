"""The snapshot's connections: asyncmy's, because it streams rows for a tenth of PyMySQL's CPU, set up as connect.py
does it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import struct
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from asyncmy import errors as asyncmy_errors
from asyncmy.charset import charset_by_name
from asyncmy.connection import Connection
from asyncmy.constants import CLIENT
from asyncmy.cursors import SSCursor
from asyncmy.protocol import FieldDescriptorPacket, MysqlPacket

from whimbrel.errors import SourceError, SourceUnreachable
from whimbrel.mysql.client import LARGEST_GREETING, MOST_COLUMNS, SourceConnection, understood
from whimbrel.mysql.connect import (
    CONNECT_TIMEOUT,
    DECODERS,
    place_of,
    translated,
)
from whimbrel.mysql.login import OTHER_SERVER, SECONDS, Login, peer_of, starts_tls
from whimbrel.mysql.settings import CHARSET, Changed, settle
from whimbrel.mysql.tls import tls_context
from whimbrel.mysql.waiting import Waiting, too_slow
from whimbrel.project import Source

TRIES = 8  # failures of one connection in a row, about 35 seconds of them, before SourceUnreachable
LONGEST_BACK_OFF = 15.0  # seconds
SHORT = 10_000  # rows
TLS_REQUEST = struct.Struct("<IIB23x")  # the beginning of the login that follows: capabilities, packet size, charset
LARGEST_PACKET = 0xFFFFFF
NEXT = "COMMIT AND CHAIN NO RELEASE"  # ends a reader's transaction, and begins its next one


if TYPE_CHECKING:

    class _Base(Connection):  # what the library's own stubs leave out
        connected: bool
        server_capabilities: int
        _client_flag: int
        _ssl_context: Any
        _transport: Any
        _proto: Any
        _encoding: str
        _host: str
        _tls_established: bool
        _loop: asyncio.AbstractEventLoop

        def __init__(self, **options: Any) -> None: ...
        async def _get_server_information(self) -> None: ...
        async def _request_authentication(self) -> None: ...
        def write_packet(self, payload: bytes) -> None: ...
        def _fill_buffer(self, need: int) -> Coroutine[Any, Any, None]: ...
        async def read_packet(self, packet_type: Any = ...) -> Any: ...
        def query(self, sql: str, unbuffered: bool = ...) -> Coroutine[Any, Any, Any]: ...
        def close(self) -> None: ...
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
        self._waiting, self._limit = Waiting(), float(source.read_timeout)
        self._since = 0.0  # when it began to wait; 0.0 while it does not
        self._have = 0  # bytes that were unread then
        self._timer: asyncio.TimerHandle | None = None
        self._columns = 0
        self._room = self.largest = LARGEST_GREETING

    async def _get_server_information(self) -> None:
        await super()._get_server_information()
        wanted = self._ssl_context is not None
        if wanted and not starts_tls(self._source, self.server_capabilities, self._place, wanted=wanted):
            self._ssl_context = None
            self._client_flag &= ~CLIENT.SSL
        self._auth_plugin_name = ""  # so that the server asks for the account's method, which _process_auth answers

    async def _request_authentication(self) -> None:
        if self._ssl_context is not None:
            await self._start_tls(self._ssl_context)
        await super()._request_authentication()

    async def _start_tls(self, context: ssl.SSLContext) -> None:
        """On the transport that is there. asyncmy makes a second one: if it is cancelled when the handshake has ended,
        asyncio closes that in order, for which the loop may not live long enough, and nobody else knows of it.
        """
        self._client_flag |= CLIENT.MULTI_RESULTS | self.server_capabilities & CLIENT.DEPRECATE_EOF
        self.write_packet(TLS_REQUEST.pack(self._client_flag, LARGEST_PACKET, charset_by_name(CHARSET).id))
        self._transport = await self._loop.start_tls(self._transport, self._proto, context, server_hostname=self._host)
        self._tls_established = True

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
            self._room = self.largest
            return self._read_column()
        self._columns = 0
        self._room = self.largest
        return _Base.read_packet(self, packet_type)

    async def _read_column(self) -> Any:
        """asyncmy copies as many bytes as a length says, wherever they may lie: it gets none that leads out."""
        packet = await _Base.read_packet(self, MysqlPacket)
        data: bytes = packet.get_all_data()
        if not _describes_column(data):
            raise ValueError("a column's description that ends too early")
        return FieldDescriptorPacket(data, self._encoding)

    def query(self, sql: str, unbuffered: bool = False) -> Coroutine[Any, Any, Any]:
        self._waiting.begin()
        return _Base.query(self, sql, unbuffered)

    async def _fill_buffer(self, need: int) -> None:
        self._room -= need  # of a packet that comes in several parts, the sum
        if self._room < 0:
            raise self._too_much(f"a packet of more than {self.largest:,} bytes")
        self._have, self._since = self._unread(), time.monotonic()
        try:
            await _Base._fill_buffer(self, need)
        except asyncmy_errors.OperationalError as error:
            if self._waiting.over(self._limit):
                raise asyncmy_errors.OperationalError(error.args[0], too_slow(self._limit)) from error
            raise
        finally:
            self._count()
            self._since = 0.0

    def _unread(self) -> int:
        return int(self._proto.length - self._proto.pos)

    def _count(self) -> None:
        have, now = self._unread(), time.monotonic()
        self._waiting.came(have - self._have, now - self._since)
        self._have, self._since = have, now

    def watch(self) -> None:
        """Break the connection off when the server has been waited for too long. One timer looks at that now and then:
        asyncmy's own ``read_timeout`` takes a task and a timer each time, three times what a wait takes without.
        """
        if self._since:
            self._count()
            if self._waiting.over(self._limit) and self._transport is not None:
                self._transport.abort()
                return
        left = self._limit - self._waiting.seconds
        self._timer = self._loop.call_later(max(left, self._limit / 10), self.watch)

    def close(self) -> None:
        """At once: with TLS, closing in order would take an answer that nobody waits for."""
        if self._timer:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.abort()
        super().close()

    def _too_much(self, what: str) -> SourceError:
        self.close()
        return SourceError(f"the server sends {what}", place=self._place, hint=OTHER_SERVER)


def _describes_column(data: bytes) -> bool:
    """Whether six texts lie within ``data``, and the 13 bytes that follow them."""
    at = 0
    for _ in range(6):
        length = data[at] if at < len(data) else 0
        at += 1
        if length > 250:  # in so many bytes that follow; none for NULL
            size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(length, 0)
            length = int.from_bytes(data[at : at + size], "little")
            at += size
        at += length
    return at + 13 <= len(data)


async def open_reader(source: Source, like: SourceConnection | None = None) -> SourceReader:
    """A streaming connection within a transaction, which sees and holds nothing until its first SELECT. It is set up
    sooner when there is one ``like`` it already.

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
        )
        try:
            with understood(place):
                async with asyncio.timeout(CONNECT_TIMEOUT + SECONDS):
                    await reader.connect()
                    reader.watch()
                    await _settle(reader, place, like.changed if like else {})
                    await reader.query("START TRANSACTION READ ONLY")
        except TimeoutError:
            reader.close()
            raise SourceUnreachable(f"no login within {CONNECT_TIMEOUT + SECONDS:g} seconds", place=place) from None
        except BaseException:
            reader.close()
            raise
        return reader


async def _settle(reader: Any, place: str, before: Changed) -> None:
    steps = settle(place, before)
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


async def back_off(error: SourceUnreachable, failures: int) -> None:
    """Wait longer after each failure in a row, at random, so that the connections do not come back all at once."""
    if failures >= TRIES:
        raise SourceUnreachable(f"{error.message} ({TRIES} times in a row)", place=error.place, hint=error.hint)
    await asyncio.sleep(min(LONGEST_BACK_OFF, 0.25 * 2**failures) * random.uniform(0.5, 1.0))

"""PyMySQL's connection, made safe against who may be at the other end: it does not have the password (login.py does),
and what it takes in is limited in size and time.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import asyncmy.errors
import pymysql
from pymysql.connections import Connection
from pymysql.constants import CLIENT
from pymysql.cursors import Cursor
from pymysql.protocol import FieldDescriptorPacket, MysqlPacket

from whimbrel.errors import SourceError, WhimbrelError
from whimbrel.mysql.login import OTHER_SERVER, SECONDS, Login, Peer, peer_of, starts_tls
from whimbrel.mysql.settings import Changed
from whimbrel.mysql.tls import tls_context
from whimbrel.mysql.waiting import PacedReads, Waiting
from whimbrel.project import Source
from whimbrel.threads import Timer

if TYPE_CHECKING:

    class _Base(Connection[Cursor]):  # what the library's own stubs leave out
        _sock: Any
        _rfile: Any
        _read_timeout: float | None
        server_capabilities: int
        client_flag: int

        def _get_server_information(self) -> None: ...
        def _execute_command(self, command: int, sql: Any) -> None: ...
        def _read_packet(self, packet_type: Any = ...) -> Any: ...
        def _read_bytes(self, num_bytes: int) -> bytes: ...
        def _read_query_result(self, unbuffered: bool = ...) -> Any: ...
        def _force_close(self) -> None: ...
else:
    _Base = Connection  # PyMySQL's own class has no parameters when it runs

LARGEST_ANSWER = 1 << 30  # bytes of one answer: a packet cannot be larger either
OF_A_PACKET = 200  # bytes that one takes in memory beside its content, about
MOST_COLUMNS = 4096  # of a table or a SELECT
LARGEST_GREETING = 1 << 16  # bytes before the login is done
READ_AT_ONCE = 1 << 16  # bytes


class SourceConnection(_Base):
    """``peer`` says what is known of the other end, ``changed`` which settings the session needed."""

    def __init__(self, source: Source, place: str, **options: Any) -> None:
        self._source, self._place = source, place
        self._login = Login(source, place)
        self._columns = self._taken = 0
        self._most = LARGEST_GREETING
        self._waiting = Waiting()
        self._paced: io.BufferedReader | None = None
        self._beneath: socket.socket | None = None
        self.peer = Peer(trusted=False, encrypted=False)
        self.changed: Changed = {}
        context = tls_context(source)
        tls: dict[str, Any] = {"ssl": context} if context else {"ssl_disabled": True}
        super().__init__(password=b"", **tls, **options)

    def connect(self, sock: Any = None) -> None:
        """A login that is not done within SECONDS is aborted: time limits of single reads add up without end."""
        self._limit = Timer(SECONDS, self._give_up)
        try:
            with understood(self._place):
                super().connect(sock)
            self.peer = self._peer()
        finally:
            self._limit.cancel()
            self._most = LARGEST_ANSWER
            if self._beneath:
                self._beneath.close()

    def _give_up(self) -> None:
        if self._beneath:
            with contextlib.suppress(OSError):
                self._beneath.shutdown(socket.SHUT_RDWR)

    def _get_server_information(self) -> None:
        """The server's greeting: before anything is said to it, TLS begins, or the login ends here."""
        self._beneath = self._sock.dup()  # what TLS is put upon, to be shut down by _give_up
        self._limit.start()
        super()._get_server_information()
        self._waiting.begin()  # each step of a login is an answer; all of them have SECONDS
        if self.ssl and not starts_tls(self._source, self.server_capabilities, self._place, wanted=bool(self.ssl)):
            self.ssl = False
            self.client_flag &= ~CLIENT.SSL
        self._auth_plugin_name = ""  # so that the server asks for the account's method, which _process_auth answers

    def _peer(self) -> Peer:
        return peer_of(self._sock, self._sock.context if isinstance(self._sock, ssl.SSLSocket) else None)

    def _process_auth(self, plugin_name: bytes, auth_packet: Any, handler: Any = None) -> Any:
        self.peer = self._peer()
        steps = self._login.steps(plugin_name.decode("ascii", "replace"), auth_packet.read_all(), self.peer)
        answer = next(steps)
        while True:
            if answer is not None:
                self.write_packet(answer)
            self._waiting.begin()
            packet = self._read_packet()
            try:
                answer = steps.send(packet.get_all_data())
            except StopIteration:
                return packet

    def _execute_command(self, command: int, sql: Any) -> None:
        self._taken = self._columns = 0
        self._waiting.begin()
        super()._execute_command(command, sql)

    def _read_packet(self, packet_type: Any = MysqlPacket) -> Any:
        if packet_type is FieldDescriptorPacket:
            self._columns += 1
            if self._columns > MOST_COLUMNS:
                raise self._too_much(f"more than {MOST_COLUMNS:,} columns")
        return super()._read_packet(packet_type)

    def _read_bytes(self, num_bytes: int) -> bytes:
        self._taken += num_bytes + OF_A_PACKET // 2  # a packet is read in two pieces
        if self._taken > self._most:
            raise self._too_much(f"more than {self._most:,} bytes in one answer")
        if self._rfile is not self._paced:  # PyMySQL's own: a new one, of which nothing has been read, on each socket
            self._rfile.close()
            self._rfile = self._paced = io.BufferedReader(PacedReads(self._sock, self._waiting), READ_AT_ONCE)
        data: bytes = super()._read_bytes(num_bytes)
        return data

    def _read_query_result(self, unbuffered: bool = False) -> Any:
        try:
            with understood(self._place):
                return super()._read_query_result(unbuffered)
        except SourceError:
            self._force_close()  # where the next answer begins is not known
            raise

    def _too_much(self, what: str) -> SourceError:
        self._force_close()
        return SourceError(f"the server sends {what}", place=self._place, hint=OTHER_SERVER)


@contextlib.contextmanager
def understood(place: str) -> Iterator[None]:
    """What a client library stumbles over in a server's answer is a SourceError."""
    try:
        yield
    except Exception as error:
        if (raised := garbled(error, place)) is error:
            raise
        raise raised from error


def garbled(error: Exception, place: str) -> Exception:
    """``error``, if it is one that somebody raises on purpose; else a SourceError: a client library stumbled."""
    if isinstance(error, WhimbrelError | pymysql.err.Error | asyncmy.errors.Error | OSError | MemoryError):
        return error
    if isinstance(error, RuntimeError) and "LOAD_LOCAL" in str(error):
        said = "the server asks for a file of this machine (LOAD DATA LOCAL INFILE), which whimbrel did not request"
    else:
        said = f"what the server sends is not an answer of MySQL or MariaDB ({type(error).__name__}: {error})"
    return SourceError(said[:300], place=place, hint=OTHER_SERVER)

"""How the password is proved to the server. This alone has it: the client libraries are given an empty one, so that
nothing in them can send it, whichever method a server asks for, and whatever a later release of theirs does.

The rule: the password itself is sent, or encrypted with a key that the server sends, only to a server that nobody can
stand in front of (``Peer.trusted``). Methods that prove it without revealing it are always answered.
Sources: dev.mysql.com "Connection Phase", mysql-server sql/auth/sha2_password.cc, MariaDB plugin/auth_ed25519.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Generator
from typing import Any, NamedTuple, TypeAlias

import asyncmy.auth

from whimbrel.errors import PasswordWithheld, SourceError, SourceUnreachable, UnsupportedSource, UserError
from whimbrel.project import Source

SECONDS = 30.0  # for a whole login, with TLS
_MOST_SWITCHES = 3  # of the method: a proxy asks for its own, and then for that of the server behind it
auth: Any = asyncmy.auth  # which has no types
_OK, _MORE, _SWITCH = b"\x00", b"\x01", b"\xfe"
_TLS, _SECURE_CONNECTION, _PLUGIN_AUTH = 1 << 11, 1 << 15, 1 << 19  # capabilities

# What to send next (None: nothing, only read on); each is answered by the server's next packet.
Steps: TypeAlias = "Generator[bytes | None, bytes, bytes]"


class Peer(NamedTuple):
    """What is known of who is at the other end, once TLS is up.

    ``trusted``: nobody but the server can be there: its certificate and name were verified, or the connection does not
    leave this machine. ``encrypted``: over TLS or a Unix socket, where servers ask for the password itself; over plain
    TCP they ask for it encrypted with RSA.
    """

    trusted: bool
    encrypted: bool


def peer_of(connection: Any, tls: ssl.SSLContext | None) -> Peer:
    """Judged by the address that the socket is connected to: a name may lead anywhere."""
    if connection.family == socket.AF_UNIX:
        return Peer(trusted=True, encrypted=True)
    verified = tls is not None and tls.verify_mode == ssl.CERT_REQUIRED and tls.check_hostname
    return Peer(trusted=verified or is_loopback(connection.getpeername()[0]), encrypted=tls is not None)


def is_loopback(address: str) -> bool:
    place = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(place, "ipv4_mapped", None) or place).is_loopback


def starts_tls(source: Source, capabilities: int, place: str, *, wanted: bool) -> bool:
    """Whether to begin TLS with a server that offers ``capabilities``. Raises what makes a login impossible."""
    if not capabilities & _PLUGIN_AUTH or not capabilities & _SECURE_CONNECTION:
        raise UnsupportedSource(
            "the server offers only old login methods, which reveal the password",
            place=place,
            hint="whimbrel needs MySQL 8.0 or MariaDB 10.5, or later.",
        )
    if wanted and not capabilities & _TLS and source.tls != "preferred":
        hint = 'Set up TLS on the server, or see what tls = "preferred" means in docs/security.md.'
        raise SourceUnreachable(f'tls = "{source.tls}", and the server offers no TLS', place=place, hint=hint)
    return wanted and bool(capabilities & _TLS)


class Login:
    """One login at a time: ``steps`` answers what the server asks."""

    def __init__(self, source: Source, place: str) -> None:
        self._password = source.password.encode()  # the client libraries would take str for Latin-1
        self._key = _public_key(source.server_public_key)
        self._place = place

    def steps(self, method: str, challenge: bytes, peer: Peer) -> Steps:
        """From the server's request for a method up to its OK, which is returned. Refusals of the server are raised by
        who reads its packets. Raises PasswordWithheld, SourceError, UserError.
        """
        for _ in range(_MOST_SWITCHES):
            packet = yield from self._answered(method, challenge, peer)
            if packet[:1] == _OK:
                return packet
            if packet[:1] != _SWITCH or len(packet) == 1:
                raise self._not_understood(packet)
            name, _, challenge = packet[1:].partition(b"\0")
            method = name.decode("ascii", "replace")
        raise self._not_understood(packet)

    def _answered(self, method: str, challenge: bytes, peer: Peer) -> Steps:
        if method == "mysql_native_password":
            return (yield auth.scramble_native_password(self._password, self._nonce(challenge, 20)))
        if method == "client_ed25519":
            return (yield self._ed25519(self._nonce(challenge, 32)))
        if method == "caching_sha2_password":
            return (yield from self._caching_sha2(self._nonce(challenge, 20), peer))
        if method == "sha256_password":
            return (yield from self._whole(method, self._nonce(challenge, 20), peer, b"\x01"))
        if method in ("mysql_clear_password", "dialog"):
            if self._password and not peer.trusted:
                raise self._withheld(method, peer)
            return (yield self._password + b"\0")
        raise UnsupportedSource(f"the account logs in by {method[:64]!r}", place=self._place, hint=_KNOWN)

    def _caching_sha2(self, nonce: bytes, peer: Peer) -> Steps:
        packet = yield auth.scramble_caching_sha2(self._password, nonce)
        if packet == _MORE + b"\x03":  # the server had the password's digest in its cache
            return (yield None)
        if packet == _MORE + b"\x04":
            return (yield from self._whole("caching_sha2_password, of which the cache is empty,", nonce, peer, b"\x02"))
        return packet

    def _whole(self, method: str, nonce: bytes, peer: Peer, ask_for_key: bytes) -> Steps:
        """The server wants the password itself: over an encrypted connection as it is, else encrypted with RSA."""
        if not self._password:
            return (yield b"\0")
        if peer.encrypted:
            if not peer.trusted:
                raise self._withheld(method, peer)
            return (yield self._password + b"\0")
        key = self._key
        if not key:
            if not peer.trusted:
                raise self._withheld(method, peer)
            packet = yield ask_for_key
            if packet[:1] != _MORE:
                return packet
            key = packet[1:]
        return (yield self._encrypted(nonce, key))

    def _encrypted(self, nonce: bytes, key: bytes) -> bytes:
        try:
            encrypted: bytes = auth.sha2_rsa_encrypt(self._password, nonce, key)
        except (ValueError, TypeError, AttributeError) as error:  # not PEM, not RSA, or too short a key
            raise SourceError(f"the server's public key cannot be used: {error}", place=self._place) from None
        return encrypted

    def _ed25519(self, challenge: bytes) -> bytes:
        try:
            signature: bytes = auth.ed25519_password(self._password, challenge)
        except RuntimeError:
            hint = "Install it with: pip install 'whimbrel[ed25519]'"
            raise UserError("the account logs in by ed25519, and pynacl is not installed", hint=hint) from None
        return signature

    def _nonce(self, challenge: bytes, length: int) -> bytes:
        if len(challenge) not in (length, length + 1):  # some servers send its closing NUL
            raise self._not_understood(challenge)
        return challenge[:length]

    def _withheld(self, method: str, peer: Peer) -> PasswordWithheld:
        if peer.encrypted:
            why, more = "the server's certificate was not verified", ""
        else:
            why = "the connection is not encrypted"
            pinned = method.startswith(("caching_sha2", "sha256"))
            more = ", or server_public_key to a file with the server's public key" if pinned else ""
        return PasswordWithheld(
            f"the server asks for the password itself ({method.strip(',')}), and {why}: whoever answers there would "
            "learn it",
            place=self._place,
            hint=f'Set tls = "verify" in [source], with tls_ca{more}: see docs/security.md.',
        )

    def _not_understood(self, packet: bytes) -> SourceError:
        return SourceError(
            f"the server's answer to the login is not understood: {packet[:20]!r}", place=self._place, hint=OTHER_SERVER
        )


OTHER_SERVER = "Check host and port: something other than MySQL or MariaDB may answer there."
_KNOWN = (
    "Known are caching_sha2_password, sha256_password, mysql_native_password, ed25519, mysql_clear_password and dialog "
    "(PAM, with one question): give the account one of these."
)


def _public_key(file: str) -> bytes:
    if not file:
        return b""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    from whimbrel.mysql.tls import reading

    with reading("server_public_key", file) as path:
        key = path.read_bytes()
        try:
            if isinstance(load_pem_public_key(key), RSAPublicKey):
                return key
        except (ValueError, UnsupportedAlgorithm):
            pass
        raise ValueError("is not an RSA public key in PEM: SHOW STATUS LIKE 'Caching_sha2_password_rsa_public_key'")

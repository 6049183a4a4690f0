"""The password does not reach whoever answers: every method that a server can ask for, at every place where it can, by
both clients that whimbrel reads a source with.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pymysql
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from demo.servers import MySQL, SqlServer
from tests.hostile import SALT, Hostile, Session, hostile
from whimbrel.errors import PasswordWithheld, ProjectError, SourceError, UnsupportedSource
from whimbrel.mysql import login
from whimbrel.mysql.connect import connect
from whimbrel.mysql.readers import open_reader
from whimbrel.project import Source

SECRET = "s3cr3t-of-the-test"


def with_pymysql(source: Source) -> None:
    connect(source).close()


def with_asyncmy(source: Source) -> None:
    async def log_in() -> None:
        (await open_reader(source)).close()

    asyncio.run(log_in())


CLIENTS = {"pymysql": with_pymysql, "asyncmy": with_asyncmy}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Callable[[Source], Any]:
    return CLIENTS[request.param]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's servers count as far away."""
    monkeypatch.setattr(login, "is_loopback", lambda _address: False)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: rsa.RSAPrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def decrypted(key: rsa.RSAPrivateKey, data: bytes) -> bytes:
    sha1 = hashes.SHA1()
    hidden = key.decrypt(data, padding.OAEP(mgf=padding.MGF1(sha1), algorithm=sha1, label=None))
    return bytes(a ^ b for a, b in zip(hidden, itertools.cycle(SALT)))


def source_of(server: Hostile, **more: Any) -> Source:
    return Source(server.host, server.port, "app", "", SECRET, **more)


def full_sha2(key: bytes) -> Callable[[Session, Callable[[str], bytes]], None]:
    def act(session: Session, begin: Callable[[str], bytes]) -> None:
        begin("caching_sha2_password")
        session.send(b"\1\4")
        if session.receive() == b"\2":
            session.send(b"\1" + key)
            session.receive()

    return act


def sha256(key: bytes) -> Callable[[Session, Callable[[str], bytes]], None]:
    def act(session: Session, begin: Callable[[str], bytes]) -> None:
        if begin("sha256_password") == b"\1":
            session.send(b"\1" + key)
            session.receive()

    return act


def asks(method: str, challenge: bytes) -> Callable[[Session, Callable[..., bytes]], object]:
    return lambda session, begin: begin(method, challenge)


def greeted(session: Session) -> Callable[..., bytes]:
    """The method stands in the greeting, and what follows is what a server does whose client took it."""

    def begin(method: str, challenge: bytes = b"") -> bytes:
        return session.greet(method)

    return begin


def switched(session: Session) -> Callable[..., bytes]:
    session.greet()
    return session.switch


def switched_twice(session: Session) -> Callable[..., bytes]:
    session.greet()
    session.switch("mysql_native_password")
    return session.switch


def after_the_fast_way(session: Session) -> Callable[..., bytes]:
    session.greet("caching_sha2_password")
    session.switch("caching_sha2_password")
    return session.switch


REVEALING = ("mysql_clear_password", "dialog", "sha256_password", "caching_sha2_password", "mysql_old_password")
PLACES = (greeted, switched, switched_twice, after_the_fast_way)


def revealing(method: str, key: rsa.RSAPrivateKey) -> Callable[[Session, Callable[..., bytes]], None]:
    return {  # type: ignore[return-value]
        "mysql_clear_password": asks("mysql_clear_password", b""),
        "dialog": asks("dialog", b"\x04Password: "),
        "sha256_password": sha256(public(key)),
        "caching_sha2_password": full_sha2(public(key)),
        "mysql_old_password": asks("mysql_old_password", SALT[:8] + b"\0"),
    }[method]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", REVEALING)
@pytest.mark.parametrize("tls", ["off", "preferred", "preferred over TLS", "required"])
def test_no_method_gets_the_password_over_an_unsafe_connection(
    client: Callable[[Source], Any],
    elsewhere: None,
    key: rsa.RSAPrivateKey,
    tmp_path: Path,
    tls: str,
    method: str,
    place: Callable[[Session], Callable[..., bytes]],
) -> None:
    act = revealing(method, key)
    folder = tmp_path if tls in ("preferred over TLS", "required") else None
    with hostile(lambda session: act(session, place(session)), folder) as server:
        with pytest.raises((PasswordWithheld, SourceError, UnsupportedSource)) as raised:
            client(source_of(server, tls=tls.split()[0]))
        assert SECRET.encode() not in server.heard
        assert not any(hides(key, bytes(server.heard[at : at + 256])) for at in range(len(server.heard) - 255))
    if place is not greeted and method != "mysql_old_password":
        assert isinstance(raised.value, PasswordWithheld)
        assert 'tls = "verify"' in raised.value.hint
        assert ("server_public_key" in raised.value.hint) == ("sha2" in method and not folder)
    assert SECRET not in str(raised.value)


def hides(key: rsa.RSAPrivateKey, data: bytes) -> bool:
    try:
        return SECRET.encode() in decrypted(key, data)
    except ValueError:
        return False


@pytest.mark.parametrize("method", ["sha256_password", "caching_sha2_password"])
def test_a_pinned_key_encrypts_the_password_and_the_server_s_own_does_not(
    client: Callable[[Source], Any], elsewhere: None, key: rsa.RSAPrivateKey, tmp_path: Path, method: str
) -> None:
    pinned = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file = tmp_path / "server-key.pem"
    file.write_bytes(public(pinned))
    answers: list[bytes] = []

    def act(session: Session) -> None:
        session.greet()
        if method == "sha256_password":
            answers.append(session.switch(method))
        else:
            session.switch(method)
            session.send(b"\1\4")
            answers.append(session.receive())
        session.send(b"\1" + public(key))  # unasked for: another key
        session.receive()

    with hostile(act) as server, pytest.raises(SourceError):
        client(source_of(server, server_public_key=str(file)))
    assert decrypted(pinned, answers[0]) == SECRET.encode() + b"\0"
    assert SECRET.encode() not in server.heard
    assert not any(hides(key, bytes(server.heard[at : at + 256])) for at in range(len(server.heard) - 255))


@pytest.mark.parametrize("method", REVEALING[:4])
def test_on_this_machine_the_password_is_given(
    client: Callable[[Source], Any], key: rsa.RSAPrivateKey, method: str
) -> None:
    act = revealing(method, key)
    with hostile(lambda session: act(session, switched(session))) as server:
        with pytest.raises(SourceError):  # what the test's server says afterwards is nothing
            client(source_of(server))
        last = bytes(server.heard)
    if method in ("mysql_clear_password", "dialog"):
        assert last.endswith(SECRET.encode() + b"\0")
    else:
        assert decrypted(key, last[-256:]) == SECRET.encode() + b"\0"


def test_a_name_that_leads_elsewhere_is_not_this_machine(
    client: Callable[[Source], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged by where the connection leads, not by what it is called."""
    address = own_address()
    real = socket.getaddrinfo

    def lookup(host: Any, *rest: Any, **more: Any) -> Any:
        return real(address if host == "localhost" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    act = asks("mysql_clear_password", b"")
    with hostile(lambda session: act(session, switched(session)), host=address) as server:
        with pytest.raises(PasswordWithheld):
            client(replace(source_of(server), host="localhost"))
        assert SECRET.encode() not in server.heard


def own_address() -> str:
    """An address of this machine that is not the loopback's. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but the loopback's")
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
    ],
)
def test_what_counts_as_this_machine(address: str, local: bool) -> None:
    assert login.is_loopback(address) == local


@pytest.mark.parametrize("tls", ["preferred", "off"])
def test_the_methods_that_reveal_nothing_work_without_tls(
    client: Callable[[Source], Any], elsewhere: None, source_server: SqlServer, tls: str
) -> None:
    """Native passwords of MariaDB; MySQL's caching_sha2 once the server has the password's digest in its cache."""
    source = source_server.source("", tls=tls)
    if source_server.flavor == "mysql":
        with pytest.raises(PasswordWithheld, match="caching_sha2_password, of which the cache is empty"):
            client(fresh_account(source_server, tls="off"))
        pymysql.connect(host=source.host, port=source.port, user=source.user, password=source.password).close()
    client(source)


def fresh_account(server: SqlServer, **more: Any) -> Source:
    """One that no server has in a cache."""
    name = server.new_database("account")
    server.execute(f"CREATE USER {name} IDENTIFIED BY '{SECRET}'", f"GRANT SELECT ON *.* TO {name}")
    return replace(server.source("", **more), user=name, password=SECRET)


def test_a_pinned_key_of_a_real_server_logs_in(
    client: Callable[[Source], Any], elsewhere: None, mysql: MySQL, tmp_path: Path
) -> None:
    [(_, text)] = mysql.execute("SHOW STATUS LIKE 'Caching_sha2_password_rsa_public_key'")
    file = tmp_path / "key.pem"
    file.write_text(text)
    client(fresh_account(mysql, tls="off", server_public_key=str(file)))


def test_what_is_no_public_key_is_named(client: Callable[[Source], Any], tmp_path: Path) -> None:
    for content in (b"not a key", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", None):
        file = tmp_path / "key.pem"
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with pytest.raises(ProjectError, match=r"source\.server_public_key: .*key\.pem' cannot be used"):
            client(Source("127.0.0.1", 1, "app", "", SECRET, server_public_key=str(file)))

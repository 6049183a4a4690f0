"""Whatever answers at the source's address, the end is an error with a name, soon, and in bounded memory."""

from __future__ import annotations

import itertools
import random
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.hostile import END, OK, SALT, Session, column, hostile, row
from tests.test_login import CLIENTS
from whimbrel.cli.main import main
from whimbrel.errors import SourceError, WhimbrelError
from whimbrel.mysql import client as limits
from whimbrel.mysql import readers
from whimbrel.mysql.settings import BASIC, MORE
from whimbrel.project import Source

Act = Callable[[Session], Any]
SOON = 20.0  # seconds; with read_timeout = 1
HUGE = b"\xff\xff\xff"  # the length of a packet that goes on in the next


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Callable[[Source], Any]:
    return CLIENTS[request.param]


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that what is endless is found out with some megabytes."""
    monkeypatch.setattr(limits, "LARGEST_ANSWER", 8 << 20)
    monkeypatch.setattr(limits, "SECONDS", 3.0)
    monkeypatch.setattr(readers, "SECONDS", 3.0)
    monkeypatch.setattr(readers, "CONNECT_TIMEOUT", 1)


def ended(client: Callable[[Source], Any], act: Act, tls: Path | None = None, **more: Any) -> WhimbrelError:
    """The error that ends it. No more than 32 MB were taken in. ``tls`` is a folder for the server's certificates."""
    sent: list[int] = []

    def counted(session: Session) -> None:
        plain = session.raw

        def raw(data: bytes) -> None:
            plain(data)
            sent.append(len(data))

        session.raw = raw  # type: ignore[method-assign]
        act(session)

    began = time.monotonic()
    with hostile(counted, tls) as server, pytest.raises(WhimbrelError) as raised:
        client(Source(server.host, server.port, "app", "", "secret", read_timeout=1, **more))
    assert time.monotonic() - began < SOON
    assert sum(sent) < 32 << 20
    return raised.value


def stay_silent(session: Session) -> None:
    session.receive()


def drip(session: Session) -> None:
    """A byte now and then: no single wait is long."""
    session.raw(b"\x00\x10\x00" + bytes([session.number]))
    while True:
        session.raw(b"\x0a")
        time.sleep(0.2)


def before_login(then: Act) -> Act:
    return then


def in_login(then: Act) -> Act:
    def act(session: Session) -> None:
        session.greet()
        then(session)

    return act


def in_the_method(then: Act) -> Act:
    def act(session: Session) -> None:
        session.greet()
        session.switch("caching_sha2_password")
        then(session)

    return act


def after_login(then: Act) -> Act:
    def act(session: Session) -> None:
        session.log_in()
        session.receive()
        then(session)

    return act


def in_an_answer(then: Act) -> Act:
    def act(session: Session) -> None:
        session.log_in()
        while not session.receive().startswith(b"\3SHOW"):
            session.send(OK)
        session.columns(1)
        then(session)

    return act


STEPS = (before_login, in_login, in_the_method, after_login, in_an_answer)


@pytest.fixture
def short_logins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "SECONDS", 1.0)


@pytest.mark.usefixtures("short_logins")
@pytest.mark.parametrize("step", STEPS)
def test_silence(client: Callable[[Source], Any], step: Callable[[Act], Act]) -> None:
    ended(client, step(lambda session: session.receive()))


@pytest.mark.usefixtures("short_logins")
@pytest.mark.parametrize("step", STEPS[:3])
def test_a_login_that_drips(client: Callable[[Source], Any], step: Callable[[Act], Act]) -> None:
    ended(client, step(drip))


def drip_packets(session: Session) -> None:
    """Whole ones, that are rows if an answer has begun."""
    while True:
        session.send(b"\0")
        time.sleep(0.2)


@pytest.mark.parametrize("what", [drip, drip_packets])
def test_an_answer_that_drips(client: Callable[[Source], Any], what: Act) -> None:
    assert "in 1 seconds of waiting" in str(ended(client, in_an_answer(what)))


def test_an_answer_that_drips_over_tls(client: Callable[[Source], Any], tmp_path: Path) -> None:
    assert "in 1 seconds of waiting" in str(ended(client, in_an_answer(drip), tls=tmp_path))


def test_an_answer_whose_first_packet_drips(client: Callable[[Source], Any]) -> None:
    ended(client, after_login(drip))


def test_a_long_answer_may_take_its_time(client: Callable[[Source], Any]) -> None:
    """It takes several times as long as the server may be silent, and is understood to its end, which is wrong."""
    sent = 0

    def slowly(session: Session) -> None:
        nonlocal sent
        for _ in range(30):
            session.send(row("x" * (limits.LARGEST_GREETING // 8)))
            sent += 1
            time.sleep(0.1)
        session.send(END)
        session.receive()

    assert "of waiting" not in str(ended(client, in_an_answer(slowly)))
    assert sent == 30


@pytest.mark.parametrize("step", STEPS)
def test_a_packet_that_says_more_than_there_is(client: Callable[[Source], Any], step: Callable[[Act], Act]) -> None:
    def act(session: Session) -> None:
        session.raw(b"\xfe\xff\xff" + bytes([session.number]) + b"\0")
        session.receive()

    ended(client, step(act))


@pytest.mark.parametrize("step", STEPS)
def test_endless_packets(client: Callable[[Source], Any], step: Callable[[Act], Act]) -> None:
    def act(session: Session) -> None:
        while True:
            session.raw(HUGE + bytes([session.number]) + bytes(0xFFFFFF))
            session.number = (session.number + 1) % 256

    ended(client, step(act))


def test_endless_rows(client: Callable[[Source], Any]) -> None:
    def act(session: Session) -> None:
        while True:
            session.send(b"\x011")

    said = ended(client, in_an_answer(act))
    assert "the server sends more than" in said.message


@pytest.mark.parametrize(
    "length", [b"\x7f", b"\xfc\xff\xff", b"\xfd\xff\xff\xff", b"\xfe" + bytes(6) + b"\x10\0", b"\xfe" + b"\xff" * 8]
)
@pytest.mark.parametrize("before", range(6))
def test_a_text_that_leads_out_of_its_column(client: Callable[[Source], Any], before: int, length: bytes) -> None:
    def act(session: Session) -> None:
        session.log_in()
        while not session.receive().startswith(b"\3SHOW"):
            session.send(OK)
        session.send(b"\1")
        session.send(b"\3def" * before + length + b"name")
        session.send(END)
        session.receive()

    ended(client, act)


def test_endless_columns(client: Callable[[Source], Any]) -> None:
    def act(session: Session) -> None:
        session.log_in()
        while not session.receive().startswith(b"\3SHOW"):
            session.send(OK)
        session.send(b"\xfd\xff\xff\x7f")
        for number in itertools.count():
            session.send(column(f"c{number}"))

    assert "more than 4,096 columns" in ended(client, act).message


@pytest.mark.parametrize("count", [b"\xfe" + b"\xff" * 8, b"\xfe" + b"\0" * 7 + b"\x80", b"\xfd\xff\xff\xff", b"\xfc"])
def test_a_number_of_columns_that_no_result_has(client: Callable[[Source], Any], count: bytes) -> None:
    def act(session: Session) -> None:
        session.send(count)
        session.send(END)
        session.send(END)
        session.receive()

    ended(client, after_login(act))


@pytest.mark.parametrize("name", [b"/etc/passwd", b"", b"\xff\xfe", b"/dev/zero"])
def test_no_file_of_this_machine_is_given_away(client: Callable[[Source], Any], name: bytes) -> None:
    heard = bytearray()

    def act(session: Session) -> None:
        session.send(b"\xfb" + name)
        del session.heard[:]
        try:
            session.receive()
            session.receive()
        finally:
            heard.extend(session.heard)

    said = ended(client, after_login(act))
    assert b"root:" not in heard
    assert isinstance(said, SourceError)


def test_a_request_for_a_file_is_named(client: Callable[[Source], Any]) -> None:
    def act(session: Session) -> None:
        session.log_in()
        while not session.receive().startswith(b"\3SHOW"):
            session.send(OK)
        session.send(b"\xfb/etc/passwd")
        session.receive()

    assert "LOAD DATA LOCAL INFILE" in ended(client, act).message


def test_endless_changes_of_the_method(client: Callable[[Source], Any]) -> None:
    def act(session: Session) -> None:
        session.greet()
        while True:
            session.switch("mysql_native_password")

    assert "login is not understood" in ended(client, act).message


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("seed", range(6))
def test_garbage(client: Callable[[Source], Any], step: Callable[[Act], Act], seed: int) -> None:
    chance = random.Random(seed)

    def act(session: Session) -> None:
        for _ in range(50):
            body = chance.randbytes(chance.choice((0, 1, 2, 5, 40, 300)))
            if chance.random() < 0.6:  # in a packet of its own, so that it is looked into
                session.send(chance.choice((b"", b"\0", b"\1", b"\xfb", b"\xfe", b"\xff", b"\x0a8.0\0")) + body)
            else:
                session.raw(body)

    ended(client, step(act))


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail ESMTP\r\n",
        b"-ERR unknown command\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
    ],
)
def test_servers_of_another_kind(client: Callable[[Source], Any], greeting: bytes) -> None:
    def act(session: Session) -> None:
        session.raw(greeting)

    ended(client, act)


def test_a_server_that_knows_only_old_passwords(client: Callable[[Source], Any]) -> None:
    def act(session: Session) -> None:
        session.send(
            b"\x0a5.0.1\0" + struct.pack("<I", 7) + SALT[:8] + b"\0" + struct.pack("<HBH", 1 | 512, 8, 2) + bytes(13)
        )
        session.receive()

    assert "old login methods" in ended(client, act).message


# -- answers that follow the protocol and make no sense ----------------------------------------------------------------


def settled(answer: Act) -> Act:
    """A server that lets a session be set up, and gives ``answer`` to everything that is asked then."""
    has = {**BASIC, **MORE}

    def act(session: Session) -> None:
        session.log_in()
        while (statement := session.receive())[:1] == b"\3":
            text = statement[1:].decode()
            if text.startswith(("SET", "ROLLBACK", "START")):
                session.send(OK)
            elif text.startswith("SHOW SESSION VARIABLES WHERE"):
                session.columns(2)
                for name, value in has.items():
                    session.send(row(name, "" if value is None else str(value)))
                session.send(END)
            else:
                answer(session)

    return act


def nonsense(columns: int, value: str | None) -> Act:
    def act(session: Session) -> None:
        session.columns(columns)
        session.send(row(*[value] * columns))
        session.send(END)

    return act


@pytest.mark.usefixtures("tried_again_at_once")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(nonsense(1, "x"), id="a word"),
        pytest.param(nonsense(2, None), id="nothing", marks=pytest.mark.slow),
        pytest.param(nonsense(6, "7"), id="numbers", marks=pytest.mark.slow),
        pytest.param(lambda session: session.send(OK), id="no rows"),
    ],
)
def test_commands_end_with_an_error_of_ours(answer: Act, tmp_path: Path) -> None:
    with hostile(settled(answer)) as server:
        url = f"mysql://app@127.0.0.1:{server.port}/shop"
        path = tmp_path / "whimbrel.toml"
        path.write_text(
            f'[source]\nurl = "{url}"\n[target]\nendpoint = "http://127.0.0.1:1"\nregion = "us-east-1"\n'
            '[[table]]\nsource = "t"\ntarget = "t-of-ours"\nshape = "record"\npartition_key = { name = "id" }\n'
        )
        for command in (["init", url, "-o", str(tmp_path / "made.toml")], ["check", "-p", str(path)]):
            done = CliRunner().invoke(main, command, env={"WHIMBREL_SOURCE_PASSWORD": "secret"})
            assert isinstance(done.exception, SystemExit), done.exception
            assert done.exit_code in (2, 3), done.output

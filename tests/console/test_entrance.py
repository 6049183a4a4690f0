"""Who is let into the console, and what a page of another site, another server of this machine, or a stranger gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console.made import Made
from tests.console.running import Console, console
from whimbrel.console.actions import ACTIONS
from whimbrel.console.asks import SqlBox, asks
from whimbrel.console.pages import page_files
from whimbrel.console.paths import SHOWN

pytest.importorskip("httptools", reason="the extra 'serve' is not installed")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console that these tests ask without being let in, or as somebody who was."""
    folder = tmp_path_factory.mktemp("entrance")
    made = Made(folder)
    made.checkpoint()
    with console(folder) as found:
        yield found


@pytest.fixture(scope="module")
def guest(stranger: Console) -> Console:
    stranger.open()
    stranger.link = stranger.next_link()
    return stranger


def test_without_the_link_there_is_nothing(stranger: Console) -> None:
    for path in ("/", "/start", "/open/", "/open/wrong", "/stream", "/do/cutover"):
        answer = stranger.ask("GET", path, cookie="whimbrel=wrong")
        assert answer.status in (401, 403), path
        assert b"bin.000003" not in answer.body
        assert "set-cookie" not in answer.headers


def test_a_link_opens_one_browser_and_a_new_one_is_printed(guest: Console) -> None:
    used = guest.link
    first = guest.ask("GET", used.partition(str(guest.port))[2])
    assert first.status == 200
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert f"Path={guest.home}" in cookie
    guest.link = guest.next_link()
    again = guest.ask("GET", used.partition(str(guest.port))[2])
    assert (again.status, "set-cookie" in again.headers) == (403, False)
    assert guest.link != used


def test_who_was_let_in_is_not_let_in_elsewhere(guest: Console) -> None:
    """The cookie is of one path: a server on another port, which would be sent it by that name, never knows it."""
    assert guest.ask("GET", guest.home).status == 200
    assert guest.ask("GET", "/" + "0" * 32 + "/").status == 401
    assert guest.ask("GET", guest.home, cookie="").status == 401
    assert guest.ask("GET", guest.home, cookie=guest.cookie[:-1] + "x").status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},  # a name of somebody else's that leads here
        {"host": "evil.example:80"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},  # another port of this machine
    ],
    ids=str,
)
def test_a_page_of_another_site_gets_nothing(guest: Console, headers: dict[str, str]) -> None:
    for path in ("", "start", "events"):
        assert guest.ask("GET", guest.home + path, **headers).status == 403
    assert guest.ask("POST", guest.home + "do/check", {}, **headers).status == 403


@pytest.mark.parametrize(
    "headers",
    [{"origin": ""}, {"content_type": "text/plain"}, {"content_type": "application/x-www-form-urlencoded"}],
    ids=str,
)
def test_a_form_of_another_site_does_nothing(guest: Console, headers: dict[str, str]) -> None:
    assert guest.ask("POST", guest.home + "do/check", {}, **headers).status == 403
    assert guest.get("start")["works"] == []


def test_what_is_not_confirmed_is_not_done(guest: Console) -> None:
    for given in ({}, {"confirm": "yes"}, {"confirm": "CUT OVER"}, {"confirm": True}):
        answer = guest.post("do/cutover", **given)
        assert (answer.status, answer.json()["hint"]) == (409, "Type exactly: cut over")
    assert guest.get("start")["works"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "do/nothing", b"{}", 404),
        ("POST", "do/check", b"[]", 409),
        ("POST", "do/check", b"{", 400),
        ("POST", "do/check", b"\xff", 400),
        ("POST", "stop/nothing", b"{}", 404),
        ("POST", "ask/nothing", b"{}", 404),
        ("POST", "do/check", b'{"x":"' + b"y" * (3 << 20) + b'"}', 413),
        ("PUT", "do/check", b"{}", 405),
        ("GET", "../etc/passwd", None, 404),
        ("GET", "events?before=x", None, 409),
        *(("GET", f"letters?after={odd}", None, 409) for odd in ("1e999", "nan", "-1", "-1e300", "1e300", "x", "0x1")),
        *(("GET", f"figures?since={odd}", None, 409) for odd in ("inf", "-5")),
        ("GET", "console.py", None, 404),
    ],
)
def test_what_makes_no_sense_is_refused(
    guest: Console, method: str, path: str, body: bytes | None, status: int
) -> None:
    answer = guest.ask(method, guest.home + path, body)
    assert answer.status == status, answer
    assert b"Traceback" not in answer.body
    assert b"a bug in whimbrel" not in answer.body


# What a console that only looks answers as well. Whatever is not named here it must refuse.
LOOKS = {"do/check"} | {f"ask/{name}" for name in ("columns", "item", "text", "look-at-text", "lake", "sql")}
LOOKS |= {"ask/models", "ask/warehouse"}


def every_path() -> list[tuple[str, str]]:
    """Each that the console knows, from its own tables: so one that is added is tried, too."""
    read = [*page_files(), "start", "stream", *SHOWN]
    written = [f"do/{name}" for name in ACTIONS] + [f"ask/{name}" for name in asks(SqlBox())]
    return [("GET", name) for name in read] + [
        ("POST", name) for name in (*written, *(f"stop/{name}" for name in ACTIONS))
    ]


@pytest.mark.parametrize(("method", "name"), every_path(), ids=lambda each: each or "page")
def test_every_path_is_guarded(guest: Console, method: str, name: str) -> None:
    path = guest.home + name
    body: dict[str, str] | None = {} if method == "POST" else None
    refused: list[tuple[int, dict[str, str]]] = [
        (401, {"cookie": ""}),
        (401, {"cookie": "whimbrel=wrong"}),
        (403, {"host": "evil.example"}),
        (403, {"origin": "http://evil.example"}),
        (403, {"sec_fetch_site": "cross-site"}),
    ]
    if method == "POST":
        refused += [(403, {"origin": ""}), (403, {"content_type": "text/plain"})]
    for status, headers in refused:
        assert guest.ask(method, path, body, **headers).status == status, headers
    other = guest.ask("GET" if method == "POST" else "POST", path, None if method == "POST" else {})
    assert other.status == 404, "each path has one method"
    assert guest.ask("DELETE", path).status == 405
    assert guest.get("start")["works"] == []


@pytest.mark.parametrize(
    "name", [name for method, name in every_path() if method == "GET"], ids=lambda each: each or "page"
)
def test_every_answer_has_the_rules(guest: Console, name: str) -> None:
    answer = guest.ask("GET", guest.home + name)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "trusted-types 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_console_that_only_looks_changes_nothing(tmp_path: Path) -> None:
    made = Made(tmp_path)
    made.checkpoint()
    words = {name: action.words for name, action in ACTIONS.items()}
    with console(tmp_path, "--read-only") as found:
        found.open()
        before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file() and each.suffix != ".log"}
        for method, name in every_path():
            kind, _, what = name.partition("/")
            if method == "GET" or name in LOOKS or (kind == "stop" and f"do/{what}" in LOOKS):
                continue
            answer = found.post(name, confirm=words.get(what, ""), text="", digest="")
            assert (answer.status, answer.json()["message"]) == (409, "this console is read-only"), name
        answer = found.post("do/check", statements="/etc/passwd")
        assert (answer.status, answer.json()["message"]) == (409, "this console is read-only")
        assert found.get("start")["works"] == []
        after = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file() and each.suffix != ".log"}
    assert after == before

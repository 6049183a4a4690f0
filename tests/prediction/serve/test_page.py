"""The built-in page in headless Chromium, over its DevTools protocol: what it shows, and a prediction by its form."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.prediction.serve.conftest import Running, wait_for
from tests.prediction.serve.models import JOBS, model
from whimbrel.prediction.model.drift import LEAST_ROWS

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]


class Browser:
    """One tab, by the DevTools protocol over a WebSocket (RFC 6455, frames of text, client frames masked)."""

    def __init__(self, debugger: str) -> None:
        with urlopen(Request(f"{debugger}/json/new?about:blank", method="PUT"), timeout=20) as new:
            address = json.load(new)["webSocketDebuggerUrl"]
        host, _, path = address.removeprefix("ws://").partition("/")
        name, _, port = host.partition(":")
        self._socket = socket.create_connection((name, int(port)), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._file = self._socket.makefile("rb")
        while self._file.readline().strip():
            pass
        self._number = 0
        self.logged: list[str] = []
        self.requested: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **given: Any) -> Any:
        self._number += 1
        self._send(json.dumps({"id": self._number, "method": method, "params": given}).encode())
        while True:
            message = json.loads(self._receive())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._event(message)

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def evaluate(self, script: str) -> Any:
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _event(self, message: dict[str, Any]) -> None:
        given = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent":
            self.requested.append(given["request"]["url"])
        elif message["method"] == "Log.entryAdded":
            self.logged.append(given["entry"]["text"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.logged.append(given["exceptionDetails"]["text"])

    def _send(self, data: bytes) -> None:
        mask = os.urandom(4)
        size = len(data)
        head = struct.pack("!BB", 0x81, 0x80 | size) if size < 126 else struct.pack("!BBH", 0x81, 0xFE, size)
        self._socket.sendall(head + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(data)))

    def _receive(self) -> bytes:
        data = b""
        while True:
            first, second = self._file.read(2)
            size = second
            if size == 126:
                [size] = struct.unpack("!H", self._file.read(2))
            elif size == 127:
                [size] = struct.unpack("!Q", self._file.read(8))
            data += self._file.read(size)
            if first & 0x80:
                return data


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    command = shutil.which("chromium")
    if command is None:
        pytest.skip("chromium is not installed")
    profile = tmp_path_factory.mktemp("chromium")
    where = [f"--user-data-dir={profile}", "--remote-debugging-port=0", "--window-size=1280,1700", "about:blank"]
    process = subprocess.Popen([command, *FLAGS, *where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = wait_for(lambda: _text(profile / "DevToolsActivePort"), 60).splitlines()[0]
        with closing(Browser(f"http://127.0.0.1:{port}")) as found:
            yield found
    finally:
        process.kill()
        process.wait()


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def asked(server: Running) -> None:
    """Calls enough for drift to be told from chance: of a large body, a row of each hundred counts."""
    server.invoke("\n".join(f"{20 + number // 100 % 60},student,,1.0" for number in range(100 * LEAST_ROWS)))


@pytest.fixture
def page(browser: Browser, server: Running, asked: None) -> Browser:
    browser.call("Page.navigate", url=f"{server.url}/")
    wait_for(lambda: browser.evaluate("document.body && document.body.dataset.ready"), 30)
    return browser


def test_the_page_shows_the_endpoint_its_version_and_its_drift(page: Browser, server: Running) -> None:
    text = page.evaluate("document.body.innerText")
    assert "ServiceEndpoint" in text
    assert page.evaluate("document.querySelector('.status').textContent") == "InService"
    assert page.evaluate("document.querySelector('.version').textContent") == "v1"
    for words in ("requests a second", "Latency", "Model versions", "auc", "0.9000", "Population stability index"):
        assert words.lower() in text.lower()
    drifting = page.evaluate("[...document.querySelectorAll('#drift .bar span:first-child')].map(e => e.textContent)")
    assert set(drifting) == {"age", "job", "pdays", "euribor3m"}
    assert drifting[-1] != "job"  # every call is of a student: that drifts
    if folder := os.environ.get("WHIMBREL_SCREENSHOTS"):
        shot = page.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        (Path(folder) / "page.png").write_bytes(base64.b64decode(shot))


def test_the_form_is_made_from_the_inputs_and_predicts(page: Browser) -> None:
    options = page.evaluate("[...document.querySelector('#try select[name=job]').options].map(o => o.value)")
    assert options == ["", *sorted(JOBS)]
    values = {"age": "34", "job": "retired", "pdays": "999", "euribor3m": "1.5"}
    fill = "".join(f"document.querySelector('#try [name={name}]').value = '{value}';" for name, value in values.items())
    page.evaluate(fill + "document.querySelector('#try button').click()")
    score = wait_for(lambda: page.evaluate("document.querySelector('#score')?.textContent"))
    expected = model().predict([list(values.values())])[0]
    assert score == f"{expected.score:.4f}"
    assert page.evaluate("document.querySelector('#label').textContent") == f"y = {expected.name}"


def test_a_wrong_value_is_said_beside_the_form(page: Browser) -> None:
    page.evaluate(
        "document.querySelector('#try [name=age]').value = 'old'; document.querySelector('#try button').click()"
    )
    said = wait_for(lambda: page.evaluate("document.querySelector('#answer .bad')?.textContent"))
    assert "'age' must be a finite number, not 'old'" in said


def test_the_page_asks_nobody_but_this_server_and_breaks_no_rule(page: Browser, server: Running) -> None:
    page.evaluate("new Promise(done => setTimeout(done, 1200))")
    asked = {url for url in page.requested if not url.startswith(("about:", "data:"))}
    assert asked
    assert {url for url in asked if not url.startswith(server.url)} == set()
    assert [text for text in page.logged if "424" not in text] == []


def test_the_page_is_small_and_names_no_other_place(server: Running) -> None:
    body = urlopen(f"{server.url}/", timeout=10).read()
    assert len(body) < 25_000
    assert body.count(b"http://") + body.count(b"https://") == body.count(b"http://www.w3.org/")
    assert (
        hashlib.sha256(body).hexdigest() == hashlib.sha256(urlopen(f"{server.url}/?x=1", timeout=10).read()).hexdigest()
    )

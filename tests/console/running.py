"""A console in a process of its own, as a person starts it, and who speaks HTTP with it without a browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.forked import command


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Console:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.link = self.next_link()
        parts = urlsplit(self.link)
        self.host, self.port = str(parts.hostname), int(parts.port or 0)
        self.cookie = self.home = ""

    def next_link(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        return str(json.loads(line)["url"])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """As the console's own page would; ``headers`` replace what it would send, "" leaves one out."""
        sent = {"host": f"{self.host}:{self.port}", "cookie": self.cookie}
        if method == "POST":
            sent |= {"origin": f"http://{self.host}:{self.port}", "content-type": "application/json"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        try:
            data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, data, {name: value for name, value in sent.items() if value})
            reply = connection.getresponse()
            found = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, found, reply.read())
        finally:
            connection.close()

    def open(self, link: str = "") -> Answer:
        """As a browser that opens the link does."""
        answer = self.ask("GET", urlsplit(link or self.link).path)
        if answer.status == 200:
            self.cookie = answer.headers["set-cookie"].partition(";")[0]
            self.home = re.findall(r"url=(/\w+/)", answer.body.decode())[0]
        return answer

    def get(self, name: str) -> Any:
        return self.ask("GET", self.home + name).json()

    def post(self, name: str, **given: Any) -> Answer:
        return self.ask("POST", self.home + name, given)


@contextmanager
def console(folder: Path, *options: str, **environment: str) -> Iterator[Console]:
    """Ended by SIGINT, which must be clean."""
    given = os.environ | {"WHIMBREL_SOURCE_PASSWORD": "x"} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = command(["console", "--json", *options], folder, given, **pipes)
    try:
        yield Console(process)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (0, ""), (process.returncode, error)
    finally:
        process.kill()
        process.communicate()

"""A steady load over keep-alive connections, each a thread of its own; every answer is kept, and every failure."""

from __future__ import annotations

import http.client
import threading
import time
from types import TracebackType


class Load:
    """``answers``: (model version, body) in the order in which they came; ``errors``: everything that was no 200."""

    def __init__(self, port: int, body: str, *, rate: float, connections: int) -> None:
        self.answers: list[tuple[str, bytes]] = []
        self.errors: list[str] = []
        self._port, self._body, self._interval = port, body.encode(), connections / rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n / rate,)) for n in range(connections)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, offset: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        due = time.monotonic() + offset
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due += self._interval
            try:
                headers = {"Content-Type": "text/csv"}
                connection.request("POST", "/endpoints/ServiceEndpoint/invocations", self._body, headers)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                connection.close()
                continue
            if answer.status == 200:
                self.answers.append((str(answer.headers["x-whimbrel-model-version"]), body))
            else:
                self.errors.append(f"{answer.status} {body[:300]!r}")
        connection.close()
